//! The store in one SQLite file, for one machine.
//!
//! Invariants: the rollback journal only, so that nothing lies beside the file and it opens from a
//! read-only mount; every change is one transaction, on the disk before it is acknowledged;
//! removed rows are overwritten (`secure_delete`); SQL gets its data by parameters only.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, params};

use crate::secret::{Owner, SecretId, Value};

use super::inventory::{complete, take_inventory};
use super::keys::{self, Keyring};
use super::rows::{COLUMNS, query, record};
use super::schema::{APPLICATION_ID, NewSecret, Record, StoreError, TABLES, VERSION};
use super::seal::{self, KeyId, OpenError, PublicKey};
use super::selection::{Selection, user};

/// How long to wait for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// The beginning of the names of stores that are not finished yet.
const TEMPORARY: &str = ".qgis-secrets-store-";

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens a store. Refuses a file that others can read, a newer version, and what is no store.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(path.into()),
            _ => keys::KeyError::Io(path.into(), error).into(),
        })?;
        if !metadata.is_file() {
            return Err(StoreError::NotAStore(path.into()));
        }
        keys::check_private(path, &metadata)?;
        let store = Self::connect(path)?;
        let (application, version) = store.versions()?;
        match (application, version) {
            (APPLICATION_ID, VERSION) => Ok(store),
            (APPLICATION_ID, newer) if newer > VERSION => {
                Err(StoreError::Newer(path.into(), newer))
            }
            _ if metadata.len() == 0 => Err(StoreError::Damaged(path.into())),
            _ => Err(StoreError::NotAStore(path.into())),
        }
    }

    /// Makes an empty store that is sealed to `key`, 0600 in a directory that is made 0700.
    ///
    /// It is built under another name and then linked: two that make it at once get the same one,
    /// and one that dies meanwhile leaves none.
    pub fn create(path: &Path, key: &PublicKey) -> Result<Self, StoreError> {
        let io = |error| StoreError::from(keys::KeyError::Io(path.into(), error));
        let _lock = keys::DirectoryLock::wait(path, TEMPORARY)?;
        let directory = keys::private_directory(path)?;
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)
            .map_err(io)?;
        {
            let mut new = Self::connect(file.path())?;
            let path = new.path.clone();
            let tx = new.begin()?;
            tx.execute_batch(TABLES)
                .and_then(|()| tx.pragma_update(None, "application_id", APPLICATION_ID))
                .and_then(|()| tx.pragma_update(None, "user_version", VERSION))
                .and_then(|()| {
                    let id = key.id().as_str();
                    tx.execute("INSERT INTO recipient (one, key_id) VALUES (1, ?1)", [id])
                })
                .and_then(|_| tx.commit())
                .map_err(|error| translate(&path, error))?;
        }
        match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(error.error)),
        }
        keys::sync_directory(path)?;
        Self::open(path)
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that the store is sealed to.
    pub fn recipient(&self) -> Result<KeyId, StoreError> {
        recipient(&self.connection).map_err(|error| self.translate(error))
    }

    /// Refuses a key ring that doesn't hold the store's key; returns that key's id.
    pub fn check_keys(&self, keys: &Keyring) -> Result<KeyId, StoreError> {
        let want = self.recipient()?;
        if keys.find(&want).is_some() {
            return Ok(want);
        }
        let have = keys.current().public().id().clone();
        Err(StoreError::OtherKey { path: self.path.clone(), have, want })
    }

    /// The rows of `owners`: what a job may get, and nothing else is read.
    ///
    /// Begins a snapshot, so that [`Store::open_value`] reads the same state. What is there must be
    /// what was put there: a row that is missing would let a lower level step in.
    pub fn candidates(&self, owners: &[Owner]) -> Result<Vec<Record>, StoreError> {
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN").map_err(|error| self.translate(error))?;
        }
        let mut records = Vec::new();
        for owner in owners {
            records.extend(complete(&self.connection, &self.path, owner)?);
        }
        Ok(records)
    }

    /// The rows of a selection, ordered by owner, kind and key.
    pub fn list(&self, selection: &Selection) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        self.collect(selection, &mut records)?;
        Ok(records)
    }

    /// Opens one value.
    pub fn open_value(&self, record: &Record, keys: &Keyring) -> Result<Value, StoreError> {
        open_value(&self.connection, &self.path, record, keys)
    }

    /// Adds secrets, all or none. `replace` takes the place of what stands there, under a new id.
    pub fn add(
        &mut self,
        secrets: &[NewSecret],
        key: &PublicKey,
        replace: bool,
    ) -> Result<Vec<SecretId>, StoreError> {
        let path = self.path.clone();
        let tx = self.begin()?;
        let want = recipient(&tx).map_err(|error| translate(&path, error))?;
        if want != *key.id() {
            return Err(StoreError::OtherKey { path, have: key.id().clone(), want });
        }
        let owners: BTreeSet<&Owner> = secrets.iter().map(|secret| &secret.owner).collect();
        for owner in &owners {
            // A change must not make good what something else has altered.
            complete(&tx, &path, owner)?;
        }
        let ids = secrets
            .iter()
            .map(|secret| insert(&tx, &path, secret, key, replace))
            .collect::<Result<_, _>>()?;
        for owner in owners {
            take_inventory(&tx, &path, owner)?;
        }
        tx.commit().map_err(|error| translate(&path, error))?;
        Ok(ids)
    }

    /// Removes one secret.
    pub fn remove(&mut self, record: &Record) -> Result<(), StoreError> {
        let path = self.path.clone();
        let tx = self.begin()?;
        complete(&tx, &path, &record.owner)?;
        let removed = tx
            .execute("DELETE FROM secret WHERE id = ?1", [record.id.as_str()])
            .map_err(|error| translate(&path, error))?;
        if removed == 0 {
            return Err(StoreError::Gone(record.id.clone()));
        }
        take_inventory(&tx, &path, &record.owner)?;
        tx.commit().map_err(|error| translate(&path, error))
    }

    /// Removes all of a selection of whole levels, altered or not; returns how many rows there
    /// were.
    pub fn purge(&mut self, selection: &Selection) -> Result<usize, StoreError> {
        let path = self.path.clone();
        let (condition, values) = selection.sql();
        let tx = self.begin()?;
        let delete = |table: &str| {
            let sql = format!("DELETE FROM {table} WHERE {condition}");
            tx.execute(&sql, rusqlite::params_from_iter(&values))
                .map_err(|error| translate(&path, error))
        };
        let removed = delete("secret")?;
        delete("inventory")?;
        tx.commit().map_err(|error| translate(&path, error))?;
        Ok(removed)
    }

    /// One row by its id.
    pub fn find(&self, id: &SecretId) -> Result<Option<Record>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM secret WHERE id = ?1");
        self.connection
            .query_row(&sql, [id.as_str()], |row| Ok(record(row, &self.path)))
            .optional()
            .map_err(|error| self.translate(error))?
            .transpose()
    }

    /// From now on values are sealed to `key`; those that are there stay until [`Store::reseal`].
    pub fn set_recipient(&mut self, key: &PublicKey) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE recipient SET key_id = ?1", [key.id().as_str()])
            .map(|_| ())
            .map_err(|error| self.translate(error))
    }

    /// How many values are sealed to another key than `key`.
    pub fn stale(&self, key: &KeyId) -> Result<u64, StoreError> {
        // Two ranges instead of `<>`, for only those use the index.
        let sql = "SELECT (SELECT count(*) FROM secret WHERE key_id < ?1)
                        + (SELECT count(*) FROM secret WHERE key_id > ?1)";
        self.connection
            .query_row(sql, [key.as_str()], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(|error| self.translate(error))
    }

    /// Seals up to `batch` values anew, to the ring's current key, in one transaction; returns how
    /// many it did.
    pub fn reseal(&mut self, keys: &Keyring, batch: u32) -> Result<usize, StoreError> {
        let path = self.path.clone();
        let current = keys.current().public();
        let tx = self.begin()?;
        let sql = format!(
            "SELECT {COLUMNS} FROM secret WHERE key_id < ?1
             UNION ALL SELECT {COLUMNS} FROM secret WHERE key_id > ?1 LIMIT ?2"
        );
        let mut records = Vec::new();
        query(&tx, &path, &sql, params![current.id().as_str(), batch], &mut records)?;
        for record in &records {
            let value = open_value(&tx, &path, record, keys)?;
            let sealed = seal::seal(current, record.context(), &value)
                .map_err(|why| sealed_error(record, why))?;
            tx.execute(
                "UPDATE secret SET sealed = ?2, key_id = ?3 WHERE id = ?1",
                params![record.id.as_str(), sealed, current.id().as_str()],
            )
            .map_err(|error| translate(&path, error))?;
        }
        tx.commit().map_err(|error| translate(&path, error))?;
        Ok(records.len())
    }

    fn connect(path: &Path) -> Result<Self, StoreError> {
        // Falls back to reading where the file system doesn't let us write. No URI: a path may
        // hold `?`. No mutex: the connection never leaves its thread.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| translate(path, error))?;
        let store = Self { path: path.into(), connection };
        store
            .connection
            .busy_timeout(BUSY)
            .and_then(|()| {
                store.connection.execute_batch(
                    "PRAGMA synchronous = EXTRA; PRAGMA secure_delete = ON;
                     PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
                     PRAGMA temp_store = MEMORY;",
                )
            })
            .map_err(|error| store.translate(error))?;
        Ok(store)
    }

    fn versions(&self) -> Result<(i64, i64), StoreError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get(0));
        pragma("application_id")
            .and_then(|application| Ok((application, pragma("user_version")?)))
            .map_err(|error| self.translate(error))
    }

    fn collect(&self, selection: &Selection, records: &mut Vec<Record>) -> Result<(), StoreError> {
        let (condition, values) = selection.sql();
        let sql = format!(
            "SELECT {COLUMNS} FROM secret WHERE {condition} ORDER BY level, owner, user, kind, key"
        );
        let values = rusqlite::params_from_iter(values);
        query(&self.connection, &self.path, &sql, values, records)
    }

    fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        let path = self.path.clone();
        self.connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(|error| translate(&path, error))
    }

    fn translate(&self, error: rusqlite::Error) -> StoreError {
        translate(&self.path, error)
    }
}

fn recipient(connection: &Connection) -> rusqlite::Result<KeyId> {
    connection
        .query_row("SELECT key_id FROM recipient", [], |row| row.get::<_, String>(0))
        .map(KeyId::from)
}

fn insert(
    tx: &Transaction<'_>,
    path: &Path,
    secret: &NewSecret,
    key: &PublicKey,
    replace: bool,
) -> Result<SecretId, StoreError> {
    let NewSecret { name, owner, sensitive, created_by, value } = secret;
    if replace {
        tx.execute(
            "DELETE FROM secret
             WHERE level = ?1 AND owner = ?2 AND user = ?3 AND kind = ?4 AND key = ?5",
            params![
                owner.level().as_str(),
                owner.id().as_str(),
                user(owner),
                name.kind.as_str(),
                name.key
            ],
        )
        .map_err(|error| translate(path, error))?;
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
    tx.execute(
        "INSERT INTO secret (level, owner, user, kind, key, id, sensitive, created_at, created_by,
                             key_id, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            owner.level().as_str(),
            owner.id().as_str(),
            user(owner),
            name.kind.as_str(),
            name.key,
            record.id.as_str(),
            sensitive,
            record.created_at,
            record.created_by,
            record.key_id.as_str(),
            sealed
        ],
    )
    .map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => {
            StoreError::Exists { name: name.clone(), owner: owner.clone() }
        }
        _ => translate(path, error),
    })?;
    Ok(record.id)
}

/// RFC 3339, UTC, to the second.
fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string()
}

fn open_value(
    connection: &Connection,
    path: &Path,
    record: &Record,
    keys: &Keyring,
) -> Result<Value, StoreError> {
    let key = keys
        .find(&record.key_id)
        .ok_or_else(|| sealed_error(record, OpenError::Key(record.key_id.clone())))?;
    let mut statement = connection
        .prepare_cached("SELECT sealed FROM secret WHERE id = ?1")
        .map_err(|error| translate(path, error))?;
    let opened = statement
        .query_row([record.id.as_str()], |row| {
            let sealed = row.get_ref(0)?.as_blob()?;
            Ok(seal::open(key, record.context(), sealed))
        })
        .optional()
        .map_err(|error| translate(path, error))?;
    match opened {
        Some(opened) => opened.map_err(|why| sealed_error(record, why)),
        None => Err(StoreError::Gone(record.id.clone())),
    }
}

fn sealed_error(record: &Record, why: OpenError) -> StoreError {
    StoreError::Sealed { name: record.name.clone(), owner: record.owner.clone(), why }
}

pub(super) fn translate(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked(path),
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly(path),
        Some(ErrorCode::DiskFull) => StoreError::Full(path),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged(path),
        _ => match error {
            // A row of the wrong type: STRICT tables never hold one.
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..) => StoreError::Damaged(path),
            error => StoreError::Database(path, error),
        },
    }
}
