//! What somebody administers: organizations and projects, in parts, with what is in each.

use std::collections::BTreeSet;

use super::work::Work;
use super::{Administration, Landing, Looked, Page, Refusal, Seen, key};
use crate::access::{Actor, Grant, Role, Scope};
use crate::secret::Id;
use crate::store::StoreError;
use crate::store::ledger::Entry;
use crate::store::overview::{self, Source, Within};

impl Administration {
    /// What the actor may administer, by id.
    ///
    /// An operator administers all. They see what is registered, or where nothing is, what has
    /// secrets.
    pub async fn landing(&self, actor: &Actor, looked: Looked) -> Result<Landing, Refusal> {
        let looked = Looked {
            organizations: key(looked.organizations)?,
            projects: key(looked.projects)?,
            ..looked
        };
        // No id has more, nor another character than these.
        if looked.words.len() > 255 || looked.words.contains(char::is_control) {
            return Err(Refusal::invalid("words", "give at most 255 bytes in one line"));
        }
        let attempt = Entry::allowed(&actor.subject, "landing.see");
        self.read(actor, attempt, move |work| Ok(landing(work, &looked)?)).await
    }
}

fn landing(work: &mut Work<'_>, looked: &Looked) -> Result<Landing, StoreError> {
    let Looked { words, organizations, projects } = looked;
    let source = if work.registered() { Source::Registry } else { Source::Secrets };
    let operator = work.actor.grants.contains(&Grant::Operator);
    let mut own = Own::default();
    for grant in work.actor.grants.clone() {
        match grant {
            Grant::Operator => {}
            Grant::OrganizationAdmin(id) => drop(own.organizations.insert(id)),
            Grant::ProjectAdmin(id) => drop(own.projects.insert(id)),
        }
    }
    let within = match operator {
        true => Within::Everything,
        false => {
            Within::Of { organizations: own.organizations.clone(), projects: own.projects.clone() }
        }
    };
    let found = overview::organizations(work.database, source, &within, words, organizations)?;
    let organizations = found.map(|id| (Scope::Organization(id), None));
    let found = overview::projects(work.database, source, &within, words, projects)?;
    let projects = found.map(|(id, organization)| (Scope::Project(id), organization));
    let all: Vec<Scope> =
        organizations.items.iter().chain(&projects.items).map(|(scope, _)| scope.clone()).collect();
    let mut figures = overview::figures(work.database, &all)?;
    let mut seen = |page: Page<(Scope, Option<Id>)>| {
        page.map(|(scope, organization)| Seen {
            figures: figures.remove(&scope).unwrap_or_default(),
            role: match operator {
                true => Role::Operator,
                false => own.role(&scope, organization.as_ref()),
            },
            scope,
            organization,
        })
    };
    Ok(Landing { organizations: seen(organizations), projects: seen(projects), operator })
}

/// What somebody administers who is no operator.
#[derive(Debug, Default)]
struct Own {
    organizations: BTreeSet<Id>,
    projects: BTreeSet<Id>,
}

impl Own {
    /// As what they administer a scope: the widest.
    fn role(&self, scope: &Scope, organization: Option<&Id>) -> Role {
        match scope {
            Scope::Organization(_) => Role::OrganizationAdmin,
            Scope::Project(_) if organization.is_some_and(|id| self.organizations.contains(id)) => {
                Role::OrganizationAdmin
            }
            Scope::Project(_) => Role::ProjectAdmin,
        }
    }
}
