//! All that admins can do, on both databases: who may, and what comes of it.
//!
//! - `delegation`: grants and API tokens over time, and what somebody sees first
//! - `registration`: what the orchestrator registers, and who reads the audit
//! - `secrets`: adding, replacing, removing; who gets what after somebody leaves
//! - `table`: every call with every kind of actor, and any sequence of calls

mod delegation;
mod ground;
mod registration;
mod secrets;
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
