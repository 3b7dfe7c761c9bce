//! The private directory of one run.
//!
//! Invariants: directory and files are never open to others, not even between two system calls;
//! they are on a tmpfs unless the settings say that a disk will do; whatever happens to the run,
//! dropping the workspace takes it away, and [`Workspace::wipe`] says whether that worked.
//!
//! In namespaces it is on a tmpfs of its own, which nobody but the runner and the job can see.
//! Elsewhere it is locked for as long as the runner lives, so that a later one can tell a
//! directory that a killed runner left.
//!
//! ```text
//! qgis-secrets-<random>/     0700   locked: flock(2)
//!   pg_service.conf          0600   PGSERVICEFILE
//!   sysconf/                 0500   PGSYSCONFDIR: empty, so that no host-wide file answers
//!   qgis/                    0700   QGIS_CUSTOM_CONFIG_PATH
//!   run/                     0700   XDG_RUNTIME_DIR
//!   feedback/                0700   the feedback file, if it was promised and is to be masked
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs, statfs};
use nix::unistd::geteuid;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

use super::{Account, Receipt, Wiper, removal};
use crate::secret::Value;
use crate::sys::view::{Change, c_path};

/// `ramfs`, from the kernel's `magic.h`: never swapped; systemd mounts credentials on one.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// The begin of a workspace's name.
const PREFIX: &str = "qgis-secrets-";

/// The begin of its name before it is locked.
pub(super) const UNLOCKED: &str = ".qgis-secrets-";

/// How long the kernel may take to let go of removed files.
const LETTING_GO: Duration = Duration::from_secs(1);

/// A private directory; dropping it wipes it.
#[derive(Debug)]
pub struct Workspace {
    /// As the job sees it.
    path: PathBuf,
    /// As the runner sees it.
    own_path: PathBuf,
    on_memory: bool,
    wiped: bool,
    /// The service file and the directory themselves, wherever the job moves them.
    service_file: Option<File>,
    directory: Option<File>,
    /// The service file's length as it was written; the job may have made it any longer.
    written: u64,
    /// The tmpfs that holds nothing else than this run, if it has one.
    private: Option<OwnedFd>,
}

/// Where a workspace may go.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Directories to try, in order.
    pub candidates: Vec<PathBuf>,
    /// Directories on a disk that will do where none of those is on a tmpfs.
    pub disks: Vec<PathBuf>,
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

impl WorkspaceError {
    /// Moves it out of a place that cannot be empty.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::NoTmpfs(String::new()))
    }
}

impl Workspace {
    /// Makes the directory on the first fitting place, locked and with an empty service file.
    /// `account`: who must get there besides the runner.
    pub fn create(places: &Places, account: Option<&Account>) -> Result<Self, WorkspaceError> {
        let (base, on_memory) = places.choose(account)?;
        let path = base.join(name());
        let made = locked_directory(base, &path).and_then(|directory| {
            let mut workspace = Self::at(path.clone(), path.clone(), on_memory, directory);
            workspace.furnish().map(|()| workspace)
        });
        made.map_err(|error| fault(error, base, &path))
    }

    /// The same in a tmpfs that is mounted for the job alone, at `mount_point`.
    pub fn in_private(tmpfs: OwnedFd, mount_point: &Path) -> Result<Self, WorkspaceError> {
        // The runner has it by its descriptor only: proc_pid_fd(5).
        let base = PathBuf::from(format!("/proc/self/fd/{}", tmpfs.as_raw_fd()));
        let name = name();
        let (path, job_path) = (base.join(&name), mount_point.join(&name));
        let made = private_directory(0o700).create(&path).and_then(|()| {
            let directory = File::open(&path)?;
            // The job may start a runner of its own, which sweeps what isn't locked.
            flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
            let mut workspace = Self::at(path.clone(), job_path, true, directory);
            workspace.private = Some(tmpfs);
            workspace.furnish().map(|()| workspace)
        });
        made.map_err(|error| fault(error, mount_point, &path))
    }

    /// One that a runner left that is dead.
    pub(super) fn left_behind(path: PathBuf, directory: File) -> Self {
        // Whatever is in it: a killed runner could not tell.
        let service_file = own_service_file(&directory);
        let mut workspace = Self::at(path.clone(), path, true, directory);
        workspace.service_file = service_file;
        workspace
    }

    fn at(own_path: PathBuf, path: PathBuf, on_memory: bool, directory: File) -> Self {
        Self {
            path,
            own_path,
            on_memory,
            wiped: false,
            service_file: None,
            directory: Some(directory),
            written: 0,
            private: None,
        }
    }

    fn furnish(&mut self) -> io::Result<()> {
        private_directory(0o500).create(self.own_path.join("sysconf"))?;
        private_directory(0o700).create(self.own_path.join("qgis"))?;
        private_directory(0o700).create(self.own_path.join("run"))?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.own_path.join("pg_service.conf"))?;
        self.service_file = Some(file);
        Ok(())
    }

    /// Writes the service file.
    pub fn write(&mut self, text: &Value) -> Result<(), WorkspaceError> {
        let result = self.service_file.as_ref().map_or(Ok(()), |mut file| {
            self.written = text.len() as u64;
            file.write_all(text.expose())?;
            // On a disk an overwrite only reaches what was written before it.
            if self.on_memory { Ok(()) } else { file.sync_all() }
        });
        result.map_err(|error| self.fault(error))
    }

    /// Lets the job see it.
    pub fn show(&self, changes: &mut Vec<Change>) -> Result<(), WorkspaceError> {
        if let (Some(tmpfs), Some(at)) = (&self.private, self.path.parent()) {
            let tmpfs = tmpfs.try_clone().map_err(|error| fault(error, at, at))?;
            // A mount point that is there: without a NUL byte.
            changes.extend(c_path(at).map(|at| Change::Attach(tmpfs, at)));
        }
        Ok(())
    }

    /// A directory for the job's feedback with an empty file in it, and how the job sees that.
    /// `owner`: uid and gid of the job, if it isn't the runner's.
    ///
    /// # Errors
    ///
    /// The kernel's word; and where the workspace is on a disk, for then nothing is gained.
    pub fn feedback(
        &self,
        name: &Path,
        owner: Option<(u32, u32)>,
    ) -> io::Result<(OwnedFd, PathBuf)> {
        if !self.on_memory {
            return Err(io::Error::other("the workspace is on a disk"));
        }
        let directory = self.own_path.join("feedback");
        private_directory(0o700).create(&directory)?;
        // With the mode that the job would give it: the directory is closed to others.
        drop(File::create_new(directory.join(name))?);
        if let Some((uid, gid)) = owner {
            lchown(directory.join(name), Some(uid), Some(gid))?;
            lchown(&directory, Some(uid), Some(gid))?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::open(&directory, flags, Mode::empty())?;
        Ok((held, self.path.join("feedback").join(name)))
    }

    /// Makes it the property of the account that the job runs as.
    pub fn give_to(&self, account: &Account) -> Result<(), WorkspaceError> {
        let ids = (Some(account.uid), Some(account.gid));
        ["sysconf", "qgis", "run", "pg_service.conf", ""]
            .into_iter()
            .try_for_each(|name| lchown(self.own_path.join(name), ids.0, ids.1))
            .map_err(|error| self.fault(error))
    }

    fn fault(&self, error: io::Error) -> WorkspaceError {
        fault(error, self.path.parent().unwrap_or(&self.path), &self.path)
    }

    /// The directory, as the job sees it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the files are in memory only.
    pub fn on_memory(&self) -> bool {
        self.on_memory
    }

    /// The descriptor that holds the lock.
    pub fn lock(&self) -> Option<RawFd> {
        self.directory.as_ref().map(File::as_raw_fd)
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

    /// The same for what another process wrote, which was killed and could not tell how much.
    pub(super) fn wipe_for_another(mut self) -> Receipt {
        let metadata = self.service_file.as_ref().and_then(|file| file.metadata().ok());
        // The length may be that of a hole.
        self.written = metadata.map_or(0, |file| file.len().min(file.blocks() * 512));
        Receipt { by: Wiper::Outer, ..self.wipe_now() }
    }

    fn wipe_now(&mut self) -> Receipt {
        self.wiped = true;
        // First the file that holds passwords: it goes even if the rest resists, and by its
        // descriptor, for the job may have moved or linked it.
        let service_file = self.service_file.as_ref();
        let overwritten = service_file.map_or(Ok(()), |file| overwrite(file, self.written));
        let removed = removal::remove(&self.own_path);
        let elsewhere = [&self.service_file, &self.directory].into_iter().flatten().any(has_name);
        let mut receipt = Receipt { files_removed: removed.files, ..Receipt::of_nothing() };
        let problem = match (overwritten, removed.problem) {
            (Err(error), _) | (_, Some(error)) => Some(error.to_string()),
            _ if fs::symlink_metadata(&self.own_path).is_ok() => {
                Some("it is still there".to_owned())
            }
            _ => match self.private.take() {
                // All that the job left in it was this run's: /dev/shm, where it moved things to.
                Some(tmpfs) => {
                    (self.service_file, self.directory) = (None, None);
                    // What resists is found by the count of inodes.
                    receipt.files_removed += removal::empty(tmpfs.as_fd()).files;
                    let left = left_in(&tmpfs);
                    (left > 0).then(|| format!("{left} files of its tmpfs are held by somebody"))
                }
                None if elsewhere => {
                    Some("the job moved or linked it; the service file in it is empty".to_owned())
                }
                None => None,
            },
        };
        receipt.problem = problem.map(|problem| format!("{}: {problem}", self.path.display()));
        receipt.verified = receipt.problem.is_none();
        receipt
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

    fn choose(&self, account: Option<&Account>) -> Result<(&Path, bool), WorkspaceError> {
        // The runner's own XDG_RUNTIME_DIR is closed to everybody else.
        let fits = |path: &Path| {
            writable(path) && trusted(path, account) && account.is_none_or(|who| who.reaches(path))
        };
        if let Some(path) = self.candidates.iter().find(|path| is_memory(path) && fits(path)) {
            return Ok((path, true));
        }
        if let Some(path) = self.disks.iter().find(|path| fits(path)) {
            return Ok((path, is_memory(path)));
        }
        let looked_at: Vec<String> =
            self.candidates.iter().map(|path| path.display().to_string()).collect();
        Err(WorkspaceError::NoTmpfs(looked_at.join(", ")))
    }
}

fn name() -> String {
    format!("{PREFIX}{}", uuid::Uuid::now_v7().simple())
}

/// Whether it is a workspace's name, and not a part of many.
pub(super) fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn fault(error: io::Error, base: &Path, path: &Path) -> WorkspaceError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            WorkspaceError::Full(base.to_path_buf(), error)
        }
        _ => WorkspaceError::Io(path.to_path_buf(), error),
    }
}

/// A new directory at `path`, which is locked before it has that name: one that isn't locked
/// belongs to nobody who lives.
fn locked_directory(base: &Path, path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        let unlocked = base.join(format!(".{}", name()));
        // Fails if it exists: a directory that somebody else prepared is never used.
        private_directory(0o700).create(&unlocked)?;
        let locked = File::open(&unlocked).and_then(|directory| {
            flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
            fs::rename(&unlocked, path)?;
            Ok(directory)
        });
        match locked {
            Ok(directory) => return Ok(directory),
            Err(error) => {
                // Perhaps somebody who sweeps took it for one that was left: it was empty, and
                // not locked yet.
                fs::remove_dir(&unlocked).unwrap_or_default();
                tries += 1;
                if tries == 3 {
                    return Err(error);
                }
            }
        }
    }
}

/// How many files a tmpfs holds besides its root, after a while: the kernel may hold on to what was
/// just removed, and one that a process still has doesn't go.
fn left_in(tmpfs: &OwnedFd) -> u64 {
    let started = Instant::now();
    loop {
        let left = inodes(tmpfs).saturating_sub(1);
        if left == 0 || started.elapsed() > LETTING_GO {
            return left;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// How many files a tmpfs holds, its root and those without a name included.
fn inodes(tmpfs: &OwnedFd) -> u64 {
    fstatfs(tmpfs).map_or(u64::MAX, |fs| fs.files().saturating_sub(fs.files_free()))
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

/// Whether root may trust whom the directory belongs to: its owner can put another directory in the
/// workspace's place. `su` leaves the XDG_RUNTIME_DIR of whoever called it.
fn trusted(path: &Path, account: Option<&Account>) -> bool {
    // Open to all, as /dev/shm: in a user namespace it may seem to belong to nobody.
    let common = 0o1002;
    !geteuid().is_root()
        || fs::metadata(path).is_ok_and(|at| {
            at.uid() == 0
                || account.is_some_and(|account| account.uid == at.uid())
                || at.mode() & common == common
        })
}

fn writable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
        .is_ok()
}

/// The service file in a directory that somebody left; none that belongs to another than the
/// directory does: who made that could have linked it there to see it emptied.
fn own_service_file(directory: &File) -> Option<File> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, c"pg_service.conf", flags, Mode::empty()).ok().map(File::from)?;
    let (own, whole) = (file.metadata().ok()?, directory.metadata().ok()?);
    (own.is_file() && own.uid() == whole.uid()).then_some(file)
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

#[cfg(test)]
mod tests;
