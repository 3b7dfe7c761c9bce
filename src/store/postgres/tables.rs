//! The tables in PostgreSQL: made once, whoever begins at the same time, and brought up to date.
//!
//! Invariants: tables and their version appear together or not at all; the text of the tables is
//! SQLite's, translated, so that the two can't drift apart.

use super::Postgres;
use super::fault::When;
use crate::store::StoreError;
use crate::store::database::{Database, Mode, one, parameters};
use crate::store::schema::{APPLICATION_ID, SECRETS, SERVICE, VERSION};
use crate::store::seal::KeyId;

/// The version of the tables; none if there are none.
pub(super) fn version(store: &mut Postgres) -> Result<Option<i64>, StoreError> {
    let schema = store.settings.schema.clone();
    store.begin(Mode::Read)?;
    let version = read_version(store, &schema);
    store.rollback();
    version
}

fn read_version(store: &mut Postgres, schema: &str) -> Result<Option<i64>, StoreError> {
    // The catalog shows what the role may not read, which is another error than nothing.
    let there = store.query(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
             ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'store_version'",
        parameters![schema],
    )?;
    if there.is_empty() {
        return Ok(None);
    }
    one(store.query("SELECT version FROM store_version", &[])?)
        .ok_or_else(|| StoreError::Damaged(store.place.clone()))?
        .integer(0)
        .map(Some)
}

/// Makes the tables, if nobody has.
pub(super) fn create(store: &mut Postgres, schema: &str, key: &KeyId) -> Result<(), StoreError> {
    locked(store, |store| {
        if read_version(store, schema)?.is_some() {
            return Ok(());
        }
        let there = store.query(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
            parameters![schema],
        )?;
        // Only where it isn't there: whoever made it may not have given us the right to.
        if there.is_empty() {
            store.batch(&format!("CREATE SCHEMA \"{schema}\""))?;
        }
        store.batch(&translate(SECRETS))?;
        store.batch(&translate(SERVICE))?;
        store.batch("CREATE TABLE store_version (one bigint PRIMARY KEY CHECK (one = 1), version bigint NOT NULL)")?;
        store.execute("INSERT INTO store_version VALUES (1, $1)", parameters![VERSION])?;
        store.execute(
            "INSERT INTO recipient (one, key_id) VALUES (1, $1)",
            parameters![key.as_str()],
        )?;
        Ok(())
    })
}

/// Brings the tables of an earlier version to this one; true if it did.
pub(super) fn upgrade(store: &mut Postgres) -> Result<bool, StoreError> {
    if store.version()? == VERSION {
        return Ok(false);
    }
    let schema = store.settings.schema.clone();
    locked(store, |store| {
        match read_version(store, &schema)? {
            Some(VERSION) => return Ok(false),
            Some(1) => store.batch(&translate(SERVICE))?,
            Some(2) => store.batch(TO_THIRD_VERSION)?,
            Some(newer) => return Err(StoreError::Newer(store.place.clone(), newer)),
            None => return Err(StoreError::Missing(store.place.clone())),
        }
        store.execute("UPDATE store_version SET version = $1", parameters![VERSION])?;
        Ok(true)
    })
}

/// Changes the table of API tokens where it is: one that was made anew would have lost the rights
/// that were granted on it. The condition has the name that the server gives it.
const TO_THIRD_VERSION: &str = "
    ALTER TABLE api_token DROP CONSTRAINT api_token_access_check,
        ADD CONSTRAINT api_token_access_check CHECK (access IN ('read', 'manage', 'delegate'));
    CREATE INDEX api_token_by_maker ON api_token (created_by);
";

/// Does `work` in a transaction that no other program's change of the tables overlaps.
fn locked<T>(
    store: &mut Postgres,
    work: impl FnOnce(&mut Postgres) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    store.rollback();
    // Not serializable: what others did while this waited for the lock is to be seen.
    let begun = store.connected()?.run(async |client| {
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await
    });
    begun.map_err(|fault| fault.translate(&store.place, When::Working))?;
    store.state = super::State::Open;
    let schema = store.settings.schema.clone();
    let work = |store: &mut Postgres| {
        store.query(
            "SELECT pg_catalog.pg_advisory_xact_lock($1::bigint # pg_catalog.hashtext($2)) IS NULL",
            parameters![APPLICATION_ID << 32, schema.as_str()],
        )?;
        work(store)
    };
    match work(store) {
        Ok(done) => store.commit().map(|()| done),
        Err(error) => {
            store.rollback();
            Err(error)
        }
    }
}

/// SQLite's words as PostgreSQL's. Texts are compared byte for byte, as SQLite does.
fn translate(tables: &str) -> String {
    tables
        .replace(" STRICT, WITHOUT ROWID", "")
        .replace(" STRICT", "")
        .replace(" INTEGER", " bigint")
        .replace(" BLOB", " bytea")
        .replace(" TEXT", " text COLLATE \"C\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_sqlites_is_left() {
        for tables in [SECRETS, SERVICE] {
            let translated = translate(tables);
            for word in ["STRICT", "ROWID", "BLOB", "INTEGER", " TEXT"] {
                assert!(tables.contains(word) || word == "ROWID", "{word}");
                assert!(!translated.contains(word), "{word} in {translated}");
            }
        }
        let table =
            "CREATE TABLE a (\n id TEXT PRIMARY KEY, n INTEGER NOT NULL\n) STRICT, WITHOUT ROWID;";
        let expected =
            "CREATE TABLE a (\n id text COLLATE \"C\" PRIMARY KEY, n bigint NOT NULL\n);";
        assert_eq!(translate(table), expected);
    }
}
