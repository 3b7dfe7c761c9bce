//! The file system as the job sees it: a mount namespace of its own, and what is different there.
//!
//! Invariants: nothing that is changed here is seen outside; a change that fails keeps the job from
//! starting, unless there is nothing to hide. The functions for the job are async-signal-safe.

#![expect(unsafe_code, reason = "mount_setattr, which no crate of ours has, and the end of a copy")]

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    mount_bind, mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree,
};

use super::clone::{Copy, clone};
use super::errno::of_rustix as errno;

/// One difference.
#[derive(Debug)]
pub enum Change {
    /// A mount that was made ready before, over what is there.
    Attach(OwnedFd, CString),
    /// This directory keeps its name: a mount point isn't renamed. All in it stays as it is.
    Pin(CString),
    /// Nothing in this directory, and no way to put something there.
    Cover(CString),
    /// Nothing in this file.
    Blank(CString),
    /// This file or directory can't be written to.
    ReadOnly(CString),
    /// Nor can any mount below this one.
    ReadOnlyBelow(CString),
}

impl Change {
    /// Whether it hides something below `/proc` or `/sys`.
    fn is_of_kernel(&self) -> bool {
        match self {
            Self::Cover(path)
            | Self::Blank(path)
            | Self::ReadOnly(path)
            | Self::ReadOnlyBelow(path) => {
                let path = path.to_bytes();
                [&b"/proc/"[..], b"/sys"].iter().any(|root| path.starts_with(root))
            }
            _ => false,
        }
    }

    /// Pins a directory; `None` for a path with a NUL byte, which no directory has.
    pub fn pin(directory: &Path) -> Option<Self> {
        c_path(directory).map(Self::Pin)
    }

    /// Covers a directory; `None` for a path with a NUL byte, which no directory has.
    pub fn cover(directory: &Path) -> Option<Self> {
        c_path(directory).map(Self::Cover)
    }
}

/// A path for the kernel; `None` if it holds a NUL byte.
pub fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

/// A new tmpfs, mounted nowhere yet: open to all as `/tmp` is, no programs, no devices. Says
/// whether it is never swapped out: tmpfs(5), `noswap`, needs root and Linux 6.4.
pub fn new_tmpfs() -> Result<(OwnedFd, bool), Errno> {
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(errno)?;
    fsconfig_set_string(fs.as_fd(), c"source", c"qgis-secrets").map_err(errno)?;
    fsconfig_set_string(fs.as_fd(), c"mode", c"1777").map_err(errno)?;
    let never_swapped = fsconfig_set_flag(fs.as_fd(), c"noswap").is_ok();
    Ok((finish(&fs)?, never_swapped))
}

/// A new procfs of the caller's PID namespace, mounted nowhere yet.
pub fn new_proc() -> Result<OwnedFd, Errno> {
    let fs = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC).map_err(errno)?;
    finish(&fs)
}

fn finish(fs: &OwnedFd) -> Result<OwnedFd, Errno> {
    fsconfig_create(fs.as_fd()).map_err(errno)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(errno)
}

/// A copy of what is mounted at `path`, mounted nowhere yet.
pub fn copy_of(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).map_err(errno)
}

/// Gives the calling process a mount namespace of its own, and changes it.
pub(super) fn enter(changes: &[Change]) -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What is mounted outside later is seen here; what is mounted here isn't seen outside.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change(c"/", slave).map_err(errno)?;
    for change in changes {
        match apply(change) {
            // What this kernel doesn't have needs no hiding. What the runner has does, though it
            // may just have been moved away.
            Err(Errno::ENOENT) if change.is_of_kernel() => {}
            result => result?,
        }
    }
    Ok(())
}

/// Whether the job could enter its view: a copy of this process tries it, and ends. What is attached
/// there can't be attached again.
pub fn try_out(changes: &[Change]) -> Result<(), Errno> {
    match clone(CloneFlags::empty())? {
        Copy::Inner => {
            let code = enter(changes).err().map_or(0, |errno| errno as i32);
            // SAFETY: ends the copy, and runs nothing that the original still has to run.
            unsafe { libc::_exit(code) }
        }
        Copy::Outer(copy) => loop {
            return match waitpid(copy, None) {
                Ok(WaitStatus::Exited(_, 0)) => Ok(()),
                Ok(WaitStatus::Exited(_, code)) => Err(Errno::from_raw(code)),
                Ok(_) => Err(Errno::ECANCELED),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(errno),
            };
        },
    }
}

fn apply(change: &Change) -> Result<(), Errno> {
    let harmless = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match change {
        Change::Attach(ready, at) => attach(ready.as_fd(), at),
        Change::Pin(path) => mount_bind_recursive(path.as_c_str(), path.as_c_str()).map_err(errno),
        Change::Cover(path) => {
            let flags = harmless | MountFlags::RDONLY;
            mount(c"qgis-secrets", path.as_c_str(), c"tmpfs", flags, c"mode=000,nr_inodes=1")
                .map_err(errno)
        }
        Change::Blank(path) => mount_bind(c"/dev/null", path.as_c_str()).map_err(errno),
        Change::ReadOnly(path) => {
            mount_bind_recursive(path.as_c_str(), path.as_c_str()).map_err(errno)?;
            let flags = MountFlags::BIND | MountFlags::RDONLY | harmless;
            mount_remount(path.as_c_str(), flags, c"").map_err(errno)
        }
        Change::ReadOnlyBelow(path) => read_only_below(path),
    }
}

fn attach(ready: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(ready, c"", CWD, at, flags).map_err(errno)
}

/// mount_setattr(2): Linux 5.12. Before that the mounts stay as they are, as for any root.
fn read_only_below(path: &CStr) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path and the structure live for the call, whose last argument is its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match Errno::result(result) {
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        // No mount of its own: a container without /sys.
        Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}
