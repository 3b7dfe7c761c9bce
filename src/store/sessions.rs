//! Who is logged in, and which logins can be used once more.
//!
//! Invariants: each function runs inside a transaction of its caller's; what a browser holds is
//! here as its digest only, so that who reads the store can't become anybody; what is over counts
//! as gone, whether its row is there or not.
//!
//! Times are seconds since 1970, given by the caller.

use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::database::{Database, Row, one, parameters};
use super::page::{Page, PageRequest};
use super::schema::StoreError;
use crate::access::{Grant, Role};

/// SHA-256 of what a browser holds.
pub type Digest = [u8; 32];

/// How many rows that are over go with each that is added.
const SWEPT: i64 = 16;

/// How somebody logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// At the provider.
    Login,
    /// With a one-time link.
    Link,
}

/// A login that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub subject: String,
    /// What they are called.
    pub name: String,
    /// What the login itself made them.
    pub claimed: Vec<Grant>,
    /// How they came in.
    pub entered: Entered,
    /// When.
    pub created_at: i64,
    /// The last request, to the minute.
    pub seen_at: i64,
    /// The end, whatever is done meanwhile.
    pub expires_at: i64,
}

impl Session {
    /// Whether it counts, when a session may be without a request for `idle` seconds.
    pub fn is_live(&self, now: i64, idle: i64) -> bool {
        now < self.expires_at && now < self.seen_at.saturating_add(idle)
    }
}

/// Begins a session.
pub fn begin(
    database: &mut dyn Database,
    digest: &Digest,
    session: &Session,
) -> Result<(), StoreError> {
    sweep(database, "session", session.created_at)?;
    database
        .execute(
            "INSERT INTO session
                 (digest, subject, name, grants, via, created_at, seen_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            parameters![
                digest.as_slice(),
                &session.subject,
                &session.name,
                &written(&session.claimed).to_string(),
                match session.entered {
                    Entered::Login => "login",
                    Entered::Link => "link",
                },
                session.created_at,
                session.seen_at,
                session.expires_at,
            ],
        )
        .map(drop)
}

/// The session of a browser, live or not.
pub fn find(database: &mut dyn Database, digest: &Digest) -> Result<Option<Session>, StoreError> {
    let sql = "SELECT subject, name, grants, via, created_at, seen_at, expires_at FROM session
               WHERE digest = $1";
    one(database.query(sql, parameters![digest.as_slice()])?).map(|row| read(&row)).transpose()
}

/// The live sessions, when one may be without a request for `idle` seconds: the newest first, each
/// with the digest that it is found by.
///
/// What a list goes on with is a time and a digest, `1800000000.<64 hex digits>`; anything else
/// begins it anew.
pub fn live(
    database: &mut dyn Database,
    now: i64,
    idle: i64,
    request: &PageRequest,
) -> Result<Page<(Digest, Session)>, StoreError> {
    let after = request.after.as_deref().and_then(|after| {
        let (created, digest) = after.split_once('.')?;
        Some((created.parse::<i64>().ok()?, digest_of(digest)?))
    });
    let (created, digest) = after.unwrap_or((i64::MAX, [0xff; 32]));
    let rows = database.query(
        "SELECT subject, name, grants, via, created_at, seen_at, expires_at, digest FROM session
         WHERE expires_at > $1 AND seen_at > $2 AND (created_at, digest) < ($3, $4)
         ORDER BY created_at DESC, digest DESC LIMIT $5",
        parameters![now, now.saturating_sub(idle), created, digest.as_slice(), request.rows(),],
    )?;
    let found = rows.iter().map(|row| {
        let digest = row.bytes(7)?.try_into().map_err(|_| row.damaged())?;
        Ok((digest, read(row)?))
    });
    let found = found.collect::<Result<_, StoreError>>()?;
    Ok(Page::cut(found, request, |(digest, session): &(Digest, Session)| {
        format!("{}.{}", session.created_at, hex(digest))
    }))
}

/// A digest in 64 hex digits. It logs nobody in.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same back.
pub fn digest_of(hex: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    let sound = hex.len() == 2 * digest.len() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    for (at, byte) in digest.iter_mut().enumerate().filter(|_| sound) {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    sound.then_some(digest)
}

/// A session was used. Time doesn't run backwards, whichever replica's clock is behind.
pub fn touch(database: &mut dyn Database, digest: &Digest, now: i64) -> Result<(), StoreError> {
    let sql = "UPDATE session SET seen_at = $2 WHERE digest = $1 AND seen_at < $2";
    database.execute(sql, parameters![digest.as_slice(), now]).map(drop)
}

/// Ends a session; true if it was there.
pub fn end(database: &mut dyn Database, digest: &Digest) -> Result<bool, StoreError> {
    let sql = "DELETE FROM session WHERE digest = $1";
    database.execute(sql, parameters![digest.as_slice()]).map(|ended| ended > 0)
}

/// Ends all sessions of somebody; returns how many there were.
pub fn end_all(database: &mut dyn Database, subject: &str) -> Result<u64, StoreError> {
    database.execute("DELETE FROM session WHERE subject = $1", parameters![subject])
}

/// Offers a link that logs in once.
pub fn offer_link(
    database: &mut dyn Database,
    digest: &Digest,
    now: i64,
    expires_at: i64,
) -> Result<(), StoreError> {
    sweep(database, "login", now)?;
    database
        .execute(
            "INSERT INTO login (digest, kind, expires_at) VALUES ($1, 'link', $2)",
            parameters![digest.as_slice(), expires_at],
        )
        .map(drop)
}

/// Uses a link up; true if it was one, and still good.
pub fn use_link(
    database: &mut dyn Database,
    digest: &Digest,
    now: i64,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM login WHERE digest = $1 AND kind = 'link' AND expires_at > $2";
    database.execute(sql, parameters![digest.as_slice(), now]).map(|used| used > 0)
}

/// Remembers that a login that a provider answered was used; false if it was before.
///
/// Only logins that succeeded are remembered: whoever can't log in writes nothing.
pub fn use_answer(
    database: &mut dyn Database,
    digest: &Digest,
    now: i64,
    expires_at: i64,
) -> Result<bool, StoreError> {
    sweep(database, "login", now)?;
    let sql = "INSERT INTO login (digest, kind, expires_at) VALUES ($1, 'used', $2)
               ON CONFLICT (digest) DO NOTHING";
    database.execute(sql, parameters![digest.as_slice(), expires_at]).map(|added| added > 0)
}

fn sweep(database: &mut dyn Database, table: &str, now: i64) -> Result<(), StoreError> {
    let sql = format!(
        "DELETE FROM {table} WHERE digest IN
             (SELECT digest FROM {table} WHERE expires_at <= $1 LIMIT $2)"
    );
    database.execute(&sql, parameters![now, SWEPT]).map(drop)
}

fn written(grants: &[Grant]) -> Json {
    let written = |grant: &Grant| json!({"role": grant.role().as_str(), "id": grant.id()});
    grants.iter().map(written).collect()
}

fn read(row: &Row) -> Result<Session, StoreError> {
    let grants = serde_json::from_str(row.text(2)?).ok().and_then(|grants| read_grants(&grants));
    Ok(Session {
        subject: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        claimed: grants.ok_or_else(|| row.damaged())?,
        entered: match row.text(3)? {
            "login" => Entered::Login,
            "link" => Entered::Link,
            _ => return Err(row.damaged()),
        },
        created_at: row.integer(4)?,
        seen_at: row.integer(5)?,
        expires_at: row.integer(6)?,
    })
}

/// All or none: a grant that can't be read is no reason to leave it out silently.
fn read_grants(grants: &Json) -> Option<Vec<Grant>> {
    let grant = |grant: &Json| {
        let id = match &grant["id"] {
            Json::Null => None,
            id => Some(id.as_str()?.parse().ok()?),
        };
        Grant::new(Role::from_str(grant["role"].as_str()?).ok()?, id)
    };
    grants.as_array()?.iter().map(grant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn sessions_end_by_idleness_and_by_age() {
        let live = Session {
            subject: "ada".to_owned(),
            name: String::new(),
            claimed: Vec::new(),
            entered: Entered::Login,
            created_at: NOW,
            seen_at: NOW + 50,
            expires_at: NOW + 100,
        };
        for (now, idle, expected) in [
            (NOW, 30, true),
            (NOW + 79, 30, true),
            (NOW + 80, 30, false),
            (NOW + 99, 3000, true),
            (NOW + 100, 3000, false),
            (NOW + 99, i64::MAX, true),
        ] {
            assert_eq!(live.is_live(now, idle), expected, "{now} {idle}");
        }
    }
}
