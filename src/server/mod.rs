//! The secrets service over HTTP.
//!
//! What a request meets, from the socket inwards: [`listen`] (connections, with [`tls`]),
//! [`around()`] (metrics, headers, limits), the routes. An error that a client sees is a
//! [`problem::Problem`].

pub mod administration;
pub mod api;
mod around;
pub mod headers;
pub mod limits;
pub mod listen;
pub mod login;
pub mod metrics;
pub mod page;
pub mod problem;
pub mod recipient;
pub mod resolve;
pub mod service;
pub mod submission;
pub mod tls;

pub use around::around;
