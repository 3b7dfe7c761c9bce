//! `report`: what became of reports.

use clap::{Args, Subcommand};

use super::{block_on, output};
use crate::error::Error;
use crate::report::kept;
use crate::settings::{InvalidSettings, Settings};

/// Commands on reports.
#[derive(Debug, Subcommand)]
pub(super) enum ReportCommand {
    Send(SendArgs),
}

/// Deliver the reports that are kept because `report.url` didn't take them.
///
/// The oldest first, with the same Idempotency-Key as before; each is removed once it was taken.
/// Prints ID/ATTEMPT/EVENT of each that was. Fit for a timer: where nothing is kept, nothing
/// happens.
///
/// Exit code 69 if any is left.
#[derive(Debug, Args)]
pub(super) struct SendArgs {}

/// Runs one of them; returns the exit code.
pub(super) fn run(settings: &Settings, command: &ReportCommand) -> Result<u8, Error> {
    match command {
        ReportCommand::Send(SendArgs {}) => send(settings),
    }
}

fn send(settings: &Settings) -> Result<u8, Error> {
    let mut told = Ok(());
    let sent = |key: &str| {
        if told.is_ok() {
            told = output::line(key);
        }
    };
    match block_on(kept::send(&settings.report, sent))?? {
        Some(_) => told.map(|()| 0),
        None => {
            let problem = "is not set: there is nobody to deliver reports to";
            Err(InvalidSettings::Value("report.url", problem).into())
        }
    }
}
