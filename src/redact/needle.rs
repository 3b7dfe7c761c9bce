//! One value, or a line of it, in one family of forms: compared with text.
//!
//! Invariants: a needle holds no copy of its value; what is found is the longest of its forms that
//! begins there; when the text ends too early to tell, that is said.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::rendering::{self, BACKSLASHES, ESCAPES, Escapes, MOST_ESCAPES, Part, Unit};

/// Which part of which value, and in which family of forms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needle {
    /// The value.
    pub(super) value: u32,
    /// Where the piece begins in it.
    pub(super) from: u32,
    /// Where it ends.
    pub(super) to: u32,
    /// The forms.
    pub(super) family: Family,
}

/// A family of forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// As it is, and escaped character by character.
    Text(Case),
    /// Two hexadecimal digits a byte, upper case or lower.
    Hex(bool, LineEnds),
    /// `%` and two hexadecimal digits a byte, upper case or lower.
    Percent(bool, LineEnds),
    /// Base64 (RFC 4648, sections 4 and 5) after 0, 1 or 2 other bytes of a group of three.
    Base64(u8, LineEnds),
}

/// Letters as they are, or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// As they are.
    Kept,
    /// ASCII letters in upper case.
    Upper,
    /// ASCII letters in lower case.
    Lower,
}

/// The line ends of a value before it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// As they are.
    Kept,
    /// LF.
    Lf,
    /// CRLF.
    CrLf,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The end of the longest form that begins there.
    pub(super) end: Option<usize>,
    /// Whether more text could make it one, or a longer one.
    pub(super) more: bool,
}

/// How often longer than its piece a form may be, and how many bytes besides: what is longer is
/// none, so that there is an end to what is held back.
const LONGEST: (usize, usize) = (16, 1024);

impl Family {
    /// Compares `text` from `start` on.
    pub(super) fn compare(self, piece: &[u8], text: &[u8], start: usize) -> Found {
        match self {
            Self::Text(case) => Text::new(piece, text, start).compare(piece, case),
            Self::Hex(upper, ends) => {
                let digits = bytes(piece, ends).flat_map(|byte| rendering::hex(byte, upper));
                exact(digits, text, start)
            }
            Self::Percent(upper, ends) => {
                let digits = bytes(piece, ends).flat_map(|byte| {
                    let [high, low] = rendering::hex(byte, upper);
                    [b'%', high, low]
                });
                exact(digits, text, start)
            }
            Self::Base64(before, ends) => base64(bytes(piece, ends), before, text, start),
        }
    }

    /// The length of the shortest form, in bytes.
    pub(super) fn shortest(self, piece: &[u8]) -> usize {
        match self {
            Self::Text(_) => units(piece).map(Unit::shortest).sum(),
            Self::Hex(_, ends) => 2 * bytes(piece, ends).count(),
            Self::Percent(_, ends) => 3 * bytes(piece, ends).count(),
            Self::Base64(before, ends) => {
                let bits = 8 * usize::from(before);
                (bits + 8 * bytes(piece, ends).count()) / 6 - bits.div_ceil(6)
            }
        }
    }

    /// Calls `take` with what each form begins with: `width` bytes, of which none has fewer. One
    /// may come twice. Control sequences of terminals are not among them.
    pub(super) fn beginnings(self, piece: &[u8], spelt: &mut Spelt, take: &mut dyn FnMut(&[u8])) {
        let width = spelt.width;
        let mut begun = Vec::with_capacity(width);
        match self {
            Self::Text(case) => {
                let units = units(piece).take(width);
                let units: Vec<_> = units.map(|unit| spelt.of(unit, case)).collect();
                begin_text(&units, width, &mut begun, take);
            }
            Self::Hex(upper, ends) => {
                begun.extend(bytes(piece, ends).take(width).flat_map(|b| rendering::hex(b, upper)));
                take(&begun[..width]);
            }
            Self::Percent(upper, ends) => {
                begun.extend(bytes(piece, ends).take(width).flat_map(|byte| {
                    let [high, low] = rendering::hex(byte, upper);
                    [b'%', high, low]
                }));
                take(&begun[..width]);
            }
            Self::Base64(before, ends) => {
                let sextets: Vec<u8> =
                    Sextets::new(bytes(piece, ends), before).take(width).collect();
                begin_base64(&sextets, width, false, &mut begun, take);
            }
        }
    }
}

fn units(piece: &[u8]) -> impl Iterator<Item = Unit> {
    let mut rest = piece;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (unit, length) = Unit::first(rest);
        rest = &rest[length..];
        Some(unit)
    })
}

fn bytes(piece: &[u8], ends: LineEnds) -> impl Iterator<Item = u8> {
    let mut at = 0;
    let mut owed = None;
    std::iter::from_fn(move || {
        if let Some(byte) = owed.take() {
            return Some(byte);
        }
        let byte = *piece.get(at)?;
        at += 1;
        if ends == LineEnds::Kept || !matches!(byte, b'\r' | b'\n') {
            return Some(byte);
        }
        if byte == b'\r' && piece.get(at) == Some(&b'\n') {
            at += 1;
        }
        if ends == LineEnds::Lf {
            return Some(b'\n');
        }
        owed = Some(b'\n');
        Some(b'\r')
    })
}

fn exact(expected: impl Iterator<Item = u8>, text: &[u8], start: usize) -> Found {
    let mut at = start;
    for byte in expected {
        match text.get(at) {
            None => return Found { end: None, more: true },
            Some(there) if *there == byte => at += 1,
            Some(_) => return Found::default(),
        }
    }
    Found { end: Some(at), more: false }
}

/// What comes of a literal text at a place.
enum Literal {
    /// It is there, and ends here.
    There(usize),
    /// The text ends before it does.
    More,
    /// It is not there.
    Not,
}

fn literal(expected: &[u8], text: &[u8], at: usize) -> Literal {
    let rest = &text[at..];
    if rest.starts_with(expected) {
        Literal::There(at + expected.len())
    } else if expected.starts_with(rest) {
        Literal::More
    } else {
        Literal::Not
    }
}

/// Where in its piece a unit stands.
#[derive(Clone, Copy)]
struct Place {
    first: bool,
    last: bool,
}

/// A comparison with the family [`Family::Text`].
struct Text<'a> {
    text: &'a [u8],
    start: usize,
    /// What ends behind it is too long.
    limit: usize,
    more: bool,
}

impl<'a> Text<'a> {
    fn new(piece: &[u8], text: &'a [u8], start: usize) -> Self {
        let (factor, addend) = LONGEST;
        Self { text, start, limit: start + factor * piece.len() + addend, more: false }
    }

    /// All the places at which the units so far may end, unit by unit: a few, as a rule one.
    fn compare(mut self, piece: &[u8], case: Case) -> Found {
        let mut ends = vec![self.start];
        let mut next = Vec::new();
        let mut at = 0;
        while at < piece.len() && !ends.is_empty() {
            if let &[only] = &ends[..]
                && let (run, end) = self.plain(&piece[at..], case, only, at == 0)
                && run > 0
            {
                at += run;
                ends.clear();
                ends.extend(end);
            } else {
                let (unit, length) = Unit::first(&piece[at..]);
                for end in ends.drain(..) {
                    let place = Place { first: at == 0, last: at + length == piece.len() };
                    self.unit(unit, case, end, place, &mut next);
                }
                at += length;
                next.sort_unstable();
                next.dedup();
                std::mem::swap(&mut ends, &mut next);
            }
            ends.retain(|end| *end <= self.limit);
        }
        Found { end: ends.last().copied(), more: self.more }
    }

    /// The plain characters that `piece` begins with: how many were looked at, and the end.
    fn plain(
        &mut self,
        piece: &[u8],
        case: Case,
        at: usize,
        first: bool,
    ) -> (usize, Option<usize>) {
        let mut end = at;
        let mut run = 0;
        for byte in piece.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_') {
            if run > 0 || !first {
                match self.past_sequences(end) {
                    Some(past) => end = past,
                    None => return (run + 1, None),
                }
            }
            run += 1;
            match self.text.get(end) {
                Some(there) if *there == case.of(*byte) => end += 1,
                there => {
                    self.more |= there.is_none();
                    return (run, None);
                }
            }
        }
        (run, Some(end))
    }

    fn unit(&mut self, unit: Unit, case: Case, mut at: usize, place: Place, ends: &mut Vec<usize>) {
        if unit == Unit::Special(ESC) {
            // It may be the value's own, or begin a sequence of the terminal.
            while !place.first
                && let Some(past) = self.past_sequence(at)
            {
                rendering::each(unit, place.last, &mut |parts| self.parts(parts, at, ends));
                at = past;
            }
        } else if !place.first {
            match self.past_sequences(at) {
                Some(past) => at = past,
                None => return,
            }
        }
        if unit_begins_otherwise(unit, self.text.get(at)) {
            return;
        }
        match unit {
            Unit::Backslashes(run) => {
                let counts = rendering::backslashes(run);
                for kind in BACKSLASHES {
                    let mut end = at;
                    for count in 1..=*counts.end() {
                        match literal(kind, self.text, end) {
                            Literal::There(after) => end = after,
                            Literal::More => {
                                self.more = true;
                                break;
                            }
                            Literal::Not => break,
                        }
                        if counts.contains(&count) {
                            ends.push(end);
                        }
                    }
                }
            }
            // As it is, which is by far the most frequent: nothing else begins like this.
            Unit::Special(byte)
                if self.text.get(at) == Some(&byte) && !b"%&'\"".contains(&byte) =>
            {
                ends.push(at + 1);
            }
            Unit::Plain(byte) => match self.text.get(at) {
                Some(there) if *there == case.of(byte) => ends.push(at + 1),
                there => self.more |= there.is_none(),
            },
            unit => rendering::each(unit, place.last, &mut |parts| self.parts(parts, at, ends)),
        }
    }

    fn parts(&mut self, parts: &[Part], at: usize, ends: &mut Vec<usize>) {
        let [part, rest @ ..] = parts else {
            ends.push(at);
            return;
        };
        if part.escapes != Escapes::Some {
            self.part(part, rest, at, ends);
        }
        if part.escapes == Escapes::No {
            return;
        }
        for kind in ESCAPES {
            let mut end = at;
            for _ in 0..MOST_ESCAPES {
                match literal(kind, self.text, end) {
                    Literal::There(after) => end = after,
                    Literal::More => {
                        self.more = true;
                        break;
                    }
                    Literal::Not => break,
                }
                self.part(part, rest, end, ends);
            }
        }
    }

    fn part(&mut self, part: &Part, rest: &[Part], at: usize, ends: &mut Vec<usize>) {
        match literal(part.text(), self.text, at) {
            Literal::There(end) => self.parts(rest, end, ends),
            Literal::More => self.more = true,
            Literal::Not => {}
        }
    }

    /// Where the control sequences that begin at `at` end; `None` where the last of them doesn't.
    fn past_sequences(&mut self, mut at: usize) -> Option<usize> {
        while at <= self.limit && self.text.get(at) == Some(&ESC) {
            at = self.past_sequence(at)?;
        }
        Some(at)
    }

    /// A control sequence: ECMA-48, section 5.4, of at most [`LONGEST_SEQUENCE`] bytes between its
    /// introducer and its final byte.
    fn past_sequence(&mut self, at: usize) -> Option<usize> {
        let body = match self.text.get(at..)? {
            [ESC, b'[', body @ ..] => body,
            [ESC] => {
                self.more = true;
                return None;
            }
            _ => return None,
        };
        let inside = body.iter().take(LONGEST_SEQUENCE).take_while(|b| matches!(b, 0x20..=0x3f));
        let inside = inside.count();
        match body.get(inside) {
            Some(0x40..=0x7e) => Some(at + 2 + inside + 1),
            Some(_) => None,
            None => {
                self.more = true;
                None
            }
        }
    }
}

/// Only what is never escaped begins with a letter or a digit.
fn unit_begins_otherwise(unit: Unit, there: Option<&u8>) -> bool {
    !matches!(unit, Unit::Plain(_)) && there.is_some_and(u8::is_ascii_alphanumeric)
}

/// ESCAPE, with which a control sequence begins.
pub(super) const ESC: u8 = 0x1b;

const LONGEST_SEQUENCE: usize = 24;

impl Case {
    fn of(self, byte: u8) -> u8 {
        match self {
            Self::Kept => byte,
            Self::Upper => byte.to_ascii_uppercase(),
            Self::Lower => byte.to_ascii_lowercase(),
        }
    }
}

/// The groups of six bits that a piece determines wholly, and what is left of it.
struct Sextets<I> {
    bytes: I,
    bits: u32,
    count: u32,
}

impl<I: Iterator<Item = u8>> Sextets<I> {
    fn new(mut bytes: I, before: u8) -> Self {
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
        Self { bytes, bits, count }
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

fn base64(bytes: impl Iterator<Item = u8>, before: u8, text: &[u8], start: usize) -> Found {
    let mut sextets = Sextets::new(bytes, before);
    let mut at = start;
    let mut more = false;
    // Before the first character there is none.
    let mut line = BREAKS_APART - 1;
    for sextet in sextets.by_ref() {
        if at > start
            && line >= BREAKS_APART
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

/// The renderings of units, as far as they are looked at. Units come again and again.
pub(super) struct Spelt {
    width: usize,
    by_unit: BTreeMap<Unit, Rc<[Vec<u8>]>>,
}

impl Spelt {
    /// As many bytes of them as `width`.
    pub(super) fn new(width: usize) -> Self {
        Self { width, by_unit: BTreeMap::new() }
    }

    fn of(&mut self, unit: Unit, case: Case) -> Rc<[Vec<u8>]> {
        let unit = match unit {
            Unit::Plain(byte) => Unit::Plain(case.of(byte)),
            unit => unit,
        };
        let width = self.width;
        Rc::clone(self.by_unit.entry(unit).or_insert_with(|| spell(unit, width).into()))
    }
}

/// The renderings of a unit in order, none twice, cut to `room` bytes.
fn spell(unit: Unit, room: usize) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    match unit {
        Unit::Backslashes(run) => {
            for kind in BACKSLASHES {
                let counts = rendering::backslashes(run);
                texts.extend(counts.take(room + 1).map(|count| kind.repeat(count)));
            }
        }
        unit => rendering::each(unit, false, &mut |parts| {
            spell_parts(parts, room, &mut Vec::new(), &mut |text| texts.push(text.to_vec()));
        }),
    }
    for text in &mut texts {
        text.truncate(room);
    }
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn begin_text(
    units: &[Rc<[Vec<u8>]>],
    width: usize,
    begun: &mut Vec<u8>,
    take: &mut dyn FnMut(&[u8]),
) {
    let length = begun.len();
    let ([texts, rest @ ..], true) = (units, length < width) else {
        take(&begun[..width]);
        return;
    };
    let mut before: &[u8] = &[];
    for text in texts.iter() {
        let text = &text[..text.len().min(width - length)];
        if text != before {
            begun.extend_from_slice(text);
            begin_text(rest, width, begun, take);
            begun.truncate(length);
            before = text;
        }
    }
}

/// Writes the renderings of parts out, as far as there is room.
fn spell_parts(parts: &[Part], room: usize, begun: &mut Vec<u8>, take: &mut dyn FnMut(&[u8])) {
    let ([part, rest @ ..], true) = (parts, begun.len() < room) else {
        take(begun);
        return;
    };
    let length = begun.len();
    let mut with = |escapes: &[u8], count: usize| {
        begun.extend(escapes.repeat(count));
        begun.extend_from_slice(part.text());
        spell_parts(rest, room, begun, take);
        begun.truncate(length);
    };
    if part.escapes != Escapes::Some {
        with(b"", 0);
    }
    if part.escapes != Escapes::No {
        for kind in ESCAPES {
            for count in 1..=(room - length).div_ceil(kind.len()).min(MOST_ESCAPES) {
                with(kind, count);
            }
        }
    }
}

fn begin_base64(
    sextets: &[u8],
    width: usize,
    broken: bool,
    begun: &mut Vec<u8>,
    take: &mut dyn FnMut(&[u8]),
) {
    let length = begun.len();
    let [sextet, rest @ ..] = sextets else {
        take(&begun[..width]);
        return;
    };
    if length >= width {
        take(&begun[..width]);
        return;
    }
    for character in characters(*sextet) {
        begun.extend_from_slice(character);
        begin_base64(rest, width, broken, begun, take);
        begun.truncate(length);
    }
    if length > 0 && !broken {
        for line_break in BREAKS {
            begun.extend_from_slice(line_break);
            begin_base64(sextets, width, true, begun, take);
            begun.truncate(length);
        }
    }
}
