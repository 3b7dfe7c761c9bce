//! From a path to the project's XML, and never more of it than the limit.

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Seek};
use std::path::Path;

use zeroize::Zeroizing;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::Fault;

/// Opens a project, zipped or not, and hands its XML to `parse`.
pub(super) fn with_xml<T>(
    path: &Path,
    limit: u64,
    parse: impl FnOnce(&mut Source<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    // Before opening: to open a pipe is to wait for its writer.
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Io(error),
    })?;
    if !metadata.is_file() {
        return Err(Fault::NotAFile);
    }
    if metadata.len() == 0 {
        return Err(Fault::Empty);
    }
    with_xml_of(File::open(path).map_err(Fault::Io)?, limit, parse)
}

/// The same for what is already open. By content, not by name: QGIS writes both under any name.
pub(super) fn with_xml_of<T>(
    mut file: impl Read + Seek,
    limit: u64,
    parse: impl FnOnce(&mut Source<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut head = Vec::with_capacity(4);
    file.by_ref().take(4).read_to_end(&mut head).map_err(Fault::Io)?;
    file.rewind().map_err(Fault::Io)?;
    match head.as_slice() {
        [b'P', b'K', ..] => from_zip(file, limit, parse),
        // UTF-16 and UTF-32, with and without a byte order mark.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'<', 0, ..] | [0, ..] => Err(Fault::NotUtf8),
        _ => parse(&mut Source::new(&mut file, limit)),
    }
}

fn from_zip<T>(
    file: impl Read + Seek,
    limit: u64,
    parse: impl FnOnce(&mut Source<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut archive = ZipArchive::new(file).map_err(from_zip_error)?;
    let mut project = None;
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).and_then(Result::ok);
        let is_project = name.is_some_and(|name| {
            let extension = Path::new(&*name).extension().unwrap_or_default();
            extension.eq_ignore_ascii_case("qgs") && !name.ends_with(['/', '\\'])
        });
        if is_project && project.replace(index).is_some() {
            return Err(Fault::SeveralProjects);
        }
    }
    let mut member = archive.by_index(project.ok_or(Fault::NoProject)?).map_err(from_zip_error)?;
    if !matches!(member.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(Fault::Compression);
    }
    let mut source = Source::new(&mut member, limit);
    parse(&mut source).map_err(|fault| match fault {
        // The data ends early or does not unpack.
        Fault::Io(error) if error.raw_os_error().is_none() => Fault::BrokenZip,
        other => other,
    })
}

/// Without the library's text: it can quote names from the archive.
fn from_zip_error(error: ZipError) -> Fault {
    match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => Fault::Io(error),
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => Fault::Encrypted,
        ZipError::CompressionMethodNotSupported(_) | ZipError::UnsupportedArchive(_) => {
            Fault::Compression
        }
        _ => Fault::BrokenZip,
    }
}

/// Bytes through a buffer that is overwritten at the end, up to a limit.
pub(super) struct Source<'a> {
    inner: &'a mut dyn Read,
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    left: u64,
    over: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(inner: &'a mut dyn Read, limit: u64) -> Self {
        let buffer = Zeroizing::new(vec![0; 64 * 1024]);
        Self { inner, buffer, start: 0, end: 0, left: limit, over: false }
    }

    /// Whether there was more than the limit.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end && !self.over {
            self.start = 0;
            // Cleared first: a read that fails leaves nothing to be read twice.
            self.end = 0;
            let n = self.inner.read(&mut self.buffer)?;
            match self.left.checked_sub(n as u64) {
                Some(left) => self.left = left,
                None => {
                    self.over = true;
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
            }
            self.end = n;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, n: usize) {
        self.start = self.end.min(self.start + n);
    }
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(into)?;
        self.consume(n);
        Ok(n)
    }
}
