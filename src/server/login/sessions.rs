//! Sessions: begun by a login, found by a cookie, ended by people or by time.

use axum::http::StatusCode;
use serde_json::json;

use super::oidc::Who;
use super::ticket::Ticket;
use super::{Fault, Login, link};
use crate::access::{Actor, Grant, Via};
use crate::server::administration::Refusal;
use crate::store::StoreError;
use crate::store::ledger::{self, Entry};
use crate::store::sessions::{self, Digest, Entered, Session};

/// How often the last request is written down, in seconds. A session that is idle may end that
/// much earlier.
const TOUCHED: i64 = 60;

/// What lets somebody in, and can do so once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Once {
    /// An answer of the provider, and until when it must be remembered.
    Answer(Digest, i64),
    /// A link.
    Link(Digest),
}

impl Login {
    /// Uses `once` up and begins a session; ends the one that the browser had before. All of it, or
    /// nothing.
    pub(super) async fn enter(
        &self,
        who: Who,
        once: Once,
        before: Option<&Ticket>,
    ) -> Result<Ticket, Fault> {
        let ticket = Ticket::new()?;
        let now = self.0.clock.seconds();
        let (entered, fault) = match once {
            Once::Answer(..) => (Entered::Login, Fault::Replayed),
            Once::Link(_) => (Entered::Link, Fault::Link),
        };
        let session = Session {
            subject: who.subject,
            name: who.name,
            claimed: who.claimed,
            entered,
            created_at: now,
            seen_at: now,
            expires_at: now.saturating_add(seconds(self.0.times.lifetime)),
        };
        let (digest, before) = (ticket.digest(), before.map(Ticket::digest));
        let begun = self.0.pool.write(move |database| {
            let is_first = match once {
                Once::Answer(answer, until) => sessions::use_answer(database, &answer, now, until)?,
                Once::Link(link) => sessions::use_link(database, &link, now)?,
            };
            if !is_first {
                return Ok(false);
            }
            if let Some(before) = &before {
                sessions::end(database, before)?;
            }
            sessions::begin(database, &digest, &session)?;
            ledger::record(database, &entry(&session)).map(|_| true)
        });
        match begun.await? {
            true => Ok(ticket),
            false => Err(fault),
        }
    }

    /// The session that a ticket stands for, if it is live.
    pub(super) async fn session(&self, ticket: &Ticket) -> Result<Option<Session>, StoreError> {
        let digest = ticket.digest();
        let found = self.0.pool.read(move |database| sessions::find(database, &digest)).await?;
        let now = self.0.clock.seconds();
        let Some(session) = found.filter(|one| one.is_live(now, seconds(self.0.times.idle))) else {
            return Ok(None);
        };
        // A short idle time is counted by more than one request.
        if now - session.seen_at >= TOUCHED.min(seconds(self.0.times.idle) / 10) {
            self.0.pool.write(move |database| sessions::touch(database, &digest, now)).await?;
        }
        Ok(Some(session))
    }

    /// Who that is, with all that they may do at this moment.
    pub(super) async fn actor(&self, session: Session) -> Result<Actor, Refusal> {
        let Session { subject, name, claimed, entered, .. } = session;
        let actor = self.0.administration.actor_of(&subject, &name, claimed).await?;
        let via = match entered {
            Entered::Login => Via::Session,
            Entered::Link => Via::Link,
        };
        Ok(Actor { via, ..actor })
    }

    /// Ends a session, or all of the same person's.
    pub(super) async fn leave(&self, ticket: &Ticket, everywhere: bool) -> Result<(), StoreError> {
        let digest = ticket.digest();
        let left = self.0.pool.write(move |database| {
            let Some(session) = sessions::find(database, &digest)? else { return Ok(()) };
            let ended = match everywhere {
                true => sessions::end_all(database, &session.subject)?,
                false => u64::from(sessions::end(database, &digest)?),
            };
            let entry = Entry::allowed(&session.subject, "session.end");
            ledger::record(database, &entry.with(json!({"sessions": ended}))).map(drop)
        });
        left.await
    }

    /// Writes down that somebody was not let in. What can't be written is logged.
    ///
    /// Only what counts as a failure to authenticate, for that has a rate: nobody fills the store.
    pub(super) async fn refused(&self, fault: &Fault, address: Option<String>) {
        if fault.status() != StatusCode::UNAUTHORIZED {
            return;
        }
        let entry = Entry::allowed("", "session.begin")
            .denied(fault.kind())
            .with(json!({"address": address}));
        let written = self.0.pool.write(move |database| ledger::record(database, &entry)).await;
        if let Err(error) = written {
            tracing::warn!(%error, "a failed login could not be recorded");
        }
    }
}

/// An operator, by a link.
pub(super) fn by_link() -> Who {
    Who {
        subject: link::LINK_SUBJECT.to_owned(),
        name: link::NAME.to_owned(),
        claimed: vec![Grant::Operator],
    }
}

fn entry(session: &Session) -> Entry {
    let via = match session.entered {
        Entered::Login => "provider",
        Entered::Link => "link",
    };
    let grants: Vec<String> = session.claimed.iter().map(ToString::to_string).collect();
    Entry::allowed(&session.subject, "session.begin").with(json!({"via": via, "grants": grants}))
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
