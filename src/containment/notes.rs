//! What the inner process tells the outer one: facts for the report, should it be killed.
//!
//! Invariants: no value is in it; what was told survives a SIGKILL of the teller, and half a note
//! is none.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

/// One note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The containment could not be set up: the step, and the errno.
    Refused(String, i32),
    /// Something that a later reader knows the form of: a report, as JSON.
    Report(serde_json::Value),
    /// Where the job's feedback is, in a form that a later reader knows; null once it is settled.
    Feedback(serde_json::Value),
    /// The last report has been delivered; nothing is left to do.
    Told,
}

/// A file in memory, without a name, that both processes hold.
#[derive(Debug)]
pub struct Notes(File);

impl Notes {
    /// An empty file: memfd_create(2). A job doesn't inherit it.
    pub fn new() -> io::Result<Self> {
        Ok(Self(File::from(memfd_create(c"qgis-secrets-notes", MemfdFlags::CLOEXEC)?)))
    }

    /// Adds one.
    pub fn add(&self, note: &Note) -> io::Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }

    /// Adds a report, without making a tree of it first.
    pub fn add_report(&self, report: &impl Serialize) -> io::Result<()> {
        let mut line = br#"{"report":"#.to_vec();
        serde_json::to_writer(&mut line, report)?;
        line.extend_from_slice(b"}\n");
        (&self.0).write_all(&line)
    }

    /// Whether the first one says that the containment was refused: that is what the outer process
    /// looks for when all else went well.
    pub fn refused(&self) -> io::Result<bool> {
        const REFUSED: &[u8] = br#"{"refused""#;
        let mut begin = [0; REFUSED.len()];
        Ok(self.0.read_at(&mut begin, 0)? == REFUSED.len() && begin == *REFUSED)
    }

    /// Whether the last one says that all is told.
    pub fn told(&self) -> bool {
        const TOLD: &[u8] = b"\"told\"\n";
        let mut end = [0; TOLD.len()];
        let length = self.0.metadata().map_or(0, |file| file.len());
        let at = length.saturating_sub(TOLD.len() as u64);
        self.0.read_at(&mut end, at).is_ok_and(|read| read == TOLD.len()) && end == *TOLD
    }

    /// All that are whole, in order.
    pub fn read(&self) -> io::Result<Vec<Note>> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect()
    }

    /// Takes everything back: the next try begins.
    pub fn clear(&self) -> io::Result<()> {
        self.0.set_len(0)?;
        (&self.0).seek(SeekFrom::Start(0)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_note_is_none() {
        let notes = Notes::new().unwrap();
        let report = Note::Report(serde_json::json!({"event": "started"}));
        notes.add(&Note::Refused("a new /proc".into(), 1)).unwrap();
        notes.add(&report).unwrap();
        (&notes.0).write_all(b"\"tol").unwrap();
        assert!(notes.refused().unwrap());
        assert_eq!(notes.read().unwrap(), [Note::Refused("a new /proc".into(), 1), report]);
        assert!(!notes.told());
        notes.clear().unwrap();
        assert!(!notes.told());
        assert_eq!(notes.read().unwrap(), []);
        notes.add_report(&serde_json::json!({"event": "ended"})).unwrap();
        assert!(!notes.refused().unwrap());
        assert_eq!(notes.read().unwrap(), [Note::Report(serde_json::json!({"event": "ended"}))]);
    }
}
