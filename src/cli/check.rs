//! `check`: what this host, this installation and this job are like, before a job is started.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;

use super::args::{ContainmentArgs, Format, Global, JobArgs};
use super::block_on;
use super::output::{self, BAD, BOLD, GOOD, Table, WARN, harmless};
use crate::backend::AnyBackend;
use crate::connect::{self, Answer, Connected, Warning};
use crate::containment::{self, Contained, Request, Side};
use crate::environment::Credential;
use crate::error::{Error, UNAVAILABLE};
use crate::job::Job;
use crate::pipeline::{self, Launch, Parent, Source};
use crate::precedence::Resolution;
use crate::preflight::{self, Finding, JobToken, Verdict};
use crate::secret::Kind;
use crate::settings::{self, Overrides, Settings};
use crate::supervise::Signals;

/// How long the probe may take for each service, in seconds: what it gives itself, and a little.
const PATIENCE_S: u64 = 60;

/// The most that is read of what the probe prints, in bytes.
const MAX_OUTPUT: u64 = 4 * 1024 * 1024;

/// Check this host, this installation and, if one is named, a job, without running it.
///
/// Shows which containment really works here and why no stronger one does, whether files are as
/// private as they must be, and what the job would get. A secrets service is only asked whether it is
/// there, without the job token. With --connect, each service of the job is
/// connected to as the job would: with its libpq, its account and its containment. It shows the
/// role that the job becomes there, and warns of one that may do more than a job should.
///
/// The exit code is 0 if a job would run, otherwise the one that it would end with; 69 if a
/// service cannot be reached.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets check
  qgis-secrets check job.json
  qgis-secrets check --connect -O org-81 -P survey -U u-1204")]
pub struct CheckArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Connect to each service of the job (needs python3 and libpq where the job runs)
    #[arg(long)]
    connect: bool,
    #[command(flatten)]
    containment: ContainmentArgs,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl CheckArgs {
    /// What the options mean for the settings.
    pub fn overrides(&self, global: &Global) -> Overrides {
        self.containment.overrides(self.job.overrides(global, false))
    }
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Checked {
    version: u32,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<Service>>,
}

#[derive(Debug, Serialize)]
struct Service {
    #[serde(flatten)]
    answer: Answer,
    warnings: Vec<Warning>,
}

/// Checks; returns the exit code.
pub fn check(
    mut settings: Settings,
    args: CheckArgs,
    credentials: Vec<Credential>,
) -> Result<u8, Error> {
    let CheckArgs { job, connect, format, .. } = args;
    let source = job.source(&settings, connect)?;
    if connect && source.is_none() {
        return Err(Error::Usage(
            "say whose services to connect to: name a job descriptor, or a project with -P".into(),
        ));
    }
    // A check is no run: nobody is told of it.
    settings.report =
        settings::Report { file: None, url: None, termination_log: None, ..settings.report };
    let handover = pipeline::hand_over(&settings, credentials)?;
    let plain = pipeline::parent_environment();
    let places = pipeline::places(&settings, &plain);
    let request = Request {
        require: settings.containment.require,
        run_as: settings.containment.run_as.as_deref(),
        places: places.clone(),
        terminal: None,
    };
    // What works is what has worked.
    let contained = match containment::enter(request) {
        Ok(Side::Inner(contained)) => Ok(*contained),
        Ok(Side::Superfluous) => return Ok(0),
        Ok(Side::Outer(aftermath)) => return Ok(aftermath.guarded.exit_code()),
        Err(error) => Err(Error::from(error)),
    };
    let (credentials, token) = pipeline::take_over(handover)?;
    let parent = Parent { plain, credentials };
    let given = token.is_some();
    let backend = AnyBackend::new(&settings, token);
    let asked = Asked { source, probing: connect, format, given };
    block_on(inner(&settings, asked, contained, backend, (parent, places)))?
}

/// What the command line asks for.
struct Asked {
    source: Option<Source>,
    probing: bool,
    format: Format,
    /// Whether a job token came by environment.
    given: bool,
}

async fn inner(
    settings: &Settings,
    Asked { source, probing, format, given }: Asked,
    contained: Result<Contained, Error>,
    mut backend: AnyBackend,
    (parent, places): (Parent, containment::Places),
) -> Result<u8, Error> {
    let hold = contained.as_ref().map(|contained| &contained.hold);
    let mut checked =
        Checked { version: 1, findings: preflight::host(settings, hold, &places), services: None };
    let job_token = JobToken { given, wanted: source.is_some() };
    checked.findings.extend(preflight::installation(settings, job_token));
    let lifeline = contained.as_ref().ok().map(|contained| contained.lifeline.try_clone());
    let lifeline = lifeline.transpose().map_err(|e| Error::Setup(format!("a pipe: {e}")))?;
    let mut signals = Signals::listen(lifeline)
        .map_err(|error| Error::Setup(format!("signal handlers: {error}")))?;
    // Whoever is waited for may not answer.
    let replicas = tokio::select! {
        enough = signals.enough() => return Err(enough.into()),
        replicas = preflight::service(&backend) => replicas,
    };
    checked.findings.extend(replicas);
    if let Some(source) = source {
        let looked_up = async {
            let job = pipeline::pull(settings, source).await?;
            // A service counts how often it is asked.
            let resolution = if probing || settings.backend.service().is_none() {
                Some(pipeline::plan(&job, &mut backend).await)
            } else {
                None
            };
            Ok::<_, Error>((job, resolution))
        };
        let (job, resolution) = tokio::select! {
            enough = signals.enough() => return Err(enough.into()),
            looked_up = looked_up => looked_up?,
        };
        drop(signals);
        checked.findings.extend(preflight::job(
            settings,
            &job,
            resolution.as_ref().map(Result::as_ref),
            &parent.plain,
            hold,
        ));
        if probing && let (Ok(contained), Some(Ok(resolution))) = (contained, resolution) {
            let services = connect(settings, job, &resolution, contained, parent, backend).await?;
            checked.services = Some(services);
        }
    }
    match format {
        Format::Json => output::json(&checked)?,
        Format::Table => output::print(&checked.text())?,
    }
    Ok(checked.exit_code())
}

/// Runs the probe as the job: the same secrets, environment, account and containment.
async fn connect(
    settings: &Settings,
    mut job: Job,
    resolution: &Resolution,
    contained: Contained,
    parent: Parent,
    backend: AnyBackend,
) -> Result<Vec<Service>, Error> {
    let winners = resolution.winners().iter().map(|winner| &winner.secret.name);
    let names: Vec<String> =
        winners.filter(|name| name.kind == Kind::Pgservice).map(|name| name.key.clone()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let fault = |error: std::io::Error| Error::Io("the probe's output".into(), error);
    let output = memfd_create(c"qgis-secrets-check", MemfdFlags::CLOEXEC);
    let mut output = File::from(output.map_err(|error| fault(error.into()))?);
    job.command = connect::command(&names);
    job.feedback = None;
    job.timeout = Some(Duration::from_secs(PATIENCE_S * names.len() as u64));
    let launch = Launch {
        source: Source::Job(Box::new(job)),
        parent,
        stdout: Some(output.try_clone().map_err(fault)?),
        unmasked: false,
        say: |_| {},
        begun: Instant::now(),
    };
    output::progress(&format!("connecting to {} services", names.len()));
    let ended = pipeline::run(settings, launch, backend, Ok(contained)).await;
    output::progress("");
    if let Some(error) = ended.failure {
        return Err(error);
    }
    let mut text = Vec::new();
    output.seek(SeekFrom::Start(0)).map_err(fault)?;
    output.take(MAX_OUTPUT).read_to_end(&mut text).map_err(fault)?;
    let answers = connect::parse(&text, &names).into_iter();
    Ok(answers
        .map(|answer| {
            let warnings = match &answer {
                Answer::Connected(connected) => connect::warnings(connected),
                Answer::Failed { .. } | Answer::Unanswered { .. } => Vec::new(),
            };
            Service { answer, warnings }
        })
        .collect())
}

impl Checked {
    fn exit_code(&self) -> u8 {
        let failed = self.findings.iter().find(|finding| finding.result == Verdict::Failed);
        let services = self.services.iter().flatten();
        let mut unreached = services.filter(|service| service.answer.problem().is_some());
        match failed {
            Some(finding) => finding.exit_code,
            None if unreached.next().is_some() => UNAVAILABLE,
            None => 0,
        }
    }

    fn text(&self) -> String {
        let mut table = Table::new(["CHECK", "RESULT", "FOUND"]);
        for Finding { check, result, message, .. } in &self.findings {
            let result = match result {
                Verdict::Ok => format!("{GOOD}ok{GOOD:#}"),
                Verdict::Warning => format!("{WARN}warning{WARN:#}"),
                Verdict::Failed => format!("{BAD}failed{BAD:#}"),
            };
            table.row([(*check).to_owned(), result, harmless(message)]);
        }
        let mut text = table.render();
        match self.services.as_deref() {
            None => {}
            Some([]) => text.push_str("\nThe job has no service to connect to.\n"),
            Some(services) => text.push_str(&format!("\n{}", services_text(services))),
        }
        text
    }
}

fn services_text(services: &[Service]) -> String {
    let mut table =
        Table::new(["SERVICE", "RESULT", "ROLE", "DATABASE", "SERVER", "POSTGIS", "TLS"]);
    let mut notes = String::new();
    for Service { answer, warnings } in services {
        let name = harmless(answer.service());
        match answer {
            Answer::Connected(connected) => table.row(cells(connected, warnings)),
            Answer::Failed { message, .. } | Answer::Unanswered { message, .. } => {
                let result = format!("{BAD}failed{BAD:#}");
                table.row([name.clone(), result, String::new()]);
                notes.push_str(&format!("{BOLD}{name}{BOLD:#}: {}\n", harmless(message)));
            }
        }
        for Warning { kind, message } in warnings {
            let message = harmless(message);
            notes.push_str(&format!("{BOLD}{name}{BOLD:#}: {WARN}{kind}{WARN:#}: {message}\n"));
        }
    }
    let mut text = table.render();
    if !notes.is_empty() {
        text.push('\n');
        text.push_str(&notes);
    }
    text
}

fn cells(connected: &Connected, warnings: &[Warning]) -> Vec<String> {
    let result = if warnings.is_empty() {
        format!("{GOOD}ok{GOOD:#}")
    } else {
        format!("{WARN}warning{WARN:#}")
    };
    let role = if connected.role == connected.session_role {
        connected.role.clone()
    } else {
        format!("{} (logged in as {})", connected.role, connected.session_role)
    };
    let tls = match (&connected.tls_version, connected.tls) {
        (Some(version), true) => version.clone(),
        (None, true) => "yes".to_owned(),
        (_, false) => "no".to_owned(),
    };
    let postgis = connected.postgis_version.as_deref().unwrap_or("-").to_owned();
    let plain = [
        connected.service.clone(),
        result,
        role,
        connected.database.clone(),
        connected.server_version.clone(),
        postgis,
        tls,
    ];
    let mut cells: Vec<String> = plain.to_vec();
    for (index, cell) in cells.iter_mut().enumerate() {
        if index != 1 {
            *cell = harmless(cell);
        }
    }
    cells
}
