//! Which secrets stand at one level of one owner, so that a missing one is missed.
//!
//! Invariant: a row that was deleted, moved or renamed by something else than this program, or that
//! damage hides, is an error, and never lets a lower level step in. This is a checksum, not a seal:
//! whoever changes the database on purpose can write it anew.

use sha2::{Digest, Sha256};

use super::database::{Database, one};
use super::rows::{COLUMNS, query};
use super::schema::{Record, StoreError};
use super::selection::place;
use crate::secret::Owner;

/// The rows of one level of one owner, if they are those that its inventory has.
pub(super) fn complete(
    database: &mut dyn Database,
    owner: &Owner,
) -> Result<Vec<Record>, StoreError> {
    let records = rows(database, owner)?;
    let expected = one(database.query(
        "SELECT digest FROM inventory WHERE level = $1 AND owner = $2 AND \"user\" = $3",
        &place(owner),
    )?);
    let as_put = match expected {
        None => records.is_empty(),
        Some(row) => !records.is_empty() && row.bytes(0)? == digest(&records),
    };
    if as_put {
        Ok(records)
    } else {
        Err(StoreError::Altered { place: database.place().clone(), owner: owner.clone() })
    }
}

/// Writes the inventory of one level of one owner anew, in the transaction that changed it.
pub(super) fn take_inventory(database: &mut dyn Database, owner: &Owner) -> Result<(), StoreError> {
    let records = rows(database, owner)?;
    let [level, id, user] = place(owner);
    if records.is_empty() {
        database.execute(
            "DELETE FROM inventory WHERE level = $1 AND owner = $2 AND \"user\" = $3",
            &[level, id, user],
        )?;
    } else {
        database.execute(
            "INSERT INTO inventory (level, owner, \"user\", digest) VALUES ($1, $2, $3, $4)
             ON CONFLICT (level, owner, \"user\") DO UPDATE SET digest = excluded.digest",
            &[level, id, user, digest(&records).as_slice().into()],
        )?;
    }
    Ok(())
}

fn rows(database: &mut dyn Database, owner: &Owner) -> Result<Vec<Record>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM secret WHERE level = $1 AND owner = $2 AND \"user\" = $3
         ORDER BY kind, key"
    );
    query(database, &sql, &place(owner))
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
