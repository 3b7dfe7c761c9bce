//! Masking: secret values never come out of a text or stream that goes through here.
//!
//! Invariants: what comes out is a function of the text and the values, however the text is cut
//! into pieces; what cannot be a part of a value is passed on at once; memory is bounded, whatever
//! comes; bytes that are no part of a value pass unchanged, text or not; there is one copy of each
//! value, which is overwritten when the last user of the [`Masker`] is gone.
//!
//! A value is found in the forms in which programs write it: as it is, escaped character by
//! character (`text`, `rendering`), in hexadecimal digits (`needle`) and in `base64`. No form is
//! written down: each is compared with the text at the few places where it may begin (`index`,
//! `beginnings`).

mod base64;
mod beginnings;
mod index;
mod needle;
mod prepared;
mod rendering;
mod stream;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

pub use stream::Stream;

use crate::secret::Value;
use prepared::{Occurrence, Prepared, stretches};

/// What stands in the place of a value.
pub const MASK: &str = "***";

/// The shortest value that is masked, in bytes, without blanks at its ends.
pub const MIN_VALUE: usize = 4;

/// A value that must not be seen, and what it is called where hits are counted.
#[derive(Debug)]
pub struct Sensitive {
    /// `envvar:API_KEY`, `pgservice:ninja`, `env:TOKEN`; several values may share a name.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// Knows the values. Made once for a run, shared by its streams.
///
/// What takes time is done when it is needed: many a job writes nothing.
#[derive(Default)]
pub struct Masker {
    values: Vec<Sensitive>,
    /// In the order in which they are counted.
    names: Vec<String>,
    prepared: OnceLock<Prepared>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("values", &self.values).finish_non_exhaustive()
    }
}

impl Masker {
    /// Takes the values over.
    pub fn new(values: Vec<Sensitive>) -> Self {
        let mut names: Vec<String> = Vec::new();
        for Sensitive { name, .. } in &values {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Self { values, names, prepared: OnceLock::new() }
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The names of values that are too short to be masked.
    pub fn unmaskable(&self) -> impl Iterator<Item = &str> {
        let short = |value: &&Sensitive| prepared::is_short(&value.value);
        self.values.iter().filter(short).map(|value| value.name.as_str())
    }

    /// Masks a stream of its own.
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream::new(Arc::clone(self))
    }

    /// Masks a text that is whole. What is cut off a character, by a value that is no text, becomes
    /// U+FFFD.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found = Vec::new();
        if let Some(prepared) = self.prepared(text.len()) {
            prepared.search_whole(&self.values, text.as_bytes(), &mut found);
        }
        if found.is_empty() {
            return text.into();
        }
        let mut out = Vec::with_capacity(text.len());
        let mut copied = 0;
        stretches(&mut found, 0, |stretch| {
            out.extend_from_slice(&text.as_bytes()[copied..stretch[0].start]);
            out.extend_from_slice(MASK.as_bytes());
            copied = stretch[stretch.len() - 1].end;
        });
        out.extend_from_slice(&text.as_bytes()[copied..]);
        String::from_utf8_lossy(&out).into_owned().into()
    }

    fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// As [`Prepared::search`].
    fn search(&self, text: &[u8], from: usize, whole: bool, found: &mut Vec<Occurrence>) -> usize {
        match self.prepared(text.len() - from) {
            Some(prepared) => prepared.search(&self.values, text, from, whole, found),
            None => text.len(),
        }
    }

    /// `None` where there is nothing to search, or nothing to search for.
    fn prepared(&self, length: usize) -> Option<&Prepared> {
        if self.values.is_empty() || length == 0 {
            return None;
        }
        Some(self.prepared.get_or_init(|| Prepared::new(&self.values, &self.names)))
    }
}

#[cfg(test)]
mod tests;
