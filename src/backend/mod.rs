//! Where secrets come from.
//!
//! Invariants: a backend answers for exactly one identity; metadata comes first and only winners
//! are revealed; a backend that is down, slow or wrong is an error, never a shorter list.

use std::future::Future;

use crate::job::Job;
use crate::precedence::{Candidate, Winner};
use crate::redact::Sensitive;
use crate::secret::{Name, Value};
use crate::settings::{self, Settings};
use crate::store::{KeyError, StoreError};

pub mod embedded;
pub mod service;

pub use embedded::Embedded;
pub use service::{Service, ServiceError};

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
    /// The secrets service.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Answers "which secrets does this job get?".
pub trait Backend {
    /// Its name in settings, reports and audit lines.
    fn name(&self) -> &'static str;

    /// Every secret at the levels of the job's identity; facts only.
    fn candidates(
        &mut self,
        job: &Job,
    ) -> impl Future<Output = Result<Vec<Candidate>, BackendError>>;

    /// The values of the winners among them, in their order.
    fn reveal(
        &mut self,
        winners: &[Winner],
    ) -> impl Future<Output = Result<Vec<Revealed>, BackendError>>;

    /// What of the backend's own must not be seen in what the job writes.
    fn into_sensitive(self) -> Vec<Sensitive>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

/// The backend that the settings name.
#[derive(Debug)]
pub enum AnyBackend {
    /// The store in a file.
    Embedded(Embedded),
    /// A service.
    Service(Box<Service>),
}

impl AnyBackend {
    /// A backend as the settings say; `token` is a job token that came by environment.
    pub fn new(settings: &Settings, token: Option<Value>) -> Self {
        match &settings.backend {
            settings::Backend::Embedded => {
                let store = &settings.store;
                Self::Embedded(Embedded::new(store))
            }
            settings::Backend::Service(service) => {
                Self::Service(Box::new(Service::new(service, token)))
            }
        }
    }
}

impl Backend for AnyBackend {
    fn name(&self) -> &'static str {
        match self {
            Self::Embedded(backend) => backend.name(),
            Self::Service(backend) => backend.name(),
        }
    }

    async fn candidates(&mut self, job: &Job) -> Result<Vec<Candidate>, BackendError> {
        match self {
            Self::Embedded(backend) => backend.candidates(job).await,
            Self::Service(backend) => backend.candidates(job).await,
        }
    }

    async fn reveal(&mut self, winners: &[Winner]) -> Result<Vec<Revealed>, BackendError> {
        match self {
            Self::Embedded(backend) => backend.reveal(winners).await,
            Self::Service(backend) => backend.reveal(winners).await,
        }
    }

    fn into_sensitive(self) -> Vec<Sensitive> {
        match self {
            Self::Embedded(backend) => backend.into_sensitive(),
            Self::Service(backend) => backend.into_sensitive(),
        }
    }
}
