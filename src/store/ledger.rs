//! What was done: the audit, the uses of job tokens, and the answers to repeated requests.
//!
//! Invariants: each function runs inside a transaction of its caller's, so that what can't be
//! recorded doesn't happen; nothing here holds a value, or anything made from one.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::database::{Database, Parameter, Row, one, parameters};
use super::page::{Page, PageRequest};
use super::schema::StoreError;
use super::secrets::now;
use crate::access::Scope;
use crate::secret::{Id, Owner};

/// How many rows that are over go with each that is added.
const SWEPT: i64 = 16;

/// How long a job token's row outlives the token, in seconds: longer than clocks differ.
const LINGER: i64 = 3600;

/// How long an answer can be repeated, in seconds.
pub const REPEATABLE: i64 = 24 * 3600;

/// A row of the audit that is about to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    actor: String,
    action: &'static str,
    reason: Option<String>,
    level: Option<&'static str>,
    owner: Option<String>,
    user: Option<String>,
    detail: Json,
}

impl Entry {
    /// Something that `actor` (a subject) does.
    pub fn allowed(actor: &str, action: &'static str) -> Self {
        Self {
            actor: actor.to_owned(),
            action,
            reason: None,
            level: None,
            owner: None,
            user: None,
            detail: json!({}),
        }
    }

    /// The same, not allowed, with a stable word for why.
    pub fn denied(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    /// It is about a level of an owner.
    pub fn of_owner(self, owner: &Owner) -> Self {
        Self {
            level: Some(owner.level().as_str()),
            owner: Some(owner.id().to_string()),
            user: owner.user().map(ToString::to_string),
            ..self
        }
    }

    /// It is about a whole scope.
    pub fn of_scope(self, scope: &Scope) -> Self {
        let owner = Some(scope.id().to_string());
        Self { level: Some(scope.word()), owner, user: None, ..self }
    }

    /// It is about a user.
    pub fn of_user(self, user: &Id) -> Self {
        Self { user: Some(user.to_string()), ..self }
    }

    /// More facts; never a value.
    pub fn with(self, detail: Json) -> Self {
        Self { detail, ..self }
    }
}

/// Writes a row of the audit; returns its id.
pub fn record(database: &mut dyn Database, entry: &Entry) -> Result<String, StoreError> {
    let id = uuid::Uuid::now_v7().to_string();
    let decision = if entry.reason.is_some() { "denied" } else { "allowed" };
    database.execute(
        "INSERT INTO audit (id, at, actor, action, decision, reason, level, owner, \"user\", detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        parameters![
            &id,
            &now(),
            &entry.actor,
            entry.action,
            decision,
            entry.reason.as_deref(),
            entry.level,
            entry.owner.as_deref(),
            entry.user.as_deref(),
            &entry.detail.to_string(),
        ],
    )?;
    Ok(id)
}

/// Removes rows of the audit that were written before `before`, at most `limit` of them, the oldest
/// first; returns how many.
///
/// The ids tell the time (RFC 9562, section 5.7), and are what the table is ordered by.
pub fn forget(
    database: &mut dyn Database,
    before: Timestamp,
    limit: u32,
) -> Result<u64, StoreError> {
    let milliseconds = u64::try_from(before.as_millisecond()).unwrap_or_default();
    let first = uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid();
    database.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2)",
        parameters![&first.to_string(), i64::from(limit)],
    )
}

/// Which rows of the audit are asked for; what is `None` doesn't matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What they are about. Only operators can do without.
    pub scope: Option<Scope>,
    /// Who did it, by subject.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// `allowed` or `denied`.
    pub decision: Option<String>,
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its id; ids sort by time.
    pub id: String,
    /// RFC 3339.
    pub at: String,
    /// Who, by subject.
    pub actor: String,
    /// What.
    pub action: String,
    /// `allowed` or `denied`.
    pub decision: String,
    /// Why denied: a stable word.
    pub reason: Option<String>,
    /// The level that it was about, or `organization` or `project` for a whole scope.
    pub level: Option<String>,
    /// The organization or project.
    pub owner: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// More, as a JSON object; never a value.
    pub detail: String,
}

/// Rows of the audit, the newest first.
pub fn audit(
    database: &mut dyn Database,
    filter: &AuditFilter,
    request: &PageRequest,
) -> Result<Page<AuditRow>, StoreError> {
    let mut conditions = vec!["true".to_owned()];
    let mut values: Vec<Parameter<'_>> = Vec::new();
    let mut require = |condition: &str, value| {
        values.push(value);
        conditions.push(format!("{condition} ${}", values.len()));
    };
    if let Some(scope) = &filter.scope {
        require(
            match scope {
                Scope::Organization(_) => {
                    "level IN ('organization', 'organization_user') AND owner ="
                }
                Scope::Project(_) => "level IN ('project', 'project_user') AND owner =",
            },
            scope.id().as_str().into(),
        );
    }
    for (condition, value) in [
        ("actor =", &filter.actor),
        ("action =", &filter.action),
        ("decision =", &filter.decision),
        ("id <", &request.after),
    ] {
        if let Some(value) = value {
            require(condition, value.into());
        }
    }
    values.push(request.rows().into());
    let sql = format!(
        "SELECT id, at, actor, action, decision, reason, level, owner, \"user\", detail FROM audit
         WHERE {} ORDER BY id DESC LIMIT ${}",
        conditions.join(" AND "),
        values.len()
    );
    let rows = database.query(&sql, &values)?;
    let rows = rows.iter().map(audit_row).collect::<Result<_, _>>()?;
    Ok(Page::cut(rows, request, |row: &AuditRow| row.id.clone()))
}

fn audit_row(row: &Row) -> Result<AuditRow, StoreError> {
    let optional = |index| Ok::<_, StoreError>(row.optional_text(index)?.map(ToOwned::to_owned));
    Ok(AuditRow {
        id: row.text(0)?.to_owned(),
        at: row.text(1)?.to_owned(),
        actor: row.text(2)?.to_owned(),
        action: row.text(3)?.to_owned(),
        decision: row.text(4)?.to_owned(),
        reason: optional(5)?,
        level: optional(6)?,
        owner: optional(7)?,
        user: optional(8)?,
        detail: row.text(9)?.to_owned(),
    })
}

/// What became of a use of a job token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is the token's nth, from 1.
    Counted(i64),
    /// It had been used as often as it may be.
    Exhausted,
}

/// Counts a use of a job token, of which there may be `limit`.
///
/// `issuer` is empty where tokens name none. `expires_at` and `now` are seconds since 1970. Rows of
/// tokens that are over are removed in passing.
pub fn use_job_token(
    database: &mut dyn Database,
    issuer: &str,
    jti: &str,
    expires_at: i64,
    limit: i64,
    now: i64,
) -> Result<Use, StoreError> {
    database.execute(
        "DELETE FROM job_token WHERE (issuer, jti) IN
             (SELECT issuer, jti FROM job_token WHERE expires_at < $1
              ORDER BY expires_at LIMIT $2)",
        parameters![now - LINGER, SWEPT],
    )?;
    if limit < 1 {
        return Ok(Use::Exhausted);
    }
    let counted = database.query(
        "INSERT INTO job_token (issuer, jti, uses, expires_at) VALUES ($1, $2, 1, $3)
         ON CONFLICT (issuer, jti) DO UPDATE SET uses = job_token.uses + 1
         WHERE job_token.uses < $4
         RETURNING uses",
        parameters![issuer, jti, expires_at, limit],
    )?;
    one(counted).map_or(Ok(Use::Exhausted), |row| row.integer(0).map(Use::Counted))
}

/// What a client calls a request of its own, so that it can be repeated: 1 to 255 visible ASCII
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a text is not an [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 255 visible ASCII characters")]
pub struct InvalidKey;

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidKey) }
    }
}

impl IdempotencyKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a request was answered before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// Never, or longer ago than [`REPEATABLE`].
    New,
    /// With this.
    Answer(String),
    /// The key was used for other facts.
    Mismatch,
}

/// Looks up the answer to a request of `subject`. `now` is in seconds since 1970.
///
/// `facts` say what the request is, without its values: not even a digest of a value, from which a
/// short password could be guessed. So who repeats a key with another value gets the first answer.
pub fn recall(
    database: &mut dyn Database,
    subject: &str,
    key: &IdempotencyKey,
    facts: &str,
    now: i64,
) -> Result<Recalled, StoreError> {
    let rows = database.query(
        "SELECT facts, answer FROM idempotency
         WHERE subject = $1 AND key = $2 AND expires_at >= $3",
        parameters![subject, key.as_str(), now],
    )?;
    Ok(match one(rows) {
        None => Recalled::New,
        Some(row) if row.text(0)? == facts => Recalled::Answer(row.text(1)?.to_owned()),
        Some(_) => Recalled::Mismatch,
    })
}

/// Keeps the answer to a new request. Answers that are over are removed in passing.
pub fn remember(
    database: &mut dyn Database,
    subject: &str,
    key: &IdempotencyKey,
    facts: &str,
    answer: &str,
    now: i64,
) -> Result<(), StoreError> {
    database.execute(
        "DELETE FROM idempotency WHERE (subject, key) IN
             (SELECT subject, key FROM idempotency WHERE expires_at < $1
              ORDER BY expires_at LIMIT $2)",
        parameters![now, SWEPT],
    )?;
    // One that is over, and was not among those that went.
    database.execute(
        "INSERT INTO idempotency (subject, key, facts, answer, expires_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (subject, key) DO UPDATE SET
             facts = excluded.facts, answer = excluded.answer, expires_at = excluded.expires_at",
        parameters![subject, key.as_str(), facts, answer, now + REPEATABLE],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_requests() {
        for good in ["a", "~!", &"x".repeat(255)] {
            assert_eq!(good.parse::<IdempotencyKey>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a\n", &"x".repeat(256)] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad}");
        }
    }
}
