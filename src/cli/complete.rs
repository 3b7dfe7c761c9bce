//! `completions` and `man`: both from the definition of the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};
use crate::error::Error;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  qgis-secrets completions bash > /etc/bash_completion.d/qgis-secrets")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the man page, or write all of them to a directory.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets man | man -l -
  qgis-secrets man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write the pages of all commands here instead
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qgis-secrets", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// Prints or writes man pages.
pub fn man(args: &ManArgs) -> Result<u8, Error> {
    match &args.directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Error::Io("the man page".into(), error))?;
            output::print(&String::from_utf8_lossy(&page))?;
        }
        Some(directory) => {
            clap_mangen::generate_to(Cli::command(), directory)
                .map_err(|error| Error::Io(directory.display().to_string(), error))?;
        }
    }
    Ok(0)
}
