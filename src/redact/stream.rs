//! One stream on its way through the masker.
//!
//! Invariants: a byte is passed on once it is known that it is no part of a value, and not before;
//! how the stream is cut into pieces doesn't show; what is held back is at most as long as the
//! longest form of a value; a value that was masked is overwritten before more is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::prepared::{Occurrence, stretches};
use super::{MASK, Masker};

/// How much is read at once, in bytes: fits the second cache, and a pipe of the usual size.
const ROOM: usize = 128 * 1024;

/// One stream on its way through.
pub struct Stream {
    masker: Arc<Masker>,
    /// `start..end` has come and is not passed on, but for the first `shown` bytes of it.
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    shown: usize,
    /// Up to here there may be a value in `buffer`, once one was masked.
    used: usize,
    masked: bool,
    /// From here on it may be searched again.
    open: usize,
    /// What is known of `start..open`.
    found: Vec<Occurrence>,
    out: Vec<u8>,
    /// How often each name was hit.
    hits: Vec<u64>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("held", &self.held()).finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(masker: Arc<Masker>) -> Self {
        let hits = vec![0; masker.names().len()];
        Self {
            masker,
            buffer: Zeroizing::new(Vec::new()),
            start: 0,
            end: 0,
            shown: 0,
            used: 0,
            masked: false,
            open: 0,
            found: Vec::new(),
            out: Vec::new(),
            hits,
        }
    }

    /// Room to read into; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.open -= self.start;
            for one in &mut self.found {
                one.start -= self.start;
                one.end -= self.start;
            }
            self.start = 0;
        }
        if self.masked {
            self.buffer[self.end..self.used].fill(0);
            self.used = self.end;
            self.masked = false;
        }
        let needed = self.end + ROOM;
        if needed > self.buffer.len() {
            // A plain vector would leave what it held in freed memory.
            let mut grown = Zeroizing::new(vec![0; needed.max(self.buffer.len() * 3 / 2)]);
            grown[..self.end].copy_from_slice(&self.buffer[..self.end]);
            self.buffer = grown;
        }
        &mut self.buffer[self.end..]
    }

    /// Takes the first `read` bytes of [`Self::space`]; returns what can be passed on now.
    pub fn filled(&mut self, read: usize) -> &[u8] {
        self.end += read;
        self.used = self.used.max(self.end);
        self.advance(false)
    }

    /// The stream is over: returns the rest.
    pub fn end(&mut self) -> &[u8] {
        self.advance(true)
    }

    /// How many bytes are held back, because a value may have begun in them.
    pub fn held(&self) -> usize {
        self.end - self.start - self.shown
    }

    /// Gives out what is held back, if it is not more than `most` bytes; the value that may have
    /// begun there is masked from the next byte on. For a person who types and waits for the echo.
    pub fn release(&mut self, most: usize) -> &[u8] {
        let begun = self.end - self.start;
        let from = self.start + self.shown;
        if begun > most {
            return &[];
        }
        self.shown = begun;
        &self.buffer[from..self.end]
    }

    /// How often a value was masked, by its name; without those that were not.
    pub fn hits(&self) -> BTreeMap<&str, u64> {
        let hits = self.masker.names().zip(self.hits.iter().copied());
        hits.filter(|(_, count)| *count > 0).collect()
    }

    fn advance(&mut self, whole: bool) -> &[u8] {
        let Self { masker, buffer, found, out, hits, .. } = self;
        let from = self.start;
        self.open = masker.search(&buffer[..self.end], self.open, whole, found);
        // What begins where more may come is found again.
        found.retain(|one| one.start < self.open);
        // What is masked together is passed on together.
        let mut settled = self.open;
        let mut changed = false;
        let mut copied = from + self.shown;
        out.clear();
        stretches(found, |stretch| {
            let (start, end) = (stretch[0].start, stretch[stretch.len() - 1].end);
            if end > self.open {
                settled = settled.min(start);
                return;
            }
            for one in stretch {
                hits[one.name as usize] += 1;
            }
            changed = true;
            out.extend_from_slice(buffer.get(copied..start).unwrap_or_default());
            out.extend_from_slice(MASK.as_bytes());
            copied = end;
        });
        self.start = settled;
        self.masked |= changed;
        found.retain(|one| one.start >= settled);
        self.shown = copied.saturating_sub(settled);
        let rest = buffer.get(copied..settled).unwrap_or_default();
        if changed {
            out.extend_from_slice(rest);
            out
        } else {
            rest
        }
    }
}
