//! What the forms of a value begin with.
//!
//! Invariant: every form begins with one of them, but for what a terminal's control sequence
//! interrupts.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::base64;
use super::needle::{Case, Family, bytes, units};
use super::rendering::{self, BACKSLASHES, ESCAPES, Escapes, MOST_ESCAPES, Part, Unit};

impl Family {
    /// Calls `take` with what each form begins with, as many bytes as `spelt` is wide, of which none
    /// has fewer, and how far behind its start they stand. One may come twice. Control sequences of
    /// terminals are not among them.
    pub(super) fn beginnings(
        self,
        piece: &[u8],
        spelt: &mut Spelt,
        take: &mut dyn FnMut(&[u8], usize),
    ) {
        let width = spelt.width;
        let mut begun = Vec::with_capacity(width);
        match self {
            Self::Text(case) => {
                let units = units(piece).take(width);
                let units: Vec<_> = units.map(|unit| spelt.of(unit, case)).collect();
                begin_text(&units, width, &mut begun, &mut |begun| take(begun, 0));
            }
            Self::Hex(digits, ends) => {
                begun.extend(digits.of(bytes(piece, ends)).take(width));
                take(&begun, 0);
            }
            Self::Base64(cut, ends) => {
                let sextets = base64::Sextets::new(bytes(piece, ends), cut);
                let sextets: Vec<u8> = sextets.take(2 * width).collect();
                base64::beginnings(&sextets, width, take);
            }
        }
    }
}

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
        let unit = case.apply(unit);
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
