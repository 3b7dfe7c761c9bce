//! Why something is not done, in words for people, with a stable word and an HTTP status.
//!
//! Invariant: what an actor may not see is refused exactly as what doesn't exist.

use crate::access::{Denied, Scope};
use crate::error::Error;
use crate::secret::{Id, Name, Owner};
use crate::store::StoreError;

/// Why administration does not do what it was asked. Holds no value.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The actor may not. [`Denied::Hidden`] also stands for what isn't there.
    #[error("{0}")]
    Denied(Denied),
    /// An API token that is none, is over, or was revoked.
    #[error("this API token is not valid: {0}")]
    Token(&'static str),
    /// A field of the request.
    #[error("{field}: {why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The level is switched off.
    #[error(
        "an organization's defaults for single members are switched off; add a project's secret \
         and assign it, or switch them on (`service.membership.organization_user`)"
    )]
    LevelDisabled,
    /// Nothing is registered here.
    #[error("nothing is registered here: the membership is `trusted`, and job tokens are believed")]
    RegistrationOff,
    /// The scope is not registered.
    #[error("the {0} is not registered; register it first")]
    NotRegistered(Scope),
    /// An organization that a project names.
    #[error("the organization {0} is not registered; register it before its projects")]
    OrganizationUnknown(Id),
    /// An organization that projects belong to.
    #[error("projects of the organization {0} are registered still; delete or transfer them first")]
    OrganizationInUse(Id),
    /// Who can't be assigned to.
    #[error(
        "{user} is no member of the {scope}, so nothing can be assigned to them there; make them \
         a member first"
    )]
    NotAMember {
        /// The user.
        user: Id,
        /// Where.
        scope: Scope,
    },
    /// Something stands there already.
    #[error("{owner} has a secret {name} already; replace it, or remove it first")]
    Exists {
        /// The name taken.
        name: Name,
        /// Where.
        owner: Owner,
    },
    /// The same name twice in one request.
    #[error("{name} stands twice in the request; keep one of the two")]
    Twice {
        /// The name.
        name: Name,
    },
    /// A key that was used for something else.
    #[error(
        "the idempotency key was used for another request in the last 24 hours; choose a new one"
    )]
    IdempotencyMismatch,
    /// The store. The cause says more, for the log and not for clients.
    #[error("{}", store_text(.0))]
    Store(#[source] Error),
}

fn store_text(error: &Error) -> &'static str {
    match status(error) {
        503 => "the store is not available at the moment; try again",
        _ => "the store refuses this; the service's log says why",
    }
}

fn status(error: &Error) -> u16 {
    match error.kind() {
        "store_locked" | "store_contended" | "store_unreachable" | "store_full" | "store_busy"
        | "secret_gone" => 503,
        _ => 500,
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists { name, owner } => Self::Exists { name, owner },
            error => Self::Store(error.into()),
        }
    }
}

impl Refusal {
    /// What isn't there, or isn't to be seen.
    pub const NOT_FOUND: Self = Self::Denied(Denied::Hidden);

    /// A field of the request is to blame.
    pub(super) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }

    /// The stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.kind(),
            Self::Token(_) => "token_invalid",
            Self::Invalid { .. } => "invalid",
            Self::LevelDisabled => "level_disabled",
            Self::RegistrationOff => "registration_off",
            Self::NotRegistered(_) => "not_registered",
            Self::OrganizationUnknown(_) => "organization_unknown",
            Self::OrganizationInUse(_) => "organization_in_use",
            Self::NotAMember { .. } => "not_a_member",
            Self::Exists { .. } => "secret_exists",
            Self::Twice { .. } => "secret_twice",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::Store(error) => error.kind(),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Denied(Denied::Hidden) => 404,
            Self::Denied(_) => 403,
            Self::Token(_) => 401,
            Self::Exists { .. } | Self::OrganizationInUse(_) | Self::RegistrationOff => 409,
            Self::Invalid { .. }
            | Self::LevelDisabled
            | Self::NotRegistered(_)
            | Self::OrganizationUnknown(_)
            | Self::NotAMember { .. }
            | Self::Twice { .. }
            | Self::IdempotencyMismatch => 422,
            Self::Store(error) => status(error),
        }
    }

    /// Whether somebody tried what they may not.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Token(_))
    }

    /// The field of the request that is to blame, if one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            Self::NotAMember { .. } => Some("user"),
            Self::OrganizationUnknown(_) => Some("organization"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::database::Place;

    fn every() -> Vec<Refusal> {
        let (id, name) = ("a".parse::<Id>().unwrap(), Name::envvar("A"));
        let scope = Scope::Project(id.clone());
        let owner = scope.owner(None);
        vec![
            Denied::Hidden.into(),
            Denied::ReadOnly.into(),
            Denied::Delegation.into(),
            Denied::OperatorOnly.into(),
            Refusal::Token("it was revoked"),
            Refusal::invalid("name", "it is long"),
            Refusal::LevelDisabled,
            Refusal::RegistrationOff,
            Refusal::NotRegistered(scope.clone()),
            Refusal::OrganizationUnknown(id.clone()),
            Refusal::OrganizationInUse(id.clone()),
            Refusal::NotAMember { user: id, scope },
            Refusal::Exists { name: name.clone(), owner },
            Refusal::Twice { name },
            Refusal::IdempotencyMismatch,
        ]
    }

    #[test]
    fn every_refusal_is_documented_with_its_status() {
        let documented: BTreeSet<(String, String)> = include_str!("../../../docs/access.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
            .map(|(kind, rest)| (kind.to_owned(), rest[..3].to_owned()))
            .collect();
        let own = every();
        let own =
            own.iter().map(|refusal| (refusal.kind().to_owned(), refusal.status().to_string()));
        assert_eq!(own.collect::<BTreeSet<_>>(), documented);
    }

    #[test]
    fn what_the_store_says_is_for_the_log() {
        let place = || Place::Server("db.internal".into());
        for (error, kind, status) in [
            (StoreError::Contended(place()), "store_contended", 503),
            (StoreError::Unreachable(place(), "no route".into()), "store_unreachable", 503),
            (StoreError::Damaged(place()), "store_damaged", 500),
            (StoreError::Database(place(), "syntax".into()), "store_failed", 500),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.kind(), refusal.status()), (kind, status));
            assert!(!refusal.to_string().contains("db.internal"), "{refusal}");
            let cause = std::error::Error::source(&refusal).unwrap().to_string();
            assert!(cause.contains("db.internal"), "{cause}");
        }
    }
}
