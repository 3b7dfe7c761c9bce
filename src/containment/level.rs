//! The levels of containment, and in what order they are tried: a pure decision.
//!
//! Invariant: a weaker level is tried only after a stronger one was refused by the kernel, and
//! never when the settings require another.

use std::borrow::Cow;

use nix::errno::Errno;

/// How a run is kept apart.
pub use crate::settings::ContainmentLevel as Level;

/// One try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// New namespaces; with a new user namespace as well, for those who aren't root.
    Namespaces {
        /// Whether with a new user namespace.
        user: bool,
    },
    /// None.
    Process,
}

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {}", errno.desc())]
pub struct Refusal {
    /// What was tried, for people.
    pub step: Cow<'static, str>,
    /// The kernel's word.
    pub errno: Errno,
}

/// What to try, in this order, until one works.
///
/// `run_as`: the job becomes another account. In a user namespace that is made without privileges
/// only one account exists.
pub fn attempts(require: Option<Level>, may_mount: bool, run_as: bool) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    if require != Some(Level::Process) {
        if may_mount {
            attempts.push(Attempt::Namespaces { user: false });
        }
        if !run_as {
            attempts.push(Attempt::Namespaces { user: true });
        }
    }
    if matches!(require, None | Some(Level::Process)) {
        attempts.push(Attempt::Process);
    }
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Attempt = Attempt::Namespaces { user: false };
    const USER: Attempt = Attempt::Namespaces { user: true };

    #[test]
    fn what_is_tried() {
        use Level::{Namespace, NamespaceSharedProc, Process};
        for (require, may_mount, run_as, expected) in [
            (None, true, false, &[PLAIN, USER, Attempt::Process][..]),
            (None, true, true, &[PLAIN, Attempt::Process]),
            (None, false, false, &[USER, Attempt::Process]),
            (None, false, true, &[Attempt::Process]),
            (Some(Namespace), true, false, &[PLAIN, USER]),
            (Some(Namespace), false, false, &[USER]),
            (Some(NamespaceSharedProc), true, true, &[PLAIN]),
            (Some(Namespace), false, true, &[]),
            (Some(Process), true, false, &[Attempt::Process]),
        ] {
            assert_eq!(
                attempts(require, may_mount, run_as),
                expected,
                "{require:?}, may mount: {may_mount}, run_as: {run_as}"
            );
        }
    }
}
