//! The store: one set of tests on SQLite and on PostgreSQL, and what only one of them can do.
//!
//! PostgreSQL is the installed server, on a private cluster with a database for each test.

mod access;
mod both;
pub(crate) mod cluster;
pub(crate) mod fixture;
mod killed;
mod ledger;
mod lists;
mod migrating;
mod program;
mod registry;
mod server;
mod sessions;
mod upgrading;
mod walk;

/// Each of these functions, as a test on either database.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name(&mut $crate::stores::fixture::Fixture::sqlite());
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                super::$name(&mut $crate::stores::fixture::Fixture::postgres());
            })*
        }
    };
}
use on_both;
