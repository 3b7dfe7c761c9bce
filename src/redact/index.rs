//! Where a needle may begin, found fast.
//!
//! Invariant: no form of a needle is passed over, but for those that a terminal's control sequence
//! interrupts within its first bytes: who searches looks before each ESCAPE besides.
//!
//! Every form is at least [`GRAM`] + `stride` - 1 bytes long. So one of its first `stride` grams
//! begins at a multiple of `stride`, and only there it is looked for: first in a table of marks
//! by a hash, small enough to stay in the cache; what passes, in a table of grams. Which grams, and
//! how far behind the start they stand, [`Family::beginnings`] says.

use super::beginnings::Spelt;
use super::needle::Family;
use super::text::ESC;

/// The bytes that are looked at together.
const GRAM: usize = 4;

/// The size of the table of marks, in bytes: the second cache holds it. By the grams of twenty
/// secrets one in a hundred others is marked, and one in eight of those passes.
const MARKS: usize = 1 << 19;

/// How many grams are looked at before it is asked whether one of them passed.
const LANES: usize = 8;

/// The largest stride: a larger one makes the tables larger, and is not faster.
const MAX_STRIDE: usize = 4;

/// The grams of the beginnings of needles.
pub(super) struct Index {
    stride: usize,
    /// How far from the start of a needle its last gram ends, at most.
    reach: usize,
    marks: Box<[u8; MARKS]>,
    /// Open addressing: a gram, and its entries in `entries`, or `EMPTY`.
    slots: Vec<Slot>,
    entries: Vec<Entry>,
    /// Needles by their first byte.
    first: Vec<Vec<u32>>,
    /// The first two bytes of the needles.
    pairs: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Slot {
    gram: u32,
    from: u32,
    to: u32,
}

const EMPTY: Slot = Slot { gram: 0, from: 0, to: 0 };

/// A gram, a needle, and where in it the gram is; in one number, for they are sorted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

impl Entry {
    fn new(gram: u32, needle: u32, offset: usize) -> Self {
        Self(u64::from(gram) << 32 | u64::from(needle) << 5 | offset as u64)
    }

    fn gram(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn needle(self) -> u32 {
        self.0 as u32 >> 5
    }

    fn offset(self) -> usize {
        self.0 as usize & 31
    }
}

fn gram(bytes: [u8; GRAM]) -> u32 {
    u32::from_le_bytes(bytes)
}

fn hash(gram: u32) -> u32 {
    // Knuth's multiplicative hash: the upper bits are the good ones.
    gram.wrapping_mul(0x9e37_79b1)
}

/// The gram's bit in its mark.
fn bit(gram: u32) -> u32 {
    hash(gram) >> 8 & 7
}

/// The gram's place in the table of marks.
fn mark(gram: u32) -> usize {
    (hash(gram) >> (u32::BITS - MARKS.trailing_zeros())) as usize
}

impl Index {
    /// Builds it for needles, each a family and its piece.
    pub(super) fn new<'a>(needles: impl Iterator<Item = (Family, &'a [u8])> + Clone) -> Self {
        let shortest = needles.clone().map(|(family, piece)| family.shortest(piece)).min();
        let stride = shortest.map_or(MAX_STRIDE, |shortest| {
            (shortest + 1).saturating_sub(GRAM).clamp(1, MAX_STRIDE)
        });
        let mut entries = Vec::new();
        let mut first = vec![Vec::new(); 256];
        let mut pairs = vec![0; 65_536 / 64];
        let mut spelt = Spelt::new(GRAM + stride - 1);
        let mut reach = 0;
        for (needle, (family, piece)) in needles.enumerate() {
            let needle = needle as u32;
            let mut before = [Entry(0); MAX_STRIDE];
            family.beginnings(piece, &mut spelt, &mut |begun, behind| {
                reach = reach.max(behind + begun.len());
                for (offset, window) in begun.windows(GRAM).enumerate() {
                    let gram = gram([window[0], window[1], window[2], window[3]]);
                    let entry = Entry::new(gram, needle, behind + offset);
                    // They come in order, as a rule.
                    if before[offset] != entry {
                        before[offset] = entry;
                        entries.push(entry);
                    }
                }
                if behind > 0 {
                    return;
                }
                let (one, two) = (usize::from(begun[0]), usize::from(begun[1]));
                set(&mut pairs, one << 8 | two);
                if matches!(family, Family::Text(_)) {
                    set(&mut pairs, one << 8 | usize::from(ESC));
                }
                let needles: &mut Vec<u32> = &mut first[one];
                if needles.last() != Some(&needle) {
                    needles.push(needle);
                }
            });
        }
        for needles in &mut first {
            needles.sort_unstable();
            needles.dedup();
        }
        entries.sort_unstable();
        entries.dedup();
        // Not by way of a thread's small stack.
        let marks = vec![0; MARKS].try_into().unwrap_or_else(|_| Box::new([0; MARKS]));
        let mut index = Self {
            stride,
            reach,
            marks,
            slots: vec![EMPTY; (2 * entries.len() + 1).next_power_of_two()],
            entries,
            first,
            pairs,
        };
        let mut from = 0;
        while let Some(gram) = index.entries.get(from).map(|entry| entry.gram()) {
            let same =
                index.entries[from..].iter().take_while(|entry| entry.gram() == gram).count();
            index.marks[mark(gram)] |= 1 << bit(gram);
            let mut at = index.slot(gram);
            while index.slots[at].to > 0 {
                at = (at + 1) & (index.slots.len() - 1);
            }
            index.slots[at] = Slot { gram, from: from as u32, to: (from + same) as u32 };
            from += same;
        }
        index
    }

    fn slot(&self, gram: u32) -> usize {
        // Other bits than those of the table of marks would be better, but are not needed.
        (hash(gram) >> 7) as usize & (self.slots.len() - 1)
    }

    fn entries(&self, gram: u32) -> &[Entry] {
        let mut at = self.slot(gram);
        loop {
            let slot = self.slots[at];
            if slot.to == 0 {
                return &[];
            }
            if slot.gram == gram {
                return &self.entries[slot.from as usize..slot.to as usize];
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Not 0 if the gram may be one of a needle; the bit of the gram says more.
    fn may_hold(&self, gram: u32) -> u8 {
        self.marks[mark(gram)]
    }

    /// Calls `take` with each needle that may begin in `text` at `from` or later, and where: some
    /// places more than once, and not in order.
    pub(super) fn search(&self, text: &[u8], from: usize, mut take: impl FnMut(u32, usize)) {
        if self.entries.is_empty() {
            return;
        }
        let tail = match self.stride {
            1 => self.grams::<1>(text, from, &mut take),
            2 => self.grams::<2>(text, from, &mut take),
            3 => self.grams::<3>(text, from, &mut take),
            _ => self.grams::<MAX_STRIDE>(text, from, &mut take),
        };
        // What begins too near the end for its grams, and what a sequence interrupts.
        let tail = tail.min((text.len() + 1).saturating_sub(self.reach)).max(from);
        for start in tail..text.len() {
            self.by_pair(text, start, &mut take);
        }
        for escape in memchr::memchr_iter(ESC, &text[from..]) {
            let escape = from + escape;
            for start in escape.saturating_sub(GRAM + self.stride - 2).max(from)..escape {
                self.by_pair(text, start, &mut take);
            }
        }
    }

    /// Looks at a gram in every place of a stride; returns the first start that this doesn't settle.
    fn grams<const STRIDE: usize>(
        &self,
        text: &[u8],
        from: usize,
        take: &mut impl FnMut(u32, usize),
    ) -> usize {
        let mut passed = |at: usize, gram: u32| {
            for entry in self.entries(gram) {
                if let Some(start) = at.checked_sub(entry.offset()).filter(|s| *s >= from) {
                    take(entry.needle(), start);
                }
            }
        };
        let read = |block: &[u8], at: usize| block[at..].first_chunk().map_or(0, |g| gram(*g));
        // The first gram that is looked at is the last one of the first start.
        let mut at = from + STRIDE - 1;
        // Several at a time, and one branch for all.
        while let Some(block) = text.get(at..at + LANES * STRIDE + GRAM) {
            let grams = |lane: usize| read(block, lane * STRIDE);
            let any = (0..LANES).fold(0, |any, lane| any | self.may_hold(grams(lane)));
            if any != 0 {
                let passes = |gram: u32| self.may_hold(gram) >> bit(gram) & 1 != 0;
                for lane in (0..LANES).filter(|lane| passes(grams(*lane))) {
                    passed(at + lane * STRIDE, grams(lane));
                }
            }
            at += LANES * STRIDE;
        }
        while text.len() >= at + GRAM {
            passed(at, read(text, at));
            at += STRIDE;
        }
        at + 1 - STRIDE
    }

    fn by_pair(&self, text: &[u8], start: usize, take: &mut impl FnMut(u32, usize)) {
        let one = usize::from(text[start]);
        let possible =
            text.get(start + 1).is_none_or(|two| is_set(&self.pairs, one << 8 | usize::from(*two)));
        if possible {
            for needle in &self.first[one] {
                take(*needle, start);
            }
        }
    }
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

fn is_set(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 != 0
}
