//! Reading rows back.
//!
//! Invariant: a row that this program cannot have written is damage, not a row to skip.

use super::database::{Database, Parameter, Row};
use super::schema::{self, Record, StoreError};
use super::seal::KeyId;
use crate::secret::{Id, Name, Owner, SecretId};

/// What [`record`] reads, in its order.
pub(super) const COLUMNS: &str =
    "level, owner, \"user\", kind, key, id, sensitive, created_at, created_by, key_id";

/// The records of a query for [`COLUMNS`].
pub(super) fn query(
    database: &mut dyn Database,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Record>, StoreError> {
    database.query(sql, parameters)?.iter().map(record).collect()
}

/// Reads a row. What cannot have been written by us is damage, not a reason to skip the row.
pub(super) fn record(row: &Row) -> Result<Record, StoreError> {
    let owner = owner(row, 0)?;
    let unknown = || StoreError::UnknownKind(row.place().clone());
    let kind = schema::kind(row.text(3)?).ok_or_else(unknown)?;
    Ok(Record {
        name: Name { kind, key: row.text(4)?.to_owned() },
        owner,
        id: SecretId::from(row.text(5)?.to_owned()),
        sensitive: row.truth(6)?,
        created_at: row.text(7)?.to_owned(),
        created_by: row.text(8)?.to_owned(),
        key_id: KeyId::from(row.text(9)?.to_owned()),
    })
}

/// Level, owner and user in three columns that begin at `first`.
pub(super) fn owner(row: &Row, first: usize) -> Result<Owner, StoreError> {
    let id = id(row, first + 1)?;
    let user = match row.text(first + 2)? {
        "" => None,
        _ => Some(self::id(row, first + 2)?),
    };
    let owner = match row.text(first)? {
        "organization" | "organization_user" => Owner::Organization { organization: id, user },
        "project" | "project_user" => Owner::Project { project: id, user },
        _ => return Err(row.damaged()),
    };
    if owner.level().as_str() == row.text(first)? { Ok(owner) } else { Err(row.damaged()) }
}

/// The id in a column.
pub(super) fn id(row: &Row, index: usize) -> Result<Id, StoreError> {
    row.text(index)?.parse().map_err(|_| row.damaged())
}

/// The id in a column that may be empty.
pub(super) fn optional_id(row: &Row, index: usize) -> Result<Option<Id>, StoreError> {
    if row.text(index)?.is_empty() { Ok(None) } else { id(row, index).map(Some) }
}
