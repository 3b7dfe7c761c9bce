//! The needles of a run's values, ready to be searched for.
//!
//! Invariant: occurrences are a function of the text alone, whether an index finds them or not; those
//! that lie inside another one are none, and those that overlap are masked as one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::base64::FIRST_LINE;
use super::index::Index;
use super::needle::{Case, Cut, Digits, Family, Found, LineEnds, Needle};
use super::{MIN_VALUE, Sensitive};
use crate::secret::Value;

/// From this length on, in bytes, encoded forms are masked: shorter ones turn up by chance.
const MIN_ENCODED: usize = 8;

/// The most lines of a value that are masked in encoded forms each.
const MOST_ENCODED_LINES: usize = 64;

/// So many bytes of whole texts are searched without an index: to make one takes longer, and many a
/// run has no more to mask than the name of its program.
const WITHOUT_INDEX: usize = 128;

/// A stretch of text in which a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Occurrence {
    /// Where it begins.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// The number of the value's name.
    pub(super) name: u32,
}

/// What is searched for.
pub(super) struct Prepared {
    needles: Vec<Needle>,
    /// The number of each value's name.
    names: Vec<u32>,
    /// Made when it is needed.
    index: OnceLock<Index>,
    /// How many bytes were searched without it.
    without: AtomicUsize,
}

impl Prepared {
    /// From the values, and their names without repetition.
    pub(super) fn new(values: &[Sensitive], names: &[String]) -> Self {
        let number = |value: &Sensitive| names.iter().position(|name| *name == value.name);
        let names = values.iter().map(|value| number(value).unwrap_or_default() as u32).collect();
        let mut needles = Vec::new();
        for (number, value) in values.iter().enumerate() {
            add(number as u32, value.value.expose(), &mut needles);
        }
        Self { needles, names, index: OnceLock::new(), without: AtomicUsize::new(0) }
    }

    /// Finds the occurrences that begin in `text` at `from` or later, adds them to `found`, and
    /// returns where the first one begins that more text could complete or prolong. At the end of
    /// the text, when it is `whole`, nothing can.
    pub(super) fn search(
        &self,
        values: &[Sensitive],
        text: &[u8],
        from: usize,
        whole: bool,
        found: &mut Vec<Occurrence>,
    ) -> usize {
        let index = self.index.get_or_init(|| {
            Index::new(self.needles.iter().map(|needle| (needle.family, piece(values, needle))))
        });
        let mut open = text.len();
        index.search(text, from, |needle, start| {
            let needle = &self.needles[needle as usize];
            if self.compare(values, needle, text, start, found).more && !whole {
                open = open.min(start);
            }
        });
        open
    }

    /// As [`Self::search`] in a text that is whole; without an index as long as that is faster.
    pub(super) fn search_whole(
        &self,
        values: &[Sensitive],
        text: &[u8],
        found: &mut Vec<Occurrence>,
    ) {
        let indexed = self.index.get().is_some()
            || self.without.fetch_add(text.len(), Relaxed).saturating_add(text.len())
                > WITHOUT_INDEX;
        if indexed {
            self.search(values, text, 0, true, found);
            return;
        }
        for needle in &self.needles {
            for start in 0..text.len() {
                self.compare(values, needle, text, start, found);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_indexed(&self) -> bool {
        self.index.get().is_some()
    }

    fn compare(
        &self,
        values: &[Sensitive],
        needle: &Needle,
        text: &[u8],
        start: usize,
        found: &mut Vec<Occurrence>,
    ) -> Found {
        let there = needle.family.compare(piece(values, needle), text, start);
        if let Some(end) = there.end {
            let name = self.names[needle.value as usize];
            found.push(Occurrence { start, end, name });
        }
        there
    }
}

/// Puts occurrences in order, leaves out those inside another one, and calls `take` with each
/// stretch in which they overlap, and with those that it is made of. All before `masked` is
/// masked already; the first stretch may begin there.
pub(super) fn stretches(
    found: &mut Vec<Occurrence>,
    masked: usize,
    mut take: impl FnMut(&[Occurrence]),
) {
    // The longest of those that begin together first.
    found.sort_unstable_by_key(|one| (one.start, std::cmp::Reverse(one.end), one.name));
    found.dedup();
    let mut last = (usize::MAX, masked);
    found.retain(|one| {
        let inside = one.end <= last.1 && (one.start, one.end) != last;
        if !inside {
            last = (one.start, one.end);
        }
        !inside
    });
    for stretch in found.chunk_by(|one, next| next.start < one.end) {
        take(stretch);
    }
}

/// Whether a value is too short to be masked.
pub(super) fn is_short(value: &Value) -> bool {
    let value = value.expose();
    trim(value, 0..value.len()).len() < MIN_VALUE
}

fn piece<'v>(values: &'v [Sensitive], needle: &Needle) -> &'v [u8] {
    &values[needle.value as usize].value.expose()[needle.from as usize..needle.to as usize]
}

fn add(number: u32, value: &[u8], needles: &mut Vec<Needle>) {
    let core = trim(value, 0..value.len());
    if core.len() < MIN_VALUE {
        return;
    }
    let mut add = |piece: std::ops::Range<usize>, family| {
        let (from, to) = (piece.start as u32, piece.end as u32);
        needles.push(Needle { value: number, from, to, family });
    };
    encoded(&value[core.clone()], &mut |family| add(core.clone(), family));
    let lines = lines(value, core);
    if lines.len() < 2 {
        return;
    }
    let few = lines.len() <= MOST_ENCODED_LINES;
    for line in lines {
        let text = &value[line.clone()];
        let boundary = text.starts_with(b"-----BEGIN ") || text.starts_with(b"-----END ");
        if text.len() < MIN_ENCODED || boundary {
            continue;
        }
        if few {
            encoded(text, &mut |family| add(line.clone(), family));
        } else {
            add(line, Family::Text(Case::Kept));
        }
    }
}

/// The families of forms in which a piece is looked for.
fn encoded(piece: &[u8], take: &mut dyn FnMut(Family)) {
    take(Family::Text(Case::Kept));
    if piece.len() < MIN_ENCODED {
        return;
    }
    // A word, or a name made of some, may stand elsewhere in other letters.
    let in_names =
        |byte: &u8| !byte.is_ascii() || byte.is_ascii_alphabetic() || b" -_.".contains(byte);
    if !piece.iter().all(in_names) {
        // Any letter beyond ASCII may have another case.
        let beyond = !piece.is_ascii();
        if beyond || piece.iter().any(u8::is_ascii_lowercase) {
            take(Family::Text(Case::Upper));
        }
        if beyond || piece.iter().any(u8::is_ascii_uppercase) {
            take(Family::Text(Case::Lower));
        }
    }
    let several = piece.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
    let ends: &[LineEnds] =
        if several { &[LineEnds::Kept, LineEnds::Lf, LineEnds::CrLf] } else { &[LineEnds::Kept] };
    for ends in ends.iter().copied() {
        for (upper, percent) in [(false, false), (true, false), (false, true), (true, true)] {
            take(Family::Hex(Digits { upper, percent }, ends));
        }
        for before in 0..3 {
            for skipped in 0..FIRST_LINE {
                take(Family::Base64(Cut { before, skipped }, ends));
            }
        }
    }
}

/// A range without the blanks at both ends.
fn trim(value: &[u8], range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    // `u8::is_ascii_whitespace` leaves the vertical tab out.
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let text = &value[range.clone()];
    let Some(first) = text.iter().position(|byte| !blank(byte)) else {
        return range.start..range.start;
    };
    let last = text.iter().rposition(|byte| !blank(byte)).unwrap_or(first);
    range.start + first..range.start + last + 1
}

fn lines(value: &[u8], core: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    let mut lines = Vec::new();
    let mut from = core.start;
    for (at, byte) in value.iter().enumerate().take(core.end).skip(core.start) {
        if matches!(byte, b'\r' | b'\n') {
            lines.push(trim(value, from..at));
            from = at + 1;
        }
    }
    lines.push(trim(value, from..core.end));
    lines.retain(|line| !line.is_empty());
    lines
}
