//! A value as it is, or escaped character by character: compared with text.
//!
//! Invariant: every mixture of renderings is found, in time that grows with the text, not with the
//! number of mixtures.

use super::needle::{Case, Found, Literal, literal};
use super::rendering::{self, BACKSLASHES, ESCAPES, Escapes, MOST_ESCAPES, Part, Unit};

/// How often longer than its piece a form may be, and how many bytes besides: what is longer is
/// none, so that there is an end to what is held back.
const LONGEST: (usize, usize) = (16, 1024);

/// Where in its piece a unit stands.
#[derive(Clone, Copy)]
struct Place {
    first: bool,
    last: bool,
}

/// A comparison with the family [`Family::Text`].
pub(super) struct Text<'a> {
    text: &'a [u8],
    start: usize,
    /// What ends behind it is too long.
    limit: usize,
    more: bool,
}

impl<'a> Text<'a> {
    /// From `start` on.
    pub(super) fn new(piece: &[u8], text: &'a [u8], start: usize) -> Self {
        let (factor, addend) = LONGEST;
        Self { text, start, limit: start + factor * piece.len() + addend, more: false }
    }

    /// All the places at which the units so far may end, unit by unit: a few, as a rule one.
    pub(super) fn compare(mut self, piece: &[u8], case: Case) -> Found {
        // As long as there is one place only, which is nearly always, no memory is needed.
        let mut one = Some(self.start);
        let (mut ends, mut next) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < piece.len() {
            let (unit, length) = Unit::first(&piece[at..]);
            let unit = case.apply(unit);
            if let Some(only) = one {
                let (length, end) = match unit {
                    Unit::Plain(_) => self.plain(&piece[at..], case, only, at == 0),
                    Unit::Special(byte) if self.stands_as_it_is(byte, only) => (1, Some(only + 1)),
                    _ => (0, None),
                };
                if length > 0 {
                    one = end.filter(|end| *end <= self.limit);
                    if one.is_none() {
                        break;
                    }
                    at += length;
                    continue;
                }
                ends.push(only);
            }
            let place = Place { first: at == 0, last: at + length == piece.len() };
            for end in ends.drain(..) {
                self.unit(unit, end, place, &mut next);
            }
            at += length;
            next.retain(|end| *end <= self.limit);
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut ends, &mut next);
            one = None;
            match ends[..] {
                [] => break,
                [_] => one = ends.pop(),
                _ => {}
            }
        }
        Found { end: one.or(ends.last().copied()), more: self.more }
    }

    /// Whether a special character stands there as it is, and cannot stand there otherwise.
    fn stands_as_it_is(&self, byte: u8, at: usize) -> bool {
        self.text.get(at) == Some(&byte) && byte != ESC && !b"%&'\"".contains(&byte)
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

    fn unit(&mut self, unit: Unit, mut at: usize, place: Place, ends: &mut Vec<usize>) {
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
                    self.repeated(kind, *counts.end(), at, |_, count, end| {
                        if counts.contains(&count) {
                            ends.push(end);
                        }
                    });
                }
            }
            Unit::Plain(byte) => match self.text.get(at) {
                Some(there) if *there == byte => ends.push(at + 1),
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
            self.repeated(kind, MOST_ESCAPES, at, |text, _, end| {
                text.part(part, rest, end, ends);
            });
        }
    }

    /// Calls `take` with 1, 2, 3 … up to `most`, and where so many of `one` end that stand from `at`
    /// on.
    fn repeated(
        &mut self,
        one: &[u8],
        most: usize,
        at: usize,
        mut take: impl FnMut(&mut Self, usize, usize),
    ) {
        let mut end = at;
        for count in 1..=most {
            match literal(one, self.text, end) {
                Literal::There(after) => end = after,
                Literal::More => {
                    self.more = true;
                    return;
                }
                Literal::Not => return,
            }
            take(self, count, end);
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
