//! One piece of administration in one transaction: who does it, what is decided, what is recorded.
//!
//! Invariants: what decides can't change anything, in that it is asked before what acts; what acts
//! can't refuse, so that nothing of a refused change is ever committed; every change and every
//! denial has its row in the audit, in the same transaction.

use super::{Administration, Policy, Refusal};
use crate::access::{self, Action, Actor, Denied, Place, Scope, Via};
use crate::membership::Membership;
use crate::store::database::Database;
use crate::store::ledger::{self, Entry};
use crate::store::{StoreError, access as stored, registry};

/// Why work stops.
pub(super) enum Stop {
    /// The answer is no.
    Refused(Refusal),
    /// The transaction failed.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        Self::Refused(denied.into())
    }
}

/// What a piece of work has.
pub(super) struct Work<'a> {
    /// Inside a transaction.
    pub(super) database: &'a mut dyn Database,
    /// With the grants that hold in this transaction.
    pub(super) actor: Actor,
    /// When the actor, an API token, ends by itself, in seconds since 1970; `None`: a person.
    pub(super) until: Option<i64>,
    pub(super) policy: Policy,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// What is tried, for the audit.
    pub(super) attempt: Entry,
}

impl Work<'_> {
    /// A scope with what permissions depend on.
    pub(super) fn place(&mut self, scope: &Scope) -> Result<Place, StoreError> {
        registry::place(self.database, scope, self.policy.membership)
    }

    /// Stops if the actor may not; `None` is everything.
    pub(super) fn permit(&self, action: Action, place: Option<&Place>) -> Result<(), Denied> {
        access::may(&self.actor, action, place)
    }

    /// Finds the place of what was asked for, and stops if the actor may not do `action` there.
    pub(super) fn permit_at(&mut self, action: Action, scope: &Scope) -> Result<Place, Stop> {
        let place = self.place(scope)?;
        self.permit(action, Some(&place))?;
        Ok(place)
    }

    /// The same for what may be for a scope or for everything.
    pub(super) fn permit_for(
        &mut self,
        action: Action,
        scope: Option<&Scope>,
    ) -> Result<Option<Place>, Stop> {
        let place = scope.map(|scope| self.place(scope)).transpose()?;
        self.permit(action, place.as_ref())?;
        Ok(place)
    }

    /// Whether it is registered who belongs where.
    pub(super) fn registered(&self) -> bool {
        matches!(self.policy.membership, Membership::Registered { .. })
    }

    /// Looks up what the actor may do now.
    fn identify(&mut self) -> Result<(), Stop> {
        if let Via::ApiToken { id } = &self.actor.via {
            let token = stored::find_token(self.database, id)?;
            let token = token.filter(|token| token.works(self.now));
            let token = token.ok_or(Refusal::Token("it expired or was revoked"))?;
            self.actor.grants = vec![token.grant];
            self.actor.access = token.access;
            self.until = Some(token.expires_at);
            return Ok(());
        }
        self.actor.grants = grants(self.database, &self.actor, self.policy.membership)?;
        Ok(())
    }
}

/// All that a person has: what the login claims, what is stored, and the registered admin roles.
pub(super) fn grants(
    database: &mut dyn Database,
    actor: &Actor,
    membership: Membership,
) -> Result<Vec<access::Grant>, StoreError> {
    let mut grants = actor.claimed.clone();
    grants.extend(stored::grants_of(database, &actor.subject)?);
    if matches!(membership, Membership::Registered { .. }) {
        grants.extend(registry::admin_grants(database, &actor.subject)?);
    }
    grants.sort();
    grants.dedup();
    Ok(grants)
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The same as text: RFC 3339, UTC.
pub(super) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

impl Administration {
    /// Reads in one transaction. A denial is recorded in one of its own.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        actor: &Actor,
        attempt: Entry,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (actor, policy) = (actor.clone(), self.policy);
        let read = move |database: &mut dyn Database| {
            let mut of = Work { database, actor, until: None, policy, now: now(), attempt };
            match of.identify().and_then(|()| work(&mut of)) {
                Ok(result) => Ok(Ok(result)),
                Err(Stop::Refused(refusal)) => Ok(Err((refusal, of.attempt))),
                Err(Stop::Store(error)) => Err(error),
            }
        };
        let (refusal, attempt) = match self.pool.read(read).await? {
            Ok(result) => return Ok(result),
            Err(refused) => refused,
        };
        if refusal.is_denial() {
            let entry = attempt.denied(refusal.kind());
            self.pool.write(move |database| ledger::record(database, &entry)).await?;
        }
        Err(refusal)
    }

    /// Decides, acts, and records in one transaction.
    ///
    /// `act` returns what to record. Both may be called again, if others were in the way.
    pub(super) async fn write<D, T: Send + 'static>(
        &self,
        actor: &Actor,
        attempt: Entry,
        mut decide: impl FnMut(&mut Work<'_>) -> Result<D, Stop> + Send + 'static,
        mut act: impl FnMut(&mut Work<'_>, D) -> Result<(T, Vec<Entry>), StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (actor, policy) = (actor.clone(), self.policy);
        let write = move |database: &mut dyn Database| {
            let (actor, attempt) = (actor.clone(), attempt.clone());
            let mut of = Work { database, actor, until: None, policy, now: now(), attempt };
            let decided = match of.identify().and_then(|()| decide(&mut of)) {
                Ok(decided) => decided,
                Err(Stop::Refused(refusal)) => {
                    if refusal.is_denial() {
                        ledger::record(of.database, &of.attempt.denied(refusal.kind()))?;
                    }
                    return Ok(Err(refusal));
                }
                Err(Stop::Store(error)) => return Err(error),
            };
            let (result, entries) = act(&mut of, decided)?;
            for entry in &entries {
                ledger::record(of.database, entry)?;
            }
            Ok(Ok(result))
        };
        self.pool.write(write).await?
    }
}
