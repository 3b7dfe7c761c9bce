//! What the job must not reach: the directories of the key, the store, the tokens and the
//! settings.
//!
//! Invariants: directories, not files, are hidden, for a file is replaced by renaming another over
//! it; a directory that the job needs is never hidden silently, nor left open silently.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Account;

/// Directories that every program needs.
pub(super) const SYSTEM: [&str; 19] = [
    "/",
    "/bin",
    "/dev",
    "/dev/shm",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/var",
    "/var/tmp",
];

/// A file that a job must not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// What it is, with its article: `the key`.
    pub what: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Whether it lets its reader get at values.
    pub credential: bool,
}

/// A directory that the job needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// What for: `its working directory`.
    pub what: &'static str,
    /// The directory.
    pub directory: PathBuf,
}

/// A job that could read what it must not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// The directory is the job's as well.
    #[error(
        "{} holds {what}, and the job needs it as {needed}, so it can't be hidden from the job. \
         Keep {what} in a directory of its own, or let the job run as another account \
         (`containment.run_as`); `containment.allow_exposed = true` takes the risk",
        .directory.display()
    )]
    Shared {
        /// The directory.
        directory: PathBuf,
        /// What is in it.
        what: &'static str,
        /// What the job needs it for.
        needed: &'static str,
    },
    /// Nothing keeps the job from it.
    #[error(
        "the job could read {what} ({}): it runs as the same account, and neither namespaces nor \
         Landlock are to be had here. Let the job run as another account (`containment.run_as`); \
         `containment.allow_exposed = true` takes the risk",
        .file.display()
    )]
    Readable {
        /// What it is.
        what: &'static str,
        /// The file.
        file: PathBuf,
    },
}

/// The directories to hide: canonical, each once, none inside another, and what stands against hiding others.
pub fn directories(protected: &[Protected], needed: &[Needed]) -> (Vec<PathBuf>, Vec<Exposed>) {
    let needed: Vec<Needed> = needed
        .iter()
        .filter_map(|Needed { what, directory }| {
            Some(Needed { what, directory: fs::canonicalize(directory).ok()? })
        })
        .collect();
    let mut hidden: Vec<PathBuf> = Vec::new();
    let mut exposed = Vec::new();
    for Protected { what, file, .. } in protected {
        for directory in directories_of(file) {
            if let Some(needed) = need(&directory, &needed) {
                exposed.push(Exposed::Shared { directory, what, needed });
            } else if !hidden.contains(&directory) {
                hidden.push(directory);
            }
        }
    }
    // What hides a directory hides those in it, and then they aren't there to be hidden.
    let all = hidden.clone();
    let inside = |directory: &Path| {
        all.iter().any(|other| directory != other && directory.starts_with(other))
    };
    hidden.retain(|directory| !inside(directory));
    (hidden, exposed)
}

/// The directory that a file is in, or will be in; none where there is none, and nothing to hide.
/// If it is a link, that of the file it leads to as well.
fn directories_of(file: &Path) -> Vec<PathBuf> {
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut directories: Vec<PathBuf> = fs::canonicalize(parent).into_iter().collect();
    let target = fs::canonicalize(file).ok();
    directories.extend(target.as_deref().and_then(Path::parent).map(Into::into));
    directories.dedup();
    directories
}

/// What a job needs `directory` for: what it needs is in there.
fn need(directory: &Path, needed: &[Needed]) -> Option<&'static str> {
    if SYSTEM.iter().any(|system| Path::new(system) == directory) {
        return Some("a directory of the system");
    }
    let of_job = needed.iter().find(|needed| needed.directory.starts_with(directory));
    of_job.map(|needed| needed.what)
}

/// The directories above hidden ones that a user could rename, from the top down: under another
/// name what is in them would be open to the next job, and its runner would find what this one put
/// in their place.
pub fn movable(hidden: &[PathBuf], uid: u32) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = hidden
        .iter()
        .flat_map(|directory| directory.ancestors().skip(1))
        .filter(|directory| directory.parent().is_some_and(|above| may_change(above, uid)))
        .map(Into::into)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether a user may rename what is in a directory, as far as the mode says; in doubt he may. Its
/// owner can change the mode, and a list of access rights shows in the group's.
fn may_change(directory: &Path, uid: u32) -> bool {
    let open = |at: fs::Metadata| at.uid() == uid || at.mode() & 0o022 != 0;
    uid == 0 || fs::metadata(directory).map_or(true, open)
}

/// Those that the account could read; `None` is the runner's own.
pub fn readable<'a>(protected: &'a [Protected], account: Option<&Account>) -> Vec<&'a Protected> {
    protected
        .iter()
        .filter(|protected| match (fs::metadata(&protected.file), account) {
            (Err(_), _) => false,
            (Ok(_), None) => true,
            (Ok(file), Some(account)) => {
                account.uid == 0
                    || account.uid == file.uid() && file.mode() & 0o400 != 0
                    || (account.gid == file.gid() || account.groups.contains(&file.gid()))
                        && file.mode() & 0o040 != 0
                    || file.mode() & 0o004 != 0
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_job_needs_is_not_hidden() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        for directory in ["store", "project/data", "home"] {
            fs::DirBuilder::new().recursive(true).create(root.join(directory)).unwrap();
        }
        let what = |what, file: &str| Protected { what, file: root.join(file), credential: true };
        let needs = |what, directory: &str| Needed { what, directory: root.join(directory) };
        let needed = [needs("its working directory", "project/data"), needs("its home", "home")];
        let find = |file| directories(&[what("the key", file)], &needed);
        let shared = |directory: &str, needed| {
            let directory = root.join(directory);
            (vec![], vec![Exposed::Shared { directory, what: "the key", needed }])
        };

        assert_eq!(find("store/store.key"), (vec![root.join("store")], vec![]));
        let both = [what("the key", "store/data/key"), what("the store", "store/store.db")];
        fs::create_dir(root.join("store/data")).unwrap();
        assert_eq!(directories(&both, &needed), (vec![root.join("store")], vec![]));
        assert_eq!(find("project/data/store.key"), shared("project/data", "its working directory"));
        assert_eq!(find("project/store.key"), shared("project", "its working directory"));
        assert_eq!(find("home/store.key"), shared("home", "its home"));
        assert_eq!(find("nowhere/store.key"), (vec![], vec![]));
        let system = [Protected { what: "the key", file: "/etc/key".into(), credential: true }];
        assert_eq!(directories(&system, &[]).1.len(), 1);
        let both = [what("the key", "store/store.key"), what("the store", "store/../store/a.db")];
        assert_eq!(directories(&both, &needed), (vec![root.join("store")], vec![]));
    }
}
