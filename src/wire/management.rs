//! What the management API answers: facts, as JSON and back.
//!
//! Invariants: nothing here has a place for a value; the service and its client encode and decode
//! these forms here only; a member that a later service adds is ignored by the client. Times are
//! RFC 3339 in UTC.

use serde::{Deserialize, Serialize};

use crate::secret::{Kind, Level};

/// The header that marks repetitions of one request.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// One segment of a path: all but the unreserved characters of RFC 3986 (section 2.3) are
/// percent-encoded, `/` too.
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Secret {
    /// Its id; a replaced secret gets a new one.
    pub id: String,
    /// What it becomes in a job.
    pub kind: Kind,
    /// The variable's name, or the service's.
    pub key: String,
    /// Where it stands.
    pub level: Level,
    /// The organization or the project.
    pub owner: String,
    /// The user that it is for; `null`: for everybody.
    pub user: Option<String>,
    /// Whether its value is masked in what jobs print.
    pub sensitive: bool,
    /// Whether no job can get it now: its organization or project is not registered any more, or
    /// its user is no member. Only where secrets are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(nullable = false))]
    pub dormant: Option<bool>,
    /// When it was added.
    pub created_at: String,
    /// Who added it.
    pub created_by: String,
}

/// Secrets of an organization or a project, ordered by level, user, kind and key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Secrets {
    /// This part of them.
    pub secrets: Vec<Secret>,
    /// The `after` of the next part; `null`: this is the last.
    pub next: Option<String>,
}

/// Secrets that were added.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Added {
    /// They, in the order in which they came.
    pub secrets: Vec<Secret>,
    /// What deserves a second look, in words.
    pub warnings: Vec<String>,
}

/// What an import would add.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Rehearsed {
    /// In the order in which they came.
    pub secrets: Vec<WouldAdd>,
    /// What deserves a second look, in words.
    pub warnings: Vec<String>,
}

/// A secret that would be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct WouldAdd {
    /// What it becomes in a job.
    pub kind: Kind,
    /// The variable's name, or the service's.
    pub key: String,
    /// Whether one of that name stands there already: then `replace` is needed.
    pub taken: bool,
}

/// A secret that may be given to a job. Who added it and when is for those who administer it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// What it becomes in a job.
    pub kind: Kind,
    /// The variable's name, or the service's.
    pub key: String,
    /// Where it stands.
    pub level: Level,
    /// The organization's or project's id.
    pub owner: String,
    /// Whom it is assigned to.
    pub user: Option<String>,
    /// Whether it is masked in output.
    pub sensitive: bool,
}

/// A secret that was removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Removed {
    /// It.
    pub removed: Secret,
    /// What becomes effective for jobs that had it; `null`: nothing of that name.
    pub instead: Option<Candidate>,
    /// The same in words.
    pub sentence: String,
}

/// Secrets that were removed together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Purged {
    /// Whether nothing was removed: this was a question.
    pub dry_run: bool,
    /// They.
    pub secrets: Vec<Secret>,
}

/// Which secrets a job would get, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Explanation {
    /// Whose secrets were looked at, the strongest level first.
    pub looked_at: Vec<LookedAt>,
    /// What the job gets.
    pub secrets: Vec<Winner>,
    /// What stands at the job's levels, and it doesn't get; of the organization's, only for who
    /// administers that.
    pub dormant: Vec<Candidate>,
    /// What it requires and doesn't get.
    pub missing: Vec<Missing>,
    /// Why the service would refuse the job; `null`: it wouldn't.
    pub refused: Option<WouldRefuse>,
}

/// A level of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct LookedAt {
    /// The level.
    pub level: Level,
    /// The organization or the project.
    pub id: String,
    /// The user; `null`: everybody.
    pub user: Option<String>,
}

/// A secret that a job gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Winner {
    /// Its id.
    pub id: String,
    /// What it becomes in the job.
    pub kind: Kind,
    /// The variable's name, or the service's.
    pub key: String,
    /// The level that won.
    pub level: Level,
    /// The organization or the project.
    pub owner: String,
    /// The user that it is for; `null`: everybody.
    pub user: Option<String>,
    /// Whether its value is masked in what the job prints.
    pub sensitive: bool,
    /// What it beats, the strongest first.
    pub shadowed: Vec<Beaten>,
}

/// A secret that a more specific one beats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Beaten {
    /// Its id.
    pub id: String,
    /// Its level.
    pub level: Level,
}

/// A required secret that a job doesn't get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Missing {
    /// What it would become.
    pub kind: Kind,
    /// The variable's name, or the service's.
    pub key: String,
    /// Why, in words.
    pub why: String,
}

/// Why a job would be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct WouldRefuse {
    /// A stable word.
    pub kind: String,
    /// The same for people.
    pub detail: String,
}

/// Who asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Whoami {
    /// `token:` and the token's id.
    pub subject: String,
    /// What the token is called.
    pub name: String,
    /// `read`: listing and explaining; `manage`: adding and removing besides; `delegate`: giving
    /// grants, making tokens and ending both besides.
    pub access: String,
    /// What it may administer.
    pub grants: Vec<Role>,
}

/// A role, and for which organization or project. An operator's is for everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Role {
    /// `operator`, `organization_admin` or `project_admin`.
    pub role: String,
    /// The organization of an `organization_admin`.
    pub organization: Option<String>,
    /// The project of a `project_admin`.
    pub project: Option<String>,
}

/// Something that somebody was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// Whose: the stable id of a person.
    pub subject: String,
    /// `operator`, `organization_admin` or `project_admin`.
    pub role: String,
    /// The organization of an `organization_admin`.
    pub organization: Option<String>,
    /// The project of a `project_admin`.
    pub project: Option<String>,
    /// When it was given.
    pub granted_at: String,
    /// Who gave it.
    pub granted_by: String,
}

/// Grants for one organization or project, or those of operators.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Grants {
    /// This part of them.
    pub grants: Vec<Grant>,
    /// The `after` of the next part; `null`: this is the last.
    pub next: Option<String>,
}

/// A grant that was taken away.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Revoked {
    /// It.
    pub revoked: Grant,
    /// Tokens for the same that its holder made, and that still work: tokens stand on their own.
    pub tokens: Vec<Token>,
}

/// The facts of an API token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Token {
    /// Its id: the part that is no secret.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// `operator`, `organization_admin` or `project_admin`.
    pub role: String,
    /// The organization of an `organization_admin`.
    pub organization: Option<String>,
    /// The project of a `project_admin`.
    pub project: Option<String>,
    /// `read`, `manage` or `delegate`.
    pub access: String,
    /// When it was made.
    pub created_at: String,
    /// Who made it; `token:` and an id: that token, which takes this one with it when it ends.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: String,
    /// When it was ended; `null`: it was not.
    pub revoked_at: Option<String>,
    /// When it was last used, to the minute; `null`: never.
    pub used_at: Option<String>,
}

/// A token that was ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct EndedToken {
    /// It.
    #[serde(flatten)]
    pub token: Token,
    /// The tokens that it made, those that they made, and so on, that were ended with it.
    #[serde(default)]
    #[cfg_attr(test, schema(required = true))]
    pub made: Vec<Token>,
}

/// API tokens for one organization or project, or those of operators, ended ones included.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Tokens {
    /// This part of them.
    pub tokens: Vec<Token>,
    /// The `after` of the next part; `null`: this is the last.
    pub next: Option<String>,
}

/// A registered organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Organization {
    /// Its id.
    pub id: String,
    /// Its members who are no admins.
    pub members: Vec<String>,
    /// Its admins.
    pub admins: Vec<String>,
    /// When it was registered first.
    pub registered_at: String,
}

/// Registered organizations, by id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Organizations {
    /// This part of them.
    pub organizations: Vec<Organization>,
    /// The `after` of the next part; `null`: this is the last.
    pub next: Option<String>,
}

/// A registered project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Project {
    /// Its id.
    pub id: String,
    /// The organization that it belongs to; `null`: a personal project.
    pub organization: Option<String>,
    /// Its members who are no admins.
    pub members: Vec<String>,
    /// Its admins.
    pub admins: Vec<String>,
    /// When it was registered first.
    pub registered_at: String,
}

/// Registered projects, by id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Projects {
    /// This part of them.
    pub projects: Vec<Project>,
    /// The `after` of the next part; `null`: this is the last.
    pub next: Option<String>,
}

/// Something that is registered no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Deleted {
    /// The secrets that were removed with it.
    pub purged: Vec<Secret>,
    /// How many secrets lie dormant now.
    pub dormant: u64,
}

/// A row of the audit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct AuditRow {
    /// Its id; ids sort by time.
    pub id: String,
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What was done, or tried.
    pub action: String,
    /// `allowed` or `denied`.
    pub decision: String,
    /// Why it was denied: a stable word.
    pub reason: Option<String>,
    /// The level that it was about; `organization` or `project` for all of one.
    pub level: Option<String>,
    /// The organization or the project.
    pub owner: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// More facts.
    #[cfg_attr(test, schema(value_type = Object))]
    pub detail: serde_json::Value,
}

/// Rows of the audit, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Audit {
    /// This part of them.
    pub rows: Vec<AuditRow>,
    /// The `after` of the next part; `null`: this is the last.
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_holds_no_slash() {
        assert_eq!(segment("ninja/field survey@a+b%2F"), "ninja%2Ffield%20survey%40a%2Bb%252F");
        assert_eq!(segment("org-81._~"), "org-81._~");
        assert_eq!(segment("ä"), "%C3%A4");
    }
}
