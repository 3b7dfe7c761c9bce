//! `run` and `exec`: one job.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::args::{ContainmentArgs, ExitCodesArg, Global, IdentityArgs, JobIdArgs, ServiceArgs};
use super::{block_on, output};
use crate::backend::AnyBackend;
use crate::containment::{self, Request, Side};
use crate::environment::Credential;
use crate::error::Error;
use crate::job::Invocation;
use crate::pipeline::{self, Ended, Launch, Mirrored, Parent, Source};
use crate::secret::Name;
use crate::settings::{Overrides, Settings};
use crate::sys::terminal::Pair;

/// Run the job that a descriptor describes.
///
/// Pulls the descriptor, resolves the job's secrets, writes a private pg_service.conf, starts the
/// command with PGSERVICEFILE and the environment variables set, and wipes everything when the job
/// has ended, however it ends. TERM, INT, HUP and QUIT are passed on; a second one, half a second
/// later or more, kills.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets run job.json
  qgis-secrets run --report report.json - < job.json
  qgis-secrets run --token-file token https://orchestrator.example/jobs/7c1e0d52
  qgis-secrets run --service https://secrets.example --job-token-file job-token job.json")]
pub struct RunArgs {
    /// The job descriptor: a file, `-` for standard input, or an http(s) URL
    #[arg(value_name = "JOB")]
    job: String,
    /// The bearer token for a URL
    #[arg(long, value_name = "FILE", env = "QGIS_SECRETS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    end: EndArgs,
}

/// Run a command as a job, without a descriptor: to debug one locally.
///
/// It gets the same secrets and the same environment as a job of that project, organization and
/// user, and is supervised and cleaned up in the same way.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets exec -P survey -- psql service=ninja
  qgis-secrets exec -O org-81 -P survey -U u-1204 --timeout 60 -- \\
      qgis_process run native:countpointsinpolygon …")]
pub struct ExecArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    job_id: JobIdArgs,
    /// End the job after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    timeout: Option<Duration>,
    /// From the order to end to the kill, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    grace: Option<Duration>,
    /// Do not start without this secret: envvar:NAME or pgservice:NAME (can be repeated)
    #[arg(long, value_name = "SECRET")]
    require: Vec<Name>,
    #[command(flatten)]
    end: EndArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How a run is told of.
#[derive(Debug, Args)]
struct EndArgs {
    /// Write the report of the run, JSON without values, to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Show values that the job prints; only on a terminal
    #[arg(long)]
    no_mask: bool,
    /// What the exit code says
    #[arg(long, value_name = "WHICH")]
    exit_codes: Option<ExitCodesArg>,
    #[command(flatten)]
    containment: ContainmentArgs,
    #[command(flatten)]
    service: ServiceArgs,
}

impl RunArgs {
    /// Whether the command line says `--exit-codes distinct`.
    pub fn distinct(&self) -> bool {
        self.end.distinct()
    }

    /// What the options mean for the settings.
    pub fn overrides(&self, global: &Global) -> Overrides {
        Overrides { token_file: self.token_file.clone(), ..self.end.overrides(global) }
    }
}

impl ExecArgs {
    /// Whether the command line says `--exit-codes distinct`.
    pub fn distinct(&self) -> bool {
        self.end.distinct()
    }

    /// What the options mean for the settings.
    pub fn overrides(&self, global: &Global) -> Overrides {
        self.end.overrides(global)
    }
}

impl EndArgs {
    fn distinct(&self) -> bool {
        self.exit_codes == Some(ExitCodesArg::Distinct)
    }

    /// A log that others read must not hold values, whoever wants it.
    fn unmasked(&self) -> Result<bool, Error> {
        if self.no_mask && !std::io::stdout().is_terminal() {
            return Err(Error::Usage(
                "--no-mask is for a terminal only, and standard output is none; leave it away, or \
                 send the output to the terminal"
                    .into(),
            ));
        }
        Ok(self.no_mask)
    }

    fn overrides(&self, global: &Global) -> Overrides {
        self.containment.overrides(Overrides {
            report: self.report.clone(),
            exit_codes: self.exit_codes.map(Into::into),
            ..self.service.overrides(global.overrides())
        })
    }
}

/// Runs the job of a descriptor; returns the exit code.
pub fn run(settings: &Settings, args: RunArgs, credentials: Vec<Credential>) -> Result<u8, Error> {
    let unmasked = args.end.unmasked()?;
    job(settings, source(args.job), unmasked, credentials)
}

/// Runs a command as a job; returns the exit code.
pub fn exec(
    settings: &Settings,
    args: ExecArgs,
    credentials: Vec<Credential>,
) -> Result<u8, Error> {
    let unmasked = args.end.unmasked()?;
    let identity = args.identity.identity().ok_or_else(|| {
        Error::Usage("say which project's secrets the command gets: -P PROJECT".into())
    })?;
    let invocation = Invocation {
        id: args.job_id.id_for(settings)?,
        identity,
        command: args.command,
        timeout: args.timeout,
        grace: args.grace,
        require: args.require,
    };
    job(settings, Source::Invocation(Box::new(invocation)), unmasked, credentials)
}

/// What an argument JOB means.
pub(super) fn source(job: String) -> Source {
    if job == "-" {
        Source::Stdin
    } else if job.starts_with("http://") || job.starts_with("https://") {
        Source::Url(job)
    } else {
        Source::File(job.into())
    }
}

fn job(
    settings: &Settings,
    source: Source,
    unmasked: bool,
    credentials: Vec<Credential>,
) -> Result<u8, Error> {
    let begun = Instant::now();
    let handover = pipeline::hand_over(settings, credentials)?;
    let plain = pipeline::parent_environment();
    let request = Request {
        require: settings.containment.require,
        run_as: settings.containment.run_as.as_deref(),
        places: pipeline::places(settings, &plain),
        terminal: Pair::open(),
    };
    // Before the first secret is in memory, and before the runtime.
    let contained = match containment::enter(request) {
        Ok(Side::Inner(contained)) => Ok(*contained),
        Ok(Side::Superfluous) => return Ok(0),
        Ok(Side::Outer(aftermath)) => {
            return match Mirrored::of(settings, aftermath) {
                Mirrored::Inner(code) => Ok(code),
                Mirrored::Killed(ended) => {
                    block_on(ended.tell(settings))?;
                    tell(&ended);
                    Ok(ended.exit_code)
                }
            };
        }
        Err(error) => Err(error.into()),
    };
    let (credentials, token) = pipeline::take_over(handover)?;
    let backend = AnyBackend::new(settings, token);
    let parent = Parent { plain, credentials };
    let launch = Launch { source, parent, stdout: None, unmasked, say: tell, begun };
    let ended = block_on(pipeline::run(settings, launch, backend, contained))?;
    Ok(ended.exit_code)
}

fn tell(ended: &Ended) {
    if let Some(error) = &ended.failure {
        output::error(error);
    }
    if let Some(receipt) = ended.report.wipe.as_ref().filter(|receipt| !receipt.verified) {
        let problem = receipt.problem.as_deref().unwrap_or("something is left");
        output::note(&format!("the wipe failed: {problem}"));
    }
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|timeout| match timeout {
        Duration::ZERO => Err("a timeout of 0 would end every job".into()),
        timeout => Ok(timeout),
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.0..=31_622_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give seconds, from 0 to one year".into())
}
