//! One job, all stages, one function.
//!
//! ```text
//! pull -> resolve -> materialise -> supervise -> wipe -> report
//! Job     Resolved   Launch         Outcome      Receipt Report
//! ```
//!
//! Invariants: each stage consumes what the one before made; whatever fails, the workspace is
//! wiped before anybody is told; the report comes last, because only then can it say that the wipe
//! worked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Revealed};
use crate::containment::workspace::Places;
use crate::containment::{Receipt, Workspace};
use crate::environment;
use crate::error::{Error, run_exit_code};
use crate::http::{self, Endpoint};
use crate::job::{Invocation, Job, Policy};
use crate::pgservice::{self, Service};
use crate::precedence::{self, Resolution};
use crate::report::{self, Containment, Messenger, Outcome, Report};
use crate::secret::{Kind, Name, Value, ValueBuf};
use crate::settings::Settings;
use crate::supervise::feedback::Promise;
use crate::supervise::{self, Command, Finished, Signals};

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

/// Runs one job: the whole product.
///
/// `parent` is the runner's own environment. Returns once everything is wiped and reported.
pub async fn run(
    settings: &Settings,
    source: Source,
    backend: impl Backend,
    parent: Vec<(OsString, OsString)>,
) -> Ended {
    let mut report = Report::begin(backend.name());
    let mut messenger = Messenger::new(&settings.report);
    let mut signals = Signals::listen();
    let result = match &mut signals {
        Ok(signals) => {
            let told = Told { report: &mut report, messenger: &mut messenger };
            stages(settings, source, backend, parent, signals, told).await
        }
        Err(error) => Err(Error::Setup(format!("signal handlers: {error}"))),
    };
    let wiped = report.wipe.as_ref().is_none_or(|receipt| receipt.verified);
    let (outcome, failure) = match result {
        Ok(outcome) => (outcome, None),
        Err(error) => {
            let outcome = Outcome::NotStarted { reason: error.kind(), message: error.to_string() };
            (outcome, Some(error))
        }
    };
    let exit_code =
        run_exit_code(&outcome, failure.as_ref(), wiped, settings.supervision.exit_codes);
    report.end(outcome, exit_code);
    if let Some(path) = &settings.report.file
        && let Err(error) = report::write(&report, path)
    {
        tracing::error!(%error, "the report is lost");
    }
    match &mut signals {
        Ok(signals) => messenger.ended(&report, signals.order()).await,
        Err(_) => messenger.ended(&report, std::future::pending::<()>()).await,
    }
    Ended { report, failure, exit_code }
}

/// Who hears of a run.
struct Told<'a> {
    report: &'a mut Report,
    messenger: &'a mut Messenger,
}

async fn stages(
    settings: &Settings,
    source: Source,
    backend: impl Backend,
    parent: Vec<(OsString, OsString)>,
    signals: &mut Signals,
    Told { report, messenger }: Told<'_>,
) -> Result<Outcome, Error> {
    let mut clock = Clock::start();

    // An order to end counts from the first moment on: nothing has to be cleaned up yet.
    let (job, resolved) = tokio::select! {
        order = signals.order() => return Err(Error::Cancelled(order)),
        prepared = async {
            // Moved in, to be dropped with this block: an open store would keep others out while
            // the job runs, or its report is delivered.
            let mut backend = backend;
            let job = pull(settings, source).await?;
            report.job(&job);
            clock.lap("pull", report);
            let resolved = resolve(&job, &mut backend, report).await?;
            clock.lap("resolve", report);
            Ok::<_, Error>((job, resolved))
        } => prepared?,
    };

    let Launch { workspace, command } = materialise(settings, &job, &resolved, parent)?;
    drop(resolved);
    clock.lap("materialise", report);
    let memory = workspace.on_memory();
    report.containment = Some(Containment { workspace: if memory { "memory" } else { "disk" } });
    let promise = job.feedback.as_deref().map(Promise::new);

    messenger.started(report);
    let finished = supervise::child::run(command, signals).await;
    clock.lap("supervise", report);

    let mut receipt = workspace.wipe();
    clock.lap("wipe", report);
    if let Ok(Finished { tree, .. }) = &finished {
        receipt.processes_killed = tree.killed;
        if tree.left > 0 {
            receipt.verified = false;
            receipt.problem = Some(format!("{} processes of the job cannot be killed", tree.left));
        }
    }
    log_wipe(&receipt);
    report.wipe = Some(receipt);

    let finished = finished?;
    report.peak_memory_bytes = finished.peak_memory;
    let feedback = || promise.map_or(Ok(()), |promise| promise.check());
    Ok(Outcome::of(finished.ending, feedback))
}

/// Gets the descriptor and checks it.
pub async fn pull(settings: &Settings, source: Source) -> Result<Job, Error> {
    let limit = settings.job.max_bytes;
    let text = match source {
        Source::Invocation(invocation) => {
            return Ok(Job::from_invocation(*invocation, job_policy(settings))?);
        }
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
    read(std::io::stdin().lock(), "on standard input".into(), limit)
}

fn read(source: impl std::io::Read, name: String, limit: usize) -> Result<Value, Error> {
    match ValueBuf::read(source, limit) {
        Ok(Some(text)) => Ok(text.finish()),
        Ok(None) => Err(Error::JobSize(name, limit)),
        Err(error) => Err(Error::JobFile(name, error)),
    }
}

/// The winners' values, opened and parsed.
#[derive(Debug)]
struct Resolved {
    variables: Vec<(String, Value)>,
    services: Vec<Service>,
}

async fn resolve(
    job: &Job,
    backend: &mut impl Backend,
    report: &mut Report,
) -> Result<Resolved, Error> {
    let resolution = plan(job, backend).await?;
    report.resolution(&resolution);
    let missing = resolution.missing(&job.require);
    if !missing.is_empty() {
        report.missing(&missing);
        audit(job, backend.name(), &resolution, "refused");
        return Err(Error::Missing(missing, Box::new(job.identity.clone())));
    }
    let revealed = backend.reveal(resolution.winners()).await;
    audit(job, backend.name(), &resolution, if revealed.is_ok() { "given" } else { "failed" });
    let mut resolved = Resolved { variables: Vec::new(), services: Vec::new() };
    for Revealed { name, value, .. } in revealed? {
        match name.kind {
            Kind::Envvar => resolved.variables.push((name.key, value)),
            Kind::Pgservice => resolved.services.push(service(&name, &value)?),
        }
    }
    Ok(resolved)
}

/// Which secrets a job gets: facts only, nothing is opened.
pub async fn plan(job: &Job, backend: &mut impl Backend) -> Result<Resolution, Error> {
    let candidates = backend.candidates(&job.identity).await?;
    Ok(precedence::resolve(&job.identity, candidates)?)
}

/// Parsed again, though it was checked when it was added: the file is read by libpq as a whole,
/// and one bad section would break those behind it.
fn service(name: &Name, value: &Value) -> Result<Service, Error> {
    let service = Service::parse(value.expose())
        .map_err(|rejected| Error::StoredService(name.clone(), rejected))?;
    if service.name() == name.key {
        Ok(service)
    } else {
        Err(Error::Input(format!("the stored secret {name} holds a service of another name")))
    }
}

/// Everything that the job needs, on its place.
#[derive(Debug)]
struct Launch {
    workspace: Workspace,
    command: Command,
}

fn materialise(
    settings: &Settings,
    job: &Job,
    resolved: &Resolved,
    parent: Vec<(OsString, OsString)>,
) -> Result<Launch, Error> {
    if let Some(directory) = job.working_dir.as_deref().filter(|directory| !directory.is_dir()) {
        let problem = "it is not there, or no directory";
        return Err(supervise::StartError::WorkingDir(directory.into(), problem).into());
    }
    let variable = |name: &str| {
        let found = parent.iter().find(|(parent, _)| parent == name);
        found.map(|(_, value)| PathBuf::from(value))
    };
    let disk =
        settings.workspace.allow_disk.then(|| variable("TMPDIR").unwrap_or_else(|| "/tmp".into()));
    let places = Places::new(&settings.workspace.path, variable("XDG_RUNTIME_DIR"), disk);
    let policy = environment::Policy {
        inherit_all: settings.environment.inherit_all,
        pass: settings.environment.pass.clone(),
        trust: settings.environment.trust.clone(),
    };
    let secrets = resolved.variables.iter().map(|(name, value)| (name.as_str(), value));
    let mut environment = environment::build(&policy, parent, &job.env, secrets)?;
    // The last step that can fail: from here on there is something to wipe.
    let workspace = Workspace::create(&places, &pgservice::render_file(&resolved.services))?;
    environment.set_own([
        ("PGSERVICEFILE", workspace.service_file().into_os_string()),
        ("PGSYSCONFDIR", workspace.sysconf_dir().into_os_string()),
        ("QGIS_CUSTOM_CONFIG_PATH", workspace.qgis_dir().into_os_string()),
        ("XDG_RUNTIME_DIR", workspace.runtime_dir().into_os_string()),
        ("JOB_ID", job.id.as_str().into()),
    ]);
    let command = Command {
        words: job.command.clone(),
        environment,
        working_dir: job.working_dir.clone(),
        timeout: job.timeout,
        grace: job.grace,
    };
    Ok(Launch { workspace, command })
}

fn log_wipe(receipt: &Receipt) {
    if let Some(problem) = &receipt.problem {
        tracing::error!(problem, "the wipe failed");
    }
}

/// One line for every resolution, allowed or not. Facts only.
fn audit(job: &Job, backend: &str, resolution: &Resolution, decision: &str) {
    let secrets: Vec<String> = resolution
        .winners()
        .iter()
        .map(|winner| format!("{} ({})", winner.secret.name, winner.secret.level()))
        .collect();
    tracing::info!(
        target: "audit",
        job = %job.id,
        attempt = job.attempt,
        organization = job.identity.organization.as_ref().map(tracing::field::display),
        project = %job.identity.project,
        user = job.identity.user.as_ref().map(tracing::field::display),
        backend,
        decision,
        secrets = secrets.join(", "),
    );
}

/// Measures the stages.
struct Clock {
    last: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now() }
    }

    fn lap(&mut self, stage: &'static str, report: &mut Report) {
        let now = Instant::now();
        let took = now.duration_since(self.last);
        report.stages_us.insert(stage, micros(took));
        self.last = now;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The variables of the runner's own environment that a run is built from.
pub fn parent_environment() -> Vec<(OsString, OsString)> {
    let unique: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    unique.into_iter().collect()
}
