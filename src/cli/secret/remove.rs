//! `secret remove` and `secret purge`.

use std::collections::BTreeSet;

use clap::Args;

use super::list::{Dormant, table};
use super::{counted, output, remote, subject};
use crate::cli::args::{OwnerArgs, ServerArgs};
use crate::error::Error;
use crate::secret::{Id, Name, Owner, SecretId, Value};
use crate::settings::Settings;
use crate::store::{Record, Selection, Store};

/// Remove a secret, and say what becomes effective instead.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets secret remove pgservice:ninja -P survey -U u-1204
  qgis-secrets secret remove 019ab2c4-…")]
pub struct RemoveArgs {
    /// envvar:NAME or pgservice:NAME with its level, or an id from `secret list`
    #[arg(value_name = "SECRET")]
    secret: String,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Remove everything of a project, an organization or a user.
///
/// Without --yes it only shows what would go. -O removes what stands at the organization; the
/// secrets of its projects stay. -U removes what is for that user, wherever it stands.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true))]
pub struct PurgeArgs {
    /// Everything of this project, user-assigned secrets included
    #[arg(short = 'P', long, value_name = "ID", group = "whose")]
    project: Option<Id>,
    /// Everything of this organization, its members' defaults included
    #[arg(short = 'O', long, value_name = "ID", group = "whose")]
    organization: Option<Id>,
    /// Everything for this user, in every project and organization
    #[arg(short = 'U', long, value_name = "ID", group = "whose")]
    user: Option<Id>,
    /// Remove it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Removes one secret.
pub fn remove(settings: &Settings, args: &RemoveArgs, token: Option<Value>) -> Result<u8, Error> {
    if let Some(server) = args.server.open(token)? {
        return remote::remove(&server, &args.secret, &args.owner);
    }
    let mut store = Store::from_settings(&settings.store)?;
    let record = find(&mut store, args)?;
    store.remove(&subject(), &record)?;
    output::line(&format!("removed {} of {}", record.name, record.owner))?;
    let same_name = store.list(&Selection::Named(record.name.clone()))?;
    output::line(&instead(&record, &same_name))?;
    Ok(0)
}

/// Removes many, or shows them.
pub fn purge(settings: &Settings, args: &PurgeArgs, token: Option<Value>) -> Result<u8, Error> {
    let selection = match (&args.project, &args.organization, &args.user) {
        (Some(project), _, _) => Selection::Project(project.clone()),
        (_, Some(organization), _) => Selection::Organization(organization.clone()),
        (_, _, Some(user)) => Selection::User(user.clone()),
        (None, None, None) => return Err(Error::Usage("say whose: -P, -O or -U".into())),
    };
    let server = args.server.open(token)?;
    let mut store = None;
    let records = match &server {
        Some(server) => remote::purge(server, &selection, true)?,
        None => store.insert(Store::from_settings(&settings.store)?).list(&selection)?,
    };
    if records.is_empty() {
        output::note("there is nothing to remove");
    } else {
        output::print(&table(&records, &Dormant::new()))?;
    }
    if !args.yes {
        if records.is_empty() {
            return Ok(0);
        }
        output::note(&format!(
            "nothing was removed; say --yes to remove these {} for good",
            records.len()
        ));
        return Ok(0);
    }
    // Also where nothing is left to see: a checksum may still miss what is gone.
    let removed = match (server, store) {
        (_, Some(mut store)) => store.purge(&subject(), &selection)?,
        (Some(server), None) => remote::purge(&server, &selection, false)?.len() as u64,
        (None, None) => 0,
    };
    output::line(&format!("removed {}", counted(removed)))?;
    Ok(0)
}

fn find(store: &mut Store, args: &RemoveArgs) -> Result<Record, Error> {
    let Ok(name) = args.secret.parse::<Name>() else {
        if !args.owner.is_empty() {
            return Err(Error::Usage(
                "with a level, name the secret as envvar:NAME or pgservice:NAME".into(),
            ));
        }
        let id = SecretId::from(args.secret.clone());
        return store.find(&id)?.ok_or_else(|| {
            Error::Input(
                "there is no secret with that id; `qgis-secrets secret list` shows them".into(),
            )
        });
    };
    let owner = args.owner.owner()?;
    let records = store.list(&Selection::Owner(owner.clone()))?;
    records.into_iter().find(|record| record.name == name).ok_or_else(|| {
        Error::Input(format!(
            "{owner} has no secret {name} of its own; `qgis-secrets secret list` shows all"
        ))
    })
}

/// What a job gets now that `removed` is gone. The store doesn't know which organization a project
/// belongs to, so an organization's secret is named with that condition.
fn instead(removed: &Record, same_name: &[Record]) -> String {
    let stands = |owner: &Owner| same_name.iter().any(|record| record.owner == *owner);
    let now = match &removed.owner {
        Owner::Project { project, user: Some(_) }
            if stands(&Owner::Project { project: project.clone(), user: None }) =>
        {
            "the project's".to_owned()
        }
        Owner::Project { user, .. } => {
            let of_organizations: BTreeSet<&str> = same_name
                .iter()
                .filter(|record| matches!(record.owner, Owner::Organization { .. }))
                .filter(|record| {
                    record.owner.user().is_none_or(|member| Some(member) == user.as_ref())
                })
                .map(|record| record.owner.id().as_str())
                .collect();
            let now = if of_organizations.is_empty() {
                "none".to_owned()
            } else {
                let ids: Vec<&str> = of_organizations.into_iter().collect();
                format!(
                    "the organization's, if the project belongs to {}; otherwise none",
                    ids.join(" or ")
                )
            };
            let defaults = same_name
                .iter()
                .any(|record| matches!(record.owner, Owner::Organization { user: Some(_), .. }));
            if user.is_none() && defaults {
                format!("{now}; a member with a default of the organization's gets that")
            } else {
                now
            }
        }
        Owner::Organization { organization, user: Some(_) }
            if stands(&Owner::Organization { organization: organization.clone(), user: None }) =>
        {
            "the organization's, where no project has one of its own".to_owned()
        }
        Owner::Organization { .. } => "none, where no project has one of its own".to_owned(),
    };
    format!("jobs for {} now get: {now}", removed.owner)
}
