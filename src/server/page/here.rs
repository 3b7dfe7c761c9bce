//! Which organization or project an address is about, and which item of it.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, MatchedPath, Path};
use axum::http::request::Parts;

use super::failure::Failure;
use crate::access::Scope;
use crate::store::Record;

/// The scope of an address; `None` on the pages of operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    /// Which organization or project.
    pub(super) scope: Option<Scope>,
    /// The id of a secret, a grant or a token; empty where the address has none.
    pub(super) item: String,
}

impl Here {
    /// The scope, where the address has one.
    pub(super) fn scope(&self) -> Result<&Scope, Failure> {
        self.scope.as_ref().ok_or_else(Failure::not_found)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Here {
    type Rejection = Failure;

    /// What is no id is the id of nothing: 404.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Ok(Path(mut named)) =
            Path::<HashMap<String, String>>::from_request_parts(parts, state).await
        else {
            return Err(Failure::not_found());
        };
        let matched = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let scope = match named.remove("id") {
            None => None,
            Some(id) => {
                let id = id.parse().map_err(|_| Failure::not_found())?;
                Some(match matched.starts_with("/projects/") {
                    true => Scope::Project(id),
                    false => Scope::Organization(id),
                })
            }
        };
        Ok(Self { scope, item: named.remove("item").unwrap_or_default() })
    }
}

/// Answers what stands elsewhere as what isn't there.
pub(super) fn belongs(record: &Record, scope: &Scope) -> Result<(), Failure> {
    match Scope::from(&record.owner) == *scope {
        true => Ok(()),
        false => Err(Failure::not_found()),
    }
}
