//! Listing, adding and removing secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::effective::{self, Dormancy};
use super::work::{Stop, Work};
use super::{
    Addition, Administration, Filter, IdempotencyKey, Listed, Listing, Member, Page, PageRequest,
    Purge, Refusal, Removed,
};
use crate::access::{Action, Actor, Scope};
use crate::secret::{Kind, Level, Name, Owner, SecretId};
use crate::store::ledger::{self, Entry, Recalled};
use crate::store::{
    KeyId, NewSecret, Record, Selection, StoreError, changes, listing, registry, secrets,
};

/// The most secrets in one request.
const MAX_ADDITIONS: usize = 1000;

impl Administration {
    /// Whom secrets of a scope can be assigned to, by id. Empty in trusted mode, where anybody can
    /// be assigned to.
    pub async fn members(&self, actor: &Actor, scope: &Scope) -> Result<Vec<Member>, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "member.list").of_scope(scope);
        let scope = scope.clone();
        let work = move |work: &mut Work<'_>| {
            work.permit_at(Action::SeeMembers, &scope)?;
            if !work.registered() {
                return Ok(Vec::new());
            }
            let found = registry::assignable(work.database, &scope)?;
            Ok(found.into_iter().map(|(user, admin)| Member { user, admin }).collect())
        };
        self.read(actor, attempt, work).await
    }

    /// The secrets of a scope.
    pub async fn list(
        &self,
        actor: &Actor,
        scope: &Scope,
        page: PageRequest,
    ) -> Result<Listing, Refusal> {
        self.search(actor, scope, Filter::default(), page).await
    }

    /// Those of a scope's secrets that a filter lets pass.
    pub async fn search(
        &self,
        actor: &Actor,
        scope: &Scope,
        filter: Filter,
        page: PageRequest,
    ) -> Result<Listing, Refusal> {
        for (field, text) in [("user", &filter.user), ("words", &filter.words)] {
            if text.len() > 1100 || text.contains(char::is_control) {
                return Err(Refusal::invalid(field, "this is longer than any, or not in one line"));
            }
        }
        let behind = page.after.as_deref().map(str::parse).transpose();
        let behind: Option<listing::Behind> = behind
            .map_err(|why: listing::NoSuchPlace| Refusal::invalid("after", why.to_string()))?;
        let attempt = Entry::allowed(&actor.subject, "secret.list").of_scope(scope);
        let scope = scope.clone();
        let work = move |work: &mut Work<'_>| {
            let place = work.permit_at(Action::See, &scope)?;
            let found = listing::secrets(work.database, &scope, &filter, behind.as_ref(), &page)?;
            let mut dormancy = Dormancy::of(&place);
            let mut items = Vec::with_capacity(found.items.len());
            for record in found.items {
                let dormant = dormancy.is_dormant(work, &record.owner)?;
                items.push(Listed { record, dormant });
            }
            Ok(Page { items, next: found.next })
        };
        self.read(actor, attempt, work).await
    }

    /// One secret.
    pub async fn secret(&self, actor: &Actor, id: &SecretId) -> Result<Listed, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "secret.see");
        let id = id.clone();
        let work = move |work: &mut Work<'_>| {
            let (record, place) = work.secret(&id)?;
            work.permit(Action::See, Some(&place))?;
            let dormant = Dormancy::of(&place).is_dormant(work, &record.owner)?;
            Ok(Listed { record, dormant })
        };
        self.read(actor, attempt, work).await
    }

    /// Adds secrets, all or none. `replace` puts them in the place of those that are there, under
    /// new ids.
    ///
    /// With a key, a repeated request gets the first one's answer for 24 hours. What makes it the
    /// same request is everything but the values.
    pub async fn add(
        &self,
        actor: &Actor,
        additions: Vec<Addition>,
        replace: bool,
        key: Option<IdempotencyKey>,
    ) -> Result<Vec<Record>, Refusal> {
        self.check(&additions)?;
        let recipient = Arc::clone(&self.recipient);
        let facts = facts(&additions, replace);
        let created_by = actor.label();
        let mut attempt = Entry::allowed(&actor.subject, "secret.add");
        if let Some(first) = additions.first() {
            attempt = attempt.of_owner(&first.owner);
        }
        let new: Vec<NewSecret> = additions
            .into_iter()
            .map(|Addition { name, owner, sensitive, value }| NewSecret {
                name,
                owner,
                sensitive,
                created_by: created_by.clone(),
                value,
            })
            .collect();
        let owners: BTreeSet<Owner> = new.iter().map(|secret| secret.owner.clone()).collect();
        let decide = {
            let (owners, key, facts) = (owners.clone(), key.clone(), facts.clone());
            move |work: &mut Work<'_>| {
                for owner in &owners {
                    work.attempt = work.attempt.clone().of_owner(owner);
                    may_add(work, owner)?;
                }
                let Some(key) = &key else { return Ok(None) };
                match ledger::recall(work.database, &work.actor.subject, key, &facts, work.now)? {
                    Recalled::New => Ok(None),
                    Recalled::Mismatch => Err(Refusal::IdempotencyMismatch.into()),
                    Recalled::Answer(answer) => match kept(&answer) {
                        Some(records) => Ok(Some(records)),
                        None => {
                            let place = work.database.place().clone();
                            Err(StoreError::Damaged(place).into())
                        }
                    },
                }
            }
        };
        let act = move |work: &mut Work<'_>, before: Option<Vec<Record>>| {
            if let Some(before) = before {
                return Ok((before, Vec::new()));
            }
            let public = recipient.key(&secrets::recipient(work.database)?)?;
            let (added, entries) =
                changes::add(work.database, &work.attempt, &new, &public, replace)?;
            if let Some(key) = &key {
                let subject = &work.actor.subject;
                ledger::remember(work.database, subject, key, &facts, &keep(&added), work.now)?;
            }
            Ok((added, entries))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// What can be seen without the store.
    pub(super) fn check(&self, additions: &[Addition]) -> Result<(), Refusal> {
        if additions.is_empty() || additions.len() > MAX_ADDITIONS {
            let why = format!("give 1 to {MAX_ADDITIONS} at once");
            return Err(Refusal::invalid("secrets", why));
        }
        let mut seen = BTreeSet::new();
        for Addition { name, owner, value, .. } in additions {
            if owner.level() == Level::OrganizationUser && !self.policy.organization_user {
                return Err(Refusal::LevelDisabled);
            }
            if !seen.insert((name, owner)) {
                return Err(Refusal::Twice { name: name.clone() });
            }
            if !crate::server::submission::is_sound(name, value) {
                let why = format!("{name} is not what its kind demands; send it as it was checked");
                return Err(Refusal::invalid("value", why));
            }
        }
        Ok(())
    }

    /// Removes a secret, and says what becomes effective instead.
    pub async fn remove(&self, actor: &Actor, id: &SecretId) -> Result<Removed, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "secret.remove");
        let id = id.clone();
        let decide = move |work: &mut Work<'_>| would_remove(work, &id);
        let act = |work: &mut Work<'_>, removed: Removed| {
            let entry = changes::remove(work.database, &work.attempt, &removed.record)?;
            Ok((removed, vec![entry]))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// What [`Administration::remove`] would answer, without removing anything.
    pub async fn would_be_effective(
        &self,
        actor: &Actor,
        id: &SecretId,
    ) -> Result<Removed, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "secret.remove");
        let id = id.clone();
        self.read(actor, attempt, move |work| would_remove(work, &id)).await
    }

    /// Removes many; with `dry_run` it only says which. Of a project or an organization that is not
    /// registered any more, operators can remove what is left.
    pub async fn purge(
        &self,
        actor: &Actor,
        what: &Purge,
        dry_run: bool,
    ) -> Result<Vec<Record>, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "secret.purge");
        let attempt = match what {
            Purge::Project(id) => attempt.of_scope(&Scope::Project(id.clone())),
            Purge::Organization(id) => attempt.of_scope(&Scope::Organization(id.clone())),
            Purge::User(id) => attempt.of_user(id),
        };
        let what = what.clone();
        let decide = move |work: &mut Work<'_>| {
            let selection = selection(&what);
            match &what {
                Purge::Project(id) => {
                    work.permit_at(Action::Change, &Scope::Project(id.clone())).map(drop)?;
                }
                Purge::Organization(id) => {
                    work.permit_at(Action::Change, &Scope::Organization(id.clone())).map(drop)?;
                }
                Purge::User(_) => work.permit(Action::PurgeUser, None)?,
            }
            let records = secrets::list(work.database, &selection)?;
            Ok((selection, records))
        };
        if dry_run {
            return self.read(actor, attempt, decide).await.map(|(_, records)| records);
        }
        let act = |work: &mut Work<'_>, (selection, records): (Selection, Vec<Record>)| {
            let (_, entries) = changes::purge(work.database, &work.attempt, &selection, &records)?;
            Ok((records, entries))
        };
        self.write(actor, attempt, decide, act).await
    }
}

/// All of what is purged.
pub(super) fn selection(what: &Purge) -> Selection {
    match what.clone() {
        Purge::Project(id) => Selection::Project(id),
        Purge::Organization(id) => Selection::Organization(id),
        Purge::User(id) => Selection::User(id),
    }
}

pub(super) fn may_add(work: &mut Work<'_>, owner: &Owner) -> Result<(), Stop> {
    let scope = Scope::from(owner);
    let place = work.permit_at(Action::Change, &scope)?;
    if !place.known {
        return Err(Refusal::NotRegistered(scope).into());
    }
    match owner.user() {
        Some(user)
            if work.registered() && !registry::is_assignable(work.database, &scope, user)? =>
        {
            Err(Refusal::NotAMember { user: user.clone(), scope }.into())
        }
        _ => Ok(()),
    }
}

fn would_remove(work: &mut Work<'_>, id: &SecretId) -> Result<Removed, Stop> {
    let (record, place) = work.secret(id)?;
    work.permit(Action::Change, Some(&place))?;
    Ok(effective::removed(work, &place, record)?)
}

/// What makes two requests the same: never a value, nor anything made from one; see
/// [`ledger::recall`].
fn facts(additions: &[Addition], replace: bool) -> String {
    let secrets: Vec<_> = additions
        .iter()
        .map(|Addition { name, owner, sensitive, .. }| {
            json!([name.to_string(), owner.level().as_str(), owner.id(), owner.user(), sensitive,])
        })
        .collect();
    json!({ "replace": replace, "secrets": secrets }).to_string()
}

/// A record as an answer keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    kind: Kind,
    key: String,
    level: Level,
    owner: String,
    user: Option<String>,
    sensitive: bool,
    created_at: String,
    created_by: String,
    key_id: String,
}

fn keep(records: &[Record]) -> String {
    let kept: Vec<Kept> = records
        .iter()
        .cloned()
        .map(|Record { id, name, owner, sensitive, created_at, created_by, key_id }| Kept {
            id: id.to_string(),
            kind: name.kind,
            key: name.key,
            level: owner.level(),
            owner: owner.id().to_string(),
            user: owner.user().map(ToString::to_string),
            sensitive,
            created_at,
            created_by,
            key_id: key_id.as_str().to_owned(),
        })
        .collect();
    json!(kept).to_string()
}

fn kept(answer: &str) -> Option<Vec<Record>> {
    let kept: Vec<Kept> = serde_json::from_str(answer).ok()?;
    kept.into_iter()
        .map(|kept| {
            let id = kept.owner.parse().ok()?;
            let scope = match kept.level {
                Level::Organization | Level::OrganizationUser => Scope::Organization(id),
                Level::Project | Level::ProjectUser => Scope::Project(id),
            };
            let user = kept.user.map(|user| user.parse()).transpose().ok()?;
            Some(Record {
                id: SecretId::from(kept.id),
                name: Name { kind: kept.kind, key: kept.key },
                owner: scope.owner(user),
                sensitive: kept.sensitive,
                created_at: kept.created_at,
                created_by: kept.created_by,
                key_id: KeyId::from(kept.key_id),
            })
        })
        .collect()
}
