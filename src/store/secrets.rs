//! What is done to secrets, whatever database is underneath.
//!
//! Invariants: each function runs inside a transaction of its caller's; a value is sealed before it
//! is in a statement; what stands at a level is checked before it is changed or given away.

use std::collections::BTreeSet;

use super::database::{Database, one, parameters};
use super::inventory::{complete, take_inventory};
use super::keys::Keyring;
use super::rows::{COLUMNS, query, record};
use super::schema::{NewSecret, Record, StoreError};
use super::seal::{self, KeyId, OpenError, PublicKey};
use super::selection::{Selection, place};
use crate::secret::{Owner, SecretId, Value};

/// The key that the store is sealed to.
pub fn recipient(database: &mut dyn Database) -> Result<KeyId, StoreError> {
    match one(database.query("SELECT key_id FROM recipient", &[])?) {
        Some(row) => Ok(KeyId::from(row.text(0)?.to_owned())),
        None => Err(StoreError::Damaged(database.place().clone())),
    }
}

/// Refuses a key ring that doesn't hold the store's key; returns that key's id.
pub fn check_keys(database: &mut dyn Database, keys: &Keyring) -> Result<KeyId, StoreError> {
    let want = recipient(database)?;
    if keys.find(&want).is_some() {
        return Ok(want);
    }
    let have = keys.current().public().id().clone();
    Err(StoreError::OtherKey { place: database.place().clone(), have, want })
}

/// The rows of `owners`: what a job may get, and nothing else is read.
///
/// What is there must be what was put there: a row that is missing would let a lower level step in.
pub fn candidates(
    database: &mut dyn Database,
    owners: &[Owner],
) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for owner in owners {
        records.extend(complete(database, owner)?);
    }
    Ok(records)
}

/// The rows of a selection, ordered by owner, kind and key.
pub fn list(database: &mut dyn Database, selection: &Selection) -> Result<Vec<Record>, StoreError> {
    let (condition, values) = selection.sql();
    let sql = format!(
        "SELECT {COLUMNS} FROM secret WHERE {condition} ORDER BY level, owner, \"user\", kind, key"
    );
    query(database, &sql, &values)
}

/// One row by its id.
pub fn find(database: &mut dyn Database, id: &SecretId) -> Result<Option<Record>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM secret WHERE id = $1");
    one(database.query(&sql, parameters![id.as_str()])?).map(|row| record(&row)).transpose()
}

/// Opens one value.
pub fn open_value(
    database: &mut dyn Database,
    record: &Record,
    keys: &Keyring,
) -> Result<Value, StoreError> {
    sealed(database, record)?.open(keys)
}

/// A secret that is still sealed, with the row that its seal binds.
#[derive(Debug)]
pub struct Sealed {
    record: Record,
    envelope: Vec<u8>,
}

/// Reads one value, sealed as it is.
pub fn sealed(database: &mut dyn Database, record: &Record) -> Result<Sealed, StoreError> {
    let row = database
        .query("SELECT sealed FROM secret WHERE id = $1", parameters![record.id.as_str()])?;
    let row = one(row).ok_or_else(|| StoreError::Gone(record.id.clone()))?;
    Ok(Sealed { record: record.clone(), envelope: row.bytes(0)?.to_vec() })
}

impl Sealed {
    /// The facts beside it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Opens it.
    pub fn open(&self, keys: &Keyring) -> Result<Value, StoreError> {
        let Self { record, envelope } = self;
        let key = keys
            .find(&record.key_id)
            .ok_or_else(|| sealed_error(record, OpenError::Key(record.key_id.clone())))?;
        seal::open(key, record.context(), envelope).map_err(|why| sealed_error(record, why))
    }
}

/// Adds secrets, all or none. `replace` takes the place of what stands there, under a new id.
pub fn add(
    database: &mut dyn Database,
    secrets: &[NewSecret],
    key: &PublicKey,
    replace: bool,
) -> Result<Vec<Record>, StoreError> {
    let want = recipient(database)?;
    if want != *key.id() {
        let place = database.place().clone();
        return Err(StoreError::OtherKey { place, have: key.id().clone(), want });
    }
    let owners: BTreeSet<&Owner> = secrets.iter().map(|secret| &secret.owner).collect();
    for owner in &owners {
        // A change must not make good what something else has altered.
        complete(database, owner)?;
    }
    let added = secrets
        .iter()
        .map(|secret| insert(database, secret, key, replace))
        .collect::<Result<_, _>>()?;
    for owner in owners {
        take_inventory(database, owner)?;
    }
    Ok(added)
}

fn insert(
    database: &mut dyn Database,
    secret: &NewSecret,
    key: &PublicKey,
    replace: bool,
) -> Result<Record, StoreError> {
    let NewSecret { name, owner, sensitive, created_by, value } = secret;
    let [level, id, user] = place(owner);
    if replace {
        database.execute(
            "DELETE FROM secret
             WHERE level = $1 AND owner = $2 AND \"user\" = $3 AND kind = $4 AND key = $5",
            &[level, id, user, name.kind.as_str().into(), (&name.key).into()],
        )?;
    }
    let record = Record {
        id: SecretId::new(),
        name: name.clone(),
        owner: owner.clone(),
        sensitive: *sensitive,
        created_at: now(),
        created_by: created_by.clone(),
        key_id: key.id().clone(),
    };
    let sealed =
        seal::seal(key, record.context(), value).map_err(|why| sealed_error(&record, why))?;
    let inserted = database.execute(
        "INSERT INTO secret (level, owner, \"user\", kind, key, id, sensitive, created_at,
                             created_by, key_id, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (level, owner, \"user\", kind, key) DO NOTHING",
        &[
            level,
            id,
            user,
            name.kind.as_str().into(),
            (&name.key).into(),
            record.id.as_str().into(),
            (*sensitive).into(),
            (&record.created_at).into(),
            (&record.created_by).into(),
            record.key_id.as_str().into(),
            sealed.as_slice().into(),
        ],
    )?;
    if inserted == 0 {
        return Err(StoreError::Exists { name: name.clone(), owner: owner.clone() });
    }
    Ok(record)
}

/// Removes one secret.
pub fn remove(database: &mut dyn Database, record: &Record) -> Result<(), StoreError> {
    complete(database, &record.owner)?;
    let id = record.id.as_str();
    if database.execute("DELETE FROM secret WHERE id = $1", parameters![id])? == 0 {
        return Err(StoreError::Gone(record.id.clone()));
    }
    take_inventory(database, &record.owner)
}

/// Removes all of a selection of whole levels, altered or not; returns how many rows there were.
pub fn purge(database: &mut dyn Database, selection: &Selection) -> Result<u64, StoreError> {
    let (condition, values) = selection.sql();
    let removed = database.execute(&format!("DELETE FROM secret WHERE {condition}"), &values)?;
    database.execute(&format!("DELETE FROM inventory WHERE {condition}"), &values)?;
    Ok(removed)
}

/// From now on values are sealed to `key`; those that are there stay until [`reseal`].
pub fn set_recipient(database: &mut dyn Database, key: &PublicKey) -> Result<(), StoreError> {
    database.execute("UPDATE recipient SET key_id = $1", parameters![key.id().as_str()]).map(drop)
}

/// How many values are sealed to another key than `key`.
pub fn stale(database: &mut dyn Database, key: &KeyId) -> Result<u64, StoreError> {
    // Two ranges instead of `<>`, for only those use the index.
    let sql = "SELECT (SELECT count(*) FROM secret WHERE key_id < $1)
                    + (SELECT count(*) FROM secret WHERE key_id > $1)";
    let count = one(database.query(sql, parameters![key.as_str()])?);
    count.map_or(Ok(0), |row| Ok(row.integer(0)?.unsigned_abs()))
}

/// Seals up to `batch` values anew, to the ring's current key; returns how many it did.
pub fn reseal(
    database: &mut dyn Database,
    keys: &Keyring,
    batch: u32,
) -> Result<usize, StoreError> {
    let current = keys.current().public();
    let sql = format!(
        "SELECT {COLUMNS} FROM secret WHERE key_id < $1
         UNION ALL SELECT {COLUMNS} FROM secret WHERE key_id > $1 LIMIT $2"
    );
    let records = query(database, &sql, parameters![current.id().as_str(), i64::from(batch)])?;
    for record in &records {
        let value = open_value(database, record, keys)?;
        let sealed = seal::seal(current, record.context(), &value)
            .map_err(|why| sealed_error(record, why))?;
        database.execute(
            "UPDATE secret SET sealed = $2, key_id = $3 WHERE id = $1",
            parameters![record.id.as_str(), sealed.as_slice(), current.id().as_str()],
        )?;
    }
    Ok(records.len())
}

/// RFC 3339, UTC, to the second.
pub(super) fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string()
}

fn sealed_error(record: &Record, why: OpenError) -> StoreError {
    StoreError::Sealed { name: record.name.clone(), owner: record.owner.clone(), why }
}
