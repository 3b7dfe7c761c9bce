//! Copying a store from one database to another.
//!
//! Invariants: sealed values are copied as they are, so that no key is needed; the copy is whole or
//! absent; nothing is copied over anything; what arrives is what was read, and what was put there.

use super::StoreError;
use super::database::{Column, Database, Mode, Parameter, Row, one, transaction};
use super::inventory::complete;
use super::retry;
use super::rows;
use super::schema::{self, Table};

/// Rows that are read and written at once.
const BATCH: usize = 200;

/// How many rows each table has.
pub type Counts = Vec<(&'static str, u64)>;

/// The key that the store is sealed to is no content: every store has one.
const RECIPIENT: &str = "recipient";

/// Counts the rows of every table.
pub fn count(database: &mut dyn Database, tables: &[Table]) -> Result<Counts, StoreError> {
    let count = |table: &Table| {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let rows = one(database.query(&sql, &[])?);
        let rows = rows.map_or(Ok(0), |row| row.integer(0))?;
        Ok((table.name, rows.unsigned_abs()))
    };
    tables.iter().map(count).collect()
}

/// Copies everything from `source` to `target`, a store that holds nothing; returns what it copied.
///
/// `told` hears how many of how many rows are done. What others change in the source meanwhile does
/// not come along.
pub fn copy(
    source: &mut dyn Database,
    target: &mut dyn Database,
    mut told: impl FnMut(u64, u64),
) -> Result<Counts, StoreError> {
    let tables = schema::tables(source.version()?);
    target.upgrade()?;
    retry::write(target, |target| {
        refuse_content(target)?;
        transaction(source, Mode::Read, |source| {
            let counts = count(source, &tables)?;
            let total = counts.iter().map(|(_, rows)| rows).sum();
            let mut done = 0;
            for table in &tables {
                copy_table(source, target, table, |rows| {
                    done += rows;
                    told(done, total);
                })?;
            }
            verify(source, target, &counts, &tables)?;
            Ok(counts)
        })
    })
}

/// The target must not hold anything, for what it holds would be mixed with what comes.
fn refuse_content(target: &mut dyn Database) -> Result<(), StoreError> {
    let content = count(target, &schema::tables(schema::VERSION))?;
    if content.iter().any(|(name, rows)| *name != RECIPIENT && *rows > 0) {
        return Err(StoreError::NotEmpty(target.place().clone()));
    }
    target.execute("DELETE FROM recipient", &[]).map(drop)
}

fn copy_table(
    source: &mut dyn Database,
    target: &mut dyn Database,
    table: &Table,
    mut told: impl FnMut(u64),
) -> Result<(), StoreError> {
    let mut last: Option<Row> = None;
    loop {
        let after: Vec<Parameter<'_>> = match &last {
            Some(row) => table.key.iter().map(|index| parameter(row.column(*index))).collect(),
            None => Vec::new(),
        };
        let rows = source.query(&select(table, !after.is_empty()), &after)?;
        if rows.is_empty() {
            return Ok(());
        }
        let columns = 0..table.columns.len();
        let values: Vec<Parameter<'_>> = rows
            .iter()
            .flat_map(|row| columns.clone().map(|index| parameter(row.column(index))))
            .collect();
        target.execute(&insert(table, rows.len()), &values)?;
        told(rows.len() as u64);
        last = rows.into_iter().next_back();
    }
}

fn parameter(column: Option<&Column>) -> Parameter<'_> {
    match column {
        Some(Column::Integer(number)) => Parameter::Integer(*number),
        Some(Column::Text(text)) => Parameter::Text(text),
        Some(Column::Bytes(bytes)) => Parameter::Bytes(bytes),
        Some(Column::Null) | None => Parameter::Optional(None),
    }
}

/// The next rows in the order of the primary key, which both databases compare byte by byte.
fn select(table: &Table, further: bool) -> String {
    let key: Vec<_> = table.key.iter().map(|index| quoted(table.columns[*index])).collect();
    let key = key.join(", ");
    let condition = if further {
        format!(" WHERE ({key}) > ({})", numbers(1, table.key.len()))
    } else {
        String::new()
    };
    let columns = list(table);
    format!("SELECT {columns} FROM {}{condition} ORDER BY {key} LIMIT {BATCH}", table.name)
}

fn insert(table: &Table, rows: usize) -> String {
    let width = table.columns.len();
    let rows: Vec<_> =
        (0..rows).map(|row| format!("({})", numbers(row * width + 1, width))).collect();
    format!("INSERT INTO {} ({}) VALUES {}", table.name, list(table), rows.join(", "))
}

fn list(table: &Table) -> String {
    table.columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn numbers(from: usize, count: usize) -> String {
    (from..from + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// As many rows as were read, and at each level those secrets that its inventory has.
fn verify(
    source: &mut dyn Database,
    target: &mut dyn Database,
    counts: &Counts,
    tables: &[Table],
) -> Result<(), StoreError> {
    if count(target, tables)? != *counts {
        return Err(StoreError::CopyFailed(target.place().clone()));
    }
    let levels = target.query(
        "SELECT level, owner, \"user\" FROM inventory
         UNION SELECT level, owner, \"user\" FROM secret",
        &[],
    )?;
    for level in &levels {
        let owner = rows::owner(level, 0)?;
        complete(target, &owner).map_err(|error| match error {
            // It came like that.
            StoreError::Altered { owner, .. } => {
                StoreError::Altered { place: source.place().clone(), owner }
            }
            error => error,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_rows_come_after_the_last() {
        let table = Table { name: "t", columns: vec!["a", "user", "n"], key: vec![0, 1] };
        assert_eq!(
            select(&table, true),
            "SELECT \"a\", \"user\", \"n\" FROM t WHERE (\"a\", \"user\") > ($1, $2) \
             ORDER BY \"a\", \"user\" LIMIT 200"
        );
        assert_eq!(
            insert(&table, 2),
            "INSERT INTO t (\"a\", \"user\", \"n\") VALUES ($1, $2, $3), ($4, $5, $6)"
        );
    }
}
