//! The encrypted store: sealed values beside the facts that say whose they are.
//!
//! Invariants: a value is sealed before it reaches the database and opened only by who holds the
//! private key; the seal binds the value to its row, so that a row that was moved, renamed or
//! altered does not open; a change is whole or absent, whenever the process dies.

pub mod access;
pub mod changes;
pub mod database;
pub mod handle;
mod inventory;
pub mod keys;
pub mod ledger;
pub mod listing;
pub mod migrate;
pub mod overview;
pub mod page;
#[cfg(feature = "service")]
pub mod pool;
#[cfg(feature = "service")]
pub mod postgres;
pub mod registry;
mod retry;
mod rows;
pub mod schema;
pub mod seal;
pub mod secrets;
pub mod selection;
pub mod sessions;
pub mod sqlite;

pub use handle::Store;
pub use keys::{KeyError, Keyring};
#[cfg(feature = "service")]
pub use pool::Pool;
pub use schema::{NewSecret, Record, StoreError};
pub use seal::{KeyId, OpenError, PrivateKey, PublicKey};
pub use selection::Selection;
