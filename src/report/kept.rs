//! Reports that wait, because the address didn't answer.
//!
//! Invariants: a kept report is a file of its own, whole, and for its owner only; it is removed
//! only after the address has taken it, as it was written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Report;
use super::delivery::{self, Address, Undelivered};
use crate::http::HttpError;
use crate::settings;
use crate::store::keys;

/// Keeps a report that could not be delivered; returns where.
pub(super) fn keep(report: &Report, directory: &Path) -> Result<PathBuf, Undelivered> {
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
    delivery::write(report, &path)?;
    Ok(path)
}

/// A report that waits.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// As it was written: by another version of the program, perhaps.
    text: String,
    key: String,
    /// By which to sort: its run's beginning, and `started` before `ended`.
    order: (String, bool),
}

/// Delivers what is kept, the oldest first, and removes what was taken. `sent` is told each
/// report's `id/attempt/event`; what is left is logged.
///
/// Returns how many there were; `None` without `report.url`.
pub async fn send(
    settings: &settings::Report,
    mut sent: impl FnMut(&str),
) -> Result<Option<usize>, Undelivered> {
    let Some(address) = Address::new(settings) else { return Ok(None) };
    let directory = &settings.undelivered;
    let (waiting, mut left) = waiting(directory)?;
    let all = waiting.len() + left;
    let mut reachable = true;
    for Kept { path, text, key, .. } in waiting {
        // An address that doesn't answer keeps nobody waiting once for each report.
        let result = if reachable { Some(address.put(&key, text).await) } else { None };
        match result {
            Some(Ok(())) => {
                // Another process may have sent it as well: the key says that it is the same.
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Undelivered::File(path, error));
                    }
                    _ => sent(&key),
                }
            }
            Some(Err(error)) => {
                tracing::error!(report = key, %error, "not delivered");
                reachable = matches!(error, Undelivered::Http(HttpError::Status { .. }));
                left += 1;
            }
            None => left += 1,
        }
    }
    if left == 0 { Ok(Some(all)) } else { Err(Undelivered::Kept(left, all, directory.clone())) }
}

/// What waits in a directory, in order; and how many files are no reports.
fn waiting(directory: &Path) -> Result<(Vec<Kept>, usize), Undelivered> {
    let fault = |error| Undelivered::File(directory.into(), error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        entries => entries.map_err(fault)?,
    };
    let (mut waiting, mut foreign) = (Vec::new(), 0);
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        // One that is being written has a name of its own.
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(&path) {
            Ok(kept) => waiting.push(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "no report that can be delivered");
                foreign += 1;
            }
        }
    }
    waiting.sort_by(|a, b| a.order.cmp(&b.order));
    Ok((waiting, foreign))
}

fn read(path: &Path) -> io::Result<Kept> {
    let text = fs::read_to_string(path)?;
    // Only where the fault is: never the text.
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        io::Error::other(format!(
            "not a report, at line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    let key = report.idempotency_key().ok_or_else(|| io::Error::other("it names no job"))?;
    let order = (report.started_at, report.event == "ended");
    Ok(Kept { path: path.into(), text, key, order })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
