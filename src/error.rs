//! Every failure of the program: a message for people, a stable word and an exit code for others.
//!
//! Invariant: exit codes are decided here only. The words are part of the interface: reports hold
//! them, and a test pins them.

use nix::libc;
use nix::sys::signal::Signal;

use crate::backend::{BackendError, ServiceError};
use crate::client::ClientError;
use crate::containment::{ContainmentError, Exposed, WorkspaceError};
use crate::environment::Refused;
use crate::http::{HttpError, NoPeer, TokenError};
use crate::job::{Identity, InvalidJob};
use crate::job_token::{self, BadKey};
use crate::pgservice::Rejected;
use crate::precedence::Conflict;
use crate::qgis_project::Unreadable;
use crate::report::outcome::signal_name;
use crate::report::{Outcome, Unaudited, Undelivered};
use crate::secret::Name;
use crate::settings::{ExitCodes, InvalidSettings};
use crate::store::{KeyError, StoreError};
use crate::supervise::StartError;
use crate::supervise::{Enough, machine::Order};

/// Wrong usage of the command line: `EX_USAGE` of sysexits(3).
pub const USAGE: u8 = 64;
/// An invalid descriptor, secret or file: `EX_DATAERR`.
pub const INVALID: u8 = 65;
/// A required secret is missing: `EX_NOINPUT`.
pub const MISSING: u8 = 66;
/// A backend, or the descriptor's source, is unavailable: `EX_UNAVAILABLE`.
pub const UNAVAILABLE: u8 = 69;
/// The runner's own fault, or a wipe that failed: `EX_SOFTWARE`.
pub const INTERNAL: u8 = 70;
/// Denied: `EX_NOPERM`.
pub const DENIED: u8 = 77;
/// Settings, keys and permissions of the installation: `EX_CONFIG`.
pub const SETTINGS: u8 = 78;
/// The job's time was over: timeout(1).
pub const TIMED_OUT: u8 = 124;
/// Any failure of the runner with `--exit-codes distinct`.
pub const DISTINCT: u8 = 125;
/// The command cannot be executed: the shell's convention.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found: the shell's convention.
pub const NOT_FOUND: u8 = 127;

/// Anything that can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line contradicts itself.
    #[error("{0}")]
    Usage(String),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    /// The descriptor's content.
    #[error("the job: {0}")]
    Job(#[from] InvalidJob),
    /// The descriptor's file.
    #[error("the job descriptor {0} cannot be read: {1}")]
    JobFile(String, #[source] std::io::Error),
    /// The descriptor's size.
    #[error("the job descriptor {0} is larger than {1} bytes (`job.max_bytes`)")]
    JobSize(String, usize),
    /// The descriptor's address.
    #[error("the job descriptor cannot be fetched: {0}")]
    Fetch(#[source] HttpError),
    /// A token's file.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A job token that doesn't count.
    #[error(transparent)]
    JobToken(#[from] job_token::Refused),
    /// A key for job tokens.
    #[error(transparent)]
    TokenKey(#[from] BadKey),
    /// The backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The management API of a secrets service.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A resolution that would be a guess.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// A value that is not what its kind demands; it was stored by another program, or damaged.
    #[error("the stored secret {0} is not valid: {1}")]
    StoredService(Name, #[source] Rejected),
    /// A stored service that names itself otherwise than its secret.
    #[error("the stored secret {0} holds a service of another name; remove it and add it again")]
    StoredName(Name),
    /// A required secret that nobody defined.
    #[error("{}; {}", absent(.0), .1.looked_at())]
    Missing(Vec<Name>, Box<Identity>),
    /// A variable of the descriptor, or a stored one.
    #[error(transparent)]
    Variable(#[from] Refused),
    /// A service that was about to be added.
    #[error(transparent)]
    Service(#[from] Rejected),
    /// The same, of a file.
    #[error("{0}, {1}")]
    ServiceFile(String, #[source] Rejected),
    /// The runner was told to end before the job was started.
    #[error("the runner received {} before the job was started", signal_name(Signal::from(*.0) as i32))]
    Cancelled(Order),
    /// The outer process was killed before the job was started.
    #[error("the runner's outer process was killed before the job was started")]
    Abandoned,
    /// The inner process was killed.
    #[error(
        "the runner's inner process was ended by {}, and the job with it; what it had written is \
         gone",
        signal_name(*.0)
    )]
    InnerKilled(i32),
    /// Nothing that would keep the job apart.
    #[error(transparent)]
    Containment(#[from] ContainmentError),
    /// A job that could read what it must not.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// No workspace.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The program did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A QGIS project.
    #[error(transparent)]
    Project(#[from] Unreadable),
    /// A decision that could not be recorded.
    #[error(transparent)]
    Audit(#[from] Unaudited),
    /// A report.
    #[error(transparent)]
    Report(#[from] Undelivered),
    /// A file, a terminal or standard input.
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// An input that is refused for another reason.
    #[error("{0}")]
    Input(String),
    /// A service that can't begin: what it has, and the text for people.
    #[error("{1}")]
    Unserved(Unserved, String),
    /// The kernel refused something that should always work.
    #[error("the runner could not be set up: {0}")]
    Setup(String),
}

/// What keeps a service from beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// An address that can't be one.
    Address,
    /// Somebody else has the address.
    Taken,
    /// The kernel refuses it, or systemd passed nothing on.
    Listen,
    /// A file of TLS can't be read.
    TlsFile,
    /// A file of TLS holds something else.
    TlsContent,
    /// Certificate and key don't belong together.
    TlsMismatch,
    /// A key that others could read.
    Access,
    /// How people log in.
    Login,
}

impl Unserved {
    /// The stable word.
    pub fn kind(self) -> &'static str {
        unserved(self).0
    }
}

fn unserved(why: Unserved) -> (&'static str, u8) {
    match why {
        Unserved::Address => ("listen_address_invalid", SETTINGS),
        Unserved::Taken => ("listen_address_taken", SETTINGS),
        Unserved::Listen => ("listen_failed", SETTINGS),
        Unserved::TlsFile => ("tls_unreadable", SETTINGS),
        Unserved::TlsContent => ("tls_invalid", SETTINGS),
        Unserved::TlsMismatch => ("tls_key_mismatch", SETTINGS),
        Unserved::Access => ("permissions_too_wide", SETTINGS),
        Unserved::Login => ("login_unusable", SETTINGS),
    }
}

fn absent(names: &[Name]) -> String {
    let list: Vec<String> = names.iter().map(Name::to_string).collect();
    let (verb, noun) = if names.len() == 1 { ("is", "secret") } else { ("are", "secrets") };
    format!("the required {noun} {} {verb} not defined for this job", list.join(", "))
}

impl From<Enough> for Error {
    fn from(enough: Enough) -> Self {
        match enough {
            Enough::Order(order) => Self::Cancelled(order),
            Enough::Abandoned => Self::Abandoned,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Backend(error.into())
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Backend(error.into())
    }
}

impl Error {
    /// The stable word.
    pub fn kind(&self) -> &'static str {
        self.class().0
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        self.class().1
    }

    fn class(&self) -> (&'static str, u8) {
        match self {
            Self::Usage(_) => ("usage", USAGE),
            Self::Settings(_) => ("settings_invalid", SETTINGS),
            Self::Job(_) | Self::JobSize(..) => ("job_invalid", INVALID),
            Self::JobFile(..) => ("job_unreadable", INVALID),
            Self::Fetch(error) => fetch(error),
            Self::Token(error) => token(error),
            Self::JobToken(refused) => job_token(refused),
            Self::TokenKey(error) => token_key(error),
            Self::Backend(BackendError::Store(error)) => store(error),
            Self::Backend(BackendError::Key(error)) => key(error),
            Self::Backend(BackendError::Service(error)) => service(error),
            Self::Client(error) => client(error),
            Self::Conflict(_) => ("secrets_ambiguous", UNAVAILABLE),
            Self::StoredService(..) | Self::StoredName(_) => ("secret_damaged", UNAVAILABLE),
            Self::Missing(..) => ("secret_missing", MISSING),
            Self::Variable(_) => ("variable_refused", INVALID),
            Self::Service(_) | Self::ServiceFile(..) => ("service_refused", INVALID),
            // As the signal itself would have ended it.
            Self::Cancelled(order) => ("cancelled", 128 + Signal::from(*order) as u8),
            Self::Abandoned => ("runner_killed", 128 + libc::SIGKILL as u8),
            Self::InnerKilled(signal) => {
                ("runner_killed", 128 + u8::try_from(*signal).unwrap_or(INTERNAL))
            }
            Self::Containment(ContainmentError::Unavailable(..) | ContainmentError::Tree(_)) => {
                ("containment_unavailable", SETTINGS)
            }
            Self::Containment(ContainmentError::Account(_) | ContainmentError::RunAs) => {
                ("run_as_impossible", SETTINGS)
            }
            Self::Containment(ContainmentError::System { .. }) => ("setup_failed", INTERNAL),
            Self::Exposed(_) => ("credentials_exposed", SETTINGS),
            Self::Workspace(error) => workspace(error),
            Self::Start(StartError::NotFound(..)) => ("command_not_found", NOT_FOUND),
            Self::Start(StartError::NotExecutable(..)) => {
                ("command_not_executable", NOT_EXECUTABLE)
            }
            Self::Start(StartError::WorkingDir(..)) => ("working_dir_unusable", INVALID),
            Self::Start(StartError::TooLong) => ("arguments_too_long", INVALID),
            Self::Start(
                StartError::System(_) | StartError::View(_) | StartError::Privileges(_),
            ) => ("start_failed", INTERNAL),
            Self::Project(_) => ("project_unreadable", INVALID),
            Self::Audit(_) => ("audit_failed", SETTINGS),
            Self::Report(_) => ("report_undelivered", UNAVAILABLE),
            Self::Io(..) => ("io", INTERNAL),
            Self::Input(_) => ("input_refused", INVALID),
            Self::Unserved(why, _) => unserved(*why),
            Self::Setup(_) => ("setup_failed", INTERNAL),
        }
    }
}

/// The word and the code of an error that still belongs to somebody else.
pub fn workspace(error: &WorkspaceError) -> (&'static str, u8) {
    match error {
        WorkspaceError::NoTmpfs(_) => ("no_tmpfs", SETTINGS),
        WorkspaceError::Full(..) => ("workspace_full", INTERNAL),
        WorkspaceError::Io(..) => ("workspace_failed", INTERNAL),
    }
}

fn fetch(error: &HttpError) -> (&'static str, u8) {
    match error {
        HttpError::Url | HttpError::Credentials => ("job_url_invalid", USAGE),
        HttpError::Token => ("token_invalid", SETTINGS),
        HttpError::TooLarge { .. } => ("job_invalid", INVALID),
        HttpError::Status { status, .. } if matches!(status.as_u16(), 401 | 403) => {
            ("job_denied", DENIED)
        }
        HttpError::Status { .. } | HttpError::Deadline { .. } | HttpError::Connection { .. } => {
            ("job_unavailable", UNAVAILABLE)
        }
        HttpError::Setup(_) => ("setup_failed", INTERNAL),
    }
}

/// The words are [`job_token::Refused::kind`]'s; a test keeps them so.
fn job_token(refused: &job_token::Refused) -> (&'static str, u8) {
    use job_token::Refused;
    match refused {
        Refused::Malformed(_) => ("token_malformed", DENIED),
        Refused::Algorithm(_) | Refused::OtherAlgorithm { .. } => ("token_algorithm", DENIED),
        Refused::KeyUnknown(_) | Refused::KeyUnnamed(_) => ("token_key_unknown", DENIED),
        Refused::Signature => ("token_signature", DENIED),
        Refused::Expired(_) => ("token_expired", DENIED),
        Refused::NotYetValid(_) => ("token_not_yet_valid", DENIED),
        Refused::Audience(_) => ("token_audience", DENIED),
        Refused::Issuer(_) => ("token_issuer", DENIED),
        Refused::Claims { .. } => ("token_claims", DENIED),
        Refused::Lifetime(_) => ("token_lifetime", DENIED),
        Refused::KeysUnavailable(_) => ("keys_unavailable", UNAVAILABLE),
    }
}

fn token_key(error: &BadKey) -> (&'static str, u8) {
    match error {
        BadKey::Unreadable(..) => ("token_key_unreadable", SETTINGS),
        BadKey::Private(_) | BadKey::Content(..) => ("token_key_invalid", SETTINGS),
        BadKey::Address(_) | BadKey::Plain => ("token_key_url_invalid", SETTINGS),
        BadKey::Access(error) => key(error),
        BadKey::Exists(_) => ("token_key_exists", INVALID),
        BadKey::Unwritable(..) => ("io", INTERNAL),
        BadKey::Refused(_) => ("token_unusable", INVALID),
        BadKey::Failed(_) => ("setup_failed", INTERNAL),
    }
}

fn token(error: &TokenError) -> (&'static str, u8) {
    match error {
        TokenError::Unreadable(..) => ("token_unreadable", SETTINGS),
        TokenError::Content(_) => ("token_invalid", SETTINGS),
    }
}

fn service(error: &ServiceError) -> (&'static str, u8) {
    match error {
        ServiceError::NoToken => ("token_missing", SETTINGS),
        ServiceError::Token(error) => token(error),
        ServiceError::TokenContent => ("token_invalid", SETTINGS),
        ServiceError::Client(NoPeer::File(_)) => ("certificate_invalid", SETTINGS),
        ServiceError::Client(NoPeer::Http(HttpError::Token)) => ("token_invalid", SETTINGS),
        ServiceError::Client(NoPeer::Http(_)) => ("setup_failed", INTERNAL),
        ServiceError::Denied { .. } | ServiceError::Another { .. } => ("backend_denied", DENIED),
        ServiceError::Refused { .. } => ("backend_refused", UNAVAILABLE),
        ServiceError::Unavailable { .. }
        | ServiceError::GivenUp { .. }
        | ServiceError::AskedToWait { .. } => ("backend_unavailable", UNAVAILABLE),
        ServiceError::Untrusted { .. } => ("backend_untrusted", UNAVAILABLE),
        ServiceError::Malformed { why, .. } if why.is_newer() => ("backend_newer", SETTINGS),
        ServiceError::Malformed { .. }
        | ServiceError::TooLarge { .. }
        | ServiceError::Valueless(_) => ("backend_invalid", UNAVAILABLE),
        ServiceError::Value(..) => ("secret_damaged", UNAVAILABLE),
    }
}

fn client(error: &ClientError) -> (&'static str, u8) {
    match error {
        ClientError::Address(_) => ("usage", USAGE),
        ClientError::NoToken => ("token_missing", SETTINGS),
        ClientError::Token(error) => token(error),
        ClientError::TokenContent => ("token_invalid", SETTINGS),
        ClientError::Setup(NoPeer::File(_)) => ("certificate_invalid", SETTINGS),
        ClientError::Setup(NoPeer::Http(HttpError::Token)) => ("token_invalid", SETTINGS),
        ClientError::Setup(NoPeer::Http(_)) => ("setup_failed", INTERNAL),
        ClientError::Denied { .. } => ("request_denied", DENIED),
        ClientError::Refused { .. } => ("request_refused", INVALID),
        ClientError::NoApi { .. } => ("backend_refused", UNAVAILABLE),
        ClientError::Unavailable { .. } => ("backend_unavailable", UNAVAILABLE),
        ClientError::Untrusted { .. } => ("backend_untrusted", UNAVAILABLE),
        ClientError::Malformed { .. } => ("backend_invalid", UNAVAILABLE),
    }
}

/// The same.
pub fn store(error: &StoreError) -> (&'static str, u8) {
    match error {
        StoreError::Missing(_) => ("store_missing", SETTINGS),
        StoreError::Replaced(_) => ("store_replaced", UNAVAILABLE),
        StoreError::LogLeft(..) => ("store_log_left", SETTINGS),
        StoreError::Locked(_) => ("store_locked", UNAVAILABLE),
        StoreError::ReadOnly(_) => ("store_read_only", SETTINGS),
        StoreError::Full(_) => ("store_full", UNAVAILABLE),
        StoreError::Damaged(_) => ("store_damaged", UNAVAILABLE),
        StoreError::NotAStore(_) => ("store_foreign", SETTINGS),
        StoreError::Newer(..) | StoreError::UnknownKind(_) => ("store_newer", SETTINGS),
        StoreError::OtherKey { .. } => ("key_of_another_store", SETTINGS),
        StoreError::Exists { .. } => ("secret_exists", INVALID),
        StoreError::Sealed { .. } | StoreError::Altered { .. } => ("secret_damaged", UNAVAILABLE),
        StoreError::Gone(_) => ("secret_gone", UNAVAILABLE),
        StoreError::Access(error) => key(error),
        StoreError::Contended(_) => ("store_contended", UNAVAILABLE),
        StoreError::Unreachable(..) => ("store_unreachable", UNAVAILABLE),
        StoreError::NotEmpty(_) => ("store_not_empty", INVALID),
        StoreError::CopyFailed(_) => ("store_copy_failed", UNAVAILABLE),
        StoreError::Login(..) => ("store_login", SETTINGS),
        StoreError::File(..) => ("store_file_unusable", SETTINGS),
        StoreError::Forbidden(..) => ("store_forbidden", SETTINGS),
        StoreError::CommitUnknown(..) => ("store_commit_unknown", UNAVAILABLE),
        StoreError::Busy(_) | StoreError::Closed(_) => ("store_busy", UNAVAILABLE),
        StoreError::Fault(_) => ("internal", INTERNAL),
        StoreError::Database(..) => ("store_failed", UNAVAILABLE),
    }
}

fn key(error: &KeyError) -> (&'static str, u8) {
    match error {
        KeyError::Missing(_) | KeyError::NoPublic(_) => ("key_missing", SETTINGS),
        KeyError::Readable(..) | KeyError::Owner(..) => ("permissions_too_wide", SETTINGS),
        KeyError::Content(..) => ("key_invalid", SETTINGS),
        KeyError::Exists(_) => ("key_exists", INVALID),
        KeyError::Busy(_) => ("key_busy", UNAVAILABLE),
        KeyError::Io(_, error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            ("file_denied", SETTINGS)
        }
        KeyError::Io(..) => ("file_failed", INTERNAL),
    }
}

/// The runner's exit code for a run: `failure` is set when the job did not start.
pub fn run_exit_code(
    outcome: &Outcome,
    failure: Option<&Error>,
    wiped: bool,
    exit_codes: ExitCodes,
) -> u8 {
    let distinct = exit_codes == ExitCodes::Distinct;
    if !wiped {
        return if distinct { DISTINCT } else { INTERNAL };
    }
    if let Some(error) = failure {
        return if distinct { DISTINCT } else { error.exit_code() };
    }
    // Codes of Linux have eight bits; the mask only says so to the compiler.
    let eight_bits = |code: i32| u8::try_from(code & 0xff).unwrap_or(INTERNAL);
    let code = match outcome {
        Outcome::Succeeded => 0,
        Outcome::Failed { job_exit_code: 0, .. } => 1,
        Outcome::Failed { job_exit_code, .. }
        | Outcome::Cancelled { job_exit_code, .. }
        | Outcome::OutOfMemory { job_exit_code } => eight_bits(*job_exit_code),
        Outcome::Signalled { number, .. } => eight_bits(128 + number),
        Outcome::TimedOut { .. } => TIMED_OUT,
        // Comes with a failure, whose code was returned above.
        Outcome::NotStarted { .. } => INTERNAL,
    };
    if distinct && code != 0 { 1 } else { code }
}
