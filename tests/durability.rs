//! The store stays whole: whatever instant a command dies at, and whoever works at the same time.

mod concurrency;
mod killed;
pub(crate) mod stepper;
