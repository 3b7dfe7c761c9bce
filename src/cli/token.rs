//! `token`: job tokens, for orchestrators without a JWT library, and for people who ask why one is
//! refused.

pub mod inspect;
pub mod issue;
pub mod keys;

use clap::Subcommand;

use crate::error::Error;
use crate::settings::Settings;

/// Commands on job tokens. Each variant's help is that of its arguments.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    Issue(issue::IssueArgs),
    Inspect(inspect::InspectArgs),
    NewKey(keys::NewKeyArgs),
    Jwks(keys::JwksArgs),
}

/// Runs one of them; returns the exit code.
pub(super) fn run(settings: &Settings, command: TokenCommand) -> Result<u8, Error> {
    match command {
        TokenCommand::Issue(args) => issue::issue(settings, args),
        TokenCommand::Inspect(args) => inspect::inspect(args),
        TokenCommand::NewKey(args) => keys::new_key(&args),
        TokenCommand::Jwks(args) => keys::jwks(&args),
    }
}
