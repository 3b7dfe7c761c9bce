//! The feedback file: what the job says of itself, which its exit code may not.
//!
//! Invariants: a job that exits with 0 has succeeded only if the promised file was written during
//! the run, is JSON, and holds no `error`; when the run is over no value that is masked stands in
//! the file, and if that can't be had, the file goes, or somebody is told.
//!
//! Where there is something to mask, a link stands at the file's place while the job runs, and the
//! job writes through it into the workspace: what it wrote is gone with that, by whatever the
//! runner ends. Only the masked text is put in the link's place. A link, and no mount, for a mount
//! point can't be renamed over: a job that writes a new file and renames it would fail. That one is
//! masked where it is.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::redact::{Masker, Stream};

mod json;
mod place;

use json::Examined;
use place::{At, Found, Model, Stamp};

pub use place::Place;

/// The largest feedback that is read, in bytes. What is larger is masked as text.
const MAX: u64 = 16 * 1024 * 1024;

/// The largest that is masked. A file can be said to be longer than any disk.
const MAX_TEXT: u64 = 1024 * 1024 * 1024;

/// A promised feedback file, from before the job starts until it has ended.
#[derive(Debug)]
pub struct Promise {
    place: Place,
    detour: Option<Written>,
    settled: bool,
}

/// A file in the workspace, in which the job finds its feedback file by a link.
#[derive(Debug)]
pub struct Detour {
    /// Its directory, held by the runner.
    pub directory: OwnedFd,
    /// The file, as the job sees it.
    pub path: PathBuf,
    /// Uid and gid of the job, if it isn't the runner's.
    pub owner: Option<(u32, u32)>,
}

/// What a detour leads to, empty.
#[derive(Debug)]
struct Written {
    directory: OwnedFd,
    before: Stamp,
    /// The file that the job would have written over.
    older: Option<Metadata>,
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
    /// There is none, for what was there could not be masked.
    #[error(
        "the job exited with 0, but its feedback could not be masked, and is gone; the log says why"
    )]
    Lost,
}

/// What became of the feedback.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// What it says of the job.
    pub verdict: Result<(), Complaint>,
    /// Why an unmasked file is still there.
    pub leak: Option<String>,
}

/// The text that may be seen.
enum Masked {
    /// As it was written.
    Same,
    Text(Vec<u8>),
    /// Too large to be held; masked on its way.
    Large,
}

impl Promise {
    /// Remembers what is there before the job starts: an old file is no feedback of this run.
    pub fn new(path: &Path) -> Self {
        Self { place: Place::new(path), detour: None, settled: false }
    }

    /// The file's name in its directory.
    pub fn name(&self) -> &Path {
        self.place.name()
    }

    /// Leads the job elsewhere, by a link. `tell` hears of the place before the link is there, for
    /// another process must take it away if this one is killed.
    ///
    /// # Errors
    ///
    /// The kernel's word, where no link can be made; what was there is there again.
    pub fn lead(&mut self, detour: Detour, tell: impl FnOnce(&Place)) -> io::Result<()> {
        let Detour { directory, path, owner } = detour;
        let before = read_in(&directory, self.place.name())?.metadata()?;
        let told = Place { link: Some(path.clone()), ..self.place.clone() };
        tell(&told);
        match told.open().and_then(|at| at.put_link(&path, owner)) {
            Ok(older) => {
                // What was there has another name now.
                self.place = Place { before: None, ..told };
                self.detour = Some(Written { directory, before: Stamp::of(&before), older });
                Ok(())
            }
            Err(error) => {
                self.place.look();
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Reads it after the job, and leaves it masked.
    pub fn settle(mut self, masker: &Arc<Masker>) -> Settled {
        self.settled = true;
        let at = match self.place.open() {
            Ok(at) => at,
            Err(error) => return Settled::of(Err(unreadable(&error))),
        };
        let settled = match at.found() {
            Err(error) => Settled::of(Err(unreadable(&error))),
            Ok(Found::Nothing) => Settled::of(Err(Complaint::Missing)),
            Ok(Found::Other) => Settled::of(Err(Complaint::Unreadable)),
            Ok(Found::Link) => Settled::of(self.publish(&at, masker)),
            Ok(Found::File(metadata)) => mask_there(&at, metadata, masker),
        };
        // The link goes if it is still there, and what was there before comes back, or goes too.
        if self.detour.is_some()
            && let Err(error) = at.withdraw().and_then(|()| at.forget())
        {
            tracing::warn!(%error, "the feedback's place could not be tidied up");
        }
        settled
    }

    /// Puts what the job wrote in the workspace in the link's place.
    fn publish(&self, at: &At<'_>, masker: &Arc<Masker>) -> Result<(), Complaint> {
        let Some(Written { directory, before, older }) = &self.detour else {
            return Err(Complaint::Unreadable);
        };
        let (file, metadata) = read_in(directory, self.place.name())
            .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
            .map_err(|error| unreadable(&error))?;
        if *before == Stamp::of(&metadata) {
            return Err(Complaint::Missing);
        }
        let model = match older {
            Some(older) => Model { like: older.clone(), elsewhere: false },
            None => Model { like: metadata, elsewhere: true },
        };
        let published = examine(&file, masker).and_then(|(verdict, masked)| {
            at.replace(&model, |new| masked.write(&file, masker, new)).map(|()| verdict)
        });
        published.unwrap_or_else(|error| {
            tracing::error!(%error, "the masked feedback could not be written; it is lost");
            Err(Complaint::Lost)
        })
    }
}

impl Drop for Promise {
    /// For a job that did not start.
    fn drop(&mut self) {
        if !self.settled
            && self.detour.is_some()
            && let Err(error) = self.place.open().and_then(|at| at.withdraw())
        {
            tracing::warn!(%error, "the link at the feedback's place could not be taken away");
        }
    }
}

impl Place {
    /// Takes care of it without knowing what must be masked, after a runner that was killed: what
    /// the job wrote there goes. Says why, if it is still there.
    pub fn abandon(&self) -> Option<String> {
        let at = match self.open() {
            Ok(at) => at,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return Some(self.leak(&error)),
        };
        let removed = match at.found() {
            Ok(Found::File(_)) => at.remove(),
            Ok(Found::Nothing | Found::Link | Found::Other) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = at.withdraw() {
            tracing::warn!(%error, "the link at the feedback's place could not be taken away");
        }
        removed.err().map(|error| self.leak(&error))
    }

    fn leak(&self, error: &io::Error) -> String {
        let path = self.path();
        format!(
            "the feedback file {} may hold values: it can't be removed: {error}",
            path.display()
        )
    }
}

impl Settled {
    fn of(verdict: Result<(), Complaint>) -> Self {
        Self { verdict, leak: None }
    }
}

impl Masked {
    fn write(&self, source: &File, masker: &Arc<Masker>, to: &mut File) -> io::Result<()> {
        let mut source = source;
        source.rewind()?;
        match self {
            Self::Text(text) => to.write_all(text),
            Self::Same => io::copy(&mut source, to).map(drop),
            Self::Large => mask_text(source, masker.stream(), to),
        }
    }

    /// Where the directory takes no new file.
    fn write_over(&self, file: &File) -> io::Result<()> {
        match self {
            Self::Text(text) => place::overwrite(file, text),
            Self::Same | Self::Large => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Masks a file where the job wrote it.
fn mask_there(at: &At<'_>, like: Metadata, masker: &Arc<Masker>) -> Settled {
    let (file, error) = match at.read() {
        Ok(file) => match examine(&file, masker) {
            Ok((verdict, Masked::Same)) => return Settled::of(verdict),
            Ok((verdict, masked)) => {
                let model = Model { like, elsewhere: false };
                let replaced = at
                    .replace(&model, |new| masked.write(&file, masker, new))
                    .or_else(|error| masked.write_over(&file).map_err(|_| error));
                match replaced {
                    Ok(()) => return Settled::of(verdict),
                    Err(error) => (Some(file), error),
                }
            }
            Err(error) => (Some(file), error),
        },
        Err(error) => (None, error),
    };
    if masker.is_empty() {
        return Settled::of(Err(Complaint::Unreadable));
    }
    let removed = at
        .remove()
        .or_else(|denied| file.as_ref().map_or(Err(denied), |file| place::overwrite(file, b"")));
    tracing::error!(%error, "the feedback could not be masked");
    let leak = removed.err().map(|error| at.place().leak(&error));
    Settled { verdict: Err(Complaint::Lost), leak }
}

/// What a file says of the job, and what may be seen of it.
fn examine(file: &File, masker: &Arc<Masker>) -> io::Result<(Result<(), Complaint>, Masked)> {
    let unreadable = Err(Complaint::Unreadable);
    let length = file.metadata()?.len();
    if length > MAX {
        return match masker.is_empty() {
            true => Ok((unreadable, Masked::Same)),
            false if length <= MAX_TEXT => Ok((unreadable, Masked::Large)),
            false => Err(io::ErrorKind::FileTooLarge.into()),
        };
    }
    // Room for all of it: no copy is left by growing.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(MAX).read_to_end(&mut text)?;
    Ok(match json::examine(&text, masker) {
        Some(Examined { verdict, masked }) => (verdict, masked.map_or(Masked::Same, Masked::Text)),
        None if masker.is_empty() => (unreadable, Masked::Same),
        None => {
            let mut masked = Vec::new();
            mask_text(&text[..], masker.stream(), &mut masked)?;
            (unreadable, if masked == *text { Masked::Same } else { Masked::Text(masked) })
        }
    })
}

/// Masks what is no JSON.
fn mask_text(mut source: impl Read, mut stream: Stream, mut to: impl Write) -> io::Result<()> {
    loop {
        match source.read(stream.space()) {
            Ok(0) => return to.write_all(stream.end()),
            Ok(read) => to.write_all(stream.filled(read))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A file in a directory that is held open.
fn read_in(directory: &OwnedFd, name: &Path) -> io::Result<File> {
    place::read(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

/// What is said of a file that can't be read.
fn unreadable(error: &io::Error) -> Complaint {
    match error.kind() {
        io::ErrorKind::NotFound => Complaint::Missing,
        _ => Complaint::Unreadable,
    }
}

#[cfg(test)]
mod tests;
