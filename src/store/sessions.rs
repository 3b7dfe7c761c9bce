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
    use crate::store::PrivateKey;
    use crate::store::database::{Mode, transaction};
    use crate::store::sqlite::Sqlite;

    const NOW: i64 = 1_800_000_000;

    /// Does `work` in a transaction of a store of its own.
    fn stored(work: impl FnOnce(&mut dyn Database) -> Result<(), StoreError>) {
        let directory = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate();
        let mut store = Sqlite::create(&directory.path().join("s.db"), key.public().id()).unwrap();
        transaction(&mut store, Mode::Write, work).unwrap();
    }

    fn session(subject: &str, expires_at: i64) -> Session {
        Session {
            subject: subject.to_owned(),
            name: "Ada".to_owned(),
            claimed: vec![
                Grant::Operator,
                Grant::OrganizationAdmin("org-81".parse().unwrap()),
                Grant::ProjectAdmin("a/b".parse().unwrap()),
            ],
            entered: Entered::Login,
            created_at: NOW,
            seen_at: NOW,
            expires_at,
        }
    }

    #[test]
    fn a_session_comes_back_as_it_was() {
        stored(|database| {
            let ada = session("ada", NOW + 100);
            let link = Session { entered: Entered::Link, claimed: vec![], ..session("l", NOW + 9) };
            begin(database, &[1; 32], &ada)?;
            begin(database, &[2; 32], &link)?;
            assert_eq!(find(database, &[1; 32])?, Some(ada));
            assert_eq!(find(database, &[2; 32])?, Some(link));
            assert_eq!(find(database, &[3; 32])?, None);
            // One digest, one session: nobody gets into another's.
            assert!(begin(database, &[1; 32], &session("eve", NOW + 100)).is_err());
            Ok(())
        });
    }

    #[test]
    fn sessions_end_by_idleness_and_by_age() {
        let live = Session { seen_at: NOW + 50, ..session("ada", NOW + 100) };
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

    #[test]
    fn a_touch_is_never_backwards() {
        stored(|database| {
            begin(database, &[1; 32], &session("ada", NOW + 100))?;
            for (now, seen) in [(NOW + 5, NOW + 5), (NOW + 3, NOW + 5)] {
                touch(database, &[1; 32], now)?;
                assert_eq!(find(database, &[1; 32])?.unwrap().seen_at, seen);
            }
            Ok(())
        });
    }

    #[test]
    fn one_ends_or_all_of_one_person() {
        stored(|database| {
            for (digest, subject) in [(1, "ada"), (2, "ada"), (3, "ada"), (4, "eve")] {
                begin(database, &[digest; 32], &session(subject, NOW + 100))?;
            }
            assert!(end(database, &[1; 32])?);
            assert!(!end(database, &[1; 32])?);
            assert_eq!(end_all(database, "ada")?, 2);
            assert_eq!(find(database, &[2; 32])?, None);
            assert!(find(database, &[4; 32])?.is_some());
            Ok(())
        });
    }

    #[test]
    fn a_link_works_once_and_in_time() {
        stored(|database| {
            offer_link(database, &[1; 32], NOW, NOW + 10)?;
            offer_link(database, &[2; 32], NOW, NOW + 10)?;
            assert!(!use_link(database, &[3; 32], NOW)?);
            assert!(use_link(database, &[1; 32], NOW + 9)?);
            assert!(!use_link(database, &[1; 32], NOW + 9)?);
            assert!(!use_link(database, &[2; 32], NOW + 10)?);
            // An answer that was used is no link.
            assert!(use_answer(database, &[4; 32], NOW, NOW + 10)?);
            assert!(!use_link(database, &[4; 32], NOW)?);
            assert!(!use_answer(database, &[4; 32], NOW, NOW + 10)?);
            Ok(())
        });
    }

    #[test]
    fn what_is_over_goes_when_something_new_comes() {
        stored(|database| {
            begin(database, &[1; 32], &session("ada", NOW - 1))?;
            offer_link(database, &[1; 32], NOW - 20, NOW - 10)?;
            begin(database, &[2; 32], &session("ada", NOW + 100))?;
            offer_link(database, &[2; 32], NOW, NOW + 10)?;
            for table in ["session", "login"] {
                let sql = format!("SELECT count(*) FROM {table}");
                assert_eq!(database.query(&sql, &[])?[0].integer(0)?, 1, "{table}");
            }
            Ok(())
        });
    }

    #[test]
    fn a_grant_that_cannot_be_read_is_damage() {
        for text in [
            r#"[{"role":"operator","id":null},{"role":"king","id":null}]"#,
            r#"[{"role":"operator","id":"a"}]"#,
            r#"[{"role":"project_admin","id":null}]"#,
            r#"[{"role":"project_admin","id":"../a"}]"#,
            r#"{}"#,
            "",
        ] {
            stored(|database| {
                begin(database, &[1; 32], &session("ada", NOW + 100))?;
                database.execute("UPDATE session SET grants = $1", parameters![text])?;
                assert!(matches!(find(database, &[1; 32]), Err(StoreError::Damaged(_))), "{text}");
                Ok(())
            });
        }
    }
}
