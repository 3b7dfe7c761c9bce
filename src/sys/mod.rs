//! What talks to the kernel directly; the only place where `unsafe` is allowed.
//!
//! Invariant: between fork and exec only async-signal-safe calls are made, and nothing is
//! allocated.

pub mod clone;
pub mod environ;
pub(crate) mod errno;
pub mod followed;
mod heap;
pub mod inherited;
pub mod landlock;
pub mod oom;
pub mod privileges;
pub mod seccomp;
pub mod spawn;
pub mod terminal;
pub mod tree;
pub mod view;
