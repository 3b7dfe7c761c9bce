//! The command line: one definition, from which help, completions and man pages come.
//!
//! Invariants: data goes to standard output, everything else to standard error; a closed pipe is
//! no error; a failure ends in one line with its stable word, and its exit code.

#[cfg(feature = "service")]
mod administer;
#[cfg(feature = "service")]
pub mod api_token;
pub mod args;
#[cfg(feature = "service")]
pub mod audit;
pub mod check;
pub mod complete;
pub mod explain;
#[cfg(feature = "service")]
pub mod grant;
pub mod key;
pub mod output;
pub mod report;
pub mod run;
pub mod secret;
#[cfg(feature = "service")]
pub mod serve;
pub mod store;
pub mod sweep;
pub mod token;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use nix::sys::signal::SigSet;

use crate::environment::{self, Credential};
use crate::error::{DISTINCT, Error, USAGE};
use crate::log;
use crate::secret::Value;
use crate::settings::{API_TOKEN, JOB_TOKEN, Settings};
use crate::sys::{environ, privileges};
use args::Global;

/// Gives a headless QGIS job its secrets, and takes them away again.
///
/// Secrets are environment variables and pg_service.conf services, kept encrypted at the levels
/// organization, project, and user-assigned within a project. The most specific one wins.
#[derive(Debug, Parser)]
#[command(name = "qgis-secrets", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
A first job, with nothing prepared:
  echo -n s3cr3t-key | qgis-secrets secret add API_KEY -P survey
  qgis-secrets exec -P survey -- sh -c 'test -n \"$API_KEY\" && echo it is there'

Exit codes of the runner itself: 64 usage, 65 invalid input, 66 a required secret is missing,
69 backend unavailable, 70 internal, 77 denied, 78 settings, 124 timed out, 126/127 the command
cannot be executed / was not found.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Each variant's help is that of its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Exec(run::ExecArgs),
    Explain(explain::ExplainArgs),
    Check(check::CheckArgs),
    Sweep(sweep::SweepArgs),
    #[cfg(feature = "service")]
    Serve(serve::ServeArgs),
    /// Add, list and remove secrets
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Say who administers organizations and projects
    #[cfg(feature = "service")]
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// Make, list and end tokens for the management API
    #[cfg(feature = "service")]
    #[command(subcommand)]
    ApiToken(api_token::ApiTokenCommand),
    /// Read what was done, and what was denied
    #[cfg(feature = "service")]
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Deliver the reports of runs that are kept
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Make, show and rotate the store's key
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show what the store holds, or move it to another database
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Issue and inspect job tokens, and make the keys that sign them
    #[command(subcommand)]
    Token(token::TokenCommand),
    Completions(complete::CompletionsArgs),
    Man(complete::ManArgs),
}

/// Runs the program; `arguments` begin with its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let credentials = take_credentials();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    log::to_stderr(cli.global.log);
    // For what fails before the settings are known.
    let distinct = match &cli.command {
        Command::Run(args) => args.distinct(),
        Command::Exec(args) => args.distinct(),
        _ => false,
    };
    match dispatch(cli, credentials) {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(if distinct { DISTINCT } else { error.exit_code() })
        }
    }
}

/// Before anything else: whoever looks into this process later finds no credential that it doesn't
/// need.
fn take_credentials() -> Vec<Credential> {
    let mut credentials = Vec::new();
    environ::take(environment::is_credential, |name, value| {
        let name = name.to_string_lossy().into_owned();
        credentials.push(Credential { name, value: Value::new(value.to_vec()) });
    });
    credentials
}

fn dispatch(Cli { global, command }: Cli, mut credentials: Vec<Credential>) -> Result<u8, Error> {
    if !matches!(command, Command::Run(_) | Command::Exec(_) | Command::Check(_)) {
        // What a command asks a service with is the only one that it needs.
        let kept: &[&str] = match command {
            Command::Explain(_) => &[JOB_TOKEN, API_TOKEN],
            Command::Secret(_) => &[API_TOKEN],
            #[cfg(feature = "service")]
            Command::Grant(_) | Command::ApiToken(_) | Command::Audit(_) => &[API_TOKEN],
            _ => &[],
        };
        credentials.retain(|credential| kept.contains(&credential.name.as_str()));
        // Those above are closed on their way into containment.
        privileges::close_to_others()
            .map_err(|errno| Error::Setup(format!("PR_SET_DUMPABLE: {}", errno.desc())))?;
    }
    let settings = |overrides| Settings::load(&overrides, |name| std::env::var_os(name));
    let plain = || settings(global.overrides());
    match command {
        Command::Run(args) => run::run(&settings(args.overrides(&global))?, args, credentials),
        Command::Exec(args) => run::exec(&settings(args.overrides(&global))?, args, credentials),
        Command::Check(args) => check::check(settings(args.overrides(&global))?, args, credentials),
        Command::Explain(args) => {
            explain::explain(&settings(args.overrides(&global))?, args, credentials)
        }
        #[cfg(feature = "service")]
        Command::Serve(args) => serve::serve(&settings(args.overrides(&global))?),
        Command::Sweep(args) => sweep::sweep(&plain()?, &args),
        Command::Secret(command) => secret::run(&plain()?, command, api_token(&mut credentials)),
        #[cfg(feature = "service")]
        Command::Grant(command) => grant::run(&plain()?, &command, api_token(&mut credentials)),
        #[cfg(feature = "service")]
        Command::ApiToken(command) => {
            api_token::run(&plain()?, &command, api_token(&mut credentials))
        }
        #[cfg(feature = "service")]
        Command::Audit(command) => audit::run(&plain()?, &command, api_token(&mut credentials)),
        Command::Report(command) => report::run(&plain()?, &command),
        Command::Key(command) => key::run(&plain()?, command),
        Command::Store(command) => store::run(&plain()?, command),
        Command::Token(command) => token::run(&plain()?, command),
        Command::Completions(args) => complete::completions(&args),
        Command::Man(args) => complete::man(&args),
    }
}

/// The token that came by environment.
fn api_token(credentials: &mut Vec<Credential>) -> Option<Value> {
    let at = credentials.iter().position(|credential| credential.name == API_TOKEN)?;
    Some(credentials.swap_remove(at).value)
}

/// clap's own exit code is 2, which says nothing in the table of codes.
fn usage(error: &clap::Error) -> ExitCode {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && (error.kind() == ErrorKind::TooManyValues
            || error.kind() == ErrorKind::UnknownArgument && !word.starts_with('-'))
    {
        // Somebody may have typed a value here; clap would print it.
        output::error(&Error::Usage(
            "there is a word too many; a value is never taken from the command line, and a \
             job's command stands after `--` (see --help)"
                .into(),
        ));
        return ExitCode::from(USAGE);
    }
    // Nowhere to report to if this fails.
    error.print().unwrap_or_default();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// The runtime, made once it is needed: on the main thread, for the job must not outlive the
/// thread that starts it.
///
/// A run's state is large, and so is the frame that holds it: never a part of the caller's, which the
/// outer process has as well.
#[inline(never)]
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A signal that another thread takes wakes nobody who waits for it here.
        .on_thread_start(|| SigSet::all().thread_block().unwrap_or_default())
        .build()
        .map_err(|error| Error::Setup(format!("async runtime: {error}")))?;
    let result = runtime.block_on(future);
    // A read from a pipe that never ends would keep the runtime for ever.
    runtime.shutdown_background();
    Ok(result)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// `-O`, `-P` and `-U` mean identity everywhere, never a database's user.
    #[test]
    fn short_options_mean_the_same_in_every_command() {
        fn walk(command: &clap::Command, seen: &mut Vec<(char, String)>) {
            for argument in command.get_arguments() {
                if let (Some(short), Some(long)) = (argument.get_short(), argument.get_long()) {
                    seen.push((short, long.to_owned()));
                }
            }
            command.get_subcommands().for_each(|command| walk(command, seen));
        }
        let mut seen = Vec::new();
        walk(&Cli::command(), &mut seen);
        for (short, long) in &seen {
            assert!(seen.iter().all(|(s, l)| s != short || l == long), "-{short}, --{long}");
        }
        assert!(seen.contains(&('U', "user".into())));
    }

    /// A person who reads `--help` learns something from each line.
    #[test]
    fn everything_has_help() {
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {name}", command.get_name());
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
