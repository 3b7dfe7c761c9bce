//! Who may do what: grants, API tokens, and who somebody is.

use serde_json::{Value as Json, json};

use super::work::{self, Work};
use super::{
    Administration, ApiToken, Ended, Granted, Page, PageRequest, Refusal, Revoked, TokenRequest,
    key,
};
use crate::access::{Access, Action, Actor, Denied, Grant, Place, Scope, TOKEN_SUBJECT, Via};
use crate::secret::Value;
use crate::store::access::{self as stored, token};
use crate::store::ledger::Entry;
use crate::store::{StoreError, registry};

/// How long a token works if nobody says, in days.
const DAYS: u32 = 90;

/// The most days that a token may work.
const MAX_DAYS: u32 = 365;

const SECONDS_A_DAY: i64 = 24 * 3600;

impl Administration {
    /// Scopes that have secrets and are not registered: what is left of deleted ones.
    pub async fn unregistered(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<Scope>, Refusal> {
        let page = key(page)?;
        let attempt = Entry::allowed(&actor.subject, "registry.list");
        let work = move |work: &mut Work<'_>| {
            work.permit(Action::Register, None)?;
            Ok(registry::unregistered(work.database, &page)?)
        };
        self.read(actor, attempt, work).await
    }

    /// The stored grants for a scope; those of operators for `None`.
    pub async fn grants(
        &self,
        actor: &Actor,
        scope: Option<&Scope>,
        page: PageRequest,
    ) -> Result<Page<Granted>, Refusal> {
        let page = key(page)?;
        let attempt = about(Entry::allowed(&actor.subject, "grant.list"), scope);
        let scope = scope.cloned();
        let work = move |work: &mut Work<'_>| {
            work.permit_for(Action::SeeAccess, scope.as_ref())?;
            Ok(stored::grants(work.database, scope.as_ref(), &page)?)
        };
        self.read(actor, attempt, work).await
    }

    /// Everybody's stored grants.
    pub async fn all_grants(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<Granted>, Refusal> {
        let page = key(page)?;
        let work = move |work: &mut Work<'_>| {
            work.permit_for(Action::SeeAccess, None)?;
            Ok(stored::all_grants(work.database, &page)?)
        };
        self.read(actor, Entry::allowed(&actor.subject, "grant.list"), work).await
    }

    /// A stored grant, by its id, with the tokens that [`Administration::revoke_grant`] would name.
    pub async fn granted(&self, actor: &Actor, id: &str) -> Result<Revoked, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "grant.list");
        let id = id.to_owned();
        let work = move |work: &mut Work<'_>| {
            let granted = found_grant(work, &id)?;
            let scope = granted.grant.scope();
            work.permit_for(Action::SeeAccess, scope.as_ref()).map_err(hide)?;
            let Granted { subject, grant, .. } = &granted;
            let tokens = stored::tokens_made_by(work.database, subject, grant, work.now)?;
            Ok(Revoked { granted, tokens })
        };
        self.read(actor, attempt, work).await
    }

    /// An API token, by its id.
    pub async fn api_token(&self, actor: &Actor, id: &str) -> Result<ApiToken, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "token.list");
        let id = id.to_owned();
        let work = move |work: &mut Work<'_>| {
            let token = found_token(work, &id)?;
            work.permit_for(Action::SeeAccess, token.grant.scope().as_ref()).map_err(hide)?;
            Ok(token)
        };
        self.read(actor, attempt, work).await
    }

    /// Gives somebody a grant; one that is there already stays as it is.
    pub async fn grant(
        &self,
        actor: &Actor,
        subject: &str,
        grant: &Grant,
    ) -> Result<Granted, Refusal> {
        check_subject(subject)?;
        let scope = grant.scope();
        let attempt = about(Entry::allowed(&actor.subject, "grant.give"), scope.as_ref());
        let decide = move |work: &mut Work<'_>| {
            let place = work.permit_for(Action::Give, scope.as_ref())?;
            Ok(must_be_known(place)?)
        };
        let (subject, grant) = (subject.to_owned(), grant.clone());
        let act = move |work: &mut Work<'_>, ()| {
            let by = work.actor.subject.clone();
            let (granted, new) = stored::give(work.database, &subject, &grant, &by)?;
            let entry = new.then(|| work.attempt.clone().with(grant_facts(&granted)));
            Ok((granted, entry.into_iter().collect()))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// Takes a grant away, by its id. Names the tokens that its holder made for the same, which
    /// work on: a token stands on its own.
    pub async fn revoke_grant(&self, actor: &Actor, id: &str) -> Result<Revoked, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "grant.revoke");
        let id = id.to_owned();
        let decide = move |work: &mut Work<'_>| {
            let granted = found_grant(work, &id)?;
            let scope = granted.grant.scope();
            work.permit_for(Action::Revoke, scope.as_ref()).map_err(hide)?;
            Ok(granted)
        };
        let act = |work: &mut Work<'_>, granted: Granted| {
            stored::take(work.database, &granted.id)?;
            let Granted { subject, grant, .. } = &granted;
            let tokens = stored::tokens_made_by(work.database, subject, grant, work.now)?;
            let entry = grant_taken(&work.actor, &granted);
            Ok((Revoked { granted, tokens }, vec![entry]))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// The API tokens for a scope, those that are over included; operators' for `None`.
    pub async fn api_tokens(
        &self,
        actor: &Actor,
        scope: Option<&Scope>,
        page: PageRequest,
    ) -> Result<Page<ApiToken>, Refusal> {
        let page = key(page)?;
        let attempt = about(Entry::allowed(&actor.subject, "token.list"), scope);
        let scope = scope.cloned();
        let work = move |work: &mut Work<'_>| {
            work.permit_for(Action::SeeAccess, scope.as_ref())?;
            Ok(stored::tokens(work.database, scope.as_ref(), &page)?)
        };
        self.read(actor, attempt, work).await
    }

    /// All API tokens, those that are over included.
    pub async fn all_api_tokens(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<ApiToken>, Refusal> {
        let page = key(page)?;
        let work = move |work: &mut Work<'_>| {
            work.permit_for(Action::SeeAccess, None)?;
            Ok(stored::all_tokens(work.database, &page)?)
        };
        self.read(actor, Entry::allowed(&actor.subject, "token.list"), work).await
    }

    /// Makes an API token. Its text is in the answer, and nowhere after that.
    ///
    /// One that is made with an API token ends no later than that one, and falls with it.
    pub async fn issue_api_token(
        &self,
        actor: &Actor,
        request: &TokenRequest,
    ) -> Result<(ApiToken, Value), Refusal> {
        let days = request.days.unwrap_or(DAYS);
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(Refusal::invalid("days", format!("give 1 to {MAX_DAYS}")));
        }
        let name = request.name.trim().to_owned();
        if !(1..=100).contains(&name.chars().count()) || name.contains(char::is_control) {
            return Err(Refusal::invalid("name", "give 1 to 100 characters in one line"));
        }
        let fresh = token::make().map_err(|error| {
            let place = self.pool.place().clone();
            Refusal::from(StoreError::Database(place, error.to_string().into()))
        })?;
        let scope = request.grant.scope();
        let attempt = about(Entry::allowed(&actor.subject, "token.issue"), scope.as_ref());
        let asked = request.days;
        let decide = move |work: &mut Work<'_>| {
            let place = work.permit_for(Action::Issue, scope.as_ref())?;
            must_be_known(place)?;
            let end = work.now + i64::from(days) * SECONDS_A_DAY;
            match work.until {
                Some(until) if end > until && asked.is_some() => {
                    let why = format!(
                        "the token that asks ends at {}, and what it makes can't outlive it; give \
                         fewer, or none for a token that ends with it",
                        work::date(until)
                    );
                    Err(Refusal::invalid("days", why).into())
                }
                until => Ok(until.map_or(end, |until| end.min(until))),
            }
        };
        let (grant, access) = (request.grant.clone(), request.access);
        let act = move |work: &mut Work<'_>, expires_at: i64| {
            let token = ApiToken {
                id: fresh.id.clone(),
                name: name.clone(),
                grant: grant.clone(),
                access,
                created_at: work::date(work.now),
                created_by: work.actor.subject.clone(),
                expires_at,
                revoked_at: None,
                used_at: None,
            };
            stored::put_token(work.database, &token, &fresh.digest)?;
            let entry = work.attempt.clone().with(token_facts(&token));
            Ok((token, vec![entry]))
        };
        let token = self.write(actor, attempt, decide, act).await?;
        Ok((token, fresh.text))
    }

    /// Ends an API token, by its id, with all that it made. One that was ended before stays as it
    /// is. Any token may end itself.
    pub async fn revoke_api_token(&self, actor: &Actor, id: &str) -> Result<Ended, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "token.revoke");
        let id = id.to_owned();
        let decide = move |work: &mut Work<'_>| {
            let token = found_token(work, &id)?;
            let scope = token.grant.scope();
            let itself = Via::ApiToken { id: token.id.clone() };
            if work.actor.via != itself {
                work.permit_for(Action::RevokeToken, scope.as_ref()).map_err(hide)?;
            }
            Ok(token)
        };
        let act = |work: &mut Work<'_>, token: ApiToken| {
            let ended = stored::revoke_token(work.database, &token.id)?;
            let entries = ended.iter().map(|ended| token_ended(&work.actor, ended)).collect();
            let (itself, made) =
                ended.into_iter().partition(|ended: &ApiToken| ended.id == token.id);
            let [token] = <[ApiToken; 1]>::try_from(itself).unwrap_or([token]);
            Ok((Ended { token, made }, entries))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// Whose API token this is. One that is over says so; any other text is told nothing.
    ///
    /// Not in the audit: whoever sends garbage could fill it.
    pub async fn authenticate_token(&self, token: &Value) -> Result<Actor, Refusal> {
        const UNKNOWN: Refusal = Refusal::Token("it is not known here");
        let presented = token::Presented::parse(token).ok_or(UNKNOWN)?;
        let find = move |database: &mut dyn crate::store::database::Database| {
            stored::recognize(database, &presented)
        };
        let token = self.pool.read(find).await?.ok_or(UNKNOWN)?;
        let now = work::now();
        if token.revoked_at.is_some() {
            return Err(Refusal::Token("it was revoked"));
        }
        if !token.works(now) {
            return Err(Refusal::Token("it has expired"));
        }
        if stored::is_use_due(&token, now) {
            let id = token.id.clone();
            let used = self.pool.write(move |database| stored::set_used(database, &id, now)).await;
            if let Err(error) = used {
                // Reading goes on where writing is impossible for a while.
                tracing::warn!(%error, "the use of an API token could not be noted");
            }
        }
        Ok(Actor {
            subject: format!("{TOKEN_SUBJECT}{}", token.id),
            name: token.name,
            claimed: Vec::new(),
            grants: vec![token.grant],
            access: token.access,
            via: Via::ApiToken { id: token.id },
        })
    }

    /// A person with all their grants: the login's, the stored ones, and registered admin roles,
    /// which are those of the user whose id is the subject.
    pub async fn actor_of(
        &self,
        subject: &str,
        name: &str,
        claimed: Vec<Grant>,
    ) -> Result<Actor, Refusal> {
        check_subject(subject)?;
        let mut actor = Actor {
            subject: subject.to_owned(),
            name: name.chars().filter(|c| !c.is_control()).take(200).collect(),
            claimed,
            grants: Vec::new(),
            access: Access::Delegate,
            via: Via::Session,
        };
        let membership = self.policy.membership;
        let person = actor.clone();
        let find = move |database: &mut dyn crate::store::database::Database| {
            work::grants(database, &person, membership)
        };
        actor.grants = self.pool.read(find).await?;
        Ok(actor)
    }
}

/// What is not registered gets no admins and tokens: it would be theirs from the moment it is.
fn must_be_known(place: Option<Place>) -> Result<(), Refusal> {
    match place {
        Some(Place { known: false, scope, .. }) => Err(Refusal::NotRegistered(scope)),
        _ => Ok(()),
    }
}

/// Who may not see an operator's grant or token by its id learns nothing of it.
fn hide(stop: work::Stop) -> work::Stop {
    match stop {
        work::Stop::Refused(Refusal::Denied(Denied::OperatorOnly)) => Refusal::NOT_FOUND.into(),
        stop => stop,
    }
}

fn about(entry: Entry, scope: Option<&Scope>) -> Entry {
    match scope {
        Some(scope) => entry.of_scope(scope),
        None => entry,
    }
}

fn grant_facts(granted: &Granted) -> Json {
    let Granted { id, subject, grant, .. } = granted;
    json!({ "grant": id, "subject": subject, "role": grant.role().as_str() })
}

/// The row of a grant that was taken away, where its own scope's admins see it.
pub(super) fn grant_taken(by: &Actor, granted: &Granted) -> Entry {
    let entry = Entry::allowed(&by.subject, "grant.revoke");
    about(entry, granted.grant.scope().as_ref()).with(grant_facts(granted))
}

/// The same of a token that ended.
pub(super) fn token_ended(by: &Actor, token: &ApiToken) -> Entry {
    let entry = Entry::allowed(&by.subject, "token.revoke");
    about(entry, token.grant.scope().as_ref()).with(token_facts(token))
}

fn token_facts(token: &ApiToken) -> Json {
    let ApiToken { id, name, grant, access, created_by, expires_at, .. } = token;
    json!({
        "token": id, "name": name, "role": grant.role().as_str(), "access": access.as_str(),
        "created_by": created_by, "expires_at": expires_at,
    })
}

/// A grant that is there; the audit says what it is for.
fn found_grant(work: &mut Work<'_>, id: &str) -> Result<Granted, work::Stop> {
    let found = if is_shaped(id) { stored::find_grant(work.database, id)? } else { None };
    let granted = found.ok_or(Refusal::NOT_FOUND)?;
    work.attempt = about(work.attempt.clone(), granted.grant.scope().as_ref());
    Ok(granted)
}

/// The same for a token.
fn found_token(work: &mut Work<'_>, id: &str) -> Result<ApiToken, work::Stop> {
    let found = if is_shaped(id) { stored::find_token(work.database, id)? } else { None };
    let token = found.ok_or(Refusal::NOT_FOUND)?;
    work.attempt = about(work.attempt.clone(), token.grant.scope().as_ref());
    Ok(token)
}

fn is_shaped(id: &str) -> bool {
    id.len() <= 64 && id.bytes().all(|b| b.is_ascii_graphic())
}

fn check_subject(subject: &str) -> Result<(), Refusal> {
    if !(1..=255).contains(&subject.len()) || subject.contains(char::is_control) {
        return Err(Refusal::invalid("subject", "give 1 to 255 bytes in one line"));
    }
    if subject.starts_with(TOKEN_SUBJECT) {
        let why = format!("`{TOKEN_SUBJECT}…` is for API tokens; a person needs another id");
        return Err(Refusal::invalid("subject", why));
    }
    Ok(())
}
