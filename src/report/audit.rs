//! The audit: one line for each decision about a job's secrets.
//!
//! Invariants: no type in here can hold a value; a decision that could not be recorded is an
//! error, and whoever gets it opens nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;
use serde::Serialize;
use tracing::Level;

use super::{Report, SecretFacts};
use crate::log::{self, AUDIT};

/// A decision that could not be recorded.
#[derive(Debug, thiserror::Error)]
#[error(
    "the audit log {} cannot be written: {}; no secret was opened. Make room, check its \
     permissions, or name another file in `audit.file`",
    .0.display(), .1
)]
pub struct Unaudited(PathBuf, #[source] io::Error);

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The job gets the secrets. Recorded before the first of them is opened.
    Given,
    /// A required secret is missing: none is opened.
    Refused,
    /// Somebody said that this job must not have them, or that they are somebody else's.
    Denied,
    /// They could not be looked up or opened; the job gets none, whatever was recorded before.
    Failed,
}

impl Decision {
    fn words(self) -> (Level, &'static str) {
        match self {
            Self::Given => (Level::INFO, "the job gets its secrets"),
            Self::Refused => (Level::WARN, "refused: a required secret is missing"),
            Self::Denied => (Level::WARN, "denied: the job must not have these secrets"),
            Self::Failed => (Level::WARN, "failed: the secrets could not be looked up or opened"),
        }
    }
}

/// What an audit line says, besides what every line does.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    decision: Decision,
    /// The kind of the error, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    backend: &'a str,
    secrets: &'a [SecretFacts],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing: &'a [String],
}

/// Where decisions are recorded: standard error, and a file if the settings name one.
#[derive(Debug)]
pub struct Audit<'a> {
    file: Option<(&'a Path, File)>,
}

impl<'a> Audit<'a> {
    /// Opens the file, before anything is asked: append-only, 0600 if it is new.
    pub fn open(file: Option<&'a Path>) -> Result<Self, Unaudited> {
        let file = file.map(|path| Ok((path, append(path, true)?))).transpose()?;
        Ok(Self { file })
    }

    /// Whether it could be written. Nothing is made or changed.
    pub fn try_out(path: &Path) -> Result<(), Unaudited> {
        match append(path, false) {
            Err(Unaudited(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                let directory = match path.parent() {
                    Some(parent) if parent != Path::new("") => parent,
                    _ => Path::new("."),
                };
                nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK)
                    .map_err(|errno| Unaudited(path.into(), errno.into()))
            }
            tried => tried.map(drop),
        }
    }

    /// Records a decision about the job of `report`, with the secrets that are known so far.
    pub fn record(
        &mut self,
        report: &Report,
        decision: Decision,
        reason: Option<&'static str>,
    ) -> Result<(), Unaudited> {
        let Report { backend, secrets, missing, .. } = report;
        let (level, message) = decision.words();
        let entry = Entry { decision, reason, backend, secrets, missing };
        let line = log::line(level, AUDIT, message, &entry);
        if let Some((path, file)) = &mut self.file {
            // One write(2): with O_APPEND, lines of several runs never mix.
            let whole = match file.write(line.as_bytes()) {
                Ok(written) if written == line.len() => Ok(()),
                Ok(_) => Err(io::ErrorKind::StorageFull.into()),
                Err(error) => Err(error),
            };
            whole.map_err(|error| Unaudited(path.to_owned(), error))?;
        }
        let names: Vec<String> =
            secrets.iter().map(|s| format!("{}:{} ({})", s.kind, s.key, s.level)).collect();
        let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let missing = if missing.is_empty() {
            String::new()
        } else {
            format!("; missing: {}", missing.join(", "))
        };
        log::audit(&line, level, &format!("{message}: {list}{missing}"));
        Ok(())
    }
}

fn append(path: &Path, create: bool) -> Result<File, Unaudited> {
    let mut options = OpenOptions::new();
    // A pipe without a reader is an error, and nothing to wait for.
    let options = options.append(true).create(create).mode(0o600).custom_flags(libc::O_NONBLOCK);
    options.open(path).map_err(|error| Unaudited(path.into(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the audit are those of its document, and are stable.
    #[test]
    fn the_words_are_documented() {
        let document = include_str!("../../docs/logs.md");
        let table = document.split("| decision | meaning |").nth(1).unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let documented: Vec<&str> = rows.map(|(word, _)| word).collect();
        let decisions = [Decision::Given, Decision::Refused, Decision::Denied, Decision::Failed];
        let words = decisions.map(|decision| serde_json::to_value(decision).unwrap());
        assert_eq!(documented, words);
    }
}
