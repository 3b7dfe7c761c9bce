//! One job, all stages, one function.
//!
//! ```text
//! contain -> pull -> resolve -> materialise -> supervise -> wipe -> output -> report
//! Contained  Job     Resolved   Command        Outcome      Receipt Streams   Report
//! ```
//!
//! Invariants: containment comes first, before any secret is in memory; each stage consumes what
//! the one before made; whatever fails, the workspace is wiped before anybody is told, and before a
//! slow reader of the job's output is waited for; the report comes last, because only then can it
//! say that the wipe worked.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::Backend;
use crate::containment::{
    self, Account, Contained, Grip, Hold, Notes, Receipt, Workspace, WorkspaceError,
};
use crate::environment::{self, Environment};
use crate::error::{Error, run_exit_code};
use crate::http::{self, Endpoint};
use crate::job::{Invocation, Job, Policy};
use crate::log;
use crate::pgservice;
use crate::redact::Masker;
use crate::report::{self, Containment, Messenger, Outcome, Report};
use crate::secret::{Value, ValueBuf};
use crate::settings::Settings;
use crate::supervise::child::Rest;
use crate::supervise::feedback::Settled;
use crate::supervise::{self, Command, Finished, Signals};
use crate::sys::terminal::Line;

mod aftermath;
mod clock;
mod confine;
mod feedback;
mod parent;
mod resolve;

use clock::Clock;

pub use aftermath::Mirrored;
pub use confine::{Judged, judge};
pub use parent::{Parent, hand_over, job_token, parent_environment, places, take_over};
pub use resolve::plan;

use resolve::Resolved;

/// Where a job comes from.
#[derive(Debug)]
pub enum Source {
    /// A descriptor in a file.
    File(PathBuf),
    /// A descriptor on standard input.
    Stdin,
    /// A descriptor at an `http` or `https` address.
    Url(String),
    /// No descriptor: the command line says it all.
    Invocation(Box<Invocation>),
    /// One that was pulled and checked before.
    Job(Box<Job>),
}

/// A run that is over.
#[derive(Debug)]
pub struct Ended {
    /// What happened, without values.
    pub report: Report,
    /// Why the job did not start, if it did not.
    pub failure: Option<Error>,
    /// The runner's exit code.
    pub exit_code: u8,
}

/// What a run begins with.
#[derive(Debug)]
pub struct Launch {
    /// Where the job comes from.
    pub source: Source,
    /// The runner's own environment.
    pub parent: Parent,
    /// For the job, in place of the runner's standard output, unmasked.
    pub stdout: Option<File>,
    /// Whether the runner's terminal shows values.
    pub unmasked: bool,
    /// Says how the run ended, before the report is delivered, which may take a while.
    pub say: fn(&Ended),
    /// When the way into containment began.
    pub begun: Instant,
}

/// Runs one job: the whole product.
///
/// `contained` is what containment is in force, or why none is. Returns once everything is wiped and reported.
pub async fn run(
    settings: &Settings,
    Launch { source, parent, stdout, unmasked, say, begun }: Launch,
    backend: impl Backend,
    contained: Result<Contained, Error>,
) -> Ended {
    let mut report = Report::begin(backend.name());
    let mut messenger = Messenger::new(&settings.report);
    let (hold, lifeline, notes, terminal) = match contained {
        Ok(Contained { hold, lifeline, notes, terminal }) => {
            (Ok(hold), Some(lifeline), Some(notes), terminal)
        }
        Err(error) => (Err(error), None, None, None),
    };
    let mut signals = Signals::listen(lifeline);
    let mut wiped = true;
    let mut masking = None;
    let result = match (&mut signals, hold) {
        (Ok(signals), Ok(Hold { mut workspace, grip })) => {
            let mut clock = Clock::since(begun);
            clock.lap("contain", &mut report);
            let told = Told {
                report: &mut report,
                messenger: &mut messenger,
                notes: notes.as_ref(),
                clock: &mut clock,
                masking: &mut masking,
            };
            let place = (grip, workspace.as_mut());
            let begin = (source, parent, Standard { stdout, terminal, unmasked });
            let result = stages(settings, begin, backend, place, signals, told).await;
            if let Ok(workspace) = workspace {
                let (tree, leak) = match &result {
                    Ok(Ran { finished, feedback, .. }) => (finished.tree, feedback.leak.clone()),
                    Err(_) => Default::default(),
                };
                let receipt = workspace.wipe().with_processes(tree).with_problem(leak);
                clock.lap("wipe", &mut report);
                log_wipe(&receipt);
                wiped = receipt.verified;
                report.wipe = Some(receipt);
            }
            match result {
                Ok(Ran { finished, feedback, rest }) => {
                    report.streams(rest.finish(signals).await);
                    clock.lap("output", &mut report);
                    Ok((finished, feedback))
                }
                Err(error) => Err(error),
            }
        }
        // Whose job it was should be in the report.
        (Ok(signals), Err(error)) => tokio::select! {
            enough = signals.enough() => Err(enough.into()),
            pulled = pull(settings, source) => {
                pulled.map(|job| report.job(&job)).and(Err(error))
            }
        },
        (Err(error), _) => Err(Error::Setup(format!("signal handlers: {error}"))),
    };
    let (outcome, failure) = match result {
        Ok((finished, feedback)) => {
            report.peak_memory_bytes = finished.peak_memory;
            (Outcome::of(finished.ending, feedback.verdict, finished.out_of_memory), None)
        }
        Err(error) => {
            let reason = error.kind().into();
            (Outcome::NotStarted { reason, message: error.to_string() }, Some(error))
        }
    };
    let exit_code =
        run_exit_code(&outcome, failure.as_ref(), wiped, settings.supervision.exit_codes);
    report.end(outcome.masked(log::masked), exit_code);
    aftermath::note(notes.as_ref(), &report);
    let ended = Ended { report, failure, exit_code };
    ended.write(settings);
    say(&ended);
    // The last copy of the values.
    drop(masking);
    match &mut signals {
        Ok(signals) => messenger.ended(&ended.report, signals.enough()).await,
        Err(_) => messenger.ended(&ended.report, std::future::pending::<()>()).await,
    }
    aftermath::note_told(notes.as_ref());
    ended
}

impl Ended {
    /// Writes the report's file and its summary, if the settings name them.
    fn write(&self, settings: &Settings) {
        if let Some(path) = &settings.report.file
            && let Err(error) = report::write(&self.report, path)
        {
            tracing::error!(%error, "the report is lost");
        }
        if let Some(path) = &settings.report.termination_log
            && let Err(error) = report::summary::write(&self.report, path)
        {
            tracing::error!(%error, "the summary is lost");
        }
    }
}

/// Who hears of a run.
struct Told<'a> {
    report: &'a mut Report,
    messenger: &'a mut Messenger,
    notes: Option<&'a Notes>,
    clock: &'a mut Clock,
    masking: &'a mut Option<log::Masking>,
}

/// A job that ran.
struct Ran {
    finished: Finished,
    feedback: Settled,
    rest: Rest,
}

/// The job's descriptors 0 to 2, where they are not the usual ones.
struct Standard {
    stdout: Option<File>,
    terminal: Option<Line>,
    unmasked: bool,
}

async fn stages(
    settings: &Settings,
    (source, parent, standard): (Source, Parent, Standard),
    backend: impl Backend,
    (grip, workspace): (Grip, Result<&mut Workspace, &mut WorkspaceError>),
    signals: &mut Signals,
    Told { report, messenger, notes, clock, masking }: Told<'_>,
) -> Result<Ran, Error> {
    // An order to end counts from the first moment on: nothing has to be cleaned up yet.
    let (job, resolved) = tokio::select! {
        enough = signals.enough() => return Err(enough.into()),
        prepared = async {
            // Moved in, to be dropped with this block: an open store would keep others out while
            // the job runs, or its report is delivered.
            let mut backend = backend;
            let job = pull(settings, source).await?;
            report.job(&job);
            aftermath::note(notes, report);
            clock.lap("pull", report);
            let audit = settings.audit.file.as_deref();
            let mut resolved = resolve::resolve(&job, &mut backend, audit, report).await?;
            resolved.credentials = backend.into_sensitive();
            clock.lap("resolve", report);
            Ok::<_, Error>((job, resolved))
        } => prepared?,
    };

    let workspace = workspace.map_err(WorkspaceError::take)?;
    let outfit = outfit(settings, &job, resolved, parent, grip.account.as_ref())?;
    *masking = Some(log::mask(Arc::clone(&outfit.masker)));
    report.mask_program();
    let mut command =
        materialise(settings, &job, outfit, grip, workspace, &mut report.containment)?;
    let Standard { stdout, terminal, unmasked } = standard;
    (command.stdout, command.terminal, command.unmasked) = (stdout, terminal, unmasked);
    clock.lap("materialise", report);
    let promised = job.feedback.as_deref().map(|path| {
        let promise = feedback::promise(path, &command, workspace, notes);
        (promise, Arc::clone(&command.masker))
    });
    // Its `env` may hold what is masked.
    drop(job);

    aftermath::note(notes, report);
    messenger.started(report);
    let (finished, rest) = supervise::child::run(command, signals).await?;
    clock.lap("supervise", report);
    // Whatever the job's end: what it wrote is there.
    let feedback = match promised {
        Some((promise, masker)) => {
            let settled = feedback::settle(promise, &masker, notes);
            clock.lap("feedback", report);
            settled
        }
        None => Settled { verdict: Ok(()), leak: None },
    };
    Ok(Ran { finished, feedback, rest })
}

/// Gets the descriptor and checks it.
pub async fn pull(settings: &Settings, source: Source) -> Result<Job, Error> {
    let limit = settings.job.max_bytes;
    let text = match source {
        Source::Invocation(invocation) => {
            return Ok(Job::from_invocation(*invocation, job_policy(settings))?);
        }
        Source::Job(job) => return Ok(*job),
        Source::File(path) if path.is_file() => read_file(&path, limit)?,
        // A pipe may never end. On a thread of its own it keeps neither signals nor the end waiting.
        Source::File(path) => apart(move || read_file(&path, limit)).await?,
        Source::Stdin => apart(move || read_stdin(limit)).await?,
        Source::Url(url) => {
            let token = settings.job.token_file.as_deref().map(http::read_token).transpose()?;
            let deadline = settings.job.deadline;
            let endpoint = Endpoint { url: &url, token: token.as_ref(), deadline };
            http::get(endpoint, limit).await.map_err(Error::Fetch)?
        }
    };
    Ok(Job::parse(text.expose(), job_policy(settings))?)
}

/// What the settings say about descriptors.
pub fn job_policy(settings: &Settings) -> Policy<'_> {
    Policy {
        free_commands: settings.job.commands,
        tasks: &settings.tasks,
        timeout: settings.supervision.timeout,
        grace: settings.supervision.grace,
    }
}

async fn apart(
    read: impl FnOnce() -> Result<Value, Error> + Send + 'static,
) -> Result<Value, Error> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(Error::Setup(format!("reading the job descriptor: {error}"))))
}

fn read_file(path: &Path, limit: usize) -> Result<Value, Error> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => read(file, name, limit),
        Err(error) => Err(Error::JobFile(name, error)),
    }
}

fn read_stdin(limit: usize) -> Result<Value, Error> {
    let name = "on standard input".to_owned();
    // Not by `Stdin`, whose buffer keeps a copy.
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(stdin) => read(File::from(stdin), name, limit),
        Err(error) => Err(Error::JobFile(name, error)),
    }
}

fn read(source: impl std::io::Read, name: String, limit: usize) -> Result<Value, Error> {
    match ValueBuf::read(source, limit) {
        Ok(Some(text)) => Ok(text.finish()),
        Ok(None) => Err(Error::JobSize(name, limit)),
        Err(error) => Err(Error::JobFile(name, error)),
    }
}

/// What a job gets, in memory.
struct Outfit {
    /// The runner's own environment, as far as it is no credential.
    plain: Vec<(OsString, OsString)>,
    /// The job's.
    environment: Environment,
    /// Its pg_service.conf.
    services: Value,
    /// What must not be seen.
    masker: Arc<Masker>,
}

/// Makes what a job gets, and what masks it: nothing that goes wrong afterwards can show a value.
fn outfit(
    settings: &Settings,
    job: &Job,
    resolved: Resolved,
    parent: Parent,
    account: Option<&Account>,
) -> Result<Outfit, Error> {
    let Parent { mut plain, credentials } = parent;
    if let Some(account) = account {
        confine::move_home(&mut plain, account);
    }
    let policy = environment::Policy {
        inherit_all: settings.environment.inherit_all,
        pass: settings.environment.pass.clone(),
        trust: settings.environment.trust.clone(),
    };
    let secrets = resolved.variables.iter().map(|secret| (secret.name.as_str(), &secret.value));
    let environment = environment::build(&policy, plain.clone(), credentials, &job.env, secrets)?;
    let services = pgservice::render_file(&resolved.services);
    let masker = Masker::new(resolve::sensitive(settings, job, resolved, &environment));
    for name in masker.unmaskable() {
        tracing::warn!(secret = name, "too short to be masked in the job's output (under 4 bytes)");
    }
    Ok(Outfit { plain, environment, services, masker: Arc::new(masker) })
}

/// Puts everything that the job needs on its place.
fn materialise(
    settings: &Settings,
    job: &Job,
    Outfit { plain, mut environment, services, masker }: Outfit,
    grip: Grip,
    workspace: &mut Workspace,
    in_force: &mut Option<Containment>,
) -> Result<Command, Error> {
    if let Some(directory) = job.working_dir.as_deref().filter(|directory| !directory.is_dir()) {
        let problem = "it is not there, or no directory";
        return Err(supervise::StartError::WorkingDir(directory.into(), problem).into());
    }
    let level = grip.level;
    let (confinement, containment) = confine::confinement(settings, job, &plain, grip, workspace)?;
    *in_force = Some(containment);
    // The last step that can fail: from here on there is something to wipe.
    workspace.write(&services)?;
    environment.set_own([
        ("PGSERVICEFILE", workspace.service_file().into_os_string()),
        ("PGSYSCONFDIR", workspace.sysconf_dir().into_os_string()),
        ("QGIS_CUSTOM_CONFIG_PATH", workspace.qgis_dir().into_os_string()),
        ("XDG_RUNTIME_DIR", workspace.runtime_dir().into_os_string()),
        ("JOB_ID", job.id.as_str().into()),
    ]);
    Ok(Command {
        words: job.command.clone(),
        environment,
        working_dir: job.working_dir.clone(),
        timeout: job.timeout,
        grace: job.grace,
        confinement,
        namespace: level != containment::Level::Process,
        stdout: None,
        terminal: None,
        unmasked: false,
        masker,
    })
}

fn log_wipe(receipt: &Receipt) {
    if let Some(problem) = &receipt.problem {
        tracing::error!(problem, "the wipe failed");
    }
}
