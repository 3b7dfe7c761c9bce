//! The private directory of one run.
//!
//! Invariants: directory and files are never open to others, not even between two system calls;
//! they are on a tmpfs unless the settings say that a disk will do; whatever happens to the run,
//! dropping the workspace takes it away, and [`Workspace::wipe`] says whether that worked.
//!
//! ```text
//! qgis-secrets-<random>/     0700
//!   pg_service.conf          0600   PGSERVICEFILE
//!   sysconf/                 0500   PGSYSCONFDIR: empty, so that no host-wide file answers
//!   qgis/                    0700   QGIS_CUSTOM_CONFIG_PATH
//!   run/                     0700   XDG_RUNTIME_DIR
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use serde::Serialize;

use crate::secret::Value;

/// `ramfs`, from the kernel's `magic.h`: never swapped; systemd mounts credentials on one.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// A private directory; dropping it wipes it.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    on_memory: bool,
    wiped: bool,
    /// The service file and the directory themselves, wherever the job moves them.
    service_file: Option<File>,
    directory: Option<File>,
    /// The service file's length as it was written; the job may have made it any longer.
    written: u64,
}

/// Where a workspace may go.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Directories to try, in order.
    pub candidates: Vec<PathBuf>,
    /// Directories on a disk that will do where none of those is on a tmpfs.
    pub disks: Vec<PathBuf>,
}

/// The proof that nothing remains. Facts only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Files and directories that were removed.
    pub files_removed: u64,
    /// Processes that the job left running and that were killed.
    pub processes_killed: u32,
    /// Whether a second look found nothing left.
    pub verified: bool,
    /// What went wrong, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Why there is no workspace.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// No tmpfs to be had.
    #[error(
        "no tmpfs for the service file; looked at: {0}. Mount one, name it in `workspace.path`, or \
         set `workspace.allow_disk = true`"
    )]
    NoTmpfs(String),
    /// The file system has no room.
    #[error(
        "no room for the service file in {}: {}; free some, or name another tmpfs in \
         `workspace.path`",
        .0.display(), .1
    )]
    Full(PathBuf, #[source] io::Error),
    /// Any other fault.
    #[error("the workspace {}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

impl Workspace {
    /// Makes the directory on the first fitting place, and writes the service file into it.
    pub fn create(places: &Places, service_file: &Value) -> Result<Self, WorkspaceError> {
        let (base, on_memory) = places.choose()?;
        let path = base.join(format!("qgis-secrets-{}", uuid::Uuid::now_v7().simple()));
        let fault = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                WorkspaceError::Full(base.to_path_buf(), error)
            }
            _ => WorkspaceError::Io(path.clone(), error),
        };
        // Fails if it exists: a directory that somebody else prepared is never used.
        private_directory(0o700).create(&path).map_err(fault)?;
        let mut workspace = Self {
            path: path.clone(),
            on_memory,
            wiped: false,
            service_file: None,
            directory: None,
            written: service_file.len() as u64,
        };
        workspace.fill(service_file).map_err(fault)?;
        Ok(workspace)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the files are in memory only.
    pub fn on_memory(&self) -> bool {
        self.on_memory
    }

    /// For `PGSERVICEFILE`.
    pub fn service_file(&self) -> PathBuf {
        self.path.join("pg_service.conf")
    }

    /// For `PGSYSCONFDIR`.
    pub fn sysconf_dir(&self) -> PathBuf {
        self.path.join("sysconf")
    }

    /// For `QGIS_CUSTOM_CONFIG_PATH`.
    pub fn qgis_dir(&self) -> PathBuf {
        self.path.join("qgis")
    }

    /// For `XDG_RUNTIME_DIR`.
    pub fn runtime_dir(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Overwrites and removes everything, and looks again.
    pub fn wipe(mut self) -> Receipt {
        self.wipe_now()
    }

    fn fill(&mut self, service_file: &Value) -> io::Result<()> {
        self.directory = Some(File::open(&self.path)?);
        private_directory(0o500).create(self.sysconf_dir())?;
        private_directory(0o700).create(self.qgis_dir())?;
        private_directory(0o700).create(self.runtime_dir())?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.service_file())?;
        file.write_all(service_file.expose())?;
        if !self.on_memory {
            // On a disk an overwrite only reaches what was written before it.
            file.sync_all()?;
        }
        self.service_file = Some(file);
        Ok(())
    }

    fn wipe_now(&mut self) -> Receipt {
        self.wiped = true;
        // First the file that holds passwords: it goes even if the rest resists, and by its
        // descriptor, for the job may have moved or linked it.
        let service_file = self.service_file.as_ref();
        let overwritten = service_file.map_or(Ok(()), |file| overwrite(file, self.written));
        let files_removed = open_up(&self.path);
        // std's walk holds directories open and never follows a link that the job put there.
        let removed = match fs::remove_dir_all(&self.path) {
            // The job moved or removed it: the descriptor says which.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        let problem = match (overwritten, removed) {
            (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
            _ if fs::symlink_metadata(&self.path).is_ok() => Some("it is still there".to_owned()),
            _ if [&self.service_file, &self.directory].into_iter().flatten().any(has_name) => {
                Some("the job moved or linked it; the service file in it is empty".to_owned())
            }
            _ => None,
        };
        let problem = problem.map(|problem| format!("{}: {problem}", self.path.display()));
        Receipt { files_removed, processes_killed: 0, verified: problem.is_none(), problem }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.wiped {
            let receipt = self.wipe_now();
            if let Some(problem) = receipt.problem {
                tracing::error!(%problem, "the workspace could not be wiped");
            }
        }
    }
}

impl Places {
    /// The settings' directories, then those of the system.
    pub fn new(settings: &[PathBuf], runtime_dir: Option<PathBuf>, disk: Option<PathBuf>) -> Self {
        let mut candidates = settings.to_vec();
        candidates.extend(runtime_dir);
        candidates.push("/dev/shm".into());
        Self { candidates, disks: disk.into_iter().collect() }
    }

    fn choose(&self) -> Result<(&Path, bool), WorkspaceError> {
        if let Some(path) = self.candidates.iter().find(|path| is_memory(path) && writable(path)) {
            return Ok((path, true));
        }
        if let Some(path) = self.disks.iter().find(|path| writable(path)) {
            return Ok((path, is_memory(path)));
        }
        let looked_at: Vec<String> =
            self.candidates.iter().map(|path| path.display().to_string()).collect();
        Err(WorkspaceError::NoTmpfs(looked_at.join(", ")))
    }
}

/// What `fs::DirBuilder` makes never has more than `mode`, whatever the umask.
fn private_directory(mode: u32) -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(mode);
    builder
}

fn is_memory(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| matches!(fs.filesystem_type(), TMPFS_MAGIC | RAMFS_MAGIC))
}

fn writable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
        .is_ok()
}

/// Overwrites the first `len` bytes of a file with zeros, and empties it.
fn overwrite(file: &File, len: u64) -> io::Result<()> {
    let zeroed = zero(file, len.min(file.metadata()?.len()));
    file.set_len(0).and(zeroed)
}

fn zero(file: &File, len: u64) -> io::Result<()> {
    let zeros = [0; 4096];
    let mut at = 0;
    while at < len {
        let n = usize::try_from(len - at).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_all_at(&zeros[..n], at)?;
        at += n as u64;
    }
    // On a disk the zeros have to arrive before the blocks are given back.
    file.sync_data()
}

/// Whether a file or directory still has a name somewhere.
fn has_name(file: &File) -> bool {
    file.metadata().map_or(true, |metadata| metadata.nlink() > 0)
}

/// Makes every directory one that its owner can empty, and counts all that is there, `path`
/// included. Links are counted, not followed.
fn open_up(path: &Path) -> u64 {
    // A failure shows when the directory is removed.
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap_or_default();
    let Ok(entries) = fs::read_dir(path) else { return 1 };
    1 + entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => open_up(&entry.path()),
            _ => 1,
        })
        .sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn shm() -> Places {
        Places::new(&[], None, None)
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn nobody_else_can_look_in_and_the_wipe_leaves_nothing() {
        let workspace = Workspace::create(&shm(), &"[a]\nhost=b\n".into()).unwrap();
        let path = workspace.path().to_owned();
        assert!(workspace.on_memory());
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&workspace.service_file()), 0o600);
        assert_eq!(mode(&workspace.sysconf_dir()), 0o500);
        assert_eq!(fs::read_to_string(workspace.service_file()).unwrap(), "[a]\nhost=b\n");
        let receipt = workspace.wipe();
        assert_eq!(
            receipt,
            Receipt { files_removed: 5, processes_killed: 0, verified: true, problem: None }
        );
        assert!(!path.exists());
    }

    #[test]
    fn dropping_wipes_and_links_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let kept = outside.path().join("kept");
        drop(OpenOptions::new().write(true).create_new(true).open(&kept).unwrap());
        let workspace = Workspace::create(&shm(), &"[a]\nhost=b\n".into()).unwrap();
        let path = workspace.path().to_owned();
        fs::remove_file(workspace.service_file()).unwrap();
        symlink(&kept, workspace.service_file()).unwrap();
        symlink(outside.path(), workspace.qgis_dir().join("link")).unwrap();
        drop(workspace);
        assert!(!path.exists());
        assert!(kept.exists(), "a link out of the workspace was followed");
    }

    #[test]
    fn a_service_file_that_was_moved_or_linked_is_emptied_and_told() {
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let kept = elsewhere.path().join("kept");
        for keep in [fs::rename::<PathBuf, &PathBuf>, fs::hard_link] {
            let workspace = Workspace::create(&shm(), &"[a]\nhost=b\n".into()).unwrap();
            keep(workspace.service_file(), &kept).unwrap();
            let receipt = workspace.wipe();
            assert!(!receipt.verified);
            assert_eq!(fs::read(&kept).unwrap(), b"");
            fs::remove_file(&kept).unwrap();
        }
        let workspace = Workspace::create(&shm(), &"[a]\nhost=b\n".into()).unwrap();
        fs::rename(workspace.path(), &kept).unwrap();
        assert!(!workspace.wipe().verified);
        assert_eq!(fs::read(kept.join("pg_service.conf")).unwrap(), b"");
    }

    #[test]
    fn a_directory_that_the_job_closed_goes_as_well() {
        let workspace = Workspace::create(&shm(), &"x".into()).unwrap();
        let cache = workspace.qgis_dir().join("cache");
        private_directory(0o700).create(&cache).unwrap();
        drop(OpenOptions::new().write(true).create_new(true).open(cache.join("f")).unwrap());
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o000)).unwrap();
        let receipt = workspace.wipe();
        assert_eq!((receipt.verified, receipt.files_removed), (true, 7));
    }

    #[test]
    fn a_disk_only_where_it_is_allowed() {
        let disk = tempfile::tempdir_in("/var/tmp").unwrap();
        let places = |disks| Places { candidates: vec![disk.path().into()], disks };
        let error = Workspace::create(&places(vec![]), &"x".into()).unwrap_err().to_string();
        assert!(error.contains(&disk.path().display().to_string()), "{error}");
        let allowed = places(vec![disk.path().into()]);
        let workspace = Workspace::create(&allowed, &"x".into()).unwrap();
        assert!(!workspace.on_memory());
        assert!(workspace.wipe().verified);
    }
}
