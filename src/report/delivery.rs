//! Where reports go: a file, an address, and where they wait when the address doesn't answer.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Report;
use crate::http::{self, Endpoint, HttpError};
use crate::secret::Value;
use crate::store::keys;

/// A report that nobody got.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The file could not be written.
    #[error("the report could not be written to {}: {}", .0.display(), .1)]
    File(PathBuf, #[source] io::Error),
    /// The address did not take it.
    #[error("the report could not be delivered: {0}")]
    Http(#[from] HttpError),
}

/// Writes a report to a file, which appears whole; what is no regular file, as `/dev/stdout` or a
/// pipe, is written to as it is.
pub fn write(report: &Report, path: &Path) -> Result<(), Undelivered> {
    let fault = |error| Undelivered::File(path.into(), error);
    // A link is followed: its target is what was meant.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.into());
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut target = OpenOptions::new().write(true).open(path).map_err(fault)?;
        return target.write_all(text(report).as_bytes()).map_err(fault);
    }
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

/// POSTs a report. Without a job there is nobody whose report it could be.
pub async fn deliver(
    report: &Report,
    url: &str,
    token: Option<&Value>,
    deadline: Duration,
) -> Result<(), Undelivered> {
    let Some(key) = report.idempotency_key() else { return Ok(()) };
    http::post(Endpoint { url, token, deadline }, &key, text(report)).await?;
    Ok(())
}

/// Keeps a report that could not be delivered; returns where.
pub fn keep(report: &Report, directory: &Path) -> Result<PathBuf, Undelivered> {
    let name = match &report.job {
        // An id may hold slashes, and be longer than a file's name may be.
        Some(job) if job.id.len() <= 80 => {
            format!("{}-{}-{}.json", job.id.replace('/', "%2F"), job.attempt, report.event)
        }
        _ => format!("{}-{}.json", uuid::Uuid::now_v7(), report.event),
    };
    let path = directory.join(name);
    keys::private_directory(&path)
        .map_err(|error| Undelivered::File(path.clone(), io::Error::other(error)))?;
    write(report, &path)?;
    Ok(path)
}

fn text(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_report_has_a_plain_name_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("a/b");
        let kept = keep(&Report::begin("embedded"), &below).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(kept).unwrap();
        assert!(text.contains("\"version\": 1"), "{text}");
    }
}
