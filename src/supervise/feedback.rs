//! The feedback file: what the job says of itself, which its exit code may not.
//!
//! Invariant: a job that exits with 0 has succeeded only if the promised file was written during
//! the run, is JSON, and holds no `error`.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use serde_json::Value as Json;

/// The largest feedback that is read, in bytes.
const MAX: u64 = 64 * 1024 * 1024;

/// A promised feedback file, looked at before the job started.
#[derive(Debug)]
pub struct Promise {
    path: PathBuf,
    before: Option<Stamp>,
}

/// Tells whether a file was written since: the kernel moves the change time with every write.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    changed: (i64, i64),
}

/// What a feedback says against a job that exited with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    /// It was not written.
    #[error("the job exited with 0, but did not write the feedback file that it had promised")]
    Missing,
    /// It holds an error.
    #[error("the job exited with 0, but its feedback holds an error")]
    Error,
    /// It cannot be read.
    #[error("the job exited with 0, but its feedback is not a readable JSON object")]
    Unreadable,
}

impl Promise {
    /// Remembers what is there before the job starts: an old file is no feedback of this run.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), before: fs::symlink_metadata(path).ok().map(|m| Stamp::of(&m)) }
    }

    /// Reads the file after the job.
    pub fn check(&self) -> Result<(), Complaint> {
        let text = match self.read() {
            Ok(Some(text)) => text,
            Ok(None) => return Err(Complaint::Missing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Complaint::Missing);
            }
            Err(_) => return Err(Complaint::Unreadable),
        };
        match serde_json::from_slice(&text) {
            Ok(Json::Object(feedback)) => match feedback.get("error") {
                None | Some(Json::Null | Json::Bool(false)) => Ok(()),
                Some(Json::String(text)) if text.is_empty() => Ok(()),
                Some(_) => Err(Complaint::Error),
            },
            Ok(_) | Err(_) => Err(Complaint::Unreadable),
        }
    }

    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        // The job chose what stands there: no link is followed, no pipe waited for.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.before.as_ref() == Some(&Stamp::of(&metadata)) {
            return Ok(None);
        }
        let mut text = Vec::new();
        file.take(MAX).read_to_end(&mut text)?;
        Ok(Some(text))
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_the_file_says() {
        let directory = tempfile::tempdir().unwrap();
        for (text, expected) in [
            (Some("{}"), Ok(())),
            (Some(r#"{"error": null, "steps": []}"#), Ok(())),
            (Some(r#"{"error": ""}"#), Ok(())),
            (Some(r#"{"error": "boom"}"#), Err(Complaint::Error)),
            (Some(r#"{"error": {"type": "UNKNOWN"}}"#), Err(Complaint::Error)),
            (Some(r#"{"error": true}"#), Err(Complaint::Error)),
            (Some("{"), Err(Complaint::Unreadable)),
            (Some(""), Err(Complaint::Unreadable)),
            (Some("[]"), Err(Complaint::Unreadable)),
            (None, Err(Complaint::Missing)),
        ] {
            let path = directory.path().join("feedback.json");
            let promise = Promise::new(&path);
            if let Some(text) = text {
                let mut options = OpenOptions::new();
                let mut file = options.write(true).create_new(true).open(&path).unwrap();
                file.write_all(text.as_bytes()).unwrap();
            }
            assert_eq!(promise.check(), expected, "{text:?}");
            // The same file before the next run is no feedback of that run.
            if text.is_some() {
                assert_eq!(Promise::new(&path).check(), Err(Complaint::Missing));
                fs::remove_file(&path).unwrap();
            }
        }
    }

    #[test]
    fn links_pipes_and_directories_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("feedback.json");
        let promise = Promise::new(&path);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(promise.check(), Err(Complaint::Unreadable));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert_eq!(promise.check(), Err(Complaint::Unreadable));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(promise.check(), Err(Complaint::Unreadable));
    }
}
