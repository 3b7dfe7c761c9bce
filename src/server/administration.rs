//! All that admins can do. The page and the API call only this.
//!
//! Invariants: permission is checked in the transaction that does what it permits, over the grants
//! that hold there; a change and its audit row are one transaction, and so is a denial; nothing
//! here can open a value, for there is no private key.

#![expect(unused_variables, dead_code, reason = "the bodies follow")]

mod answers;
mod refusal;

use crate::access::{Actor, Grant, Scope};
use crate::membership::Membership;
use crate::secret::{Id, SecretId, Value};
use crate::store::pool::Pool;
use crate::store::{PublicKey, Record};

pub use self::answers::*;
pub use self::refusal::Refusal;
pub use crate::store::ledger::IdempotencyKey;

/// What the operator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where it is known who belongs where.
    pub membership: Membership,
    /// Whether an organization's defaults for single members can be added.
    pub organization_user: bool,
    /// The oldest major version of libpq that reads services.
    pub oldest_libpq: u16,
}

/// What admins can do.
#[derive(Clone, Debug)]
pub struct Administration {
    pool: Pool,
    key: PublicKey,
    policy: Policy,
}

impl Administration {
    /// Administration of a store that is sealed to `key`.
    pub fn new(pool: Pool, key: PublicKey, policy: Policy) -> Self {
        Self { pool, key, policy }
    }

    /// What the operator decided.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the actor may administer.
    pub async fn landing(&self, actor: &Actor) -> Result<Landing, Refusal> {
        later()
    }

    /// Whom secrets of a scope can be assigned to, by id. Empty in trusted mode, where anybody can
    /// be assigned to.
    pub async fn members(&self, actor: &Actor, scope: &Scope) -> Result<Vec<Member>, Refusal> {
        later()
    }

    /// The secrets of a scope.
    pub async fn list(
        &self,
        actor: &Actor,
        scope: &Scope,
        page: PageRequest,
    ) -> Result<Listing, Refusal> {
        later()
    }

    /// One secret.
    pub async fn secret(&self, actor: &Actor, id: &SecretId) -> Result<Listed, Refusal> {
        later()
    }

    /// Adds secrets, all or none. With a key, a repeated request gets the first one's answer.
    pub async fn add(
        &self,
        actor: &Actor,
        additions: Vec<Addition>,
        replace: bool,
        key: Option<IdempotencyKey>,
    ) -> Result<Vec<Record>, Refusal> {
        later()
    }

    /// Removes a secret.
    pub async fn remove(&self, actor: &Actor, id: &SecretId) -> Result<Removed, Refusal> {
        later()
    }

    /// What [`Administration::remove`] would answer, without removing anything.
    pub async fn would_be_effective(
        &self,
        actor: &Actor,
        id: &SecretId,
    ) -> Result<Removed, Refusal> {
        later()
    }

    /// Removes many; with `dry_run` it only says which.
    pub async fn purge(
        &self,
        actor: &Actor,
        what: &Purge,
        dry_run: bool,
    ) -> Result<Vec<Record>, Refusal> {
        later()
    }

    /// What a job would get, and why.
    pub async fn explain(
        &self,
        actor: &Actor,
        question: &Question,
    ) -> Result<Explanation, Refusal> {
        later()
    }

    /// The stored grants for a scope; those of operators for `None`.
    pub async fn grants(
        &self,
        actor: &Actor,
        scope: Option<&Scope>,
        page: PageRequest,
    ) -> Result<Page<Granted>, Refusal> {
        later()
    }

    /// Gives somebody a grant; one that is there already stays as it is.
    pub async fn grant(
        &self,
        actor: &Actor,
        subject: &str,
        grant: &Grant,
    ) -> Result<Granted, Refusal> {
        later()
    }

    /// Takes a grant away, by its id.
    pub async fn revoke_grant(&self, actor: &Actor, id: &str) -> Result<Revoked, Refusal> {
        later()
    }

    /// The API tokens for a scope, those that are over included; operators' for `None`.
    pub async fn api_tokens(
        &self,
        actor: &Actor,
        scope: Option<&Scope>,
        page: PageRequest,
    ) -> Result<Page<ApiToken>, Refusal> {
        later()
    }

    /// Makes an API token. Its text is in the answer, and nowhere after that.
    pub async fn issue_api_token(
        &self,
        actor: &Actor,
        request: &TokenRequest,
    ) -> Result<(ApiToken, Value), Refusal> {
        later()
    }

    /// Ends an API token, by its id.
    pub async fn revoke_api_token(&self, actor: &Actor, id: &str) -> Result<ApiToken, Refusal> {
        later()
    }

    /// Registers an organization, in place of what was registered; true if it is new.
    pub async fn put_organization(
        &self,
        actor: &Actor,
        id: &Id,
        organization: &Organization,
    ) -> Result<bool, Refusal> {
        later()
    }

    /// Registers a project, in place of what was registered; true if it is new.
    pub async fn put_project(
        &self,
        actor: &Actor,
        id: &Id,
        project: &Project,
    ) -> Result<bool, Refusal> {
        later()
    }

    /// Ends the registration of an organization. Its secrets lie dormant, or go with it.
    pub async fn delete_organization(
        &self,
        actor: &Actor,
        id: &Id,
        purge: bool,
    ) -> Result<Deleted, Refusal> {
        later()
    }

    /// Ends the registration of a project. Its secrets lie dormant, or go with it.
    pub async fn delete_project(
        &self,
        actor: &Actor,
        id: &Id,
        purge: bool,
    ) -> Result<Deleted, Refusal> {
        later()
    }

    /// The registered organizations, by id.
    pub async fn organizations(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<Registered<Organization>>, Refusal> {
        later()
    }

    /// The registered projects, by id.
    pub async fn projects(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<Registered<Project>>, Refusal> {
        later()
    }

    /// Rows of the audit, the newest first.
    pub async fn audit(
        &self,
        actor: &Actor,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditRow>, Refusal> {
        later()
    }

    /// Whose API token this is.
    pub async fn authenticate_token(&self, token: &Value) -> Result<Actor, Refusal> {
        later()
    }

    /// A person with all their grants: the login's, the stored ones, and registered admin roles.
    pub async fn actor_of(
        &self,
        subject: &str,
        name: &str,
        claimed: Vec<Grant>,
    ) -> Result<Actor, Refusal> {
        later()
    }
}

fn later<T>() -> Result<T, Refusal> {
    Err(Refusal::NOT_FOUND)
}
