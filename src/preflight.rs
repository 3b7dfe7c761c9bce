//! What a host, an installation and a job are like, before anything is started.
//!
//! Invariants: nothing is changed and no value is read; every finding says what was found and,
//! where it is not as it should be, what to do.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use nix::unistd::geteuid;
use serde::Serialize;

use crate::containment::{Grip, Hold, Level, Places, landlock};
use crate::error::{self, Error};
use crate::http;
use crate::job::Job;
use crate::pipeline;
use crate::precedence::Resolution;
use crate::report::Audit;
use crate::settings::Settings;
use crate::store::{Keyring, Store};
use crate::supervise::StartError;
use crate::sys::oom::OomWatch;

mod service;

pub use service::service;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A job runs, with less protection.
    Warning,
    /// No job runs.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What, in one word.
    pub check: &'static str,
    /// How it is.
    pub result: Verdict,
    /// What was found, and what to do about it.
    pub message: String,
    /// For `failed`: the kind that a job would end with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The exit code that goes with it.
    #[serde(skip)]
    pub exit_code: u8,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, result: Verdict::Ok, message: message.into(), kind: None, exit_code: 0 }
    }

    fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self { result: Verdict::Warning, ..Self::ok(check, message) }
    }

    /// An error that would keep a job from running.
    pub fn failed(check: &'static str, error: &Error) -> Self {
        Self {
            check,
            result: Verdict::Failed,
            message: error.to_string(),
            kind: Some(error.kind()),
            exit_code: error.exit_code(),
        }
    }
}

/// The host: containment that was really tried, and what stands around it.
pub fn host(settings: &Settings, hold: Result<&Hold, &Error>, places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    match hold {
        Ok(hold) => {
            findings.push(containment(settings, &hold.grip));
            findings.push(workspace(hold, places));
            findings.push(swap(hold.grip.never_swapped));
        }
        Err(error) => findings.push(Finding::failed("containment", error)),
    }
    findings.push(account(hold.ok().and_then(|hold| hold.grip.account.as_ref()).map(|a| a.uid)));
    findings.push(landlock_version());
    findings.push(cores());
    findings.push(memory());
    findings
}

fn containment(settings: &Settings, grip: &Grip) -> Finding {
    let what = match grip.level {
        Level::Namespace => "new PID, mount and IPC namespaces, and a new /proc",
        Level::NamespaceSharedProc => {
            "new PID, mount and IPC namespaces; the job sees the old /proc, and in it the names \
             and arguments of other processes"
        }
        Level::Process => {
            "no namespaces: two processes watch each other; when both are killed at once, the \
             next run or `qgis-secrets sweep` cleans up"
        }
    };
    let refusals: Vec<String> = grip.refusals.iter().map(ToString::to_string).collect();
    let why = if refusals.is_empty() {
        String::new()
    } else {
        format!(" (no stronger one, for the kernel refused {})", refusals.join("; "))
    };
    let message = format!("{}: {what}{why}", grip.level.word());
    if grip.level == Level::Namespace || settings.containment.require.is_some() {
        Finding::ok("containment", message)
    } else {
        Finding::warning("containment", message)
    }
}

fn workspace(hold: &Hold, places: &Places) -> Finding {
    match &hold.workspace {
        Err(error) => {
            let (kind, exit_code) = error::workspace(error);
            let message = error.to_string();
            let failed = Finding::ok("workspace", message);
            Finding { result: Verdict::Failed, kind: Some(kind), exit_code, ..failed }
        }
        Ok(workspace) if hold.grip.level != Level::Process => {
            let at = workspace.path().parent().unwrap_or(workspace.path()).display();
            Finding::ok("workspace", format!("a tmpfs of the run's own, at {at} for the job"))
        }
        Ok(workspace) if workspace.on_memory() => {
            let at = workspace.path().parent().unwrap_or(workspace.path()).display();
            Finding::ok("workspace", format!("in memory, below {at}"))
        }
        Ok(_) => {
            let looked: Vec<String> =
                places.candidates.iter().map(|path| path.display().to_string()).collect();
            let looked = looked.join(", ");
            Finding::warning(
                "workspace",
                format!("on a disk, for none of {looked} is a tmpfs; values reach the disk"),
            )
        }
    }
}

fn swap(never_swapped: bool) -> Finding {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    // A heading, and a line for each.
    let on = swaps.lines().count() > 1;
    match (never_swapped, on) {
        (true, _) => Finding::ok("swap", "the workspace is never swapped out (tmpfs noswap)"),
        (false, false) => Finding::ok("swap", "no swap is on"),
        (false, true) => Finding::warning(
            "swap",
            "swap is on, and the kernel doesn't promise to keep the workspace out of it (that \
             takes root and Linux 6.4): set `memory.swap.max=0` for the job's cgroup, or encrypt \
             the swap",
        ),
    }
}

fn account(run_as: Option<u32>) -> Finding {
    let own = geteuid();
    match run_as {
        Some(0) => Finding::ok("account", "jobs run as root, as the settings say"),
        Some(uid) => Finding::ok("account", format!("jobs run as uid {uid}, the runner as {own}")),
        None if own.is_root() => Finding::warning(
            "account",
            "jobs run as root, with few capabilities: name another account in \
             `containment.run_as`",
        ),
        None => Finding::ok("account", format!("runner and jobs run as uid {own}")),
    }
}

fn landlock_version() -> Finding {
    match landlock::abi() {
        0 => Finding::ok("landlock", "none: it is needed only where there are no namespaces"),
        abi => Finding::ok("landlock", format!("version {abi}")),
    }
}

fn cores() -> Finding {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let pattern = pattern.trim();
    let to = match pattern.strip_prefix('|') {
        Some(handler) => format!("the handler {}", handler.split(' ').next().unwrap_or_default()),
        None if pattern.is_empty() => "nowhere".to_owned(),
        None => format!("files named {pattern}"),
    };
    Finding::ok("cores", format!("would go to {to}; neither the runner nor a job writes one"))
}

fn memory() -> Finding {
    match OomWatch::begin().source() {
        Some(file) if !file.ends_with("vmstat") => {
            Finding::ok("memory", format!("kills for want of memory show in {}", file.display()))
        }
        Some(_) => Finding::ok(
            "memory",
            "no memory cgroup: a kill for want of memory anywhere on the host counts as this job's",
        ),
        None => Finding::ok("memory", "a kill for want of memory looks like any other here"),
    }
}

/// Of a job token: whether one came by environment, and whether there is a job to ask with it.
#[derive(Clone, Copy, Debug)]
pub struct JobToken {
    /// It is in the runner's environment.
    pub given: bool,
    /// A job was named.
    pub wanted: bool,
}

/// The installation: its settings, key, store and tokens.
pub fn installation(settings: &Settings, JobToken { given, wanted }: JobToken) -> Vec<Finding> {
    let mut findings = vec![match &settings.file {
        Some(file) => Finding::ok("settings", file.display().to_string()),
        None => Finding::ok("settings", "no file: the defaults"),
    }];
    match settings.backend.service() {
        Some(asked) => findings.extend(service::credentials(asked, given, wanted)),
        None => findings.extend(store(settings)),
    }
    for file in [&settings.job.token_file, &settings.report.token_file].into_iter().flatten() {
        findings.push(token(file));
    }
    if let Some(file) = &settings.audit.file {
        findings.push(match Audit::try_out(file) {
            Ok(()) => Finding::ok("audit", file.display().to_string()),
            Err(error) => Finding::failed("audit", &error.into()),
        });
    }
    findings
}

/// The embedded store, and the key to it.
fn store(settings: &Settings) -> Vec<Finding> {
    let keys = match Keyring::read(&settings.store.key) {
        Err(error) => return vec![Finding::failed("key", &error.into())],
        Ok(keys) => keys,
    };
    let path = settings.store.key.display();
    let id = keys.current().public().id().clone();
    let key = Finding::ok("key", format!("{path}: {id}, for its owner only"));
    let store = Store::from_settings(&settings.store);
    let store = match store.and_then(|mut store| store.check_keys(&keys)) {
        Ok(_) => Finding::ok("store", settings.store.place.to_string()),
        Err(error) => Finding::failed("store", &error.into()),
    };
    vec![key, store]
}

fn token(file: &Path) -> Finding {
    if let Err(error) = http::read_token(file) {
        return Finding::failed("token", &error.into());
    }
    private("token", file)
}

/// A file that only its owner should read.
fn private(check: &'static str, file: &Path) -> Finding {
    use std::os::unix::fs::MetadataExt;
    let open = fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o077 != 0);
    let path = file.display();
    if open {
        let remedy = format!("others can read {path}; run: chmod 600 {path}");
        return Finding::warning(check, remedy);
    }
    Finding::ok(check, path.to_string())
}

/// The job: what it needs, and what it could reach. `resolution` is `None` where it was not looked
/// up.
pub fn job(
    settings: &Settings,
    job: &Job,
    resolution: Option<Result<&Resolution, &Error>>,
    parent: &[(OsString, OsString)],
    hold: Result<&Hold, &Error>,
) -> Vec<Finding> {
    let account = hold.ok().and_then(|hold| hold.grip.account.as_ref());
    let mut findings = vec![Finding::ok("job", job.identity.looked_at())];
    findings.push(match resolution {
        None => Finding::ok(
            "secrets",
            "not looked up, for that would be one of the job token's three requests; `explain` \
             shows them",
        ),
        Some(Err(error)) => Finding::failed("secrets", error),
        Some(Ok(resolution)) => {
            let missing = resolution.missing(&job.require);
            if missing.is_empty() {
                let names: Vec<String> =
                    resolution.winners().iter().map(|w| w.secret.name.to_string()).collect();
                let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Finding::ok("secrets", list)
            } else {
                let error = Error::Missing(missing, Box::new(job.identity.clone()));
                Finding::failed("secrets", &error)
            }
        }
    });
    let judged = pipeline::judge(settings, job, parent, account);
    let level = hold.map_or(Level::Process, |hold| hold.grip.level);
    findings.push(match judged.exposed(level, landlock::abi() >= landlock::OLDEST) {
        None => Finding::ok("exposure", "the job can reach neither key, store nor tokens"),
        Some(exposed) if settings.containment.allow_exposed => {
            Finding::warning("exposure", exposed.to_string())
        }
        Some(exposed) => Finding::failed("exposure", &exposed.into()),
    });
    if let Some(directory) = job.working_dir.as_deref().filter(|directory| !directory.is_dir()) {
        let problem = "it is not there, or no directory";
        let error = StartError::WorkingDir(directory.into(), problem);
        findings.push(Finding::failed("directory", &error.into()));
    }
    findings
}
