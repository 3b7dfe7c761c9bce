//! Options that several commands have, and their meaning.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;

use super::run;
use crate::client::Server;
use crate::error::Error;
use crate::http::{Named, Tls};
use crate::job::{Identity, Invocation};
use crate::pipeline::Source;
use crate::secret::{Id, Owner, Value};
use crate::settings::{ContainmentLevel, ExitCodes, Overrides, Settings};

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Settings file, instead of the user's or /etc/qgis-secrets/settings.toml
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        value_name = "FILE",
        env = "QGIS_SECRETS_SETTINGS"
    )]
    settings: Option<PathBuf>,
    /// The embedded store's file
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        value_name = "FILE",
        env = "QGIS_SECRETS_STORE"
    )]
    store: Option<PathBuf>,
    /// The private key's file (default: `store.key` for `store.db`)
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        value_name = "FILE",
        env = "QGIS_SECRETS_KEY"
    )]
    key: Option<PathBuf>,
    /// A public key's file: enough to add secrets, not to read them
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        value_name = "FILE",
        env = "QGIS_SECRETS_PUBLIC_KEY"
    )]
    public_key: Option<PathBuf>,
    /// What to log to standard error: off, error, warn, info, debug or trace
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        value_name = "LEVEL",
        env = "QGIS_SECRETS_LOG"
    )]
    #[arg(default_value = "warn", value_parser = level, hide_default_value = false)]
    pub(super) log: LevelFilter,
}

fn level(word: &str) -> Result<LevelFilter, String> {
    match word {
        "off" | "error" | "warn" | "info" | "debug" | "trace" => {
            word.parse().map_err(|_| String::new())
        }
        _ => Err("use off, error, warn, info, debug or trace".into()),
    }
}

impl Global {
    /// What they mean for the settings.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            file: self.settings.clone(),
            store: self.store.clone(),
            key: self.key.clone(),
            public_key: self.public_key.clone(),
            ..Overrides::default()
        }
    }
}

/// Who a job would work for.
#[derive(Clone, Debug, Args)]
pub struct IdentityArgs {
    /// The project's id
    #[arg(help_heading = "Identity", short = 'P', long, value_name = "ID")]
    pub project: Option<Id>,
    /// The id of the organization that the project belongs to; none for a personal project
    #[arg(help_heading = "Identity", short = 'O', long, value_name = "ID")]
    pub organization: Option<Id>,
    /// The id of the user that the job runs for; none for a system job
    #[arg(help_heading = "Identity", short = 'U', long, value_name = "ID")]
    pub user: Option<Id>,
}

/// The job's id, where a secrets service may be asked.
#[derive(Clone, Debug, Args)]
pub struct JobIdArgs {
    /// The job's id, for a secrets service: the one that the job token names
    #[arg(help_heading = "Identity", long, value_name = "ID")]
    pub job_id: Option<Id>,
}

impl IdentityArgs {
    /// The identity; without a project there is none.
    pub fn identity(&self) -> Option<Identity> {
        Some(Identity {
            project: self.project.clone()?,
            organization: self.organization.clone(),
            user: self.user.clone(),
        })
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        let Self { project, organization, user } = self;
        project.is_none() && organization.is_none() && user.is_none()
    }
}

impl JobIdArgs {
    /// The job's id, which a service knows the job by; only with it does it answer.
    pub fn id_for(&self, settings: &Settings) -> Result<Option<Id>, Error> {
        if self.job_id.is_none() && settings.backend.service().is_some() {
            return Err(Error::Usage(
                "say which job's secrets: a secrets service answers only for the job that the \
                 job token names; give its id with --job-id"
                    .into(),
            ));
        }
        Ok(self.job_id.clone())
    }
}

/// The secrets service, in place of the embedded store.
#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// Ask this secrets service instead of the embedded store: an https URL, unix:/path, or
    /// http://127.0.0.1:PORT (can be repeated: replicas, in the order in which they are tried)
    #[arg(
        help_heading = "Secrets service",
        long,
        value_name = "URL",
        env = "QGIS_SECRETS_SERVICE"
    )]
    service: Vec<String>,
    /// The file with the job token; without one it is taken from QGIS_SECRETS_JOB_TOKEN
    #[arg(
        help_heading = "Secrets service",
        long,
        value_name = "FILE",
        env = "QGIS_SECRETS_JOB_TOKEN_FILE"
    )]
    job_token_file: Option<PathBuf>,
}

impl ServiceArgs {
    /// What they mean for the settings.
    pub fn overrides(&self, others: Overrides) -> Overrides {
        Overrides {
            service: self.service.clone(),
            job_token_file: self.job_token_file.clone(),
            ..others
        }
    }
}

/// A secrets service's management API, in place of the local store.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// Do it at this secrets service instead of the local store: an https URL, unix:/path, or
    /// http://127.0.0.1:PORT
    #[arg(help_heading = "Secrets service", long, value_name = "URL", env = "QGIS_SECRETS_SERVER")]
    server: Option<String>,
    /// The file with the API token; without one it is taken from QGIS_SECRETS_API_TOKEN
    #[arg(
        help_heading = "Secrets service",
        long,
        value_name = "FILE",
        env = "QGIS_SECRETS_API_TOKEN_FILE"
    )]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArgs,
}

/// How a service's management API is reached.
#[derive(Clone, Debug, Args)]
struct ReachArgs {
    /// The authorities that sign the service's certificate (PEM), instead of the system's
    #[arg(
        help_heading = "Secrets service",
        long,
        value_name = "FILE",
        env = "QGIS_SECRETS_CA_FILE"
    )]
    ca_file: Option<PathBuf>,
    /// A certificate to show to a service that asks for one (PEM), those that lead to its authority
    /// after it
    #[arg(
        help_heading = "Secrets service",
        long,
        value_name = "FILE",
        env = "QGIS_SECRETS_CERTIFICATE_FILE",
        requires = "certificate_key_file"
    )]
    certificate_file: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(
        help_heading = "Secrets service",
        long,
        value_name = "FILE",
        env = "QGIS_SECRETS_CERTIFICATE_KEY_FILE",
        requires = "certificate_file"
    )]
    certificate_key_file: Option<PathBuf>,
    /// For how long to try, in seconds
    #[arg(help_heading = "Secrets service", long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
}

impl ReachArgs {
    fn open(
        &self,
        server: Option<&String>,
        token_file: Option<&PathBuf>,
        token: Option<Value>,
    ) -> Result<Option<Server>, Error> {
        let Some(server) = server else { return Ok(None) };
        let certificate =
            self.certificate_file.as_deref().zip(self.certificate_key_file.as_deref());
        let tls =
            Tls { authorities: self.ca_file.as_deref(), certificate, named: Named::ByOptions };
        let deadline = Duration::from_secs(self.patience);
        Ok(Some(Server::new(server, tls, token_file, token, deadline)?))
    }
}

impl ServerArgs {
    /// The service, if one was named. `token` came by environment.
    pub fn open(&self, token: Option<Value>) -> Result<Option<Server>, Error> {
        self.reach.open(self.server.as_ref(), self.token_file.as_ref(), token)
    }
}

/// The same for what has a token file of another kind.
#[derive(Clone, Debug, Args)]
pub struct AskedArgs {
    /// Ask this secrets service's management API: an https URL, unix:/path, or
    /// http://127.0.0.1:PORT. --token-file is then the API token's; without one it is taken from
    /// QGIS_SECRETS_API_TOKEN_FILE or QGIS_SECRETS_API_TOKEN
    #[arg(help_heading = "Secrets service", long, value_name = "URL", env = "QGIS_SECRETS_SERVER")]
    server: Option<String>,
    #[command(flatten)]
    reach: ReachArgs,
}

impl AskedArgs {
    /// Whether a service was named.
    pub fn is_named(&self) -> bool {
        self.server.is_some()
    }

    /// The service, if one was named. `token` came by environment.
    pub fn open(&self, job: &JobArgs, token: Option<Value>) -> Result<Option<Server>, Error> {
        let file = std::env::var_os("QGIS_SECRETS_API_TOKEN_FILE").map(PathBuf::from);
        let token_file = job.token_file.clone().or(file);
        self.reach.open(self.server.as_ref(), token_file.as_ref(), token)
    }
}

/// A job that isn't run: a descriptor's, or one that anybody could have.
#[derive(Clone, Debug, Args)]
pub struct JobArgs {
    /// A job descriptor: a file, `-` for standard input, or an http(s) URL
    #[arg(value_name = "JOB", conflicts_with_all = ["project", "organization", "user", "job_id"])]
    job: Option<String>,
    /// The bearer token for a URL; without one it is taken from QGIS_SECRETS_TOKEN_FILE
    // Not by clap: with --server the option is another token than the variable.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    job_id: JobIdArgs,
    #[command(flatten)]
    service: ServiceArgs,
}

impl JobArgs {
    /// What they mean for the settings. `asked`: --token-file is for the service that is asked, and
    /// never goes to who has the descriptor.
    pub fn overrides(&self, global: &Global, asked: bool) -> Overrides {
        let option = self.token_file.clone().filter(|_| !asked);
        let variable = || std::env::var_os("QGIS_SECRETS_TOKEN_FILE").map(PathBuf::from);
        let overrides = self.service.overrides(global.overrides());
        Overrides { token_file: option.or_else(variable), ..overrides }
    }

    /// Where the job comes from; `None` where nothing was given. `asked`: a service will be.
    pub fn source(self, settings: &Settings, asked: bool) -> Result<Option<Source>, Error> {
        match (self.job, self.identity.identity()) {
            (Some(job), _) => Ok(Some(run::source(job))),
            (None, Some(identity)) => {
                let id = if asked { self.job_id.id_for(settings)? } else { None };
                // Only the identity matters: it never runs.
                let would_be = Invocation {
                    id,
                    identity,
                    command: vec!["true".into()],
                    timeout: None,
                    grace: None,
                    require: vec![],
                };
                Ok(Some(Source::Invocation(Box::new(would_be))))
            }
            (None, None) if self.identity.is_empty() && self.job_id.job_id.is_none() => Ok(None),
            (None, None) => {
                Err(Error::Usage("say which project with -P; -O and -U only add to it".into()))
            }
        }
    }
}

/// Where a secret stands.
#[derive(Clone, Debug, Args)]
pub struct OwnerArgs {
    /// For all projects of this organization
    #[arg(help_heading = "Level", short = 'O', long, value_name = "ID")]
    pub organization: Option<Id>,
    /// For this project
    #[arg(help_heading = "Level", short = 'P', long, value_name = "ID")]
    pub project: Option<Id>,
    /// With -P: assigned to this user. With -O: the organization's default for this member
    #[arg(help_heading = "Level", short = 'U', long, value_name = "ID")]
    pub user: Option<Id>,
}

impl OwnerArgs {
    /// Exactly one level, or a usage error that says how to name it.
    pub fn owner(&self) -> Result<Owner, Error> {
        let user = self.user.clone();
        match (self.organization.clone(), self.project.clone()) {
            (Some(organization), None) => Ok(Owner::Organization { organization, user }),
            (None, Some(project)) => Ok(Owner::Project { project, user }),
            (None, None) => Err(Error::Usage(
                "say whose secret it is: -O ORGANIZATION or -P PROJECT, each with -U USER or \
                 without"
                    .into(),
            )),
            (Some(_), Some(_)) => Err(Error::Usage(
                "-O and -P together name two levels: a secret stands at an organization or in a \
                 project"
                    .into(),
            )),
        }
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.project.is_none() && self.organization.is_none() && self.user.is_none()
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Table,
    /// JSON for programs
    Json,
}

/// What keeps a job apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ContainmentArg {
    /// The strongest of the others that works here
    Auto,
    /// New PID, mount and IPC namespaces, and a new /proc
    Namespace,
    /// The same with the old /proc
    NamespaceSharedProc,
    /// No namespaces: two processes that watch each other
    Process,
}

impl From<ContainmentArg> for Option<ContainmentLevel> {
    fn from(arg: ContainmentArg) -> Self {
        match arg {
            ContainmentArg::Auto => None,
            ContainmentArg::Namespace => Some(ContainmentLevel::Namespace),
            ContainmentArg::NamespaceSharedProc => Some(ContainmentLevel::NamespaceSharedProc),
            ContainmentArg::Process => Some(ContainmentLevel::Process),
        }
    }
}

/// How a job is held.
#[derive(Clone, Debug, Args)]
pub struct ContainmentArgs {
    /// What keeps the job apart: this level and no other (default: auto)
    #[arg(long, value_name = "LEVEL", env = "QGIS_SECRETS_CONTAINMENT")]
    containment: Option<ContainmentArg>,
    /// The account that the job runs as: user[:group,...], names or numbers (needs root)
    #[arg(long, value_name = "ACCOUNT", env = "QGIS_SECRETS_RUN_AS")]
    run_as: Option<String>,
}

impl ContainmentArgs {
    /// What they mean for the settings.
    pub fn overrides(&self, others: Overrides) -> Overrides {
        let require = self.containment.map(Into::into);
        Overrides { require, run_as: self.run_as.clone(), ..others }
    }
}

/// What the runner's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExitCodesArg {
    /// The job's own code
    Job,
    /// 125 for every failure of the runner, 1 for every failure of the job
    Distinct,
}

impl From<ExitCodesArg> for ExitCodes {
    fn from(arg: ExitCodesArg) -> Self {
        match arg {
            ExitCodesArg::Job => Self::Job,
            ExitCodesArg::Distinct => Self::Distinct,
        }
    }
}
