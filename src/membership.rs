//! From what the orchestrator registered and who a job is for: whose secrets the job may get.
//!
//! Invariants: never an owner beyond the job's own four ([`Identity::owners`]); nothing assigned
//! to a user who is no member; a token that disagrees with what is registered gets nothing at all.

use crate::job::Identity;
use crate::secret::{Id, Owner};

/// Where it is known who belongs where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The orchestrator registers organizations, projects and their members.
    Registered {
        /// What a job gets that runs for somebody else, as in a public project.
        non_member: NonMember,
    },
    /// Nothing is registered: the job token's word is taken for it.
    Trusted,
}

/// What a job gets that runs for somebody who is no member of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonMember {
    /// Nothing: the job is denied.
    Deny,
    /// What is for everybody in the project, and nothing assigned.
    Unassigned,
}

/// What is registered about a job's project and user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The project's organization, itself `None` for a personal project; `None` if the project
    /// is not registered.
    pub project: Option<Option<Id>>,
    /// Whether the user is a member or an admin of the project.
    pub in_project: bool,
    /// Whether the user is a member or an admin of the project's organization.
    pub in_organization: bool,
    /// Whether the user is an admin of the project's organization.
    pub organization_admin: bool,
}

impl Facts {
    /// Whether secrets of the project can be assigned to the user: a member or admin of it, or an
    /// admin of its organization.
    pub fn is_member(&self) -> bool {
        self.in_project || self.organization_admin
    }
}

/// Why a job gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody registered it, or it was deleted.
    #[error("the project {0} is not registered; the orchestrator has to register it")]
    ProjectUnknown(Id),
    /// The token says another organization than the registry.
    #[error(
        "the project {project} is registered {}, and the job token says {}",
        of(.registered), of(.claimed)
    )]
    OrganizationMismatch {
        /// The project.
        project: Id,
        /// As registered.
        registered: Option<Id>,
        /// As the token has it.
        claimed: Option<Id>,
    },
    /// No member, and `non_member = "deny"`.
    #[error("the user {user} is no member of the project {project}")]
    NotAMember {
        /// The project.
        project: Id,
        /// The user.
        user: Id,
    },
}

fn of(organization: &Option<Id>) -> String {
    match organization {
        Some(id) => format!("for the organization {id}"),
        None => "without an organization".to_owned(),
    }
}

impl Denied {
    /// The stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ProjectUnknown(_) => "project_unknown",
            Self::OrganizationMismatch { .. } => "organization_mismatch",
            Self::NotAMember { .. } => "not_a_member",
        }
    }
}

/// The owners whose secrets a job may get, the weakest level first.
pub fn owners_for(
    identity: &Identity,
    membership: Membership,
    facts: &Facts,
) -> Result<Vec<Owner>, Denied> {
    let Membership::Registered { non_member } = membership else { return Ok(identity.owners()) };
    let project = &identity.project;
    let registered =
        facts.project.as_ref().ok_or_else(|| Denied::ProjectUnknown(project.clone()))?;
    if *registered != identity.organization {
        return Err(Denied::OrganizationMismatch {
            project: project.clone(),
            registered: registered.clone(),
            claimed: identity.organization.clone(),
        });
    }
    if let Some(user) = &identity.user
        && !facts.is_member()
        && non_member == NonMember::Deny
    {
        return Err(Denied::NotAMember { project: project.clone(), user: user.clone() });
    }
    let mut owners = identity.owners();
    owners.retain(|owner| match owner {
        Owner::Organization { user: Some(_), .. } => facts.in_organization,
        Owner::Project { user: Some(_), .. } => facts.is_member(),
        Owner::Organization { user: None, .. } | Owner::Project { user: None, .. } => true,
    });
    Ok(owners)
}
