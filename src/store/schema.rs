//! What a store holds, whatever database is underneath: rows, their errors, the tables.

use std::path::PathBuf;

use crate::secret::{Kind, Name, Owner, SecretId, Value};

use super::seal::{Context, KeyId, OpenError};

/// The version of the tables below; `PRAGMA user_version` has it.
pub const VERSION: i64 = 1;

/// Marks the file as ours: "QSec".
pub const APPLICATION_ID: i64 = 0x5153_6563;

/// The tables, version 1.
///
/// `inventory` has, for each level of each owner, a digest of which secrets stand there: a row that
/// was taken away, or that damage hides, is missed instead of letting a lower level step in.
/// It is no seal: whoever writes the file on purpose can write it anew.
///
/// `user` is `''` where there is none, for a unique index takes two NULLs for different.
pub const TABLES: &str = "
    CREATE TABLE recipient (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        key_id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE secret (
        level TEXT NOT NULL
            CHECK (level IN ('organization', 'organization_user', 'project', 'project_user')),
        owner TEXT NOT NULL CHECK (owner <> ''),
        user TEXT NOT NULL CHECK ((user = '') = (level IN ('organization', 'project'))),
        kind TEXT NOT NULL,
        key TEXT NOT NULL CHECK (key <> ''),
        id TEXT NOT NULL UNIQUE,
        sensitive INTEGER NOT NULL CHECK (sensitive IN (0, 1)),
        created_at TEXT NOT NULL,
        created_by TEXT NOT NULL,
        key_id TEXT NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (level, owner, user, kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE inventory (
        level TEXT NOT NULL,
        owner TEXT NOT NULL,
        user TEXT NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (level, owner, user)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX secret_by_user ON secret (user) WHERE user <> '';
    CREATE INDEX secret_by_key ON secret (key_id);
";

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
    #[error("there is no store {}; `qgis-secrets key new` or the first `secret add` makes one", .0.display())]
    Missing(PathBuf),
    /// Somebody else holds its lock.
    #[error("the store {} is locked by another process; try again", .0.display())]
    Locked(PathBuf),
    /// The file system doesn't let us write.
    #[error("the store {} cannot be written: it, or its file system, is read-only", .0.display())]
    ReadOnly(PathBuf),
    /// No room for the journal or the rows.
    #[error("the store {} cannot be written: the disk is full", .0.display())]
    Full(PathBuf),
    /// Not SQLite, or damaged.
    #[error("the store {} is damaged or not a store; restore it from a copy", .0.display())]
    Damaged(PathBuf),
    /// Another program's database, a directory, a device.
    #[error(
        "{} is not a store of qgis-secrets; name another file with --store or `store.path`",
        .0.display()
    )]
    NotAStore(PathBuf),
    /// Made by a later version.
    #[error("the store {} is of version {}, and this program knows up to {VERSION}; update it", .0.display(), .1)]
    Newer(PathBuf, i64),
    /// The key is not the store's.
    #[error(
        "the key {have} is not the one that the store {} is sealed to ({want}); name the right key \
         file with --key", path.display()
    )]
    OtherKey {
        /// The store.
        path: PathBuf,
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
        "the secrets of {owner} in the store {} are not those that were put there: something else \
         changed the file; restore it from a copy, or purge them and add them again",
        path.display()
    )]
    Altered {
        /// The store.
        path: PathBuf,
        /// Whose.
        owner: Owner,
    },
    /// A row between two reads.
    #[error("the secret {0} was removed while it was read; try again")]
    Gone(SecretId),
    /// A kind that a later version added.
    #[error("the store {} holds a secret of a kind that this program doesn't know", .0.display())]
    UnknownKind(PathBuf),
    /// A file others can read, or the directory.
    #[error(transparent)]
    Access(#[from] super::KeyError),
    /// Anything else that SQLite says. Its messages name tables and files, never values.
    #[error("the store {}: {}", .0.display(), .1)]
    Database(PathBuf, #[source] rusqlite::Error),
}

/// How kinds are written in the store.
pub(super) fn kind(word: &str) -> Option<Kind> {
    word.parse().ok()
}
