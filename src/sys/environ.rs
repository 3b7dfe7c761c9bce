//! Takes variables out of this process's environment, and overwrites them where they were.
//!
//! Invariant: after [`take`] a variable that was taken is in no place that belongs to the
//! environment: neither in the list that programs which are started inherit, nor in the block that
//! the kernel filled at exec, which `/proc/PID/environ` shows.

#![expect(unsafe_code, reason = "a block that the kernel filled, and changes to the environment")]

use std::env;
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use nix::libc;

/// Takes out the variables that are `wanted` by their names, and hands each one's value to
/// `taken` before it is overwritten.
///
/// Belongs before anything that could start a thread; where there is another one, it does nothing.
pub fn take(wanted: impl Fn(&OsStr) -> bool, mut taken: impl FnMut(&OsStr, &[u8])) {
    // A directory for each thread, besides `.` and `..`. Without /proc nobody can tell; this
    // program starts its threads later.
    if fs::metadata("/proc/self/task").is_ok_and(|tasks| tasks.nlink() > 3) {
        return;
    }
    for (name, string) in strings() {
        if !wanted(&name) {
            continue;
        }
        // SAFETY: `string` is a C string of the environment's, which nobody changes meanwhile:
        // there is one thread.
        let length = unsafe { CStr::from_ptr(string) }.count_bytes();
        // SAFETY: as above; the slice ends before the string is written to.
        let bytes = unsafe { std::slice::from_raw_parts(string.cast::<u8>(), length) };
        taken(&name, &bytes[name.len() + 1..]);
        #[expect(clippy::disallowed_methods, reason = "there is one thread")]
        // SAFETY: there is one thread.
        unsafe {
            env::remove_var(&name);
        };
        // SAFETY: the string is in writable memory, the block at the bottom of the stack or a
        // copy on the heap, and the list does not lead to it any more: it was the only one of its
        // name, or removed with the first one.
        unsafe { libc::explicit_bzero(string.cast(), length) };
    }
}

/// All variables: their names, and where `NAME=value` stands.
fn strings() -> Vec<(OsString, *mut c_char)> {
    let mut found = Vec::new();
    // SAFETY: there is one thread; the list ends in null, and is null where the environment was
    // cleared.
    unsafe {
        let mut entry = libc::environ;
        while !entry.is_null() && !(*entry).is_null() {
            let string = *entry;
            let bytes = CStr::from_ptr(string).to_bytes();
            if let Some(equals) = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0) {
                found.push((OsStr::from_bytes(&bytes[..equals]).to_owned(), string));
            }
            entry = entry.add(1);
        }
    }
    found
}
