//! Changes of secrets, and what the audit says of each.
//!
//! Invariant: every secret that a change added, replaced or removed is in a row of the level where
//! it stood, up to a thousand of them by name; no row holds a value.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::database::Database;
use super::ledger::Entry;
use super::schema::{NewSecret, Record, StoreError};
use super::seal::PublicKey;
use super::secrets;
use super::selection::Selection;
use crate::access::Scope;
use crate::secret::Owner;

/// How many ids a row of the audit names at most; it always says how many there were.
const NAMED: usize = 1000;

/// Adds secrets, all or none; see [`secrets::add`]. `attempt` says who does it.
pub fn add(
    database: &mut dyn Database,
    attempt: &Entry,
    new: &[NewSecret],
    key: &PublicKey,
    replace: bool,
) -> Result<(Vec<Record>, Vec<Entry>), StoreError> {
    let owners: BTreeSet<&Owner> = new.iter().map(|secret| &secret.owner).collect();
    let mut replaced = Vec::new();
    if replace {
        let owners: Vec<Owner> = owners.iter().copied().cloned().collect();
        replaced = secrets::candidates(database, &owners)?;
        replaced.retain(|old| new.iter().any(|new| new.name == old.name && new.owner == old.owner));
    }
    let added = secrets::add(database, new, key, replace)?;
    let entries = owners.iter().map(|owner| {
        let of = |records: &[Record]| -> Vec<Record> {
            records.iter().filter(|record| record.owner == **owner).cloned().collect()
        };
        let detail = json!({ "added": said(&of(&added)), "replaced": said(&of(&replaced)) });
        attempt.clone().of_owner(owner).with(detail)
    });
    let entries = entries.collect();
    Ok((added, entries))
}

/// Removes one secret.
pub fn remove(
    database: &mut dyn Database,
    attempt: &Entry,
    record: &Record,
) -> Result<Entry, StoreError> {
    secrets::remove(database, record)?;
    let detail = json!({ "removed": said(std::slice::from_ref(record)) });
    Ok(attempt.clone().of_owner(&record.owner).with(detail))
}

/// Removes all of a selection, which `records` are; see [`secrets::purge`].
pub fn purge(
    database: &mut dyn Database,
    attempt: &Entry,
    selection: &Selection,
    records: &[Record],
) -> Result<(u64, Vec<Entry>), StoreError> {
    let removed = secrets::purge(database, selection)?;
    let row = |entry: Entry, of: &[Record]| entry.with(json!({ "removed": said(of) }));
    let entries = match selection {
        Selection::Project(id) => {
            vec![row(attempt.clone().of_scope(&Scope::Project(id.clone())), records)]
        }
        Selection::Organization(id) => {
            vec![row(attempt.clone().of_scope(&Scope::Organization(id.clone())), records)]
        }
        Selection::User(id) if records.is_empty() => {
            vec![row(attempt.clone().of_user(id), records)]
        }
        // What stands at many places has admins at each of them.
        _ => records
            .chunk_by(|one, next| one.owner == next.owner)
            .map(|of| row(attempt.clone().of_owner(&of[0].owner), of))
            .collect(),
    };
    Ok((removed, entries))
}

/// Secrets in a row of the audit.
pub fn said(records: &[Record]) -> Json {
    let secrets: Vec<_> = records
        .iter()
        .take(NAMED)
        .map(|Record { id, name, sensitive, .. }| {
            json!({ "id": id.as_str(), "name": name.to_string(), "sensitive": sensitive })
        })
        .collect();
    json!({ "count": records.len(), "secrets": secrets })
}
