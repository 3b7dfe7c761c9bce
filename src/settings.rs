//! The operator's settings: a file, under the command line's options.
//!
//! Invariants: [`Settings`] are valid by construction; an unknown setting is refused, for a
//! mistyped one would silently weaken something; an error says file, line and key and never
//! repeats the text, which may hold what was pasted there by mistake.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::task::{InvalidTemplate, RawTemplate, Template};

mod backend;
mod file;
mod postgres;
pub mod service;
mod store;

pub use backend::{Address, Backend, InvalidAddress, Service};
use file::File;
pub use postgres::{Host, Postgres, Tls};
pub use store::{Place, Store};

/// Where settings are looked for when no option says so, after the user's own.
pub const SYSTEM_FILE: &str = "/etc/qgis-secrets/settings.toml";

/// The parent's variables that pass through to the job when the settings don't say otherwise.
pub const DEFAULT_PASS: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "DISPLAY",
    "QT_*",
    "QGIS_*",
    "PROJ_*",
    "GDAL_*",
    "OGR_*",
    "CPL_*",
    "OMP_NUM_THREADS",
];

/// The variable that holds a job token for the secrets service, where no file does.
pub const JOB_TOKEN: &str = "QGIS_SECRETS_JOB_TOKEN";

/// The variable that holds an API token for the secrets service, where no file does.
pub const API_TOKEN: &str = "QGIS_SECRETS_API_TOKEN";

/// What the program goes by.
#[derive(Debug)]
pub struct Settings {
    /// The file that they were read from, if one was.
    pub file: Option<PathBuf>,
    /// Where secrets come from.
    pub backend: Backend,
    /// The store.
    pub store: Store,
    /// Where descriptors come from and what they may do.
    pub job: Job,
    /// Command templates by name.
    pub tasks: BTreeMap<String, Template>,
    /// What the job gets of the runner's environment.
    pub environment: Environment,
    /// Time limits and exit codes.
    pub supervision: Supervision,
    /// What keeps a run apart.
    pub containment: Containment,
    /// Where the private directory of a run goes.
    pub workspace: Workspace,
    /// Where reports go.
    pub report: Report,
    /// Where decisions about secrets are recorded.
    pub audit: Audit,
    /// The oldest major version of libpq among the workers.
    pub oldest_libpq: u16,
    /// The secrets service.
    pub service: service::Service,
}

/// Descriptors.
#[derive(Debug)]
pub struct Job {
    /// Whether a descriptor may bring its own command.
    pub commands: bool,
    /// The largest descriptor, in bytes.
    pub max_bytes: usize,
    /// A file with the bearer token for descriptors that are fetched.
    pub token_file: Option<PathBuf>,
    /// How long to try to fetch one.
    pub deadline: Duration,
}

/// The job's environment.
#[derive(Debug)]
pub struct Environment {
    /// Start from the whole environment (`image`) instead of a clean one.
    pub inherit_all: bool,
    /// Names and prefixes that pass through.
    pub pass: Vec<String>,
    /// Refused names that a descriptor may set all the same.
    pub trust: Vec<String>,
}

/// How a job ends.
#[derive(Debug)]
pub struct Supervision {
    /// For descriptors that name none.
    pub timeout: Option<Duration>,
    /// From the order to end to the kill.
    pub grace: Duration,
    /// What the runner's exit code says.
    pub exit_codes: ExitCodes,
}

/// What the runner's own exit code says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ExitCodes {
    /// The job's own code; the runner's failures have codes of their own, which a job can use too.
    #[default]
    Job,
    /// 125 for every failure of the runner, 1 for every failure of the job.
    Distinct,
}

/// What keeps a run apart.
#[derive(Debug)]
pub struct Containment {
    /// This level and no other; `None`: the strongest that works.
    pub require: Option<ContainmentLevel>,
    /// The account that jobs run as: `user[:group,…]`.
    pub run_as: Option<String>,
    /// Whether a job may run that could read the key, the store or a token.
    pub allow_exposed: bool,
}

/// How a run is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ContainmentLevel {
    /// New PID, mount and IPC namespaces and a new `/proc`: whatever dies, the kernel ends the
    /// job's processes and frees its files.
    Namespace,
    /// The same with the old `/proc`, where a new one is refused.
    NamespaceSharedProc,
    /// Two processes that watch each other, where namespaces are refused.
    Process,
}

impl ContainmentLevel {
    /// The word for it in settings, options and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::NamespaceSharedProc => "namespace-shared-proc",
            Self::Process => "process",
        }
    }
}

/// The private directory of a run.
#[derive(Debug)]
pub struct Workspace {
    /// Directories to try first; each must be on a tmpfs.
    pub path: Vec<PathBuf>,
    /// Whether a disk will do where there is no tmpfs.
    pub allow_disk: bool,
}

/// Reports.
#[derive(Debug)]
pub struct Report {
    /// The file that the report is written to.
    pub file: Option<PathBuf>,
    /// Where it is POSTed at the start and at the end.
    pub url: Option<String>,
    /// A file with the bearer token for that.
    pub token_file: Option<PathBuf>,
    /// How long to try to deliver one.
    pub deadline: Duration,
    /// Where a report that could not be delivered is kept.
    pub undelivered: PathBuf,
    /// A file that is there, for a summary of at most 4 KiB.
    pub termination_log: Option<PathBuf>,
}

/// The audit.
#[derive(Debug)]
pub struct Audit {
    /// The file that its lines are appended to, besides standard error.
    pub file: Option<PathBuf>,
}

/// What the command line and its environment variables say; they beat the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The settings file; must exist.
    pub file: Option<PathBuf>,
    /// `store.path`
    pub store: Option<PathBuf>,
    /// `store.key`
    pub key: Option<PathBuf>,
    /// `store.public_key`
    pub public_key: Option<PathBuf>,
    /// `backend.service.url`, and that it is asked; none: what the file says.
    pub service: Vec<String>,
    /// `backend.service.token_file`
    pub job_token_file: Option<PathBuf>,
    /// `service.listen`
    pub listen: Option<String>,
    /// `service.job_tokens.keys_files`; none: what the file says.
    pub job_token_keys: Vec<PathBuf>,
    /// `service.role`
    pub service_role: Option<service::ServiceRole>,
    /// `job.token_file`
    pub token_file: Option<PathBuf>,
    /// `report.file`
    pub report: Option<PathBuf>,
    /// `supervision.exit_codes`
    pub exit_codes: Option<ExitCodes>,
    /// `containment.require`; `Some(None)` is `auto`.
    pub require: Option<Option<ContainmentLevel>>,
    /// `containment.run_as`
    pub run_as: Option<String>,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// The file that was asked for is not there or not readable.
    #[error("the settings file {} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// Not TOML, an unknown key or a wrong type.
    #[error("the settings file {}, line {}: {}", .0.display(), .1, .2)]
    Content(PathBuf, usize, String),
    /// A template that is none.
    #[error("the settings' task `{0}`: {1}")]
    Task(String, #[source] InvalidTemplate),
    /// A value out of its range.
    #[error("the setting `{0}` {1}")]
    Value(&'static str, &'static str),
    /// An address of the secrets service.
    #[error("an address of the secrets service (--service or `backend.service.url`) {0}")]
    Service(#[source] InvalidAddress),
    /// No place for the store, for there is no home directory.
    #[error("there is no home directory to keep the store in; set --store or `store.path`")]
    NoHome,
}

impl Settings {
    /// Finds the settings file, reads it and applies the overrides.
    ///
    /// `variable` looks up the runner's environment: `HOME` and `XDG_*` decide default places.
    pub fn load(
        overrides: &Overrides,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, InvalidSettings> {
        let places = Places::new(&variable);
        let candidates = match &overrides.file {
            Some(file) => vec![file.clone()],
            None => places.config.iter().cloned().chain([PathBuf::from(SYSTEM_FILE)]).collect(),
        };
        for path in candidates {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Self::parse(Some((&path, &text)), overrides, &places),
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound && overrides.file.is_none() => {
                }
                Err(error) => return Err(InvalidSettings::Unreadable(path, error)),
            }
        }
        Self::parse(None, overrides, &places)
    }

    fn parse(
        source: Option<(&Path, &str)>,
        overrides: &Overrides,
        places: &Places,
    ) -> Result<Self, InvalidSettings> {
        let File {
            backend,
            store,
            job,
            tasks,
            environment,
            supervision,
            containment,
            workspace,
            report,
            audit,
            pg_service,
            service,
        } = match source {
            Some((path, text)) => file::parse(path, text)?,
            None => File::default(),
        };
        let (store, beside) = store.check(overrides, places.store())?;
        let tasks = tasks
            .into_iter()
            .map(|(name, raw)| match Template::try_from(raw) {
                Ok(template) => Ok((name, template)),
                Err(why) => Err(InvalidSettings::Task(name, why)),
            })
            .collect::<Result<_, _>>()?;
        if job.max_bytes == 0 {
            return Err(InvalidSettings::Value("job.max_bytes", "must be at least 1"));
        }
        if !(9..=99).contains(&pg_service.oldest_libpq) {
            let range = "is a major version of libpq, as in 15";
            return Err(InvalidSettings::Value("pg_service.oldest_libpq", range));
        }
        let absolute = |setting, paths: &[PathBuf]| {
            if paths.iter().all(|path| path.is_absolute()) {
                return Ok(());
            }
            Err(InvalidSettings::Value(setting, "holds a path that is not absolute"))
        };
        absolute("workspace.path", &workspace.path)?;
        // Wherever a job is started, its decisions go to the same place.
        absolute("audit.file", audit.file.as_slice())?;
        absolute("report.termination_log", report.termination_log.as_slice())?;
        let is_url = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if report.url.as_ref().is_some_and(|url| !is_url(url)) {
            return Err(InvalidSettings::Value("report.url", "is no http:// or https:// URL"));
        }
        if environment.pass.iter().any(|name| name == JOB_TOKEN) {
            let problem = "names the job token, which no job gets";
            return Err(InvalidSettings::Value("environment.pass", problem));
        }
        Ok(Self {
            backend: backend.check(overrides)?,
            file: source.map(|(path, _)| path.into()),
            job: Job {
                commands: job.commands,
                max_bytes: job.max_bytes,
                token_file: overrides.token_file.clone().or(job.token_file),
                deadline: seconds("job.deadline_s", job.deadline_s)?,
            },
            tasks,
            environment: Environment {
                inherit_all: environment.inherit == file::Inherit::Image,
                pass: environment.pass,
                trust: environment.trust,
            },
            supervision: Supervision {
                timeout: supervision
                    .timeout_s
                    .map(|limit| seconds("supervision.timeout_s", limit))
                    .transpose()?,
                grace: seconds("supervision.grace_s", supervision.grace_s)?,
                exit_codes: overrides.exit_codes.unwrap_or(supervision.exit_codes),
            },
            containment: Containment {
                require: overrides.require.unwrap_or(match containment.require {
                    file::Require::Auto => None,
                    file::Require::Namespace => Some(ContainmentLevel::Namespace),
                    file::Require::NamespaceSharedProc => {
                        Some(ContainmentLevel::NamespaceSharedProc)
                    }
                    file::Require::Process => Some(ContainmentLevel::Process),
                }),
                run_as: overrides.run_as.clone().or(containment.run_as),
                allow_exposed: containment.allow_exposed,
            },
            workspace: Workspace { path: workspace.path, allow_disk: workspace.allow_disk },
            report: Report {
                file: overrides.report.clone().or(report.file),
                url: report.url,
                token_file: report.token_file,
                deadline: seconds("report.deadline_s", report.deadline_s)?,
                undelivered: report
                    .undelivered
                    .unwrap_or_else(|| beside.with_file_name("undelivered")),
                termination_log: report.termination_log,
            },
            audit: Audit { file: audit.file },
            store,
            oldest_libpq: pg_service.oldest_libpq,
            service: service.under(overrides).check()?,
        })
    }
}

/// The XDG base directories, as far as they are known.
struct Places {
    config: Option<PathBuf>,
    data: Option<PathBuf>,
}

impl Places {
    fn new(variable: &impl Fn(&str) -> Option<OsString>) -> Self {
        // The specification: a relative path is to be ignored.
        let directory = |name: &str| variable(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = |below: &str| directory("HOME").map(|home| home.join(below));
        Self {
            config: directory("XDG_CONFIG_HOME")
                .or_else(|| home(".config"))
                .map(|directory| directory.join("qgis-secrets/settings.toml")),
            data: directory("XDG_DATA_HOME").or_else(|| home(".local/share")),
        }
    }

    fn store(&self) -> Option<PathBuf> {
        self.data.as_ref().map(|directory| directory.join("qgis-secrets/store.db"))
    }
}

fn seconds(setting: &'static str, seconds: f64) -> Result<Duration, InvalidSettings> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration.as_secs() <= 366 * 24 * 3600 => Ok(duration),
        _ => Err(InvalidSettings::Value(setting, "must be seconds, from 0 to one year")),
    }
}

#[cfg(test)]
mod tests;
