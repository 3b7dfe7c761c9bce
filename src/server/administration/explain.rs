//! Which secrets a job would get, and why. Nothing is decrypted.

use super::work::{Stop, Work};
use super::{Administration, Explanation, Missing, Question, Refusal};
use crate::access::{Action, Actor, Scope};
use crate::job::Identity;
use crate::membership;
use crate::precedence::{self, Candidate};
use crate::secret::{Level, Name, Owner};
use crate::store::ledger::Entry;
use crate::store::{Record, registry, secrets};

impl Administration {
    /// What a job would get, and why.
    ///
    /// Who administers a project sees which secrets of its registered organization win: facts
    /// only; what lies dormant there is for the organization's own admins. A job that names another
    /// organization is refused, and of that one nothing is told.
    /// Where nothing is registered, the question names the organization, and only who administers
    /// that as well may ask.
    pub async fn explain(
        &self,
        actor: &Actor,
        question: &Question,
    ) -> Result<Explanation, Refusal> {
        let scope = Scope::Project(question.project.clone());
        let attempt = Entry::allowed(&actor.subject, "job.explain").of_scope(&scope);
        let question = question.clone();
        self.read(actor, attempt, move |work| explain(work, &question)).await
    }
}

fn explain(work: &mut Work<'_>, question: &Question) -> Result<Explanation, Stop> {
    let Question { project, organization, user, require } = question;
    work.permit_at(Action::See, &Scope::Project(project.clone()))?;
    let organization = if work.registered() {
        registry::organization_of(work.database, project)?.flatten()
    } else {
        if let Some(organization) = organization {
            work.permit_at(Action::See, &Scope::Organization(organization.clone()))?;
        }
        organization.clone()
    };
    let identity = Identity { project: project.clone(), organization, user: user.clone() };
    let mut asked = identity.clone();
    if question.organization.is_some() {
        asked.organization.clone_from(&question.organization);
    }
    let (owners, refused) =
        match registry::owners_for(work.database, &asked, work.policy.membership)? {
            Ok(owners) => (owners, None),
            Err(refused) => (Vec::new(), Some(refused)),
        };
    let there = secrets::candidates(work.database, &identity.owners())?;
    let (effective, mut dormant): (Vec<Candidate>, Vec<Candidate>) =
        there.into_iter().map(candidate).partition(|candidate| owners.contains(&candidate.owner));
    if let Some(organization) = &identity.organization {
        // What the job doesn't get of it is told only to who sees all of it.
        let place = work.place(&Scope::Organization(organization.clone()))?;
        if work.permit(Action::See, Some(&place)).is_err() {
            dormant.retain(|candidate| Scope::from(&candidate.owner) != place.scope);
        }
    }
    // Where members' defaults are switched off, that level is named only if something from before
    // stands there still: jobs get it.
    let counts = |owner: &Owner| {
        owner.level() != Level::OrganizationUser
            || work.policy.organization_user
            || effective.iter().any(|candidate| candidate.owner == *owner)
    };
    let looked_at: Vec<Owner> = owners.into_iter().rev().filter(counts).collect();
    let resolution =
        precedence::resolve(&identity, effective).map_err(|why| Refusal::Store(why.into()))?;
    let missing = resolution.missing(require).into_iter();
    let missing = missing
        .map(|name| Missing {
            why: why_missing(&name, &identity, &looked_at, &dormant, refused.as_ref()),
            name,
        })
        .collect();
    Ok(Explanation { looked_at, winners: resolution.winners().to_vec(), dormant, missing, refused })
}

/// Not who added it, and when: those are for who administers the level that it stands at.
pub(super) fn candidate(record: Record) -> Candidate {
    let Record { id, name, owner, sensitive, .. } = record;
    Candidate { id, name, owner, sensitive }
}

/// Why a job doesn't get what it requires, as a sentence for people.
fn why_missing(
    name: &Name,
    identity: &Identity,
    looked_at: &[Owner],
    dormant: &[Candidate],
    refused: Option<&membership::Denied>,
) -> String {
    if let Some(refused) = refused {
        return format!("The job is refused: {refused}.");
    }
    if let Some(there) = dormant.iter().find(|candidate| candidate.name == *name) {
        return format!(
            "It stands at {}, and the job's user is no member there, so the job doesn't get it.",
            there.owner
        );
    }
    let places: Vec<String> = looked_at.iter().map(ToString::to_string).collect();
    let mut text = format!("Nobody added it for {}", places.join("; "));
    if identity.organization.is_none() {
        text.push_str("; the project belongs to no organization");
    }
    if identity.user.is_none() {
        text.push_str("; the job runs for no user, so it gets nothing assigned");
    }
    text.push('.');
    text
}
