//! Where reports go: a file, and an address.
//!
//! Invariants: a report that could not be delivered is kept and said, and changes no exit code;
//! the job never waits for an address.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use tokio::task::JoinHandle;

use super::{Report, kept};
use crate::http::{self, Endpoint, HttpError, TokenError};
use crate::settings;

/// A report that nobody got.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The file could not be written.
    #[error("the report could not be written to {}: {}", .0.display(), .1)]
    File(PathBuf, #[source] io::Error),
    /// The summary could not be written.
    #[error("the summary could not be written to `report.termination_log`, {}: {}", .0.display(), .1)]
    Summary(PathBuf, #[source] io::Error),
    /// Kept reports that are kept still.
    #[error("{} of {} reports could not be delivered; they are kept in {}", .0, .1, .2.display())]
    Kept(usize, usize, PathBuf),
    /// The token could not be read.
    #[error("the report could not be delivered: {0}")]
    Token(#[from] TokenError),
    /// The address did not take it.
    #[error("the report could not be delivered: {0}")]
    Http(#[from] HttpError),
}

/// Tells an orchestrator of one run, beside the job and never in its way.
#[derive(Debug)]
pub struct Messenger {
    address: Option<Arc<Address>>,
    started: Option<(Report, JoinHandle<()>)>,
}

/// Where reports are POSTed.
#[derive(Debug)]
pub(super) struct Address {
    url: String,
    token_file: Option<PathBuf>,
    deadline: Duration,
    undelivered: PathBuf,
}

impl Messenger {
    /// Without `report.url` it does nothing.
    pub fn new(settings: &settings::Report) -> Self {
        Self { address: Address::new(settings).map(Arc::new), started: None }
    }

    /// Begins to deliver the report of the start.
    pub fn started(&mut self, report: &Report) {
        if let Some(address) = self.address.clone() {
            let posted = report.clone();
            let task = tokio::spawn(async move { address.post(&posted).await });
            self.started = Some((report.clone(), task));
        }
    }

    /// Delivers the report of the end, after that of the start. What is not delivered when
    /// `enough` is ready is kept: whoever wants the runner to end doesn't wait for an address that
    /// doesn't answer.
    pub async fn ended(self, report: &Report, enough: impl Future<Output = impl Sized>) {
        // Without a job there is nobody whose report it could be.
        let Some(address) = self.address.filter(|_| report.job.is_some()) else { return };
        let mut started = self.started;
        let both = async {
            if let Some((_, task)) = &mut started {
                // It fails only if it panicked, which was told then.
                task.await.unwrap_or_default();
            }
            address.post(report).await;
        };
        let why = tokio::select! {
            () = both => return,
            _ = enough => "the runner was told to end",
            // One deadline for both: whoever ends the runner gives it little time.
            () = tokio::time::sleep(address.deadline) => "there was no answer in time",
        };
        if let Some((start, task)) = started.filter(|(_, task)| !task.is_finished()) {
            task.abort();
            address.keep(&start, why);
        }
        address.keep(report, why);
    }
}

impl Address {
    /// `None` without `report.url`.
    pub(super) fn new(settings: &settings::Report) -> Option<Self> {
        Some(Self {
            url: settings.url.clone()?,
            token_file: settings.token_file.clone(),
            deadline: settings.deadline,
            undelivered: settings.undelivered.clone(),
        })
    }

    /// A failure changes no exit code: it is said, and the report is kept.
    async fn post(&self, report: &Report) {
        if let Err(error) = self.deliver(report).await {
            self.keep(report, &error.to_string());
        }
    }

    async fn deliver(&self, report: &Report) -> Result<(), Undelivered> {
        let Some(key) = report.idempotency_key() else { return Ok(()) };
        self.put(&key, text(report)).await
    }

    /// POSTs the text of a report.
    pub(super) async fn put(&self, key: &str, text: String) -> Result<(), Undelivered> {
        let token = self.token_file.as_deref().map(http::read_token).transpose()?;
        let endpoint = Endpoint { url: &self.url, token: token.as_ref(), deadline: self.deadline };
        Ok(http::post(endpoint, key, text).await?)
    }

    fn keep(&self, report: &Report, error: &str) {
        match kept::keep(report, &self.undelivered) {
            Ok(path) => {
                let kept = path.display();
                tracing::error!(error, %kept, "the report was kept, for `qgis-secrets report send`");
            }
            Err(lost) => tracing::error!(error, %lost, "the report is lost"),
        }
    }
}

/// Writes a report to a file, which appears whole; what is no regular file, as `/dev/stdout` or a
/// pipe, is written to as it is.
pub fn write(report: &Report, path: &Path) -> Result<(), Undelivered> {
    let fault = |error| Undelivered::File(path.into(), error);
    // `/dev/stdout` is a link, and may lead to a regular file; `/dev/shm/report.json` is none.
    let special = ["/dev", "/proc"].iter().any(|root| path.starts_with(root))
        && fs::symlink_metadata(path).is_ok_and(|there| !there.is_file());
    if special || fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        // Appends, for the job may have written there; and waits for no reader of a pipe.
        let mut options = OpenOptions::new();
        let options = options.append(true).custom_flags(libc::O_NONBLOCK);
        let mut target = options.open(path).map_err(fault)?;
        return target.write_all(text(report).as_bytes()).map_err(fault);
    }
    // A link is followed: its target is what was meant.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // No secret is in it, but names of projects and people are.
    let mut file = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(fault)?;
    file.write_all(text(report).as_bytes()).map_err(fault)?;
    file.persist(path).map(drop).map_err(|error| fault(error.error))
}

fn text(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}
