//! Who may do what: a pure decision over grants, the same for the page and the API.
//!
//! Invariants:
//! - Nobody can give more than they have: whoever may give a grant administers all that it covers.
//! - An API token is never more than its one grant, and gives nothing on unless it was made to
//!   ([`Access::Delegate`]). The tokens that it makes end with it.
//! - What somebody may not see is [`Denied::Hidden`], which has to be answered exactly as what
//!   doesn't exist.
//!
//! A grant stands on its own: it stays when who gave it loses theirs. So does a token that a person
//! made; it is ended by whoever administers its scope, or by its expiry.

use std::fmt;
use std::str::FromStr;

use crate::secret::{Id, Owner, UnknownWord};

/// What somebody was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Everything.
    Operator,
    /// An organization: its secrets, its members' defaults, and the projects that are registered
    /// as its own.
    OrganizationAdmin(Id),
    /// A project: its secrets.
    ProjectAdmin(Id),
}

/// The kind of a [`Grant`], as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// [`Grant::Operator`].
    Operator,
    /// [`Grant::OrganizationAdmin`].
    OrganizationAdmin,
    /// [`Grant::ProjectAdmin`].
    ProjectAdmin,
}

impl Role {
    /// Every role, the widest first.
    pub const ALL: [Self; 3] = [Self::Operator, Self::OrganizationAdmin, Self::ProjectAdmin];

    /// The word in documents and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::OrganizationAdmin => "organization_admin",
            Self::ProjectAdmin => "project_admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or(UnknownWord("a role: operator, organization_admin or project_admin"))
    }
}

impl Grant {
    /// A grant from its parts; `None` where the role needs an id and has none, or the reverse.
    pub fn new(role: Role, id: Option<Id>) -> Option<Self> {
        match (role, id) {
            (Role::Operator, None) => Some(Self::Operator),
            (Role::OrganizationAdmin, Some(id)) => Some(Self::OrganizationAdmin(id)),
            (Role::ProjectAdmin, Some(id)) => Some(Self::ProjectAdmin(id)),
            _ => None,
        }
    }

    /// Its kind.
    pub fn role(&self) -> Role {
        match self {
            Self::Operator => Role::Operator,
            Self::OrganizationAdmin(_) => Role::OrganizationAdmin,
            Self::ProjectAdmin(_) => Role::ProjectAdmin,
        }
    }

    /// What it is for; an operator's is for everything.
    pub fn scope(&self) -> Option<Scope> {
        match self {
            Self::Operator => None,
            Self::OrganizationAdmin(id) => Some(Scope::Organization(id.clone())),
            Self::ProjectAdmin(id) => Some(Scope::Project(id.clone())),
        }
    }

    /// The organization's or project's id; an operator's has none.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Operator => None,
            Self::OrganizationAdmin(id) | Self::ProjectAdmin(id) => Some(id),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::OrganizationAdmin(id) => write!(f, "admin of organization {id}"),
            Self::ProjectAdmin(id) => write!(f, "admin of project {id}"),
        }
    }
}

/// How far a grant may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Listing secrets and explaining; nothing else.
    Read,
    /// All that the grant allows but giving on and taking away.
    Manage,
    /// All that the grant allows: also giving grants and taking them away, making API tokens and
    /// ending them. A person has this.
    Delegate,
}

impl Access {
    /// Every access.
    pub const ALL: [Self; 3] = [Self::Read, Self::Manage, Self::Delegate];

    /// The word in documents and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Delegate => "delegate",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Access {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|access| access.as_str() == word)
            .ok_or(UnknownWord("an access: read, manage or delegate"))
    }
}

/// How subjects of API tokens begin; the token's id follows. No person's does.
pub const TOKEN_SUBJECT: &str = "token:";

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The stable id of a person, which is also their id as a user of jobs; `token:<id>` for an
    /// API token.
    pub subject: String,
    /// For people; not unique.
    pub name: String,
    /// What the login itself vouches for (an identity provider's claim, a one-time link). Nothing
    /// for an API token.
    pub claimed: Vec<Grant>,
    /// All that the actor had when last looked up: `claimed`, what is stored, and the admin roles
    /// that are registered. A change is decided over what holds in its own transaction.
    pub grants: Vec<Grant>,
    /// How far the grants may be used.
    pub access: Access,
    /// How the actor came in.
    pub via: Via,
}

impl Actor {
    /// Who it is, for lists and the audit: `name (subject)`; for whoever came by a link, of which
    /// nobody knows more, the name alone.
    pub fn label(&self) -> String {
        if self.via == Via::Link && !self.name.is_empty() {
            self.name.clone()
        } else if self.name.is_empty() || self.name == self.subject {
            self.subject.clone()
        } else {
            format!("{} ({})", self.name, self.subject)
        }
    }
}

/// How an actor came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// A person who logged in.
    Session,
    /// An API token.
    ApiToken {
        /// The token's id, which is no secret.
        id: String,
    },
    /// A person with a one-time link from the command line.
    Link,
}

/// What has a tab of secrets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// An organization, with its members' defaults.
    Organization(Id),
    /// A project, with what is assigned to users within it.
    Project(Id),
}

impl Scope {
    /// The organization's or project's id.
    pub fn id(&self) -> &Id {
        match self {
            Self::Organization(id) | Self::Project(id) => id,
        }
    }

    /// `organization` or `project`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Organization(_) => "organization",
            Self::Project(_) => "project",
        }
    }

    /// Whose secret it is that stands here, for everybody or for one user.
    pub fn owner(&self, user: Option<Id>) -> Owner {
        match self.clone() {
            Self::Organization(organization) => Owner::Organization { organization, user },
            Self::Project(project) => Owner::Project { project, user },
        }
    }

    /// The grant of its admins.
    pub fn admin(&self) -> Grant {
        match self.clone() {
            Self::Organization(id) => Grant::OrganizationAdmin(id),
            Self::Project(id) => Grant::ProjectAdmin(id),
        }
    }
}

impl From<&Owner> for Scope {
    fn from(owner: &Owner) -> Self {
        match owner {
            Owner::Organization { organization, .. } => Self::Organization(organization.clone()),
            Owner::Project { project, .. } => Self::Project(project.clone()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word(), self.id())
    }
}

/// A scope, and what is registered about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub scope: Scope,
    /// Whether it is there: registered, or taken on trust where nothing is registered.
    pub known: bool,
    /// The registered organization of a project. Nothing is known of it where nothing is
    /// registered, so that only its own admins and operators administer it there.
    pub organization: Option<Id>,
}

/// What is about to be done, at a place or to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Listing secrets, looking at one, explaining.
    See,
    /// Adding, removing, purging.
    Change,
    /// Listing whom secrets can be assigned to.
    SeeMembers,
    /// Listing grants and tokens.
    SeeAccess,
    /// Giving a grant.
    Give,
    /// Taking a grant away.
    Revoke,
    /// Making an API token.
    Issue,
    /// Ending one.
    RevokeToken,
    /// Reading the audit.
    SeeAudit,
    /// Seeing and changing what is registered: an operator's.
    Register,
    /// Removing all of one user, wherever it stands: an operator's.
    PurgeUser,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 11] = [
        Self::See,
        Self::Change,
        Self::SeeMembers,
        Self::SeeAccess,
        Self::Give,
        Self::Revoke,
        Self::Issue,
        Self::RevokeToken,
        Self::SeeAudit,
        Self::Register,
        Self::PurgeUser,
    ];

    /// The least access with which it can be done.
    fn needs(self) -> Access {
        match self {
            Self::See => Access::Read,
            Self::Change
            | Self::SeeMembers
            | Self::SeeAccess
            | Self::SeeAudit
            | Self::Register
            | Self::PurgeUser => Access::Manage,
            Self::Give | Self::Revoke | Self::Issue | Self::RevokeToken => Access::Delegate,
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The place is none of the actor's business, be it there or not.
    #[error("there is no such organization, project or secret, or you don't administer it")]
    Hidden,
    /// A token that only reads.
    #[error("this API token may list and explain only; use one whose access is `manage`")]
    ReadOnly,
    /// A token that was not made to give or take away.
    #[error(
        "this API token may not give or take away grants and tokens; use one whose access is \
         `delegate`, or log in"
    )]
    Delegation,
    /// It concerns everybody.
    #[error("this needs an operator")]
    OperatorOnly,
}

impl Denied {
    /// The stable word.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Hidden => "not_found",
            Self::ReadOnly => "read_only",
            Self::Delegation => "no_delegation",
            Self::OperatorOnly => "operator_only",
        }
    }
}

/// Whether somebody with these grants administers a place.
fn administers(grants: &[Grant], place: &Place) -> bool {
    grants.iter().any(|grant| match (grant, &place.scope) {
        (Grant::Operator, _) => true,
        // What isn't registered is an operator's: nobody knows whose it is.
        _ if !place.known => false,
        (Grant::OrganizationAdmin(mine), Scope::Organization(id)) => mine == id,
        (Grant::OrganizationAdmin(mine), Scope::Project(_)) => {
            place.organization.as_ref() == Some(mine)
        }
        (Grant::ProjectAdmin(mine), Scope::Project(id)) => mine == id,
        (Grant::ProjectAdmin(_), Scope::Organization(_)) => false,
    })
}

/// Decides over one action at a place; `None` is everything.
///
/// What can't be seen is hidden before anything else is said about it.
pub fn may(actor: &Actor, action: Action, place: Option<&Place>) -> Result<(), Denied> {
    let operator = actor.grants.contains(&Grant::Operator);
    match place {
        _ if operator => {}
        Some(place) if !administers(&actor.grants, place) => return Err(Denied::Hidden),
        Some(_) if !matches!(action, Action::Register | Action::PurgeUser) => {}
        _ => return Err(Denied::OperatorOnly),
    }
    if actor.access >= action.needs() {
        return Ok(());
    }
    Err(if actor.access == Access::Read { Denied::ReadOnly } else { Denied::Delegation })
}

#[cfg(test)]
mod tests;
