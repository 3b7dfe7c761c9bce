//! A socket that whoever started this program opened for it: sd_listen_fds(3).
//!
//! Invariant: the descriptor has one owner, for it is given once.

#![expect(unsafe_code, reason = "a descriptor that is known by its number alone")]

use std::env;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The one socket that was passed to this very process (`LISTEN_PID`, `LISTEN_FDS`). None where
/// there are several, too.
pub fn socket() -> Option<OwnedFd> {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || number("LISTEN_FDS") != Some(1) {
        return None;
    }
    // SAFETY: borrowed for the two calls below, which fail if nothing is open there.
    let passed = unsafe { BorrowedFd::borrow_raw(FIRST) };
    let flags = fcntl_getfd(passed).ok()?;
    // No program that is started from here gets it.
    fcntl_setfd(passed, flags | FdFlags::CLOEXEC).ok()?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: it is open, the environment says that it was opened for this process, and nobody
    // took it before.
    Some(unsafe { OwnedFd::from_raw_fd(FIRST) })
}
