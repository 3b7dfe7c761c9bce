//! The environment that the runner was started with.
//!
//! Invariant: credentials of it are with the process that starts the job, and there only if the
//! settings pass them on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::containment::{Handover, Places};
use crate::environment::Credential;
use crate::error::Error;
use crate::settings::Settings;

/// The runner's own environment.
#[derive(Debug)]
pub struct Parent {
    /// The variables that are in its environment now.
    pub plain: Vec<(OsString, OsString)>,
    /// Those that were taken out of it, and that the settings pass on.
    pub credentials: Vec<Credential>,
}

/// Hands over to the inner process what the job gets of the runner's credentials: those that the
/// settings name. The others end here.
pub fn hand_over(settings: &Settings, credentials: Vec<Credential>) -> Result<Handover, Error> {
    let passed = |credential: &Credential| settings.environment.pass.contains(&credential.name);
    Handover::new(credentials.into_iter().filter(passed).collect())
        .map_err(|error| in_memory(&error))
}

/// Takes what was handed over.
pub fn take_over(handover: Handover) -> Result<Vec<Credential>, Error> {
    handover.take().map_err(|error| in_memory(&error))
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
