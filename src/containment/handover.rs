//! Values that only the inner process may keep, though it is the outer one that was given them.
//!
//! Invariant: what was handed over is in no memory of the outer process, and once it was taken
//! nowhere but with the taker.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::environment::Credential;
use crate::secret::ValueBuf;

/// The longest text that one process is started with, in bytes; no environment is longer.
const MAX: usize = 16 << 20;

/// A file in memory, without a name, while both processes hold it.
#[derive(Debug)]
pub struct Handover(Option<File>);

impl Handover {
    /// Puts the variables where they can be taken from. Without any, nothing is made.
    pub fn new(credentials: Vec<Credential>) -> io::Result<Self> {
        if credentials.is_empty() {
            return Ok(Self(None));
        }
        let mut text = ValueBuf::new();
        for Credential { name, value } in credentials {
            for part in [name.as_bytes(), b"=", value.expose(), b"\0"] {
                text.push(part);
            }
        }
        let mut file = File::from(memfd_create(c"qgis-secrets-handover", MemfdFlags::CLOEXEC)?);
        file.write_all(text.as_slice())?;
        Ok(Self(Some(file)))
    }

    /// Takes them, and leaves the file empty, for the other process still holds it.
    pub fn take(self) -> io::Result<Vec<Credential>> {
        let Some(mut file) = self.0 else { return Ok(Vec::new()) };
        file.seek(SeekFrom::Start(0))?;
        let text = ValueBuf::read(&file, MAX)?;
        file.set_len(0)?;
        let text = text.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let strings = text.as_slice().split(|byte| *byte == 0);
        Ok(strings.filter_map(credential).collect())
    }
}

/// `NAME=value`; a value may hold `=`, a name doesn't.
fn credential(string: &[u8]) -> Option<Credential> {
    let equals = string.iter().position(|byte| *byte == b'=')?;
    let name = str::from_utf8(&string[..equals]).ok()?.to_owned();
    let mut value = ValueBuf::new();
    value.push(&string[equals + 1..]);
    Some(Credential { name, value: value.finish() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Value;

    #[test]
    fn what_is_put_in_comes_out_once() {
        let values: [(&str, &[u8]); 3] =
            [("A", b"a=b\n"), ("EMPTY", b""), ("BYTES", b"\xff not text")];
        let credentials = values.map(|(name, value)| Credential {
            name: name.into(),
            value: Value::new(value.to_vec()),
        });
        let handover = Handover::new(credentials.into()).unwrap();
        let other = handover.0.as_ref().unwrap().try_clone().unwrap();
        let taken = handover.take().unwrap();
        let taken: Vec<_> =
            taken.iter().map(|taken| (taken.name.as_str(), taken.value.expose())).collect();
        assert_eq!(taken, values);
        assert_eq!(other.metadata().unwrap().len(), 0);
    }

    #[test]
    fn nothing_needs_no_file() {
        let handover = Handover::new(Vec::new()).unwrap();
        assert!(handover.0.is_none());
        assert!(handover.take().unwrap().is_empty());
    }
}
