//! Reading rows back.
//!
//! Invariant: a row that this program cannot have written is damage, not a row to skip.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::schema::{self, Record, StoreError};
use super::seal::KeyId;
use super::sqlite::translate;
use crate::secret::{Id, Name, Owner, SecretId};

/// What [`record`] reads, in its order.
pub(super) const COLUMNS: &str =
    "level, owner, user, kind, key, id, sensitive, created_at, created_by, key_id";

/// Runs a query for [`COLUMNS`] and appends what it gives.
pub(super) fn query(
    connection: &Connection,
    path: &Path,
    sql: &str,
    values: impl rusqlite::Params,
    records: &mut Vec<Record>,
) -> Result<(), StoreError> {
    let fault = |error| translate(path, error);
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let mut rows = statement.query(values).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        records.push(record(row, path)?);
    }
    Ok(())
}

/// Reads a row. What cannot have been written by us is damage, not a reason to skip the row.
pub(super) fn record(row: &Row<'_>, path: &Path) -> Result<Record, StoreError> {
    let damaged = || StoreError::Damaged(path.into());
    let text = |index| match row.get_ref(index) {
        Ok(ValueRef::Text(bytes)) => std::str::from_utf8(bytes).map_err(|_| damaged()),
        _ => Err(damaged()),
    };
    let id = |text: &str| text.parse::<Id>().map_err(|_| damaged());
    let owner_id = id(text(1)?)?;
    let user = Some(text(2)?).filter(|user| !user.is_empty()).map(id).transpose()?;
    let owner = match text(0)? {
        "organization" | "organization_user" => {
            Owner::Organization { organization: owner_id, user }
        }
        "project" | "project_user" => Owner::Project { project: owner_id, user },
        _ => return Err(damaged()),
    };
    if owner.level().as_str() != text(0)? {
        return Err(damaged());
    }
    let kind = schema::kind(text(3)?).ok_or_else(|| StoreError::UnknownKind(path.to_path_buf()))?;
    Ok(Record {
        name: Name { kind, key: text(4)?.to_owned() },
        owner,
        id: SecretId::from(text(5)?.to_owned()),
        sensitive: row.get::<_, bool>(6).map_err(|_| damaged())?,
        created_at: text(7)?.to_owned(),
        created_by: text(8)?.to_owned(),
        key_id: KeyId::from(text(9)?.to_owned()),
    })
}
