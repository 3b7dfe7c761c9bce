//! What becomes effective when a secret goes, and which secrets no job can get.

use std::collections::{BTreeMap, BTreeSet};

use super::explain::candidate;
use super::work::{Stop, Work};
use super::{Administration, Refusal, Removed};
use crate::access::{Action, Actor, Place, Scope};
use crate::secret::{Id, Kind, Owner, SecretId};
use crate::store::ledger::Entry;
use crate::store::{Record, Selection, StoreError, registry, secrets};

/// Tells dormant secrets of one scope; asks once for each user.
pub(super) struct Dormancy<'a> {
    place: &'a Place,
    assignable: BTreeMap<Id, bool>,
}

impl<'a> Dormancy<'a> {
    pub(super) fn of(place: &'a Place) -> Self {
        Self { place, assignable: BTreeMap::new() }
    }

    /// Whether no job can get what is this owner's, who is of the place.
    pub(super) fn is_dormant(
        &mut self,
        work: &mut Work<'_>,
        owner: &Owner,
    ) -> Result<bool, StoreError> {
        let (true, Some(user)) = (self.place.known, owner.user()) else {
            return Ok(!self.place.known);
        };
        if !work.registered() {
            return Ok(false);
        }
        let assignable = match self.assignable.get(user) {
            Some(assignable) => *assignable,
            None => {
                let found = registry::is_assignable(work.database, &self.place.scope, user)?;
                self.assignable.insert(user.clone(), found);
                found
            }
        };
        Ok(!assignable)
    }
}

impl Administration {
    /// The names of one kind that are taken at exactly this level.
    pub async fn taken(
        &self,
        actor: &Actor,
        owner: &Owner,
        kind: Kind,
    ) -> Result<BTreeSet<String>, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "secret.list").of_owner(owner);
        let owner = owner.clone();
        let work = move |work: &mut Work<'_>| {
            work.permit_at(Action::See, &Scope::from(&owner))?;
            let there = secrets::list(work.database, &Selection::Owner(owner))?;
            let of_kind = there.into_iter().filter(|record| record.name.kind == kind);
            Ok(of_kind.map(|record| record.name.key).collect())
        };
        self.read(actor, attempt, work).await
    }
}

/// What an answer to a removal is made from.
#[derive(Debug)]
struct Others {
    dormant: bool,
    /// Whether it is known to which organization the project belongs, if to any.
    organization_known: bool,
    /// At the project, at the organization for the same user, at the organization; where weaker
    /// than the removed one.
    chain: Vec<Record>,
    /// Whether members have defaults of the organization's, which beat the organization's own.
    defaults: bool,
}

/// Finds what takes a secret's place. Looks only at what the actor may know of: the secret's own
/// scope, and the organization that is registered for it.
pub(super) fn removed(
    work: &mut Work<'_>,
    place: &Place,
    record: Record,
) -> Result<Removed, StoreError> {
    let dormant = Dormancy::of(place).is_dormant(work, &record.owner)?;
    let organization = match &place.scope {
        Scope::Organization(id) => Some(id.clone()),
        Scope::Project(_) => place.organization.clone(),
    };
    let user = record.owner.user().cloned();
    let mut weaker = Vec::new();
    if let Owner::Project { project, .. } = &record.owner {
        weaker.push(Owner::Project { project: project.clone(), user: None });
    }
    if let Some(organization) = &organization {
        if let Some(user) = &user
            && is_member(work, organization, user)?
        {
            weaker.push(Owner::Organization {
                organization: organization.clone(),
                user: Some(user.clone()),
            });
        }
        weaker.push(Owner::Organization { organization: organization.clone(), user: None });
    }
    weaker.retain(|owner| owner.level() < record.owner.level());
    let mut chain = Vec::new();
    for owner in weaker {
        let found = secrets::list(work.database, &Selection::Owner(owner))?;
        chain.extend(found.into_iter().filter(|other| other.name == record.name));
    }
    let mut defaults = false;
    if let (Owner::Project { user: None, .. }, Some(organization)) = (&record.owner, organization) {
        let all = secrets::list(work.database, &Selection::Organization(organization.clone()))?;
        for other in all.iter().filter(|other| other.name == record.name) {
            if let Some(user) = other.owner.user() {
                defaults |= is_member(work, &organization, user)?;
            }
        }
    }
    let organization_known = work.registered() || matches!(place.scope, Scope::Organization(_));
    let others = Others { dormant, organization_known, chain, defaults };
    let sentence = sentence(&record, &others);
    let strongest = others.chain.into_iter().next();
    let instead = strongest.filter(|_| !others.dormant).map(candidate);
    Ok(Removed { record, instead, sentence })
}

fn is_member(work: &mut Work<'_>, organization: &Id, user: &Id) -> Result<bool, StoreError> {
    let scope = Scope::Organization(organization.clone());
    Ok(!work.registered() || registry::is_assignable(work.database, &scope, user)?)
}

/// The same for people.
fn sentence(removed: &Record, others: &Others) -> String {
    let owner = &removed.owner;
    if others.dormant {
        let why = match owner.user() {
            Some(user) => format!("{user} is no member there, or it is not registered"),
            None => "it is not registered".to_owned(),
        };
        return format!("No job got it, for {why}.");
    }
    let elsewhere = match owner {
        Owner::Organization { .. } => ", where no project has one of its own",
        Owner::Project { .. } => "",
    };
    let now = match others.chain.first().map(|record| &record.owner) {
        Some(Owner::Project { .. }) => "the project's".to_owned(),
        Some(Owner::Organization { user: Some(_), .. }) => {
            "the organization's default for this member".to_owned()
        }
        Some(Owner::Organization { user: None, .. }) => format!("the organization's{elsewhere}"),
        None if !others.organization_known => {
            "the one of the project's organization, if that has one; otherwise none".to_owned()
        }
        None => format!("none{elsewhere}"),
    };
    let members = if others.defaults {
        "; members with a default of the organization's get that"
    } else {
        ""
    };
    format!("Without it, jobs for {owner} get {now}{members}.")
}

impl Work<'_> {
    /// A secret that is there, and its place; hidden if it isn't.
    pub(super) fn secret(&mut self, id: &SecretId) -> Result<(Record, Place), Stop> {
        // What can't be an id doesn't reach the database, nor the audit.
        let shaped = id.as_str().len() <= 64 && id.as_str().bytes().all(|b| b.is_ascii_graphic());
        let found = if shaped { secrets::find(self.database, id)? } else { None };
        let record = found.ok_or(Refusal::NOT_FOUND)?;
        self.attempt = self.attempt.clone().of_owner(&record.owner);
        let place = self.place(&Scope::from(&record.owner))?;
        Ok((record, place))
    }
}
