//! What administration is asked and what it answers: facts, and never a value but in an
//! [`Addition`], which goes in, and in a token that was just made.

use crate::access::{Access, Grant, Role, Scope};
use crate::membership;
use crate::precedence::{Candidate, Winner};
use crate::secret::{Id, Name, Owner, Value};
use crate::store::Record;
pub use crate::store::access::{ApiToken, Granted};
pub use crate::store::ledger::{AuditFilter, AuditRow};
pub use crate::store::listing::Filter;
pub use crate::store::overview::{COUNTED, Figures};
pub use crate::store::page::{Page, PageRequest};
pub use crate::store::registry::{Organization, Project, Registered};
pub use crate::store::sessions::{Entered, Session};

/// A secret to add. Its value was checked for its kind; see [`crate::server::submission`].
///
/// No `Clone`, `Display` or `Serialize`, for it holds a value.
#[derive(Debug)]
pub struct Addition {
    /// Its kind and key.
    pub name: Name,
    /// Whose it will be.
    pub owner: Owner,
    /// Whether to mask it.
    pub sensitive: bool,
    /// Its value: the variable's text, or the canonical section.
    pub value: Value,
}

/// A secret in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its facts.
    pub record: Record,
    /// Whether no job can get it: its scope is not registered any more, or its user is no member.
    pub dormant: bool,
}

/// Secrets of a scope, ordered by level, user, kind and key.
pub type Listing = Page<Listed>;

/// Somebody to whom secrets of a scope can be assigned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Their id.
    pub user: Id,
    /// Whether as an admin (of the project, of its organization, or of the organization).
    pub admin: bool,
}

/// Which part of what an actor administers is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What is searched: a part of an id, in either case.
    pub words: String,
    /// Which part of the organizations.
    pub organizations: PageRequest,
    /// Which part of the projects.
    pub projects: PageRequest,
}

/// What an actor may administer: registered organizations and projects, or where nothing is
/// registered, those that have secrets (for an operator) or grants (for others).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// Organizations, by id.
    pub organizations: Page<Seen>,
    /// Projects, by id.
    pub projects: Page<Seen>,
    /// Whether the actor is an operator, who administers all.
    pub operator: bool,
}

/// An organization or a project that an actor administers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub scope: Scope,
    /// A project's registered organization.
    pub organization: Option<Id>,
    /// As what the actor administers it: the widest, if there are several.
    pub role: Role,
    /// How much there is in it.
    pub figures: Figures,
}

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// What the session is ended by. It logs nobody in.
    pub id: String,
    /// Who, how and since when.
    pub session: Session,
}

/// A secret that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its facts.
    pub record: Record,
    /// What becomes effective for jobs that had it. Where members have defaults of the
    /// organization's, the sentence says so, and not who.
    pub instead: Option<Candidate>,
    /// The same as a sentence for people.
    pub sentence: String,
}

/// What to remove altogether.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// All of a project, user-assigned ones included.
    Project(Id),
    /// All that stands at an organization, its members' defaults included; not its projects'.
    Organization(Id),
    /// All that is for one user, wherever it stands.
    User(Id),
}

/// Which job to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its project.
    pub project: Id,
    /// The organization that it names. `None`: where projects are registered, the registered one.
    pub organization: Option<Id>,
    /// Its user; `None` for a system job.
    pub user: Option<Id>,
    /// What it requires.
    pub require: Vec<Name>,
}

/// What such a job would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whose secrets were looked at, the strongest level first.
    pub looked_at: Vec<Owner>,
    /// What the job gets, and what that beats, by name.
    pub winners: Vec<Winner>,
    /// What stands at the job's levels, and it doesn't get; of the organization's, only for who
    /// administers that.
    pub dormant: Vec<Candidate>,
    /// What it requires and doesn't get.
    pub missing: Vec<Missing>,
    /// Why the service would refuse the job; then it gets nothing.
    pub refused: Option<membership::Denied>,
}

/// A required secret that a job doesn't get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub name: Name,
    /// Why, as a sentence for people.
    pub why: String,
}

/// A grant that was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// It.
    pub granted: Granted,
    /// The tokens for the same scope that its holder made, and that still work: tokens stand on
    /// their own.
    pub tokens: Vec<ApiToken>,
}

/// An API token that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// It.
    pub token: ApiToken,
    /// The tokens that it made, those that they made, and so on, that worked until now, by id.
    pub made: Vec<ApiToken>,
}

/// An API token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// What to call it, 1 to 100 characters.
    pub name: String,
    /// What it may do.
    pub grant: Grant,
    /// How far.
    pub access: Access,
    /// For how many days, 1 to 365; 90 if not said, or fewer where the token that asks ends before.
    pub days: Option<u32>,
}

/// Something that is registered no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The secrets that were removed with it.
    pub purged: Vec<Record>,
    /// How many secrets lie dormant now.
    pub dormant: u64,
}
