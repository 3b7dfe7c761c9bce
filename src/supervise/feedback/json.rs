//! Feedback as JSON: what it says of the job, and the same with its string values masked.
//!
//! Invariant: what is no string value that holds a secret, and no number or word that does, stays
//! byte for byte: keys, order, blanks, repeated keys, the digits of large numbers.

use std::ops::Range;
use std::sync::Arc;

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::Complaint;
use crate::redact::{MASK, Masker};

/// What was found in a text.
pub(super) struct Examined {
    /// What it says of its job.
    pub(super) verdict: Result<(), Complaint>,
    /// The masked text, if it is another one.
    pub(super) masked: Option<Vec<u8>>,
}

/// Looks through a text; `None`: it is no JSON.
pub(super) fn examine(text: &[u8], masker: &Arc<Masker>) -> Option<Examined> {
    let text = str::from_utf8(text).ok()?;
    // Reads without keeping anything.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut verdict = Err(Complaint::Unreadable);
    let mut changed = Changed { text, masked: Vec::new(), copied: 0 };
    // Whether the next value is that of the object's `error`: as for most readers, the last counts.
    let mut of_error = false;
    for Token { range, what, depth } in Tokens::of(text) {
        let token = &text[range.clone()];
        if depth == 0 && what == What::Open {
            verdict = if token == "{" { Ok(()) } else { verdict };
        }
        if what == What::Key {
            of_error = depth == 1 && *decoded(token) == *"error";
            continue;
        }
        if std::mem::take(&mut of_error) {
            let harmless = matches!(token, "null" | "false" | "\"\"");
            verdict = if harmless { Ok(()) } else { Err(Complaint::Error) };
        }
        match what {
            _ if masker.is_empty() => {}
            What::Text => {
                let plain = decoded(token);
                let masked = masker.text(&plain);
                if *masked != *plain {
                    changed.splice(range, &masked);
                }
            }
            What::Word if masker.text(token) != token => changed.splice(range, MASK),
            What::Word | What::Open | What::Key => {}
        }
    }
    Some(Examined { verdict, masked: changed.finish() })
}

/// A text in which some pieces are replaced.
struct Changed<'t> {
    text: &'t str,
    masked: Vec<u8>,
    copied: usize,
}

impl Changed<'_> {
    /// Puts a string of JSON in the place of a piece; pieces come in order.
    fn splice(&mut self, piece: Range<usize>, string: &str) {
        self.masked.extend_from_slice(&self.text.as_bytes()[self.copied..piece.start]);
        self.masked.extend_from_slice(serde_json::Value::from(string).to_string().as_bytes());
        self.copied = piece.end;
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        if self.copied == 0 {
            return None;
        }
        self.masked.extend_from_slice(&self.text.as_bytes()[self.copied..]);
        Some(self.masked)
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A string before a colon.
    Key,
    /// Any other string.
    Text,
    /// A number, `true`, `false` or `null`.
    Word,
    /// The begin of an object or an array.
    Open,
}

/// A token, and how many objects and arrays are open around it.
struct Token {
    range: Range<usize>,
    what: What,
    depth: usize,
}

/// The tokens of a text that is known to be JSON, without its commas, colons and closing brackets.
struct Tokens<'t> {
    bytes: &'t [u8],
    at: usize,
    depth: usize,
}

impl<'t> Tokens<'t> {
    fn of(text: &'t str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, depth: 0 }
    }

    /// The first place from `at` on whose byte fits; the end if there is none.
    fn seek(&self, at: usize, fits: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter().position(|byte| fits(*byte)).map_or(self.bytes.len(), |found| at + found)
    }

    /// Where the string ends that begins at `start`.
    fn string_end(&self, start: usize) -> usize {
        let mut at = start + 1;
        loop {
            at = self.seek(at, |byte| matches!(byte, b'"' | b'\\'));
            match self.bytes.get(at) {
                Some(b'\\') => at += 2,
                _ => return (at + 1).min(self.bytes.len()),
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let (start, depth) = (self.at, self.depth);
            let (end, what) = match self.bytes.get(start)? {
                b'"' => {
                    let end = self.string_end(start);
                    let next = self.seek(end, |byte| !byte.is_ascii_whitespace());
                    let key = self.bytes.get(next) == Some(&b':');
                    (end, if key { What::Key } else { What::Text })
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    (start + 1, What::Open)
                }
                byte if byte.is_ascii_alphanumeric() || *byte == b'-' => {
                    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
                    (self.seek(start, |byte| !inside(byte)), What::Word)
                }
                byte => {
                    self.depth -= usize::from(matches!(byte, b'}' | b']'));
                    self.at += 1;
                    continue;
                }
            };
            self.at = end;
            return Some(Token { range: start..end, what, depth });
        }
    }
}

/// A text that may hold a value: what was copied is overwritten afterwards.
enum Plain<'t> {
    Same(&'t str),
    Copy(Zeroizing<String>),
}

impl std::ops::Deref for Plain<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Same(text) => text,
            Self::Copy(text) => text,
        }
    }
}

/// What a string of JSON says. Half of a surrogate pair, which Python writes for bytes that are no
/// text, becomes U+FFFD.
fn decoded(token: &str) -> Plain<'_> {
    let inner = &token[1..token.len() - 1];
    if !inner.contains('\\') {
        return Plain::Same(inner);
    }
    // Never longer than what it comes from: no copy is left by growing.
    let mut text = Zeroizing::new(String::with_capacity(inner.len()));
    let mut rest = inner;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        rest = match escape.as_bytes()[0] {
            b'u' => {
                let (units, length) = units(escape);
                text.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')));
                &escape[length..]
            }
            letter => {
                text.push(match letter {
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    same => same.into(),
                });
                &escape[1..]
            }
        };
    }
    text.push_str(rest);
    Plain::Copy(text)
}

/// The units of UTF-16 at the begin of `u00e4…`, one or a pair, and how many bytes they take.
fn units(escape: &str) -> (impl Iterator<Item = u16>, usize) {
    let unit = |at: usize| {
        let digits = escape.get(at + 1..at + 5)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0);
    let second = first
        .filter(|unit| (0xd800..0xdc00).contains(unit) && escape[5..].starts_with("\\u"))
        .and_then(|_| unit(6))
        .filter(|unit| (0xdc00..0xe000).contains(unit));
    let length = if second.is_some() { 11 } else { 5 };
    (first.into_iter().chain(second), length)
}
