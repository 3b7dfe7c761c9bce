//! `store`: what a store holds, and moving it to another database.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::Format;
use super::output::{self, Table};
use crate::error::Error;
use crate::settings::{Place, Postgres, Settings};
use crate::store::database::{Database, Mode, transaction};
use crate::store::{Store, migrate, schema, secrets};

/// Whoever waits longer than this is told for what.
const PATIENCE: Duration = Duration::from_secs(1);

/// Commands on the store as a whole. Each variant's help is that of its arguments.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    Info(InfoArgs),
    Migrate(MigrateArgs),
}

/// Show where the store is and how much it holds.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Copy the whole store to another database, which must hold nothing.
///
/// Values stay sealed, and no key is needed. The copy is whole or absent: if it was interrupted, run
/// it again. Stop the service first, for what is changed meanwhile does not come along; then point
/// the settings at the new place, with the same key. The old store stays as it is.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// To a SQLite file
    #[arg(long, value_name = "FILE", required_unless_present = "to_postgres")]
    to: Option<PathBuf>,
    /// To a PostgreSQL database, as in `store.postgres`: host=… dbname=… user=…, never a password
    #[arg(long, value_name = "CONNECTION", conflicts_with = "to")]
    to_postgres: Option<String>,
    /// The file with the password of that user
    #[arg(long, value_name = "FILE", requires = "to_postgres")]
    postgres_password_file: Option<PathBuf>,
    /// The authorities (PEM) for that server's certificate, instead of the system's
    #[arg(long, value_name = "FILE", requires = "to_postgres")]
    postgres_ca_file: Option<PathBuf>,
    /// The schema for the tables (default: qgis_secrets)
    #[arg(long, value_name = "NAME", requires = "to_postgres")]
    postgres_schema: Option<String>,
}

/// Runs one of them; returns the exit code.
pub(super) fn run(settings: &Settings, command: StoreCommand) -> Result<u8, Error> {
    match command {
        StoreCommand::Info(args) => info(settings, &args),
        StoreCommand::Migrate(args) => migrate(settings, args),
    }
}

#[derive(Serialize)]
struct Info {
    version: u32,
    store: String,
    store_version: i64,
    key: String,
    sealed_to_other_keys: u64,
    tables: Vec<Rows>,
}

#[derive(Serialize)]
struct Rows {
    table: &'static str,
    rows: u64,
}

fn info(settings: &Settings, args: &InfoArgs) -> Result<u8, Error> {
    let mut database = Store::from_settings(&settings.store)?.into_database();
    let store_version = database.version()?;
    let store = database.place().to_string();
    let info = transaction(&mut *database, Mode::Read, |database: &mut dyn Database| {
        let key = secrets::recipient(database)?;
        let tables = migrate::count(database, &schema::tables(store_version))?;
        Ok(Info {
            version: 1,
            store,
            store_version,
            sealed_to_other_keys: secrets::stale(database, &key)?,
            key: key.to_string(),
            tables: tables.into_iter().map(|(table, rows)| Rows { table, rows }).collect(),
        })
    })?;
    if args.format == Format::Json {
        output::json(&info)?;
        return Ok(0);
    }
    output::line(&format!("store    {}", output::harmless(&info.store)))?;
    output::line(&format!("version  {}", info.store_version))?;
    output::line(&format!("key      {}", info.key))?;
    if info.sealed_to_other_keys > 0 {
        output::warning(&format!(
            "{} values are sealed to another key: run `qgis-secrets key rotate` to its end",
            info.sealed_to_other_keys
        ));
    }
    let mut table = Table::new(["TABLE", "ROWS"]);
    for Rows { table: name, rows } in &info.tables {
        table.row([(*name).to_owned(), rows.to_string()]);
    }
    output::print(&table.render())?;
    Ok(0)
}

fn migrate(settings: &Settings, args: MigrateArgs) -> Result<u8, Error> {
    let mut source = Store::from_settings(&settings.store)?.into_database();
    let place = match (args.to, args.to_postgres) {
        (Some(path), _) => Place::File(path),
        (None, Some(text)) => {
            let MigrateArgs { postgres_password_file, postgres_ca_file, postgres_schema, .. } =
                args;
            let postgres =
                Postgres::parse(&text, postgres_password_file, postgres_ca_file, postgres_schema)?;
            Place::Postgres(Box::new(postgres))
        }
        (None, None) => {
            return Err(Error::Usage("say where to, with --to or --to-postgres".into()));
        }
    };
    let key = transaction(&mut *source, Mode::Read, secrets::recipient)?;
    let mut target = Store::make(&place, &key)?.into_database();
    let began = Instant::now();
    let counts = migrate::copy(&mut *source, &mut *target, |done, total| {
        if began.elapsed() > PATIENCE {
            output::progress(&format!("copied {done} of {total} rows"));
        }
    });
    output::progress("");
    let secrets = counts?.into_iter().find(|(name, _)| *name == "secret").map_or(0, |(_, n)| n);
    output::line(&format!(
        "copied {secrets} secrets, and all else, from {} to {}",
        output::harmless(&source.place().to_string()),
        output::harmless(&target.place().to_string()),
    ))?;
    output::note(&format!(
        "both are sealed to the key {key}, one file: `key rotate` of one takes the other's away, so \
         remove the old store when nothing uses it any more"
    ));
    Ok(0)
}
