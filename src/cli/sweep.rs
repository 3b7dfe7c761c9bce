//! `sweep`: takes away what runs left whose two processes were both killed.

use clap::Args;

use super::args::Format;
use super::output::{self, Table};
use crate::containment::sweep;
use crate::error::{Error, INTERNAL};
use crate::pipeline;
use crate::settings::Settings;

/// Take away what runs left whose two processes were both killed.
///
/// Only runs without namespaces (containment `process`) can leave something, and the next run does
/// the same before it starts. Touches only what belongs to this account (root: to any) and to a
/// run that is dead: its directory is not locked any more. Looks in `workspace.path`,
/// $XDG_RUNTIME_DIR and /dev/shm; exit code 70 if something could not be removed.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Sweeps; returns the exit code.
pub fn sweep(settings: &Settings, args: &SweepArgs) -> Result<u8, Error> {
    let places = pipeline::places(settings, &pipeline::parent_environment());
    let swept = sweep::remains(&places);
    match args.format {
        Format::Json => output::json(&swept)?,
        Format::Table if swept.is_empty() => output::line("nothing was left")?,
        Format::Table => {
            let mut table = Table::new(["DIRECTORY", "FILES", "PROCESSES", "WIPED"]);
            for sweep::Swept { path, receipt } in &swept {
                let wiped = receipt.problem.as_deref().map_or("yes".to_owned(), output::harmless);
                table.row([
                    path.display().to_string(),
                    receipt.files_removed.to_string(),
                    receipt.processes_killed.to_string(),
                    wiped,
                ]);
            }
            output::print(&table.render())?;
        }
    }
    let verified = swept.iter().all(|swept| swept.receipt.verified);
    Ok(if verified { 0 } else { INTERNAL })
}
