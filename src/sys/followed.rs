//! Files that others may replace while this program runs.
//!
//! Invariants: what was made of files is replaced whole or not at all; one thread at a time reads
//! them, so that an older state never follows a newer one; they are noted before they are read, so
//! that a change in between is one more change. No file is looked at without being asked for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Changed files are noticed by the first who asks after this.
const CHECK: Duration = Duration::from_secs(1);

/// What changes when a file is replaced or written: device, inode, length, and the time of change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// What was made of files, and is made anew when one of them changes.
#[derive(Debug)]
pub struct Followed<T> {
    paths: Vec<PathBuf>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    made: T,
    /// Of the files that were tried last, whether they were taken or not.
    stamps: Vec<Stamp>,
    looked: Instant,
}

impl<T: Clone> Followed<T> {
    /// Makes it for the first time.
    pub fn new<E>(paths: Vec<PathBuf>, make: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        let stamps = stamps(&paths);
        let state = Mutex::new(State { made: make()?, stamps, looked: Instant::now() });
        Ok(Self { paths, state })
    }

    /// What was made last.
    pub fn current(&self) -> T {
        self.state().made.clone()
    }

    /// Makes it anew if a file changed since it was tried last. `None`: none did, or less than a
    /// second went by since somebody looked. What can't be made leaves the last in force.
    pub fn follow<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Option<Result<(), E>> {
        let mut state = self.state();
        if state.looked.elapsed() < CHECK {
            return None;
        }
        let stamps = stamps(&self.paths);
        if stamps == state.stamps {
            state.looked = Instant::now();
            return None;
        }
        Some(state.take(stamps, make))
    }

    /// Makes it anew, whether a file changed or not. What can't be made leaves the last in force.
    pub fn again<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<(), E> {
        let mut state = self.state();
        let stamps = stamps(&self.paths);
        state.take(stamps, make)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A panic while the lock was held left what was made before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn take<E>(
        &mut self,
        stamps: Vec<Stamp>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<(), E> {
        self.stamps = stamps;
        self.looked = Instant::now();
        self.made = make()?;
        Ok(())
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
    };
    paths.iter().map(|path| stamp(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Replaces a file in one step.
    fn put(path: &Path, text: &str) {
        let mut beside = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
        beside.write_all(text.as_bytes()).unwrap();
        beside.persist(path).unwrap();
    }

    /// As if a second had gone by.
    fn later<T: Clone>(followed: &Followed<T>) {
        followed.state().looked -= CHECK;
    }

    #[test]
    fn a_change_is_taken_once_and_a_bad_one_leaves_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let write = |text: &str| put(&path, text);
        let make = || match fs::read_to_string(&path) {
            Ok(text) if text != "bad" => Ok(text),
            other => Err(format!("{other:?}")),
        };
        write("bad");
        Followed::new(vec![path.clone()], make).unwrap_err();
        write("one");
        let followed = Followed::new(vec![path.clone()], make).unwrap();
        write("two");
        // So soon nobody looks.
        assert_eq!(followed.follow(make), None);
        assert_eq!(followed.current(), "one");
        later(&followed);
        assert_eq!(followed.follow(make), Some(Ok(())));
        assert_eq!(followed.current(), "two");
        later(&followed);
        assert_eq!(followed.follow(make), None);
        for there in [true, false] {
            if there {
                write("bad");
            } else {
                fs::remove_file(&path).unwrap();
            }
            later(&followed);
            assert!(followed.follow(make).unwrap().is_err());
            // It is said once.
            later(&followed);
            assert_eq!(followed.follow(make), None);
            assert_eq!(followed.current(), "two");
        }
        assert!(followed.again(make).is_err());
        assert_eq!(followed.current(), "two");
        write("three");
        assert_eq!(followed.again(make), Ok(()));
        assert_eq!(followed.current(), "three");
        later(&followed);
        assert_eq!(followed.follow(make), None);
    }

    /// Written while it was read: what is there then is one more change.
    #[test]
    fn a_change_during_the_reading_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        put(&path, "one");
        let late = || {
            let text = fs::read_to_string(&path)?;
            put(&path, &format!("{text}, later"));
            Ok::<_, std::io::Error>(text)
        };
        let followed = Followed::new(vec![path.clone()], late).unwrap();
        assert_eq!(followed.current(), "one");
        later(&followed);
        followed.follow(|| fs::read_to_string(&path)).unwrap().unwrap();
        assert_eq!(followed.current(), "one, later");
    }
}
