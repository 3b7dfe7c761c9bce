//! The environment that the runner was started with.
//!
//! Invariants: credentials of it are with the process that starts the job, and there only if the
//! settings pass them on; the job token is no such one, and never goes to the job.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::containment::{Handover, Places};
use crate::environment::Credential;
use crate::error::Error;
use crate::secret::Value;
use crate::settings::{JOB_TOKEN, Settings};

/// The runner's own environment.
#[derive(Debug)]
pub struct Parent {
    /// The variables that are in its environment now.
    pub plain: Vec<(OsString, OsString)>,
    /// Those that were taken out of it, and that the settings pass on.
    pub credentials: Vec<Credential>,
}

/// Takes the job token out of the credentials. Where the settings name a file for it, there must
/// be none: which one is meant would be a guess.
pub fn job_token(
    settings: &Settings,
    credentials: &mut Vec<Credential>,
) -> Result<Option<Credential>, Error> {
    let at = credentials.iter().position(|credential| credential.name == JOB_TOKEN);
    let Some(token) = at.map(|at| credentials.swap_remove(at)) else { return Ok(None) };
    match settings.backend.service() {
        Some(service) if service.token_file.is_some() => Err(Error::Usage(format!(
            "the job token is given twice: in {JOB_TOKEN}, and in a file (--job-token-file or \
             `backend.service.token_file`); leave one of them away"
        ))),
        Some(_) => Ok(Some(token)),
        None => {
            tracing::warn!("{JOB_TOKEN} is not used: secrets come from the embedded store");
            Ok(None)
        }
    }
}

/// Hands over to the inner process what it needs of the runner's credentials: those that the
/// settings pass on to the job, and the job token. The others end here.
pub fn hand_over(settings: &Settings, mut credentials: Vec<Credential>) -> Result<Handover, Error> {
    let token = job_token(settings, &mut credentials)?;
    credentials.retain(|credential| settings.environment.pass.contains(&credential.name));
    credentials.extend(token);
    Handover::new(credentials).map_err(|error| in_memory(&error))
}

/// Takes what was handed over: what may go to the job, and the job token.
pub fn take_over(handover: Handover) -> Result<(Vec<Credential>, Option<Value>), Error> {
    let taken = handover.take().map_err(|error| in_memory(&error))?;
    let (mut tokens, credentials): (Vec<_>, Vec<_>) =
        taken.into_iter().partition(|credential| credential.name == JOB_TOKEN);
    Ok((credentials, tokens.pop().map(|token| token.value)))
}

fn in_memory(error: &std::io::Error) -> Error {
    Error::Setup(format!("a file in memory: {error}"))
}

/// The variables of the runner's own environment that a run is built from, without those that
/// were taken out of it at the start.
pub fn parent_environment() -> Vec<(OsString, OsString)> {
    let unique: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    unique.into_iter().collect()
}

/// Where a workspace may go that is not in a namespace.
pub fn places(settings: &Settings, parent: &[(OsString, OsString)]) -> Places {
    let variable = |name: &str| variable(parent, name).map(PathBuf::from);
    let disk =
        settings.workspace.allow_disk.then(|| variable("TMPDIR").unwrap_or_else(|| "/tmp".into()));
    Places::new(&settings.workspace.path, variable("XDG_RUNTIME_DIR"), disk)
}

pub(super) fn variable<'a>(parent: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsString> {
    parent.iter().find(|(parent, _)| parent == name).map(|(_, value)| value)
}
