//! From what the orchestrator registered and who a job is for: whose secrets the job may get.
//!
//! Invariants: never an owner beyond the job's own four ([`Identity::owners`]); nothing assigned
//! to a user who is no member; a token that disagrees with what is registered gets nothing at all.

use crate::job::Identity;
use crate::secret::{Id, Owner};

pub use crate::settings::service::NonMember;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::Level;

    const DENY: Membership = Membership::Registered { non_member: NonMember::Deny };
    const UNASSIGNED: Membership = Membership::Registered { non_member: NonMember::Unassigned };

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    fn identity(organization: Option<&str>, user: Option<&str>) -> Identity {
        Identity { project: id("p"), organization: organization.map(id), user: user.map(id) }
    }

    fn registered(organization: Option<&str>) -> Facts {
        Facts { project: Some(organization.map(id)), ..Facts::default() }
    }

    fn levels(result: &Result<Vec<Owner>, Denied>) -> Result<Vec<Level>, &'static str> {
        match result {
            Ok(owners) => Ok(owners.iter().map(Owner::level).collect()),
            Err(denied) => Err(denied.kind()),
        }
    }

    #[test]
    fn the_table() {
        use Level::{Organization as O, OrganizationUser as Ou, Project as P, ProjectUser as Pu};
        let (o, u) = (Some("o"), Some("u"));
        let stranger = registered(o);
        let member = Facts { in_project: true, ..registered(o) };
        let colleague = Facts { in_organization: true, ..registered(o) };
        let both = Facts { in_project: true, ..colleague.clone() };
        let admin = Facts { organization_admin: true, ..colleague.clone() };
        let personal = Facts { in_project: true, ..registered(None) };
        let (unknown, mismatch) = (Err("project_unknown"), Err("organization_mismatch"));
        let outsider = Err("not_a_member");
        for (what, claimed, facts, deny, unassigned) in [
            ("not registered", (o, u), Facts::default(), unknown.clone(), unknown.clone()),
            ("not registered, no user", (None, None), Facts::default(), unknown.clone(), unknown),
            ("stranger", (o, u), stranger.clone(), outsider.clone(), Ok(vec![O, P])),
            ("member", (o, u), member.clone(), Ok(vec![O, P, Pu]), Ok(vec![O, P, Pu])),
            ("of the organization", (o, u), colleague, outsider, Ok(vec![O, Ou, P])),
            ("of both", (o, u), both, Ok(vec![O, Ou, P, Pu]), Ok(vec![O, Ou, P, Pu])),
            ("its admin", (o, u), admin, Ok(vec![O, Ou, P, Pu]), Ok(vec![O, Ou, P, Pu])),
            ("system job", (o, None), stranger, Ok(vec![O, P]), Ok(vec![O, P])),
            ("personal", (None, u), personal.clone(), Ok(vec![P, Pu]), Ok(vec![P, Pu])),
            ("system, personal", (None, None), registered(None), Ok(vec![P]), Ok(vec![P])),
            ("transferred", (Some("x"), u), member.clone(), mismatch.clone(), mismatch.clone()),
            ("claims none", (None, u), member, mismatch.clone(), mismatch.clone()),
            ("claims one", (o, u), personal, mismatch.clone(), mismatch),
        ] {
            let identity = identity(claimed.0, claimed.1);
            assert_eq!(levels(&owners_for(&identity, DENY, &facts)), deny, "{what}");
            assert_eq!(levels(&owners_for(&identity, UNASSIGNED, &facts)), unassigned, "{what}");
            let trusted = owners_for(&identity, Membership::Trusted, &facts).unwrap();
            assert_eq!(trusted, identity.owners(), "{what}");
        }
    }

    #[test]
    fn denials_say_which_and_what() {
        let said = |claimed, facts| {
            owners_for(&identity(claimed, Some("u")), DENY, &facts).unwrap_err().to_string()
        };
        assert!(said(None, Facts::default()).contains("the project p is not registered"));
        let text = said(None, registered(Some("o")));
        assert!(text.contains("for the organization o") && text.contains("without"), "{text}");
        assert!(said(None, registered(None)).contains("u is no member of the project p"));
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let project = proptest::option::of(proptest::option::of("[ab]"));
        (project, any::<[bool; 3]>()).prop_map(|(project, [in_project, in_organization, admin])| {
            Facts {
                project: project.map(|organization| organization.map(|name| id(&name))),
                in_project,
                in_organization: in_organization || admin,
                organization_admin: admin,
            }
        })
    }

    proptest! {
        #[test]
        fn never_beyond_the_identity_and_never_for_who_is_no_member(
            organization in proptest::option::of("[ab]"),
            user in proptest::option::of("[uv]"),
            facts in facts(),
            deny in any::<bool>(),
        ) {
            let identity = identity(organization.as_deref(), user.as_deref());
            let mode = if deny { DENY } else { UNASSIGNED };
            let Ok(owners) = owners_for(&identity, mode, &facts) else { return Ok(()) };
            let own = identity.owners();
            prop_assert!(owners.iter().all(|owner| own.contains(owner)));
            prop_assert!(owners.is_sorted_by_key(Owner::level));
            prop_assert_eq!(facts.project.as_ref(), Some(&identity.organization));
            for owner in &owners {
                match owner.level() {
                    Level::ProjectUser => prop_assert!(facts.in_project || facts.organization_admin),
                    Level::OrganizationUser => prop_assert!(facts.in_organization),
                    Level::Organization | Level::Project => {}
                }
            }
            // A removed member gets nothing assigned, and everything again when they are back.
            let removed =
                Facts { project: facts.project.clone(), ..Facts::default() };
            if let Ok(left) = owners_for(&identity, mode, &removed) {
                prop_assert!(left.iter().all(|owner| owner.user().is_none()));
            }
            prop_assert_eq!(owners_for(&identity, mode, &facts).unwrap(), owners);
        }
    }
}
