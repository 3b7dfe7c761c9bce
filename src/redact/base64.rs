//! A value in base64 (RFC 4648, sections 4 and 5), wherever in a longer text it stood: compared.
//!
//! Invariant: what is found are the characters that the value determines wholly, and the last one
//! that it determines in part; the bits that it shares with what stood before it stay.

use std::collections::BTreeSet;

use super::needle::{Cut, Found, Literal, literal};

/// The groups of six bits that a piece determines wholly, and what is left of it.
pub(super) struct Sextets<I> {
    bytes: I,
    bits: u32,
    count: u32,
}

impl<I: Iterator<Item = u8>> Sextets<I> {
    /// Of bytes that begin there.
    pub(super) fn new(mut bytes: I, Cut { before, skipped }: Cut) -> Self {
        let mut count = 0;
        let mut bits = 0;
        // The bits that share a group with what stands before are left out.
        let shared = match before {
            1 => 4,
            2 => 2,
            _ => 0,
        };
        if shared > 0
            && let Some(byte) = bytes.next()
        {
            count = 8 - shared;
            bits = u32::from(byte) & ((1 << count) - 1);
        }
        let mut sextets = Self { bytes, bits, count };
        for _ in 0..skipped {
            sextets.next();
        }
        sextets
    }
}

impl<I: Iterator<Item = u8>> Iterator for Sextets<I> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.count < 6 {
            self.bits = self.bits << 8 | u32::from(self.bytes.next()?);
            self.count += 8;
        }
        self.count -= 6;
        let sextet = self.bits >> self.count;
        self.bits &= (1 << self.count) - 1;
        Some(sextet as u8)
    }
}

/// RFC 4648, table 1.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What stands for six bits: the standard alphabet, the one for URLs and file names, and what
/// percent-encoding and JSON make of them.
fn characters(sextet: u8) -> impl Iterator<Item = &'static [u8]> {
    let at = usize::from(sextet);
    let others: &[&[u8]] = match sextet {
        62 => &[b"-", b"%2B", b"%2b"],
        63 => &[b"_", b"%2F", b"%2f", b"\\/"],
        _ => &[],
    };
    std::iter::once(&ALPHABET[at..=at]).chain(others.iter().copied())
}

/// How long lines are broken: as they are, and escaped.
const BREAKS: [&[u8]; 4] = [b"\n", b"\r\n", b"\\n", b"\\r\\n"];

/// The end of the first of `texts` that is there; two of them never are.
fn one_of(
    texts: impl IntoIterator<Item = &'static [u8]>,
    text: &[u8],
    at: usize,
    more: &mut bool,
) -> Option<usize> {
    texts.into_iter().find_map(|expected| match literal(expected, text, at) {
        Literal::There(end) => Some(end),
        Literal::More => {
            *more = true;
            None
        }
        Literal::Not => None,
    })
}

/// The fewest characters from one line break to the next; lines of 64 and of 76 are usual.
const BREAKS_APART: usize = 16;

/// The fewest characters before the first line break. With one, each line that ends in a letter
/// could be the beginning of a value, and its end would be held back. What has fewer is found behind
/// the break.
pub(super) const FIRST_LINE: u8 = 3;

/// Compares `text` from `start` on with bytes that begin there.
pub(super) fn compare(
    bytes: impl Iterator<Item = u8>,
    cut: Cut,
    text: &[u8],
    start: usize,
) -> Found {
    let mut sextets = Sextets::new(bytes, cut);
    let mut at = start;
    let mut more = false;
    let mut line = BREAKS_APART - usize::from(FIRST_LINE);
    for sextet in sextets.by_ref() {
        if line >= BREAKS_APART
            && let Some(end) = one_of(BREAKS, text, at, &mut more)
        {
            at = end;
            line = 0;
        }
        line += 1;
        match one_of(characters(sextet), text, at, &mut more) {
            Some(end) => at = end,
            None => return Found { end: None, more },
        }
    }
    let left = sextets.count;
    if left > 0 {
        let known = sextets.bits as u8;
        let agreeing = (0..1 << (6 - left)).map(|rest| known << (6 - left) | rest);
        if let Some(end) = one_of(agreeing.flat_map(characters), text, at, &mut more) {
            at = end;
            let mut padded = Some(end);
            for _ in 0..(6 - left) / 2 {
                padded = padded.and_then(|at| one_of(PADDING, text, at, &mut more));
            }
            at = padded.unwrap_or(at);
        }
    }
    Found { end: Some(at), more }
}

const PADDING: [&[u8]; 3] = [b"=", b"%3D", b"%3d"];

/// Calls `take` with `width` bytes of each form of at least as many sextets, and how many bytes of
/// the form stand before them: the first ones, and of a longer form those that are whole when a
/// line break is among the first ones.
pub(super) fn beginnings(sextets: &[u8], width: usize, take: &mut dyn FnMut(&[u8], usize)) {
    let mut begun = Vec::with_capacity(width);
    let later = sextets.get(width..2 * width);
    begin(sextets, width, later.is_some(), &mut begun, &mut |begun| take(begun, 0));
    let Some(later) = later else { return };
    let mut before = BTreeSet::from([0]);
    for sextet in &sextets[..width] {
        let longer = |length: usize| characters(*sextet).map(move |text| length + text.len());
        before = before.into_iter().flat_map(longer).collect();
    }
    for line_break in BREAKS.map(<[u8]>::len) {
        for before in &before {
            begin(later, width, true, &mut begun, &mut |begun| take(begun, before + line_break));
        }
    }
}

/// Calls `take` with the first `width` bytes of each form of sextets; with a line break in them, if
/// they are not `whole`.
fn begin(
    sextets: &[u8],
    width: usize,
    whole: bool,
    begun: &mut Vec<u8>,
    take: &mut dyn FnMut(&[u8]),
) {
    let length = begun.len();
    let ([sextet, rest @ ..], true) = (sextets, length < width) else {
        take(&begun[..width]);
        return;
    };
    for character in characters(*sextet) {
        begun.extend_from_slice(character);
        begin(rest, width, whole, begun, take);
        begun.truncate(length);
    }
    if length > 0 && !whole {
        for line_break in BREAKS {
            begun.extend_from_slice(line_break);
            begin(sextets, width, true, begun, take);
            begun.truncate(length);
        }
    }
}
