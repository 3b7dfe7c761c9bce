//! Who is logged in, and the end of that: for operators.

use std::time::Duration;

use serde_json::json;

use super::work::Work;
use super::{Administration, LoggedIn, Page, PageRequest, Refusal};
use crate::access::{Action, Actor};
use crate::store::ledger::Entry;
use crate::store::sessions;

impl Administration {
    /// The sessions that are live, the newest first. `idle` is how long one may be without a
    /// request.
    pub async fn sessions(
        &self,
        actor: &Actor,
        idle: Duration,
        page: PageRequest,
    ) -> Result<Page<LoggedIn>, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "session.list");
        let idle = i64::try_from(idle.as_secs()).unwrap_or(i64::MAX);
        let work = move |work: &mut Work<'_>| {
            work.permit(Action::SeeAccess, None)?;
            let found = sessions::live(work.database, work.now, idle, &page)?;
            Ok(found.map(|(digest, session)| LoggedIn { id: sessions::hex(&digest), session }))
        };
        self.read(actor, attempt, work).await
    }

    /// Ends a session, by its id, or with `everywhere` all of the same person's. Returns how many
    /// ended: none, if somebody was faster.
    pub async fn end_session(
        &self,
        actor: &Actor,
        id: &str,
        everywhere: bool,
    ) -> Result<u64, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "session.end");
        let digest = sessions::digest_of(id);
        let decide = move |work: &mut Work<'_>| {
            work.permit(Action::Revoke, None)?;
            let Some(digest) = digest else { return Ok(None) };
            let found = sessions::find(work.database, &digest)?;
            Ok(found.map(|session| (digest, session.subject)))
        };
        let act = move |work: &mut Work<'_>, found: Option<(sessions::Digest, String)>| {
            let Some((digest, subject)) = found else { return Ok((0, Vec::new())) };
            let ended = match everywhere {
                true => sessions::end_all(work.database, &subject)?,
                false => u64::from(sessions::end(work.database, &digest)?),
            };
            let detail = json!({ "sessions": ended, "subject": subject });
            Ok((ended, vec![work.attempt.clone().with(detail)]))
        };
        self.write(actor, attempt, decide, act).await
    }
}
