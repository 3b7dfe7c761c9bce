//! People: how they log in, stay logged in, and end it.
//!
//! Invariants: what a browser holds is 256 random bits, of which the store knows the digest; a
//! login makes a new session and ends the one before; whoever isn't logged in writes nothing but
//! audit rows of failures; a login, its audit row and the end of the session before are one
//! transaction.
//!
//! [`router`] has the routes, [`guard()`] goes around everything that a browser reaches, and
//! [`Person`] is who sends a request.

mod attempt;
mod clock;
mod cookie;
mod fault;
mod guard;
mod link;
mod oidc;
mod person;
mod return_to;
mod routes;
mod sessions;
mod site;
mod ticket;

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::http;
use crate::secret::Value;
use crate::server::administration::Administration;
use crate::settings::service::{Service, SessionTimes};
use crate::store::Pool;
use oidc::Provider;
use site::Site;

pub use clock::Clock;
pub use fault::{Fault, Said};
pub use guard::{CSRF_FIELD, CSRF_HEADER, Unsent, guard};
pub use link::{LINK_LIFETIME, LINK_SUBJECT};
pub use person::{NotLoggedIn, Person};
pub use routes::router;
pub use ticket::NoRandomness;

/// All that logging in needs. A clone is the same.
#[derive(Clone)]
pub struct Login(Arc<Shared>);

struct Shared {
    pool: Pool,
    administration: Administration,
    site: Site,
    provider: Option<Provider>,
    link: bool,
    times: SessionTimes,
    body_bytes: usize,
    clock: Clock,
    strangers: Semaphore,
}

impl Login {
    /// Logins as the settings want them. Reads the client's secret; asks nobody anything yet.
    pub fn new(
        service: Service,
        pool: Pool,
        administration: Administration,
        clock: Clock,
    ) -> Result<Self, Fault> {
        let link = link::is_offered(&service);
        let Service { public_url, tls, oidc, sessions, limits, .. } = service;
        let provider = match (oidc, &public_url) {
            (Some(oidc), Some(home)) => {
                let secret = oidc.client_secret_file.as_deref().map(http::read_token).transpose();
                let secret: Option<Value> = secret.map_err(Fault::ClientSecret)?;
                Some(Provider::new(oidc, secret, home.clone()))
            }
            _ => None,
        };
        let site = match public_url {
            Some(origin) => Site::Public(origin),
            None => Site::Loopback { tls: tls.is_some() },
        };
        Ok(Self(Arc::new(Shared {
            pool,
            administration,
            site,
            provider,
            link,
            times: sessions,
            body_bytes: usize::try_from(limits.body_bytes).unwrap_or(usize::MAX),
            clock,
            strangers: Semaphore::new(guard::STRANGERS),
        })))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.0.site)
    }
}
