//! Which secrets stand at one level of one owner, so that a missing one is missed.
//!
//! Invariant: a row that was deleted, moved or renamed by something else than this program, or that
//! damage hides, is an error, and never lets a lower level step in. This is a checksum, not a seal:
//! whoever changes the file on purpose can write it anew.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::rows::{COLUMNS, query};
use super::schema::{Record, StoreError};
use super::selection::user;
use super::sqlite::translate;
use crate::secret::Owner;

/// The rows of one level of one owner, if they are those that its inventory has.
pub(super) fn complete(
    connection: &Connection,
    path: &Path,
    owner: &Owner,
) -> Result<Vec<Record>, StoreError> {
    let records = rows(connection, path, owner)?;
    let place = params![owner.level().as_str(), owner.id().as_str(), user(owner)];
    let expected: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT digest FROM inventory WHERE level = ?1 AND owner = ?2 AND user = ?3",
        )
        .and_then(|mut statement| statement.query_row(place, |row| row.get(0)).optional())
        .map_err(|error| translate(path, error))?;
    let as_put = match expected {
        None => records.is_empty(),
        Some(expected) => !records.is_empty() && expected == digest(&records),
    };
    if as_put {
        Ok(records)
    } else {
        Err(StoreError::Altered { path: path.into(), owner: owner.clone() })
    }
}

/// Writes the inventory of one level of one owner anew, in the transaction that changed it.
pub(super) fn take_inventory(
    tx: &Transaction<'_>,
    path: &Path,
    owner: &Owner,
) -> Result<(), StoreError> {
    let records = rows(tx, path, owner)?;
    let (level, id, user) = (owner.level().as_str(), owner.id().as_str(), user(owner));
    let written = if records.is_empty() {
        tx.execute(
            "DELETE FROM inventory WHERE level = ?1 AND owner = ?2 AND user = ?3",
            params![level, id, user],
        )
    } else {
        tx.execute(
            "INSERT OR REPLACE INTO inventory (level, owner, user, digest) VALUES (?1, ?2, ?3, ?4)",
            params![level, id, user, digest(&records)],
        )
    };
    written.map(drop).map_err(|error| translate(path, error))
}

fn rows(connection: &Connection, path: &Path, owner: &Owner) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    let sql = format!(
        "SELECT {COLUMNS} FROM secret WHERE level = ?1 AND owner = ?2 AND user = ?3
         ORDER BY kind, key"
    );
    let place = params![owner.level().as_str(), owner.id().as_str(), user(owner)];
    query(connection, path, &sql, place, &mut records)?;
    Ok(records)
}

/// SHA-256 over kind, key and id of each, in the order of the records, each field behind its
/// length. With the id, a row that was replaced cannot be put back.
fn digest(records: &[Record]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for record in records {
        for field in [record.name.kind.as_str(), &record.name.key, record.id.as_str()] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
    }
    hash.finalize().into()
}
