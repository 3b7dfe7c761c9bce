//! What talks to the kernel directly; the only place where `unsafe` is allowed.
//!
//! Invariant: between fork and exec only async-signal-safe calls are made, and nothing is
//! allocated.

pub mod landlock;
pub mod seccomp;
pub mod spawn;
pub mod tree;
