//! One value, or a line of it, in one family of forms: compared with text.
//!
//! Invariants: a needle holds no copy of its value; what is found is the longest of its forms that
//! begins there; when the text ends too early to tell, that is said.

use super::base64;
use super::rendering::{self, Unit};
use super::text::Text;

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
    /// Two hexadecimal digits a byte.
    Hex(Digits, LineEnds),
    /// Base64 (RFC 4648, sections 4 and 5).
    Base64(Cut, LineEnds),
}

/// How bytes are written in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    /// In upper case.
    pub(super) upper: bool,
    /// Each byte after a `%`.
    pub(super) percent: bool,
}

/// Where in base64 a piece begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// How many other bytes stand before it in a group of three.
    pub(super) before: u8,
    /// How many of its characters stand on the line before, and are left out.
    pub(super) skipped: u8,
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

impl Family {
    /// Compares `text` from `start` on.
    pub(super) fn compare(self, piece: &[u8], text: &[u8], start: usize) -> Found {
        match self {
            Self::Text(case) => Text::new(piece, text, start).compare(piece, case),
            Self::Hex(digits, ends) => exact(digits.of(bytes(piece, ends)), text, start),
            Self::Base64(cut, ends) => base64::compare(bytes(piece, ends), cut, text, start),
        }
    }

    /// The length of the shortest form, in bytes.
    pub(super) fn shortest(self, piece: &[u8]) -> usize {
        match self {
            Self::Text(case) => units(piece).map(|unit| case.apply(unit).shortest()).sum(),
            Self::Hex(digits, ends) => digits.of(bytes(piece, ends)).count(),
            Self::Base64(cut, ends) => base64::Sextets::new(bytes(piece, ends), cut).count(),
        }
    }
}

impl Digits {
    /// The digits of bytes.
    pub(super) fn of(self, bytes: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
        bytes.flat_map(move |byte| {
            let [high, low] = rendering::hex(byte, self.upper);
            self.percent.then_some(b'%').into_iter().chain([high, low])
        })
    }
}

impl Case {
    /// A byte in this case.
    pub(super) fn of(self, byte: u8) -> u8 {
        match self {
            Self::Kept => byte,
            Self::Upper => byte.to_ascii_uppercase(),
            Self::Lower => byte.to_ascii_lowercase(),
        }
    }

    /// A unit in this case. Some programs change no letters but those of ASCII, and none is taken
    /// for one of these.
    pub(super) fn apply(self, unit: Unit) -> Unit {
        match unit {
            Unit::Plain(byte) => Unit::Plain(self.of(byte)),
            Unit::Char(char) => {
                let other = match self {
                    Self::Kept => None,
                    Self::Upper => only(char.to_uppercase()),
                    Self::Lower => only(char.to_lowercase()),
                };
                let other = other.filter(|other| *other != char && !other.is_ascii());
                other.map_or(unit, |other| Unit::Either(char, other))
            }
            unit => unit,
        }
    }
}

/// What is one character, and not several.
fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    chars.next().filter(|_| chars.next().is_none())
}

/// The units of a piece.
pub(super) fn units(piece: &[u8]) -> impl Iterator<Item = Unit> {
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

/// The bytes of a piece, with these line ends.
pub(super) fn bytes(piece: &[u8], ends: LineEnds) -> impl Iterator<Item = u8> {
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
pub(super) enum Literal {
    /// It is there, and ends here.
    There(usize),
    /// The text ends before it does.
    More,
    /// It is not there.
    Not,
}

/// Compares a literal text.
pub(super) fn literal(expected: &[u8], text: &[u8], at: usize) -> Literal {
    let rest = &text[at..];
    if rest.starts_with(expected) {
        Literal::There(at + expected.len())
    } else if expected.starts_with(rest) {
        Literal::More
    } else {
        Literal::Not
    }
}
