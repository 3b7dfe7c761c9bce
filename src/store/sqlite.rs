//! The store in one SQLite file, for one machine.
//!
//! Invariants: the rollback journal, unless a service has made it a write-ahead log: nothing lies
//! beside the file and it opens from a read-only mount; a change is on the disk before it is
//! acknowledged; removed rows are overwritten (`secure_delete`); a file that was moved or replaced
//! while it was open is neither read nor written any more.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::database::{Column, Database, Mode, Parameter, Place, Row};
use super::keys;
use super::schema::{APPLICATION_ID, SECRETS, SERVICE, StoreError, VERSION, making};
use super::seal::KeyId;

/// How long to wait for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// How long to wait before the next look.
const PAUSE: Duration = Duration::from_millis(5);

const NO_LOG: &str = "its file system cannot hold a write-ahead log; keep it on a local disk";

/// Prepared statements that a connection keeps. The store has fewer.
const PREPARED: usize = 200;

/// The beginning of the names of stores that are not finished yet.
const TEMPORARY: &str = ".qgis-secrets-store-";

/// A connection to a SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    place: Place,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    connection: Connection,
}

impl Sqlite {
    /// Opens a store. Refuses a file that others can read, a newer version, and what is no store.
    ///
    /// One of version 1 has the same secrets; [`Database::upgrade`] adds the service's tables.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = || Place::File(path.into());
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(place()),
            _ => keys::KeyError::Io(path.into(), error).into(),
        })?;
        if !metadata.is_file() {
            return Err(StoreError::NotAStore(place()));
        }
        keys::check_private(path, &metadata)?;
        let store = Self::connect(path)?;
        match store.versions()? {
            (APPLICATION_ID, 1..=VERSION) => Ok(store),
            (APPLICATION_ID, newer) if newer > VERSION => Err(StoreError::Newer(place(), newer)),
            _ if metadata.len() == 0 => Err(StoreError::Damaged(place())),
            _ => Err(StoreError::NotAStore(place())),
        }
    }

    /// Makes an empty store that is sealed to the key of this id, 0600 in a directory that is made 0700.
    ///
    /// It is built under another name and then linked: two that make it at once get the same one,
    /// and one that dies meanwhile leaves none.
    pub fn create(path: &Path, key: &KeyId) -> Result<Self, StoreError> {
        let io = |error| StoreError::from(keys::KeyError::Io(path.into(), error));
        let _lock = keys::DirectoryLock::wait(path, TEMPORARY)?;
        let directory = keys::private_directory(path)?;
        refuse_log(path)?;
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)
            .map_err(io)?;
        {
            let mut new = Self::connect(file.path())?;
            new.begin(Mode::Write)?;
            new.batch(SECRETS)?;
            new.batch(SERVICE)?;
            new.execute(
                "INSERT INTO recipient (one, key_id) VALUES (1, $1)",
                &[key.as_str().into()],
            )?;
            new.pragma("application_id", APPLICATION_ID)?;
            new.pragma("user_version", VERSION)?;
            new.commit()?;
        }
        match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(error.error)),
        }
        keys::sync_directory(path)?;
        Self::open(path)
    }

    /// From now on this connection refuses to write.
    pub fn only_read(&mut self) -> Result<(), StoreError> {
        self.batch("PRAGMA query_only = ON")
    }

    /// Makes the journal a write-ahead log, in which readers and the writer don't wait for each
    /// other. It stays one until [`Sqlite::leave_log`].
    #[expect(clippy::disallowed_methods, reason = "nothing tells when the last reader has gone")]
    pub fn use_log(&mut self) -> Result<(), StoreError> {
        // A journal can be changed only while nobody else reads, and the change itself doesn't wait.
        let until = Instant::now() + BUSY;
        loop {
            match self.journal("WAL") {
                Err(StoreError::Locked(_)) if Instant::now() < until => thread::sleep(PAUSE),
                Ok(mode) if mode == "wal" => return Ok(()),
                // The file system has no shared memory, as one on a network.
                Ok(_) => return Err(StoreError::Database(self.place.clone(), NO_LOG.into())),
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts all of the log into the file and removes it, unless another process has the file open;
    /// then that one does, or the next that serves it.
    pub fn leave_log(mut self) {
        self.rollback();
        if self.connection.busy_timeout(Duration::ZERO).is_ok() {
            // A connection that hasn't read since it chose the log takes an empty one for none, and
            // leaves its files: two readers that close at once leave them, too.
            drop(self.versions());
            drop(self.journal("DELETE"));
        }
    }

    fn journal(&self, mode: &str) -> Result<String, StoreError> {
        self.connection
            .pragma_update_and_check(None, "journal_mode", mode, |row| row.get(0))
            .map_err(|error| translate(&self.place, error))
    }

    fn connect(path: &Path) -> Result<Self, StoreError> {
        let place = Place::File(path.into());
        let identity = identity(path)
            .map_err(|error| StoreError::from(keys::KeyError::Io(path.into(), error)))?;
        // Falls back to reading where the file system doesn't let us write. No URI: a path may
        // hold `?`. No mutex: one thread at a time has the connection.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| translate(&place, error))?;
        let mut store = Self { place, path: path.into(), identity, connection };
        let fault = |error| translate(&store.place, error);
        store.connection.busy_timeout(BUSY).map_err(fault)?;
        store.connection.set_prepared_statement_cache_capacity(PREPARED);
        // One plan for one text. Otherwise SQLite also looks at what is bound, and plans a statement
        // anew when that goes: at the end of each use of a cached one.
        let stable = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
        store.connection.set_db_config(stable, true).map_err(fault)?;
        store.batch(
            "PRAGMA synchronous = EXTRA; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;",
        )?;
        Ok(store)
    }

    /// Refuses to go on with a file that is no longer the one at its path: what is written there
    /// would be lost, and another file of that name would share its log.
    fn still_there(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => Ok(()),
            Ok(_) => Err(StoreError::Replaced(self.place.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Replaced(self.place.clone()))
            }
            Err(error) => Err(keys::KeyError::Io(self.path.clone(), error).into()),
        }
    }

    /// Application id and version.
    fn versions(&self) -> Result<(i64, i64), StoreError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get(0));
        pragma("application_id")
            .and_then(|application| Ok((application, pragma("user_version")?)))
            .map_err(|error| translate(&self.place, error))
    }

    fn pragma(&self, name: &str, value: i64) -> Result<(), StoreError> {
        self.connection
            .pragma_update(None, name, value)
            .map_err(|error| translate(&self.place, error))
    }
}

impl Database for Sqlite {
    fn place(&self) -> &Place {
        &self.place
    }

    fn begin(&mut self, mode: Mode) -> Result<(), StoreError> {
        self.rollback();
        self.still_there()?;
        let begin = match mode {
            Mode::Read => "BEGIN",
            // Whoever writes is alone anyway.
            Mode::Write | Mode::Again => "BEGIN IMMEDIATE",
        };
        self.execute(begin, &[]).map(drop)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let committed = self.execute("COMMIT", &[]).map(drop);
        if committed.is_err() {
            self.rollback();
        }
        committed
    }

    fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            // SQLite has undone it by itself if this fails.
            self.connection.execute_batch("ROLLBACK").unwrap_or_default();
        }
    }

    fn query(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let fault = |error| translate(&self.place, error);
        let mut statement = self.connection.prepare_cached(&numbered(sql)).map_err(fault)?;
        let width = statement.column_count();
        let mut found = statement.query(rusqlite::params_from_iter(parameters)).map_err(fault)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(fault)? {
            let columns = (0..width)
                .map(|index| column(row.get_ref(index).ok()?))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| StoreError::Damaged(self.place.clone()))?;
            rows.push(Row::new(columns, self.place.clone()));
        }
        Ok(rows)
    }

    fn execute(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, StoreError> {
        self.connection
            .prepare_cached(&numbered(sql))
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(parameters)))
            .map(|changed| changed as u64)
            .map_err(|error| translate(&self.place, error))
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| translate(&self.place, error))
    }

    fn version(&mut self) -> Result<i64, StoreError> {
        self.versions().map(|(_, version)| version)
    }

    fn upgrade(&mut self) -> Result<bool, StoreError> {
        if self.version()? == VERSION {
            return Ok(false);
        }
        self.begin(Mode::Write)?;
        // Another process may have done it while this one waited.
        let version = self.version()?;
        match version {
            VERSION => {}
            1 => self.batch(SERVICE)?,
            2 => self.batch(&to_third_version())?,
            newer => {
                self.rollback();
                return Err(StoreError::Newer(self.place.clone(), newer));
            }
        }
        self.pragma("user_version", VERSION)?;
        self.commit().map(|()| version < VERSION)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Refuses to make a store beside the log of one that is gone: SQLite would take that log for the
/// new store's.
fn refuse_log(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    for ending in ["-wal", "-journal"] {
        let mut log = OsString::from(path);
        log.push(ending);
        if fs::symlink_metadata(&log).is_ok() {
            return Err(StoreError::LogLeft(Place::File(path.into()), log.into()));
        }
    }
    Ok(())
}

/// Makes the table of API tokens anew: SQLite can't change the condition of a column.
fn to_third_version() -> String {
    format!(
        "ALTER TABLE api_token RENAME TO api_token_before;
         DROP INDEX api_token_by_owner;
         {}
         INSERT INTO api_token SELECT * FROM api_token_before;
         DROP TABLE api_token_before;",
        making("api_token")
    )
}

/// SQLite takes `$1` for a name, and numbers names as they come.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn column(value: ValueRef<'_>) -> Option<Column> {
    Some(match value {
        ValueRef::Null => Column::Null,
        ValueRef::Integer(number) => Column::Integer(number),
        ValueRef::Text(bytes) => Column::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
        ValueRef::Blob(bytes) => Column::Bytes(bytes.to_vec()),
        // No column of ours has a floating-point number.
        ValueRef::Real(_) => return None,
    })
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Text(text) | Self::Optional(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Integer(number) | Self::OptionalInteger(Some(number)) => {
                ValueRef::Integer(number)
            }
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Optional(None) | Self::OptionalInteger(None) => ValueRef::Null,
        }))
    }
}

fn translate(place: &Place, error: rusqlite::Error) -> StoreError {
    let place = place.clone();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked(place),
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly(place),
        Some(ErrorCode::DiskFull) => StoreError::Full(place),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged(place),
        _ => match error {
            // A row of the wrong type: STRICT tables never hold one.
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..) => StoreError::Damaged(place),
            error => StoreError::Database(place, error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::Keyring;
    use crate::store::database::parameters;
    use crate::store::selection::Selection;

    fn store() -> (tempfile::TempDir, Sqlite) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::generate();
        let path = folder.path().join("store.db");
        let store = Sqlite::create(&path, keys.current().public().id()).unwrap();
        (folder, store)
    }

    #[test]
    fn a_statement_is_planned_once_whatever_is_bound() {
        let (_folder, mut store) = store();
        let sql = "SELECT key, id FROM secret WHERE level = $1 AND owner = $2 AND \"user\" = $3
                   ORDER BY kind, key";
        for user in ["", "ada", "", "eve"] {
            store.query(sql, parameters!["project", "survey", user]).unwrap();
        }
        let statement = store.connection.prepare_cached(&numbered(sql)).unwrap();
        assert_eq!(statement.get_status(StatementStatus::Run), 4);
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    /// The index is of use to what says so in its text.
    #[test]
    fn all_of_a_user_are_found_by_their_index() {
        let (_folder, mut store) = store();
        let user = Selection::User("ada".parse().unwrap());
        let (condition, values) = user.sql();
        let sql = format!("EXPLAIN QUERY PLAN SELECT id FROM secret WHERE {condition}");
        let plan = store.query(&sql, &values).unwrap();
        let plan: Vec<&str> = plan.iter().map(|row| row.text(3).unwrap()).collect();
        assert_eq!(plan, ["SEARCH secret USING INDEX secret_by_user (user=?)"]);
    }
}
