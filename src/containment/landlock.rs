//! What a job of the runner's own account is kept from: other processes, and named directories.
//!
//! Invariants: a domain takes from the job only what is listed at the two functions here; no
//! directory above a denied one is ever granted.
//!
//! Both make a ruleset in the parent, in the namespaces in which the job will run and after all
//! mounts; the child enters it with [`restrict_self`](crate::sys::landlock::restrict_self).
//!
//! Landlock keeps a process from looking into one that is not in its domain (`environ`, `mem`,
//! `root`, `cwd`, `fd` below `/proc/PID`, and ptrace(2)), whatever the ruleset handles. One way
//! around: since Linux 6.14, who has CAP_PERFMON or CAP_SYS_ADMIN in the first user namespace reads
//! `environ`, `maps` and `auxv` all the same, so a job must have neither.

mod beside;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    AccessFs, AddRuleError, AddRulesError, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::{Mode, fstat, stat};

use self::beside::granted;
pub use crate::sys::landlock::abi;

/// The first version with REFER, without which a domain refuses every move between directories.
const REFER: u32 = 2;
/// The first version that keeps signals inside the domain, and can do so without anything else.
pub const SCOPES: u32 = 6;

/// Why a domain could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// A directory to deny that isn't there, or can't be reached.
    #[error("the directory {}, which the job must not read, cannot be found: {}", .0.display(), .1)]
    Missing(PathBuf, io::Error),
    /// The root directory is no directory to deny.
    #[error("the root directory cannot be kept from the job; keep keys and stores in one below it")]
    Root,
    /// A directory on the way to a denied one.
    #[error(
        "the directory {} leads to one that the job must not read, and cannot be listed: {}; make \
         it readable for the runner, or keep keys and stores elsewhere",
        .0.display(), .1
    )]
    Listing(PathBuf, io::Error),
    /// The kernel's word.
    #[error("the kernel made no Landlock ruleset: {0}")]
    Kernel(#[from] Box<RulesetError>),
}

/// The oldest version that makes domains here.
pub const OLDEST: u32 = REFER;

impl From<RulesetError> for LandlockError {
    fn from(error: RulesetError) -> Self {
        Self::Kernel(Box::new(error))
    }
}

/// A domain that keeps the job from processes outside it: from looking into them and, from
/// version 6 on, from signalling them. None below version 2.
///
/// From version 6 on nothing else changes. Below, mount(2), umount(2) and pivot_root(2) are
/// refused as well, as in every domain that handles files.
pub fn isolate() -> Result<Option<OwnedFd>, LandlockError> {
    isolate_with(abi())
}

fn isolate_with(abi: u32) -> Result<Option<OwnedFd>, LandlockError> {
    match abi {
        ..REFER => Ok(None),
        // A ruleset must handle something: moves, and they are granted everywhere.
        REFER..SCOPES => {
            let mut ruleset = strict().handle_access(AccessFs::Refer)?.create()?;
            let root = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| LandlockError::Listing("/".into(), errno.into()))?;
            ruleset = ruleset.add_rule(PathBeneath::new(root, AccessFs::Refer))?;
            Ok(ruleset.into())
        }
        SCOPES.. => Ok(strict().scope(Scope::Signal)?.create()?.into()),
    }
}

/// The domain of [`isolate`], in which moreover no file in or below one of `directories` can be
/// opened for reading or executed, by whatever path, under whatever name it is moved to. None below
/// version 2; without directories the same as [`isolate`].
///
/// Landlock only grants. So everything is granted that stands beside the way from `/` to a denied
/// directory; the directories on that way are not. What else changes for the job:
///
/// - A file that is made, moved or mounted *directly* in a directory on that way (`/`, `/home`,
///   the home of `~/.config/qgis-secrets`) after this call cannot be read; in the directories
///   beside the way it can.
/// - A move or hard link from one directory to another gives EXDEV unless both are granted; mv(1)
///   then copies.
/// - A directory that lies directly in one on that way, or in a denied one, cannot be renamed or
///   removed (EACCES). Otherwise a job could rename the denied directory in its place, leave
///   another there, and the next call would grant what was hidden.
/// - mount(2), umount(2) and pivot_root(2) are refused.
///
/// What it doesn't do: names in the directories can be listed, files there can be made, replaced and
/// removed where the modes permit it, sockets can be connected to, a descriptor that is already
/// open works. Not covered: a second mount of the same directory inside a granted one; a granted
/// directory that a process outside moves into a denied one later, for it takes its grant along; a
/// link on the path to a denied directory that the job may replace, for the next call follows the
/// new one.
pub fn deny(directories: &[PathBuf]) -> Result<Option<OwnedFd>, LandlockError> {
    deny_with(abi(), directories)
}

fn deny_with(abi: u32, directories: &[PathBuf]) -> Result<Option<OwnedFd>, LandlockError> {
    if abi < REFER || directories.is_empty() {
        return isolate_with(abi);
    }
    let denied = directories
        .iter()
        .map(|path| {
            fs::canonicalize(path).map_err(|error| LandlockError::Missing(path.clone(), error))
        })
        .collect::<Result<BTreeSet<_>, _>>()?;
    let granted = granted(&denied, |directory| {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    })?;
    let mut ruleset = strict().handle_access(in_directories())?;
    if abi >= SCOPES {
        ruleset = ruleset.scope(Scope::Signal)?;
    }
    let mut ruleset = ruleset.create()?;
    // A rule holds for the inode: one for another mount of such a directory would open this one.
    let withheld: BTreeSet<_> =
        denied.iter().flat_map(|path| path.ancestors()).filter_map(inode).collect();
    for path in granted {
        grant(&mut ruleset, &path, &withheld)?;
    }
    Ok(ruleset.into())
}

/// What the kernel doesn't have is an error: the version was asked before.
fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

/// What is denied but where it is granted: to read files, to move between directories, to rename
/// and remove directories.
fn in_directories() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::Refer | AccessFs::RemoveDir
}

/// Device and number of what is at `path`.
fn inode(path: &Path) -> Option<(u64, u64)> {
    stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Grants at and below `path`, unless it is one of the inodes `withheld`.
///
/// What has gone since it was listed is skipped, and what the runner may not look at itself
/// (another's FUSE mount, a mount whose server has gone): the job then can't read it.
fn grant(
    ruleset: &mut RulesetCreated,
    path: &Path,
    withheld: &BTreeSet<(u64, u64)>,
) -> Result<(), RulesetError> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = open(path, flags, Mode::empty()).and_then(|file| Ok((fstat(&file)?, file)));
    let (stat, file) = match found {
        Ok(found) => found,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => {
            tracing::warn!(path = %path.display(), error = errno.desc(), "not granted to the job");
            return Ok(());
        }
    };
    if withheld.contains(&(stat.st_dev, stat.st_ino)) {
        return Ok(());
    }
    let access = match stat.st_mode & libc::S_IFMT {
        // Where a link leads is judged by itself; a socket is connected to, not opened.
        libc::S_IFLNK | libc::S_IFSOCK => return Ok(()),
        libc::S_IFDIR => in_directories(),
        _ => AccessFs::ReadFile.into(),
    };
    match ruleset.add_rule(PathBeneath::new(file, access)) {
        // A file of the kernel's own (a namespace that is mounted on a name): never restricted.
        Err(RulesetError::AddRules(AddRulesError::Fs(AddRuleError::AddRuleCall {
            source,
            ..
        }))) if source.raw_os_error() == Some(libc::EBADFD) => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests;
