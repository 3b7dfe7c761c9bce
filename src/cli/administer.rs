//! Where administration happens: at a secrets service, or in the local store.
//!
//! Invariant: who does it in the local store is in its audit, by the account's name; they could
//! change the store's file anyway.

use serde::de::DeserializeOwned;

use super::args::ServerArgs;
use super::block_on;
use super::secret::{author, store_for_service, subject};
use crate::access::{Access, Actor, Grant, Scope, Via};
use crate::client::Server;
use crate::error::Error;
use crate::secret::{Id, Value};
use crate::server::administration::{Administration, PageRequest, Refusal};
use crate::server::service;
use crate::settings::Settings;
use crate::store::Pool;
use crate::wire::management::segment;

/// A service, or the local store.
pub(super) enum Place {
    /// A service, asked with an API token.
    Server(Server),
    /// The store in a file, for whoever can write it.
    Here(Box<Here>),
}

/// The local store.
pub(super) struct Here {
    pub(super) administration: Administration,
    pub(super) actor: Actor,
    pool: Pool,
}

impl Place {
    /// Opens what is there.
    pub(super) fn open(
        settings: &Settings,
        args: &ServerArgs,
        token: Option<Value>,
    ) -> Result<Self, Error> {
        match args.open(token)? {
            Some(server) => Ok(Self::Server(server)),
            None => Self::here(settings),
        }
    }

    /// The same, to put something there: on a fresh machine this makes the store, and its key.
    pub(super) fn open_or_make(
        settings: &Settings,
        args: &ServerArgs,
        token: Option<Value>,
    ) -> Result<Self, Error> {
        if let Some(server) = args.open(token)? {
            return Ok(Self::Server(server));
        }
        store_for_service(settings)?;
        Self::here(settings)
    }

    fn here(settings: &Settings) -> Result<Self, Error> {
        let pool = Pool::open(&settings.store.place, 1)?;
        let administration = match service::administration(settings, pool.clone()) {
            Ok(administration) => administration,
            Err(error) => {
                // Otherwise the program would end in the middle of leaving the log.
                block_on(pool.close())?;
                return Err(error);
            }
        };
        let actor = Actor {
            subject: subject(),
            name: author(),
            claimed: vec![Grant::Operator],
            grants: vec![Grant::Operator],
            access: Access::Delegate,
            via: Via::Link,
        };
        Ok(Self::Here(Box::new(Here { administration, actor, pool })))
    }
}

impl Here {
    /// Does it, and closes the store.
    pub(super) fn finish<T>(
        self,
        work: impl AsyncFnOnce(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        block_on(async {
            let done = work(&self).await;
            self.pool.close().await;
            done
        })?
    }
}

impl Place {
    /// All parts of a list, in their order, at a service (`path`) or here (`here`), until `take`
    /// has enough of them.
    ///
    /// `next` says where the part after this one begins.
    pub(super) fn all<P: DeserializeOwned>(
        self,
        path: &str,
        next: impl Fn(&P) -> Option<String>,
        here: &impl AsyncFn(&Here, PageRequest) -> Result<P, Refusal>,
        mut take: impl FnMut(P) -> bool,
    ) -> Result<(), Error> {
        match self {
            Self::Server(server) => Ok(block_on(server.all(path, next, take))??),
            Self::Here(place) => place.finish(async |place| {
                let mut page = PageRequest::first();
                loop {
                    let part = here(place, page.clone()).await?;
                    page.after = next(&part);
                    if !take(part) || page.after.is_none() {
                        return Ok(());
                    }
                }
            }),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => error,
            refusal => Self::Input(refusal.to_string()),
        }
    }
}

/// The role that the options mean.
pub(super) fn grant(
    operator: bool,
    organization: Option<&Id>,
    project: Option<&Id>,
) -> Result<Grant, Error> {
    match (operator, organization, project) {
        (true, None, None) => Ok(Grant::Operator),
        (false, Some(id), None) => Ok(Grant::OrganizationAdmin(id.clone())),
        (false, None, Some(id)) => Ok(Grant::ProjectAdmin(id.clone())),
        _ => Err(Error::Usage("say for what: --operator, -O ORGANIZATION or -P PROJECT".into())),
    }
}

/// What the options mean in a list; `None`: what is for everything.
pub(super) fn scope(organization: Option<&Id>, project: Option<&Id>) -> Option<Scope> {
    let organization = organization.cloned().map(Scope::Organization);
    organization.or(project.cloned().map(Scope::Project))
}

/// The scope as a query, with its question mark; `all`: of whatever scope.
pub(super) fn query(all: bool, scope: Option<&Scope>) -> String {
    match scope {
        Some(scope) => format!("?{}={}", scope.word(), segment(scope.id().as_str())),
        None if all => "?all=true".into(),
        None => String::new(),
    }
}

/// Says of an empty list what it would be a list of.
pub(super) fn nothing(what: &str, all: bool, scope: Option<&Scope>) -> String {
    match scope {
        None if !all => format!("no operator's {what}; --all lists everybody's"),
        _ => format!("no {what} here"),
    }
}
