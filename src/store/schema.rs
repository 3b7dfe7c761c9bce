//! What a store holds, whatever database is underneath: rows, their errors, the tables.

use std::error::Error;
use std::path::PathBuf;

use crate::secret::{Kind, Name, Owner, SecretId, Value};

use super::database::Place;
use super::seal::{Context, KeyId, OpenError};

/// The version of the tables below. SQLite has it in `PRAGMA user_version`, PostgreSQL in
/// `store_version`.
pub const VERSION: i64 = 3;

/// Marks the file as ours: "QSec".
pub const APPLICATION_ID: i64 = 0x5153_6563;

/// The tables of secrets, which every version has had.
///
/// `inventory` has, for each level of each owner, a digest of which secrets stand there: a row that
/// was taken away, or that damage hides, is missed instead of letting a lower level step in.
/// It is no seal: whoever writes the file on purpose can write it anew.
///
/// `"user"` is `''` where there is none, for a unique index takes two NULLs for different.
///
/// SQLite's words; `store::postgres` puts its own in their place.
pub const SECRETS: &str = r#"
    CREATE TABLE recipient (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        key_id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE secret (
        level TEXT NOT NULL
            CHECK (level IN ('organization', 'organization_user', 'project', 'project_user')),
        owner TEXT NOT NULL CHECK (owner <> ''),
        "user" TEXT NOT NULL CHECK (("user" = '') = (level IN ('organization', 'project'))),
        kind TEXT NOT NULL,
        key TEXT NOT NULL CHECK (key <> ''),
        id TEXT NOT NULL UNIQUE,
        sensitive INTEGER NOT NULL CHECK (sensitive IN (0, 1)),
        created_at TEXT NOT NULL,
        created_by TEXT NOT NULL,
        key_id TEXT NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (level, owner, "user", kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE inventory (
        level TEXT NOT NULL,
        owner TEXT NOT NULL,
        "user" TEXT NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (level, owner, "user")
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX secret_by_user ON secret ("user") WHERE "user" <> '';
    CREATE INDEX secret_by_key ON secret (key_id);
"#;

/// The tables of the service, since version 2: who may do what, who belongs where, and what was
/// done. Version 3 added the access `delegate` of API tokens. A time that is compared is an integer, in seconds since 1970; the others are RFC 3339.
pub const SERVICE: &str = r#"
    CREATE TABLE organization (
        id TEXT PRIMARY KEY,
        registered_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE project (
        id TEXT PRIMARY KEY,
        organization TEXT NOT NULL,
        registered_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX project_by_organization ON project (organization) WHERE organization <> '';
    CREATE TABLE member (
        scope TEXT NOT NULL CHECK (scope IN ('organization', 'project')),
        owner TEXT NOT NULL,
        "user" TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('member', 'admin')),
        PRIMARY KEY (scope, owner, "user")
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX member_by_user ON member ("user");
    CREATE TABLE access_grant (
        id TEXT NOT NULL UNIQUE,
        subject TEXT NOT NULL,
        role TEXT NOT NULL,
        owner TEXT NOT NULL,
        granted_at TEXT NOT NULL,
        granted_by TEXT NOT NULL,
        PRIMARY KEY (subject, role, owner)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX access_grant_by_owner ON access_grant (role, owner, id);
    CREATE TABLE api_token (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        role TEXT NOT NULL,
        owner TEXT NOT NULL,
        access TEXT NOT NULL CHECK (access IN ('read', 'manage', 'delegate')),
        created_at TEXT NOT NULL,
        created_by TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at TEXT,
        used_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX api_token_by_owner ON api_token (role, owner, id);
    CREATE INDEX api_token_by_maker ON api_token (created_by);
    CREATE TABLE session (
        digest BLOB PRIMARY KEY,
        subject TEXT NOT NULL,
        name TEXT NOT NULL,
        grants TEXT NOT NULL,
        via TEXT NOT NULL CHECK (via IN ('login', 'link')),
        created_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_by_expiry ON session (expires_at);
    CREATE INDEX session_by_subject ON session (subject);
    CREATE TABLE login (
        digest BLOB PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('link', 'used')),
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX login_by_expiry ON login (expires_at);
    CREATE TABLE job_token (
        issuer TEXT NOT NULL,
        jti TEXT NOT NULL,
        uses INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (issuer, jti)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX job_token_by_expiry ON job_token (expires_at);
    CREATE TABLE idempotency (
        subject TEXT NOT NULL,
        key TEXT NOT NULL,
        facts TEXT NOT NULL,
        answer TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (subject, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
    CREATE TABLE audit (
        id TEXT PRIMARY KEY,
        at TEXT NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        decision TEXT NOT NULL,
        reason TEXT,
        level TEXT,
        owner TEXT,
        "user" TEXT,
        detail TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX audit_by_owner ON audit (owner, id);
"#;

/// What makes a table of the service, with its indexes.
pub(super) fn making(table: &str) -> String {
    let of = |statement: &&str| {
        let statement = statement.trim_start();
        statement.starts_with(&format!("CREATE TABLE {table} ("))
            || statement.starts_with("CREATE INDEX ")
                && statement.contains(&format!(" ON {table} ("))
    };
    SERVICE.split_inclusive(';').filter(of).collect()
}

/// A table of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in their order.
    pub columns: Vec<&'static str>,
    /// The primary key: which of the columns, in its order.
    pub key: Vec<usize>,
}

/// The tables of a store of this version, as the texts above have them: one line a column.
pub fn tables(version: i64) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let texts: &[&str] = if version < 2 { &[SECRETS] } else { &[SECRETS, SERVICE] };
    let mut inside = false;
    for line in texts.iter().flat_map(|text| text.lines()).map(str::trim) {
        if let Some(name) = line.strip_prefix("CREATE TABLE ") {
            let name = name.trim_end_matches(" (");
            tables.push(Table { name, columns: Vec::new(), key: Vec::new() });
            inside = true;
            continue;
        }
        inside &= !line.starts_with(')');
        let Some(table) = tables.last_mut().filter(|_| inside) else { continue };
        if let Some(key) = line.strip_prefix("PRIMARY KEY (") {
            let names = key.trim_end_matches([')', ',']).split(", ");
            let at = |name: &str| table.columns.iter().position(|column| *column == unquoted(name));
            table.key = names.filter_map(at).collect();
        } else if let Some((name, rest)) = line.split_once(' ')
            && ["TEXT", "INTEGER", "BLOB"].iter().any(|kind| rest.starts_with(kind))
        {
            if rest.contains(" PRIMARY KEY") {
                table.key = vec![table.columns.len()];
            }
            table.columns.push(unquoted(name));
        }
    }
    tables
}

fn unquoted(name: &str) -> &str {
    name.trim_matches('"')
}

/// The facts of one stored secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: SecretId,
    /// Its kind and key.
    pub name: Name,
    /// Whose it is.
    pub owner: Owner,
    /// Whether it is masked in output.
    pub sensitive: bool,
    /// When it was added: RFC 3339, UTC, to the second.
    pub created_at: String,
    /// Who added it.
    pub created_by: String,
    /// The key that it is sealed to.
    pub key_id: KeyId,
}

impl Record {
    /// What the seal binds.
    pub(super) fn context(&self) -> Context<'_> {
        Context { id: &self.id, name: &self.name, owner: &self.owner, sensitive: self.sensitive }
    }
}

/// A secret that is about to be added. Its value was checked for its kind before.
#[derive(Debug)]
pub struct NewSecret {
    /// Its kind and key.
    pub name: Name,
    /// Whose it will be.
    pub owner: Owner,
    /// Whether to mask it.
    pub sensitive: bool,
    /// Who adds it.
    pub created_by: String,
    /// Its value: the variable's text, or the canonical section.
    pub value: Value,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No file there.
    #[error("there is no store {0}; `qgis-secrets key new` or the first `secret add` makes one")]
    Missing(Place),
    /// The file at its path is no longer the one that was opened.
    #[error(
        "the store {0} was moved or removed while it was open, or another file took its place; put it \
         back, or start again with the other one"
    )]
    Replaced(Place),
    /// A log beside the place of a new store.
    #[error(
        "there is no store {}, but the log {} of one: put that store back, or, if it is gone for \
         good, remove the log", .0, .1.display()
    )]
    LogLeft(Place, PathBuf),
    /// Somebody else holds its lock.
    #[error("the store {0} is locked by another process; try again")]
    Locked(Place),
    /// The file system doesn't let us write.
    #[error("the store {0} cannot be written: it, or its file system, is read-only")]
    ReadOnly(Place),
    /// No room for the journal or the rows.
    #[error("the store {0} cannot be written: the disk is full")]
    Full(Place),
    /// Not SQLite, or damaged.
    #[error("the store {0} is damaged or not a store; restore it from a copy")]
    Damaged(Place),
    /// Another program's database, a directory, a device.
    #[error("{0} is not a store of qgis-secrets; name another file with --store or `store.path`")]
    NotAStore(Place),
    /// Made by a later version.
    #[error("the store {0} is of version {1}, and this program knows up to {VERSION}; update it")]
    Newer(Place, i64),
    /// The key is not the store's.
    #[error(
        "the key {have} is not the one that the store {place} is sealed to ({want}); name the right \
         file with --key, or with --public-key"
    )]
    OtherKey {
        /// The store.
        place: Place,
        /// The key given.
        have: KeyId,
        /// The store's.
        want: KeyId,
    },
    /// Something stands there already.
    #[error("{owner} has a secret {name} already; to put another in its place, add --replace")]
    Exists {
        /// The name taken.
        name: Name,
        /// Where.
        owner: Owner,
    },
    /// A value that doesn't open.
    #[error("the secret {name} of {owner} cannot be opened: {why}; remove it and add it again")]
    Sealed {
        /// Which.
        name: Name,
        /// Whose.
        owner: Owner,
        /// Why.
        why: OpenError,
    },
    /// Rows that were taken away, moved or renamed, or that damage hides.
    #[error(
        "the secrets of {owner} in the store {place} are not those that were put there: something else \
         changed it; restore it from a copy, or purge them and add them again"
    )]
    Altered {
        /// The store.
        place: Place,
        /// Whose.
        owner: Owner,
    },
    /// A row between two reads.
    #[error("the secret {0} was removed while it was read; try again")]
    Gone(SecretId),
    /// A kind that a later version added.
    #[error("the store {0} holds a secret of a kind that this program doesn't know")]
    UnknownKind(Place),
    /// A file others can read, or the directory.
    #[error(transparent)]
    Access(#[from] super::KeyError),
    /// Others changed the same at the same time, again and again.
    #[error("others are changing the store {0} at the same time; try again")]
    Contended(Place),
    /// The server knows us, or what we want, not.
    #[error(
        "the store {0}: the server refuses us: {1}; check `store.postgres` and its password file"
    )]
    Login(Place, String),
    /// A file that the connection needs.
    #[error("the file {} ({}) {}", .1.display(), .0, .2)]
    File(&'static str, PathBuf, String),
    /// The role lacks rights.
    #[error(
        "the store {0}: the role of the database may not do this ({1}); grant it what docs/store.md \
         lists"
    )]
    Forbidden(Place, String),
    /// The connection broke in the middle of a commit.
    #[error(
        "the store {0}: the connection broke while a change was being committed ({1}), and whether it \
         was is not known; look, and do it again if it wasn't"
    )]
    CommitUnknown(Place, String),
    /// No connection to a database server.
    #[error("the store {0} cannot be reached: {1}")]
    Unreachable(Place, String),
    /// A place to copy to that is taken.
    #[error("the store {0} holds something already, and a store is copied to an empty one only")]
    NotEmpty(Place),
    /// Other rows arrived than were read.
    #[error("what arrived in the store {0} is not what was read; nothing of it was kept")]
    CopyFailed(Place),
    /// As many wait for the store as may.
    #[error("too many wait for the store {0}; try again later")]
    Busy(Place),
    /// The service is shutting down.
    #[error("the store {0} is being closed; try again later")]
    Closed(Place),
    /// A fault of this program's while it worked on the store; what it had changed is undone.
    #[error("work on the store {0} stopped by a fault in the program; nothing was changed")]
    Fault(Place),
    /// Anything else that the database says. Its messages name tables and files, never values.
    #[error("the store {0}: {1}")]
    Database(Place, #[source] Box<dyn Error + Send + Sync>),
}

/// How kinds are written in the store.
pub(super) fn kind(word: &str) -> Option<Kind> {
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_and_column_is_known() {
        let all = tables(VERSION);
        let made = format!("{SECRETS}{SERVICE}").matches("CREATE TABLE ").count();
        assert_eq!(all.len(), made);
        for table in &all {
            assert!(!table.columns.is_empty() && !table.key.is_empty(), "{table:?}");
        }
        assert_eq!(tables(1).len(), 3);
        for table in &all[3..] {
            let making = making(table.name);
            assert!(making.trim_start().starts_with("CREATE TABLE "), "{making}");
            let indexes = SERVICE.matches(&format!(" ON {} (", table.name)).count();
            assert_eq!(making.matches("CREATE ").count(), 1 + indexes, "{making}");
        }
        let secret = all.iter().find(|table| table.name == "secret").unwrap();
        assert_eq!(secret.key, [0, 1, 2, 3, 4]);
        assert_eq!(secret.columns[2..4], ["user", "kind"]);
        // What SQLite makes of the texts.
        let database = rusqlite::Connection::open_in_memory().unwrap();
        database.execute_batch(SECRETS).unwrap();
        database.execute_batch(SERVICE).unwrap();
        for table in &all {
            let mut statement = database
                .prepare("SELECT name, pk FROM pragma_table_info($1) ORDER BY cid")
                .unwrap();
            let rows = statement.query_map([table.name], |row| Ok((row.get(0)?, row.get(1)?)));
            let rows: Vec<(String, u16)> = rows.unwrap().map(Result::unwrap).collect();
            let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, table.columns, "{}", table.name);
            let mut key: Vec<(u16, usize)> =
                rows.iter().enumerate().map(|(at, (_, nth))| (*nth, at)).collect();
            key.retain(|(nth, _)| *nth > 0);
            key.sort_unstable();
            let key: Vec<usize> = key.into_iter().map(|(_, at)| at).collect();
            assert_eq!(key, table.key, "{}", table.name);
        }
    }
}
