//! What the job may do as the account that it runs as.
//!
//! Invariant: a job has no capability outside [`KEPT`], and one that isn't uid 0 has none, whatever
//! it executes. The functions for the job are async-signal-safe.

#![expect(unsafe_code, reason = "a changed owner of a pipe, between fork and exec")]

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets, SecureComputingMode};

use super::errno::of_rustix as errno;

/// What a job as uid 0 keeps: to read, write and own files, to signal, to change its account, to
/// listen. What gets around containment is not among it: `SYS_ADMIN`, `SYS_PTRACE`,
/// `DAC_READ_SEARCH` (which opens files by handle), `MKNOD`, `SYS_CHROOT`, and the rest of
/// capabilities(7).
pub const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// An account to run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: Uid,
    /// The primary group.
    pub gid: Gid,
    /// The supplementary groups.
    pub groups: Vec<Gid>,
}

/// Closes this process to others of the same account: no core, no ptrace, no look into
/// `/proc/PID/environ`, `mem` and `fd`: `PR_SET_DUMPABLE` of prctl(2).
pub fn close_to_others() -> Result<(), Errno> {
    nix::sys::prctl::set_dumpable(false)
}

/// Takes [`close_to_others`] back.
pub fn open_to_others() -> Result<(), Errno> {
    nix::sys::prctl::set_dumpable(true)
}

/// Whether this process can mount where it is.
pub fn may_mount() -> bool {
    let sets = thread::capabilities(None);
    sets.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Whether something besides permissions holds this process, that may refuse single system calls: a
/// seccomp filter, a profile of AppArmor or SELinux, or Landlock, which cannot be asked but comes
/// with `no_new_privs`.
pub fn may_be_refused_more() -> bool {
    let filtered =
        !thread::secure_computing_mode().is_ok_and(|mode| mode == SecureComputingMode::Disabled);
    let profile = std::fs::read("/proc/self/attr/current").unwrap_or_default();
    let unconfined = b"unconfined";
    filtered
        || thread::no_new_privs().unwrap_or(true)
        || !profile.is_empty() && !profile.windows(unconfined.len()).any(|text| text == unconfined)
}

/// Gives up what a new user namespace gave, but for what it takes to furnish the job: the runner
/// is no more than its account, and reads no file that the account couldn't.
pub fn only_to_furnish() -> Result<(), Errno> {
    keep_only(CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP)
}

fn keep_only(kept: CapabilitySet) -> Result<(), Errno> {
    let sets = thread::capabilities(None).map_err(errno)?;
    // Inheritable ones would come back at exec, past the bounding set.
    let lowered = CapabilitySets {
        effective: sets.effective & kept,
        permitted: sets.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, lowered).map_err(errno)
}

/// Takes away what the job must not have, and becomes `ids`. The order counts: without
/// capabilities no account can be changed, with another uid no bounding set.
///
/// # Errors
///
/// The kernel's word. Nothing may be executed then.
pub(super) fn lower(ids: Option<&Ids>) -> Result<(), Errno> {
    let root = ids.map_or_else(|| Uid::effective().is_root(), |ids| ids.uid.is_root());
    let kept = if root { KEPT } else { CapabilitySet::empty() };
    for number in 0..64 {
        let Some(capability) = CapabilitySet::from_bits(1 << number) else { continue };
        if kept.contains(capability) {
            continue;
        }
        match thread::capability_is_in_bounding_set(capability) {
            Ok(true) => {}
            Ok(false) => continue,
            // The kernel doesn't know it, nor those behind it.
            Err(_) => break,
        }
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Without CAP_SETPCAP the set stays. Only uid 0 gets something from it:
            // no_new_privs keeps a file's capabilities away.
            Err(rustix::io::Errno::PERM) if !root => {}
            Err(error) => return Err(errno(error)),
        }
    }
    match thread::clear_ambient_capability_set() {
        // Before Linux 4.3 there is none.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(errno(error)),
    }
    if let Some(ids) = ids {
        nix::unistd::setgroups(&ids.groups)?;
        nix::unistd::setresgid(ids.gid, ids.gid, ids.gid)?;
        nix::unistd::setresuid(ids.uid, ids.uid, ids.uid)?;
    }
    keep_only(kept)
}

/// Gives the pipes among descriptors 0 to 2 to the job's user, so that it can open `/dev/stderr`.
/// Not files and terminals: they would belong to it for ever.
pub(super) fn give_pipes(ids: &Ids) {
    for number in 0..=2 {
        // SAFETY: the structure is filled by the kernel before it is read; a closed descriptor
        // gives an error.
        let is_pipe = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            libc::fstat(number, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFIFO
        };
        if is_pipe {
            // SAFETY: it is open, as just seen, and nobody closes it meanwhile.
            let pipe = unsafe { BorrowedFd::borrow_raw(number) };
            // A job that cannot open /dev/stderr still has the descriptor.
            let _ = nix::unistd::fchown(pipe, Some(ids.uid), None);
        }
    }
}
