//! The settings file's form. `config/settings.toml` documents every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::backend::RawBackend;
use super::service::RawService;
use super::{DEFAULT_PASS, ExitCodes, InvalidSettings, RawTemplate};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) backend: RawBackend,
    pub(super) store: Store,
    pub(super) job: Job,
    #[cfg_attr(test, schemars(skip))]
    pub(super) tasks: BTreeMap<String, RawTemplate>,
    pub(super) environment: Environment,
    pub(super) supervision: Supervision,
    pub(super) containment: Containment,
    pub(super) workspace: Workspace,
    pub(super) report: Report,
    pub(super) audit: Audit,
    pub(super) pg_service: PgService,
    pub(super) service: RawService,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Store {
    pub(super) path: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) public_key: Option<PathBuf>,
    pub(super) postgres: Option<String>,
    pub(super) postgres_password_file: Option<PathBuf>,
    pub(super) postgres_ca_file: Option<PathBuf>,
    pub(super) postgres_schema: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Job {
    pub(super) commands: bool,
    pub(super) max_bytes: usize,
    pub(super) token_file: Option<PathBuf>,
    pub(super) deadline_s: f64,
}

impl Default for Job {
    fn default() -> Self {
        Self { commands: true, max_bytes: 1024 * 1024, token_file: None, deadline_s: 30.0 }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum Inherit {
    #[default]
    Clean,
    Image,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Environment {
    pub(super) inherit: Inherit,
    pub(super) pass: Vec<String>,
    pub(super) trust: Vec<String>,
}

impl Default for Environment {
    fn default() -> Self {
        let pass = DEFAULT_PASS.iter().map(|name| (*name).to_owned()).collect();
        Self { inherit: Inherit::Clean, pass, trust: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Supervision {
    pub(super) timeout_s: Option<f64>,
    pub(super) grace_s: f64,
    pub(super) exit_codes: ExitCodes,
}

impl Default for Supervision {
    fn default() -> Self {
        Self { timeout_s: None, grace_s: 10.0, exit_codes: ExitCodes::Job }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum Require {
    #[default]
    Auto,
    Namespace,
    NamespaceSharedProc,
    Process,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Containment {
    pub(super) require: Require,
    pub(super) run_as: Option<String>,
    pub(super) allow_exposed: bool,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Workspace {
    pub(super) path: Vec<PathBuf>,
    pub(super) allow_disk: bool,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Report {
    pub(super) file: Option<PathBuf>,
    pub(super) url: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) deadline_s: f64,
    pub(super) undelivered: Option<PathBuf>,
    pub(super) termination_log: Option<PathBuf>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            file: None,
            url: None,
            token_file: None,
            deadline_s: 30.0,
            undelivered: None,
            termination_log: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct PgService {
    pub(super) oldest_libpq: u16,
}

impl Default for PgService {
    fn default() -> Self {
        Self { oldest_libpq: 13 }
    }
}

/// Parses the text; `path` is for the errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, InvalidSettings> {
    toml::from_str(text).map_err(|error| {
        // Only the message, never `Display`: that prints the line as it stands.
        let line = error.span().map_or(1, |span| {
            text[..span.start.min(text.len())].bytes().filter(|b| *b == b'\n').count() + 1
        });
        InvalidSettings::Content(path.into(), line, without_values(error.message()))
    })
}

/// Keeps of the message what was expected; unknown keys are named, for people mistype them.
fn without_values(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (key, known) = rest.rsplit_once("`, expected ").unwrap_or((rest, "another"));
        let plain = key.len() <= 40 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let key = if plain { format!(" `{key}`") } else { String::new() };
        return format!("unknown setting{key}; expected {known}");
    }
    let read = ["invalid ", "unknown variant"].iter().any(|start| message.starts_with(start));
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if read => format!("expected {expected}"),
        _ if message.starts_with("missing field") || message.starts_with("duplicate key") => {
            message.replace("field", "setting")
        }
        _ => "not valid TOML".to_owned(),
    }
}
