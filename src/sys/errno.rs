//! Other libraries' errors as the kernel's word.
//!
//! Invariant: an error that came from the kernel keeps its number.

use std::io;

use nix::errno::Errno;

/// rustix's. Async-signal-safe.
pub(crate) fn of_rustix(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// The standard library's; one that isn't of the kernel's is `EIO`.
pub(crate) fn of_io(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
