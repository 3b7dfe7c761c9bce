//! `grant`: who administers what.

use clap::{Args, Subcommand};

use super::administer::{self, Here, Place};
use super::args::{Format, ServerArgs};
use super::block_on;
use super::output::{self, Table, harmless};
use crate::client::Body;
use crate::error::Error;
use crate::secret::{Id, Value};
use crate::server::api::shapes;
use crate::settings::Settings;
use crate::wire::management::{Grant, Grants, Revoked, segment};

/// Commands on grants.
#[derive(Debug, Subcommand)]
pub(super) enum GrantCommand {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Make somebody an admin of an organization or a project, or an operator.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets grant add u-17 -O org-81
  qgis-secrets grant add u-1 --operator")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct AddArgs {
    /// Whom: the stable id that the login gives them
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// Everything
    #[arg(long, group = "what")]
    operator: bool,
    /// This organization and its projects
    #[arg(short = 'O', long, value_name = "ID", group = "what")]
    organization: Option<Id>,
    /// This project
    #[arg(short = 'P', long, value_name = "ID", group = "what")]
    project: Option<Id>,
    #[command(flatten)]
    server: ServerArgs,
}

/// List who was given what; without options: operators.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets grant list -P survey
  qgis-secrets grant list --all --format json")]
pub(super) struct ListArgs {
    /// Admins of this organization
    #[arg(short = 'O', long, value_name = "ID")]
    organization: Option<Id>,
    /// Admins of this project
    #[arg(short = 'P', long, value_name = "ID", conflicts_with = "organization")]
    project: Option<Id>,
    /// Everybody: operators, and admins of all organizations and projects
    #[arg(long, conflicts_with_all = ["organization", "project"])]
    all: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    server: ServerArgs,
}

/// Take a grant away. API tokens that its holder made work on, and are named.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The grant's id, from `grant list`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs one of them; returns the exit code.
pub(super) fn run(
    settings: &Settings,
    command: &GrantCommand,
    token: Option<Value>,
) -> Result<u8, Error> {
    match command {
        GrantCommand::Add(args) => add(Place::open_or_make(settings, &args.server, token)?, args),
        GrantCommand::List(args) => list(Place::open(settings, &args.server, token)?, args),
        GrantCommand::Remove(args) => remove(Place::open(settings, &args.server, token)?, args),
    }
}

fn add(place: Place, args: &AddArgs) -> Result<u8, Error> {
    let AddArgs { subject, operator, organization, project, server: _ } = args;
    let grant = administer::grant(*operator, organization.as_ref(), project.as_ref())?;
    let granted: Grant = match place {
        Place::Server(server) => {
            let body = Body::new().with("subject", subject).with("role", grant.role().as_str());
            let body = body.with("organization", organization).with("project", project);
            block_on(server.post("/v1/grants", body))??
        }
        Place::Here(here) => here.finish(async |here| {
            Ok(here
                .administration
                .grant(&here.actor, subject, &grant)
                .await
                .map(shapes::granted)?)
        })?,
    };
    output::line(&format!(
        "{} is {grant}, id {}",
        harmless(&granted.subject),
        harmless(&granted.id)
    ))?;
    Ok(0)
}

fn list(place: Place, args: &ListArgs) -> Result<u8, Error> {
    let scope = administer::scope(args.organization.as_ref(), args.project.as_ref());
    let path = format!("/v1/grants{}", administer::query(args.all, scope.as_ref()));
    let here = async |here: &Here, page| {
        let Here { administration, actor, .. } = here;
        let part = match args.all {
            true => administration.all_grants(actor, page).await?,
            false => administration.grants(actor, scope.as_ref(), page).await?,
        };
        let grants = part.items.into_iter().map(shapes::granted).collect();
        Ok(Grants { grants, next: part.next })
    };
    let mut grants: Vec<Grant> = Vec::new();
    let take = |part: Grants| {
        grants.extend(part.grants);
        true
    };
    place.all(&path, |part: &Grants| part.next.clone(), &here, take)?;
    if args.format == Format::Json {
        output::json(&Grants { grants, next: None })?;
        return Ok(0);
    }
    if grants.is_empty() {
        let what = administer::nothing("grants", args.all, scope.as_ref());
        output::note(&format!("{what}; `qgis-secrets grant add --help` says how to give one"));
        return Ok(0);
    }
    let mut table = Table::new(["SUBJECT", "ROLE", "OF", "SINCE", "BY", "ID"]);
    for Grant { id, subject, role, organization, project, granted_at, granted_by } in &grants {
        let of = organization.as_deref().or(project.as_deref()).unwrap_or("-");
        table.row([subject, role, of, granted_at, granted_by, id].map(harmless));
    }
    output::print(&table.render())?;
    Ok(0)
}

fn remove(place: Place, args: &RemoveArgs) -> Result<u8, Error> {
    let Revoked { revoked, tokens } = match place {
        Place::Server(server) => {
            block_on(server.delete(&format!("/v1/grants/{}", segment(&args.id))))??
        }
        Place::Here(here) => here.finish(async |here| {
            let revoked = here.administration.revoke_grant(&here.actor, &args.id).await?;
            Ok(shapes::revoked(revoked))
        })?,
    };
    let of = revoked.organization.as_deref().or(revoked.project.as_deref());
    let of = of.map_or(String::new(), |id| format!(" of {id}"));
    let said = format!("{} is no {}{of} any more", revoked.subject, revoked.role);
    output::line(&harmless(&said))?;
    for token in tokens {
        output::warning(&harmless(&format!(
            "the API token {} ({}), which they made, works on; `qgis-secrets api-token revoke {}` \
             ends it",
            token.id, token.name, token.id
        )));
    }
    Ok(0)
}
