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
    /// `start..end` has come and is to be searched; the first `shown` bytes of it are passed on, or
    /// masked.
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    shown: usize,
    /// Up to here there may be a value in `buffer`, once one was masked.
    used: usize,
    masked: bool,
    /// Where the last stretch ends that was masked: what begins before that is masked with it.
    covered: usize,
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
            covered: 0,
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
            self.covered = self.covered.saturating_sub(self.start);
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

    /// Whether [`Self::release`] would give something out.
    pub fn releases(&self, most: usize) -> bool {
        self.shown == 0 && (1..=most).contains(&self.held())
    }

    /// Gives out what is held back, if it is not more than `most` bytes; the value that may have
    /// begun there is masked from the next byte on. For a person who types and waits for the echo.
    pub fn release(&mut self, most: usize) -> &[u8] {
        if !self.releases(most) {
            return &[];
        }
        self.shown = self.end - self.start;
        &self.buffer[self.start..self.end]
    }

    /// How often a value was masked, by its name; without those that were not.
    pub fn hits(&self) -> BTreeMap<&str, u64> {
        let hits = self.masker.names().zip(self.hits.iter().copied());
        hits.filter(|(_, count)| *count > 0).collect()
    }

    fn advance(&mut self, whole: bool) -> &[u8] {
        let Self { masker, buffer, found, out, hits, covered, .. } = self;
        let from = self.start;
        let open = masker.search(&buffer[..self.end], from, whole, found);
        // What begins where more may come is found again.
        found.retain(|one| one.start < open);
        let mut changed = false;
        let mut copied = from + self.shown;
        out.clear();
        let before = *covered;
        stretches(found, before, |stretch| {
            for one in stretch {
                hits[one.name as usize] += 1;
            }
            changed = true;
            // A stretch may have no end: its mask is out when it begins.
            if before <= stretch[0].start {
                out.extend_from_slice(buffer.get(copied..stretch[0].start).unwrap_or_default());
                out.extend_from_slice(MASK.as_bytes());
            }
            *covered = stretch[stretch.len() - 1].end;
            copied = *covered;
        });
        found.clear();
        self.start = open;
        self.masked |= changed;
        self.shown = copied.saturating_sub(open);
        let rest = buffer.get(copied..open).unwrap_or_default();
        if changed {
            out.extend_from_slice(rest);
            out
        } else {
            rest
        }
    }
}
