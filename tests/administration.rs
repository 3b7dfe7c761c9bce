//! All that admins can do, on both databases: who may, and what comes of it.
//!
//! - `delegation`: grants and API tokens over time, and what somebody sees first
//! - `overview`: what somebody sees that they administer, and how much is there
//! - `registration`: what the orchestrator registers, and who reads the audit
//! - `searching`: looking for secrets in a long list
//! - `secrets`: adding, replacing, removing; who gets what after somebody leaves
//! - `sessions`: who is logged in, and ending that
//! - `table`: every call with every kind of actor, and any sequence of calls

mod delegation;
mod ground;
mod overview;
mod registration;
mod searching;
mod secrets;
mod sessions;
mod table;

use crate::stores::fixture::Fixture;

/// Makes a store on one of the databases.
type MakeStore = fn() -> Fixture;

/// Each of these functions, as a test on either database.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            use crate::stores::fixture::{Fixture, run};
            $(#[test]
            fn $name() {
                run(super::$name(Fixture::sqlite));
            })*
        }
        mod postgres {
            use crate::stores::fixture::{Fixture, run};
            $(#[test]
            fn $name() {
                run(super::$name(Fixture::postgres));
            })*
        }
    };
}
use on_both;
