//! `secret import`: a whole file, one secret for each section or variable.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::add::{named, read};
use super::{author, counted, output, remote, store, warn_of_level, warn_of_service};
use crate::cli::args::{OwnerArgs, ServerArgs};
use crate::cli::output::Table;
use crate::dotenv::{self, Variable};
use crate::error::Error;
use crate::pgservice::Rejected;
use crate::secret::{Name, Owner, Value};
use crate::settings::Settings;
use crate::store::{NewSecret, Selection, Store, StoreError};
use crate::{environment, pgservice};

/// Add all of a pg_service.conf or a .env file.
///
/// Shows what would be added, without values, and asks; where nobody can be asked, --yes is
/// needed. All of the file is added, or nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets secret import ~/.pg_service.conf -O org-81
  qgis-secrets secret import worker.env -P survey --yes")]
pub struct ImportArgs {
    /// The file (`-`: standard input, with --format)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    owner: OwnerArgs,
    /// What the file is; told from its name if it ends in .conf or .env
    #[arg(long, value_name = "WHICH")]
    format: Option<FileFormat>,
    /// Put them in the place of secrets that are there
    #[arg(long)]
    replace: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// A file of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// Sections of libpq's pg_service.conf
    PgService,
    /// Lines NAME=value
    Env,
}

/// Imports a file.
pub fn import(settings: &Settings, args: &ImportArgs, token: Option<Value>) -> Result<u8, Error> {
    let owner = args.owner.owner()?;
    let format = format(args)?;
    let server = args.server.open(token)?;
    let text = read(&args.file)?;
    if let Some(server) = server {
        let format = match format {
            FileFormat::PgService => "pg_service",
            FileFormat::Env => "dotenv",
        };
        return remote::import(&server, &owner, format, &text, args.replace, args.yes);
    }
    let secrets = match format {
        FileFormat::PgService => services(settings, &text, &owner)
            .map_err(|why| Error::ServiceFile(named(&args.file), why))?,
        FileFormat::Env => variables(args, &text, &owner)?,
    };
    // A person may take their time to answer.
    drop(text);
    if secrets.is_empty() {
        return Err(Error::Input(format!("{}: there is nothing in it", args.file.display())));
    }
    let taken = taken(settings, &owner)?;
    let rows = secrets.iter().map(|secret| (secret.name.clone(), taken.contains(&secret.name)));
    output::print(&table(rows, &owner, args.replace))?;
    let refused = secrets.iter().find(|secret| taken.contains(&secret.name));
    if let Some(secret) = refused.filter(|_| !args.replace) {
        let (name, owner) = (secret.name.clone(), owner);
        return Err(StoreError::Exists { name, owner }.into());
    }
    warn_of_level(&owner);
    if !agreed(args.yes)? {
        return Ok(0);
    }
    let added = store(settings, &secrets, args.replace)?;
    output::line(&format!("added {} to {owner}", counted(added.len() as u64)))?;
    Ok(0)
}

/// What would be added, and what of it stands there already.
pub(super) fn table(
    rows: impl Iterator<Item = (Name, bool)>,
    owner: &Owner,
    replace: bool,
) -> String {
    let mut table = Table::new(["SECRET", "TO", "WHAT HAPPENS"]);
    for (name, taken) in rows {
        let happens = match (taken, replace) {
            (false, _) => "added",
            (true, true) => "replaces the one that is there",
            (true, false) => "refused: there is one; --replace puts this in its place",
        };
        table.row([name.to_string(), owner.to_string(), happens.to_owned()]);
    }
    table.render()
}

/// Whether it is to be done: `yes`, or somebody says so.
pub(super) fn agreed(yes: bool) -> Result<bool, Error> {
    if yes {
        return Ok(true);
    }
    if !output::interactive() {
        return Err(Error::Usage("nothing was added; say --yes to add them".into()));
    }
    let agreed = output::confirm("Add them?")?;
    if !agreed {
        output::note("nothing was added");
    }
    Ok(agreed)
}

fn format(args: &ImportArgs) -> Result<FileFormat, Error> {
    let name = args.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match args.format {
        Some(format) => Ok(format),
        None if name.ends_with(".env") => Ok(FileFormat::Env),
        None if name.ends_with(".conf") => Ok(FileFormat::PgService),
        None => Err(Error::Usage(
            "the file's name doesn't say what it is: add --format pg-service or --format env"
                .into(),
        )),
    }
}

fn services(settings: &Settings, text: &Value, owner: &Owner) -> Result<Vec<NewSecret>, Rejected> {
    let services = pgservice::parse_all(text.expose())?;
    services.iter().for_each(|service| warn_of_service(service, settings));
    let secret = |service: &pgservice::Service| NewSecret {
        name: Name::pgservice(service.name()),
        owner: owner.clone(),
        sensitive: true,
        created_by: author(),
        value: service.render(),
    };
    Ok(services.iter().map(secret).collect())
}

fn variables(args: &ImportArgs, text: &Value, owner: &Owner) -> Result<Vec<NewSecret>, Error> {
    let file = named(&args.file);
    let variables = dotenv::parse(text.expose())
        .map_err(|refused| Error::Input(format!("{file}, {refused}")))?;
    variables
        .into_iter()
        .map(|Variable { line, name, value }| {
            environment::check(&name, &value)
                .map_err(|refused| Error::Input(format!("{file}, line {line}: {refused}")))?;
            for doubt in environment::doubts(&value, true) {
                output::warning(&format!("{name}: {doubt}"));
            }
            Ok(NewSecret {
                name: Name::envvar(name),
                owner: owner.clone(),
                sensitive: true,
                created_by: author(),
                value,
            })
        })
        .collect()
}

/// The names that stand at this level already.
fn taken(settings: &Settings, owner: &Owner) -> Result<Vec<Name>, Error> {
    match Store::from_settings(&settings.store) {
        Ok(mut store) => {
            let records = store.list(&Selection::Owner(owner.clone()))?;
            Ok(records.into_iter().map(|record| record.name).collect())
        }
        Err(StoreError::Missing(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
