//! The secrets service over HTTP.
//!
//! What a request meets, from the socket inwards: `listen` (connections, with `tls`),
//! `around` (headers, limits, metrics), the routes. An error that a client sees is a
//! [`problem::Problem`].

pub mod administration;
pub mod problem;
pub mod submission;
