//! A copy of this process in namespaces of its own.
//!
//! Invariant: the process that is copied has one thread, so that the copy can go on as any
//! process: no lock is held by a thread that the copy lacks.

#![expect(unsafe_code, reason = "clone with namespaces and without a new stack")]

use std::fs;

use nix::errno::Errno;
use nix::libc;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

/// Which of the two this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// The original, and the copy's number.
    Outer(Pid),
    /// The copy.
    Inner,
}

/// Copies the calling process as fork(2) does; `namespaces` are new for the copy: clone(2).
///
/// `EBUSY` where there is more than one thread.
pub fn clone(namespaces: CloneFlags) -> Result<Copy, Errno> {
    // Where there is no /proc nobody can tell; this program starts its threads later.
    if fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(Errno::EBUSY);
    }
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: no stack and no pointer is passed, so the copy goes on here with a copy of all
    // memory; there is one thread, checked above.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(Errno::last()),
        0 => Ok(Copy::Inner),
        pid => Ok(Copy::Outer(Pid::from_raw(libc::pid_t::try_from(pid).unwrap_or(-1)))),
    }
}
