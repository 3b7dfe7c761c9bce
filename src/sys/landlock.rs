//! The two calls of Landlock that the crate `landlock` keeps to itself: landlock(7).
//!
//! Invariant: [`restrict_self`] is async-signal-safe; a ruleset is made before the fork.

#![expect(unsafe_code, reason = "system calls that libc has no functions for")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

/// `LANDLOCK_CREATE_RULESET_VERSION`: landlock_create_ruleset(2).
const VERSION: libc::c_uint = 1;

/// The version of Landlock's interface that the kernel offers; 0 when it has none, or was started
/// without it.
pub fn abi() -> u32 {
    // SAFETY: with this flag the kernel takes no structure and makes no descriptor.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, VERSION)
    };
    u32::try_from(version).unwrap_or(0)
}

/// Puts the calling thread, and all that it forks and executes, into a domain with the rules of
/// `ruleset`, for good: landlock_restrict_self(2).
///
/// Async-signal-safe, for use between fork and exec. Needs `no_new_privs` (or CAP_SYS_ADMIN),
/// otherwise EPERM; E2BIG inside 16 domains already.
pub fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    Errno::result(result).map(drop)
}

/// Takes every capability from the calling thread, so that a test sees what a job sees: capset(2).
#[cfg(test)]
pub(crate) fn drop_capabilities() {
    // Version 3, this thread; effective, permitted and inheritable, each in two halves.
    let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: both arrays have the layout that this version asks for, and live during the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "{}", Errno::last());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ruleset_restricts_nothing() {
        std::thread::spawn(|| {
            let file = std::fs::File::open("/dev/null").unwrap();
            nix::sys::prctl::set_no_new_privs().unwrap();
            let expected = if abi() == 0 { Errno::ENOSYS } else { Errno::EBADFD };
            assert_eq!(restrict_self(std::os::fd::AsFd::as_fd(&file)), Err(expected));
        })
        .join()
        .unwrap();
    }
}
