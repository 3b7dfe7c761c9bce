//! `secret list`: facts, never values.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::{output, remote};
use crate::cli::args::{Format, OwnerArgs, ServerArgs};
use crate::cli::output::{DIM, Table};
use crate::error::Error;
use crate::secret::{Kind, Level, Value};
use crate::settings::Settings;
use crate::store::{Record, Selection, Store};

/// List secrets, without their values.
///
/// Without options: all; a service lists those of -P or -O. -P: of a project, user-assigned ones included. -O: of an organization,
/// its members' defaults included. -U alone: all that are for one user.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    owner: OwnerArgs,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Listing<'a> {
    version: u32,
    secrets: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    kind: Kind,
    key: &'a str,
    level: Level,
    owner: &'a str,
    user: Option<&'a str>,
    sensitive: bool,
    /// There only if it is, as a service says; nothing here knows who belongs where.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dormant: bool,
    created_at: &'a str,
    created_by: &'a str,
}

/// The ids of secrets that no job gets now.
pub(super) type Dormant = BTreeSet<String>;

/// Lists secrets.
pub fn list(settings: &Settings, args: &ListArgs, token: Option<Value>) -> Result<u8, Error> {
    let (records, dormant) = match args.server.open(token)? {
        Some(server) => remote::list(&server, &args.owner)?,
        None => {
            let mut store = Store::from_settings(&settings.store)?;
            (store.list(&selection(&args.owner)?)?, Dormant::new())
        }
    };
    match args.format {
        Format::Json => {
            output::json(&Listing {
                version: 1,
                secrets: records.iter().map(|record| row(record, &dormant)).collect(),
            })?;
        }
        Format::Table if records.is_empty() => {
            output::note("no secrets here; `qgis-secrets secret add --help` says how to add one");
        }
        Format::Table => output::print(&table(&records, &dormant))?,
    }
    Ok(0)
}

/// What the options select.
fn selection(args: &OwnerArgs) -> Result<Selection, Error> {
    if args.is_empty() {
        return Ok(Selection::All);
    }
    match (&args.organization, &args.project, &args.user) {
        (None, None, Some(user)) => Ok(Selection::User(user.clone())),
        (Some(organization), None, None) => Ok(Selection::Organization(organization.clone())),
        (None, Some(project), None) => Ok(Selection::Project(project.clone())),
        _ => Ok(Selection::Owner(args.owner()?)),
    }
}

/// A table of records, as `secret list` and `secret purge` show it.
pub(super) fn table(records: &[Record], dormant: &Dormant) -> String {
    let mut table = Table::new(["SECRET", "LEVEL", "OF", "FOR USER", "ADDED", "BY", "ID"]);
    for record in records {
        let open = if record.sensitive { "" } else { " (not sensitive)" };
        let asleep = if dormant.contains(record.id.as_str()) { " (dormant)" } else { "" };
        table.row([
            format!("{}{open}{asleep}", record.name),
            record.owner.level().to_string(),
            record.owner.id().to_string(),
            record.owner.user().map_or_else(|| format!("{DIM}-{DIM:#}"), ToString::to_string),
            record.created_at.clone(),
            record.created_by.clone(),
            record.id.to_string(),
        ]);
    }
    table.render()
}

fn row<'a>(record: &'a Record, dormant: &Dormant) -> Row<'a> {
    Row {
        id: record.id.as_str(),
        kind: record.name.kind,
        key: &record.name.key,
        level: record.owner.level(),
        owner: record.owner.id().as_str(),
        user: record.owner.user().map(|user| user.as_str()),
        sensitive: record.sensitive,
        dormant: dormant.contains(record.id.as_str()),
        created_at: &record.created_at,
        created_by: &record.created_by,
    }
}
