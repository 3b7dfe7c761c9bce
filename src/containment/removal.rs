//! Takes a directory away with all that is in it, whatever its owner made of it.
//!
//! Invariants: what is opened is named by a descriptor and one name, and no link is followed, so
//! that nobody who renames things meanwhile can lead the removal elsewhere; how deep a tree is
//! costs neither stack nor descriptors nor a longer path: what lies deep is moved up.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// After this long somebody is making files as fast as they are removed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was taken away, and the first error.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub(super) files: u64,
    pub(super) problem: Option<io::Error>,
}

/// Removes what is at `path`; what isn't there is removed already.
pub(super) fn remove(path: &Path) -> Removed {
    let mut removed = Removed::default();
    let name = path.file_name().and_then(|name| CString::new(name.as_bytes()).ok());
    let parent = path.parent().map(|parent| fs::File::open(parent).map(OwnedFd::from));
    match (parent, name) {
        (Some(Ok(parent)), Some(name)) => {
            let deadline = Instant::now() + PATIENCE;
            removed.entry(parent.as_fd(), &name, deadline);
        }
        (Some(Err(error)), _) if error.kind() == io::ErrorKind::NotFound => {}
        (Some(Err(error)), _) => removed.problem = Some(error),
        (None, _) | (_, None) => removed.problem = Some(io::ErrorKind::InvalidInput.into()),
    }
    removed
}

/// Removes everything in a directory.
pub(super) fn empty(directory: BorrowedFd<'_>) -> Removed {
    let mut removed = Removed::default();
    match names(directory) {
        Ok(names) => {
            let deadline = Instant::now() + PATIENCE;
            names.iter().for_each(|name| removed.entry(directory, name, deadline));
        }
        Err(errno) => removed.problem = Some(errno.into()),
    }
    removed
}

impl Removed {
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, deadline: Instant) {
        match open_up(parent, name) {
            Ok(top) => {
                while self.level(top.as_fd()) && Instant::now() < deadline {}
                self.count(unlinkat(parent, name, AtFlags::REMOVEDIR));
            }
            // A file, or a link, which goes and not its target.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                self.count(unlinkat(parent, name, AtFlags::empty()));
            }
            Err(errno) => self.count(Err(errno)),
        }
    }

    /// Removes the files and directories in `top`, and moves what those directories held, if it
    /// can't go at once, into `top`. Whether there is something to do again.
    fn level(&mut self, top: BorrowedFd<'_>) -> bool {
        let mut moved = false;
        for name in self.names(top) {
            if unlinkat(top, &*name, AtFlags::empty()).is_ok() {
                self.files += 1;
                continue;
            }
            let directory = match open_up(top, &name) {
                Ok(directory) => directory,
                Err(errno) => {
                    self.count(Err(errno));
                    continue;
                }
            };
            for name in self.names(directory.as_fd()) {
                let gone = unlinkat(&directory, &*name, AtFlags::empty())
                    .or_else(|_| unlinkat(&directory, &*name, AtFlags::REMOVEDIR));
                if gone.is_ok() {
                    self.files += 1;
                    continue;
                }
                // Only who may write to a directory may move it to another.
                let up = format!(".{}", uuid::Uuid::now_v7().simple());
                match open_up(directory.as_fd(), &name)
                    .and_then(|_| renameat(&directory, &*name, top, up))
                {
                    Ok(()) => moved = true,
                    Err(errno) => self.count(Err(errno)),
                }
            }
            self.count(unlinkat(top, &*name, AtFlags::REMOVEDIR));
        }
        moved
    }

    fn names(&mut self, directory: BorrowedFd<'_>) -> Vec<CString> {
        names(directory).unwrap_or_else(|errno| {
            self.count(Err(errno));
            Vec::new()
        })
    }

    fn count(&mut self, result: Result<(), Errno>) {
        match result {
            Ok(()) => self.files += 1,
            // Somebody was faster.
            Err(Errno::NOENT) => {}
            Err(errno) => {
                self.problem.get_or_insert(errno.into());
            }
        }
    }
}

fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // A mount that is only a place (O_PATH) can't be listed by itself.
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    Dir::new(openat(directory, c".", flags, Mode::empty())?)?
        .map(|entry| Ok(entry?.file_name().to_owned()))
        .filter(|name| !matches!(name, Ok(name) if matches!(name.to_bytes(), b"." | b"..")))
        .collect()
}

/// Opens a directory, after making it one that its owner can empty.
fn open_up(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
    // By its descriptor: the name could by now be a link. What fails shows in the next line.
    let itself = format!("/proc/self/fd/{}", place.as_raw_fd());
    fs::set_permissions(itself, fs::Permissions::from_mode(0o700)).unwrap_or_default();
    openat(&place, c".", flags | OFlags::RDONLY, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for name in ["out", "tree", "tree/closed"] {
            fs::create_dir(path(name)).unwrap();
        }
        let mut file = fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).open(path("out/file")).unwrap();
        file.write_all(b"kept").unwrap();
        fs::set_permissions(path("out"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink(path("out"), path("tree/link")).unwrap();
        symlink(path("out"), path("tree/closed/link")).unwrap();
        fs::hard_link(path("out/file"), path("tree/hard")).unwrap_or_default();
        fs::set_permissions(path("tree/closed"), fs::Permissions::from_mode(0o000)).unwrap();
        let removed = remove(&path("tree"));
        assert!(removed.problem.is_none(), "{removed:?}");
        assert!(!path("tree").exists());
        symlink(path("out"), path("tree")).unwrap();
        assert_eq!(remove(&path("tree")).files, 1);
        assert!(fs::symlink_metadata(path("tree")).is_err());
        assert_eq!(fs::read(path("out/file")).unwrap(), b"kept");
        let mode = fs::metadata(path("out")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o555);
        assert_eq!(remove(&path("nothing/at/all")).files, 0);
    }

    /// Longer than a path may be, and deeper than a process may have descriptors.
    #[test]
    fn how_deep_it_is_does_not_matter() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut at = openat(rustix::fs::CWD, &tree, flags, Mode::empty()).unwrap();
        let mut above = Vec::new();
        for _ in 0..3000 {
            let name = "a-directory-with-a-name";
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            let below = openat(&at, name, flags, Mode::empty()).unwrap();
            drop(openat(&below, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
            above.push((at, name));
            at = below;
            // Those above the last few are closed: what counts is how deep it is.
            if above.len() > 2 {
                above.remove(0);
            }
        }
        for (directory, name) in above.into_iter().rev() {
            rustix::fs::chmodat(&directory, name, Mode::empty(), AtFlags::empty()).unwrap();
        }
        let removed = remove(&tree);
        assert!(removed.problem.is_none(), "{removed:?}");
        assert_eq!(removed.files, 6001);
        assert!(!tree.exists());
    }
}
