//! `api-token`: tokens for the management API.
//!
//! Invariant: a new token is printed once, to standard output, and kept by nobody.

use clap::{Args, Subcommand};

use super::administer::{self, Here, Place};
use super::args::{Format, ServerArgs};
use super::block_on;
use super::output::{self, Table, harmless};
use crate::access::Access;
use crate::client::Body;
use crate::error::Error;
use crate::secret::{Id, Value};
use crate::server::administration::TokenRequest;
use crate::server::api::shapes;
use crate::settings::Settings;
use crate::wire::management::{EndedToken, Token, Tokens, segment};

/// Commands on API tokens.
#[derive(Debug, Subcommand)]
pub(super) enum ApiTokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a token, and print it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  (umask 077; qgis-secrets api-token create orchestrator --operator > token)
  qgis-secrets api-token create dashboard -O org-81 --read-only --days 30
  qgis-secrets api-token create provisioning -O org-81 --delegate --days 7")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct CreateArgs {
    /// What to call it
    #[arg(value_name = "NAME")]
    name: String,
    /// It may do everything
    #[arg(long, group = "what")]
    operator: bool,
    /// It administers this organization and its projects
    #[arg(short = 'O', long, value_name = "ID", group = "what")]
    organization: Option<Id>,
    /// It administers this project
    #[arg(short = 'P', long, value_name = "ID", group = "what")]
    project: Option<Id>,
    /// It may list and explain only
    #[arg(long)]
    read_only: bool,
    /// It may also give grants and make tokens, no wider and no longer than its own, and end both
    #[arg(long, conflicts_with = "read_only")]
    delegate: bool,
    /// For how many days it works, 1 to 365 (default: 90, or until the token that makes it ends)
    #[arg(long, value_name = "DAYS")]
    days: Option<u32>,
    #[command(flatten)]
    server: ServerArgs,
}

/// List tokens, those that are over included; without options: those that may do everything.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets api-token list -O org-81
  qgis-secrets api-token list --all --format json")]
pub(super) struct ListArgs {
    /// Tokens for this organization
    #[arg(short = 'O', long, value_name = "ID")]
    organization: Option<Id>,
    /// Tokens for this project
    #[arg(short = 'P', long, value_name = "ID", conflicts_with = "organization")]
    project: Option<Id>,
    /// All of them: those for everything, and those for every organization and project
    #[arg(long, conflicts_with_all = ["organization", "project"])]
    all: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    server: ServerArgs,
}

/// End a token, at once, with those that it made.
#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The token's id, from `api-token list`; also the part between the last two `_` of the token
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs one of them; returns the exit code.
pub(super) fn run(
    settings: &Settings,
    command: &ApiTokenCommand,
    token: Option<Value>,
) -> Result<u8, Error> {
    match command {
        ApiTokenCommand::Create(args) => {
            create(Place::open_or_make(settings, &args.server, token)?, args)
        }
        ApiTokenCommand::List(args) => list(Place::open(settings, &args.server, token)?, args),
        ApiTokenCommand::Revoke(args) => revoke(Place::open(settings, &args.server, token)?, args),
    }
}

fn create(place: Place, args: &CreateArgs) -> Result<u8, Error> {
    let CreateArgs { name, operator, organization, project, days, .. } = args;
    let grant = administer::grant(*operator, organization.as_ref(), project.as_ref())?;
    let access = match (args.read_only, args.delegate) {
        (true, _) => Access::Read,
        (_, true) => Access::Delegate,
        _ => Access::Manage,
    };
    let (token, text) = match place {
        Place::Server(server) => {
            let body = Body::new().with("name", name).with("role", grant.role().as_str());
            let body = body.with("organization", organization).with("project", project);
            let body = body.with("access", access.as_str()).with("days", days);
            let answer = block_on(server.post_for_value("/v1/tokens", body))??;
            let token: Token = server.read(&answer)?;
            let Issued { token: text } = server.read(&answer)?;
            // This copy is overwritten when it is freed, as all that is.
            (token, Value::from(text.as_str()))
        }
        Place::Here(here) => here.finish(async |here| {
            let request = TokenRequest { name: name.clone(), grant, access, days: *days };
            let made = here.administration.issue_api_token(&here.actor, &request).await?;
            Ok((shapes::token(made.0), made.1))
        })?,
    };
    output::note(&harmless(&format!("token {}, until {}", token.id, token.expires_at)));
    output::line(&String::from_utf8_lossy(text.expose()))?;
    Ok(0)
}

/// What an answer holds besides a token's facts.
#[derive(serde::Deserialize)]
struct Issued {
    token: String,
}

fn list(place: Place, args: &ListArgs) -> Result<u8, Error> {
    let scope = administer::scope(args.organization.as_ref(), args.project.as_ref());
    let path = format!("/v1/tokens{}", administer::query(args.all, scope.as_ref()));
    let here = async |here: &Here, page| {
        let Here { administration, actor, .. } = here;
        let part = match args.all {
            true => administration.all_api_tokens(actor, page).await?,
            false => administration.api_tokens(actor, scope.as_ref(), page).await?,
        };
        let tokens = part.items.into_iter().map(shapes::token).collect();
        Ok(Tokens { tokens, next: part.next })
    };
    let mut tokens: Vec<Token> = Vec::new();
    let take = |part: Tokens| {
        tokens.extend(part.tokens);
        true
    };
    place.all(&path, |part: &Tokens| part.next.clone(), &here, take)?;
    if args.format == Format::Json {
        output::json(&Tokens { tokens, next: None })?;
        return Ok(0);
    }
    if tokens.is_empty() {
        let what = administer::nothing("tokens", args.all, scope.as_ref());
        output::note(&format!(
            "{what}; `qgis-secrets api-token create --help` says how to make one"
        ));
        return Ok(0);
    }
    let mut table = Table::new(["NAME", "ROLE", "OF", "ACCESS", "UNTIL", "USED", "MADE BY", "ID"]);
    for token in &tokens {
        let of = token.organization.as_deref().or(token.project.as_deref()).unwrap_or("-");
        let until = match &token.revoked_at {
            Some(at) => format!("revoked {at}"),
            None => token.expires_at.clone(),
        };
        let used = token.used_at.as_deref().unwrap_or("never");
        let Token { id, name, role, access, created_by, .. } = token;
        table.row([name, role, of, access, &until, used, created_by, id].map(harmless));
    }
    output::print(&table.render())?;
    Ok(0)
}

fn revoke(place: Place, args: &RevokeArgs) -> Result<u8, Error> {
    let EndedToken { token, made } = match place {
        Place::Server(server) => {
            block_on(server.delete(&format!("/v1/tokens/{}", segment(&args.id))))??
        }
        Place::Here(here) => here.finish(async |here| {
            let ended = here.administration.revoke_api_token(&here.actor, &args.id).await?;
            Ok(shapes::ended(ended))
        })?,
    };
    output::line(&harmless(&format!("revoked {} ({})", token.id, token.name)))?;
    for Token { id, name, created_by, .. } in made {
        output::line(&harmless(&format!("revoked {id} ({name}), made by {created_by}")))?;
    }
    Ok(0)
}
