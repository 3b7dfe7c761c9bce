//! Where secrets come from.
//!
//! Invariants: a backend answers for exactly one identity; metadata comes first and only winners
//! are revealed; a backend that is down, slow or wrong is an error, never a shorter list.

use std::future::Future;

use crate::job::Identity;
use crate::precedence::{Candidate, Winner};
use crate::secret::{Name, Value};
use crate::store::{KeyError, StoreError};

pub mod embedded;

pub use embedded::Embedded;

/// A secret that a job gets.
#[derive(Debug)]
pub struct Revealed {
    /// Its kind and key.
    pub name: Name,
    /// Whether it is masked in output.
    pub sensitive: bool,
    /// Its value.
    pub value: Value,
}

/// What can go wrong with a backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The embedded store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The embedded store's key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Answers "which secrets does this job get?".
pub trait Backend {
    /// Its name in settings, reports and audit lines.
    fn name(&self) -> &'static str;

    /// Every secret at the levels of `identity`; facts only.
    fn candidates(
        &mut self,
        identity: &Identity,
    ) -> impl Future<Output = Result<Vec<Candidate>, BackendError>>;

    /// The values of the winners among them, in their order.
    fn reveal(
        &mut self,
        winners: &[Winner],
    ) -> impl Future<Output = Result<Vec<Revealed>, BackendError>>;
}
