//! The page as a browser gets it, on a store of its own.

mod access;
mod adding;
mod changing;
mod ground;
mod looking;
mod whole;

use crate::secret::Value;

/// A stored value as text.
fn text(value: &Value) -> &str {
    str::from_utf8(value.expose()).unwrap()
}
