//! A masker that is slow and obvious, written from the definition of what is masked alone.
//!
//! A needle is a [`Form`]: a little grammar. Where a form ends is found by trying everything. Each
//! function below is one sentence of the definition; what the definition leaves open is marked
//! with "Read as:".

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::Named;

/// A grammar of byte strings.
#[derive(Debug)]
enum Form {
    /// These bytes.
    Text(Vec<u8>),
    /// One byte of a range.
    One(RangeInclusive<u8>),
    /// Any of these.
    Any(Vec<Self>),
    /// All of these, one after the other.
    Then(Vec<Self>),
    /// One form, this many times.
    Times(Box<Self>, usize, usize),
    /// All of these, in lines: a break may stand before each but the first, if at least so many
    /// stand between it and the break before.
    Lines(Vec<Self>, Box<Self>, usize),
}

use Form::{Any, Lines, One, Text, Then, Times};

impl Form {
    /// Every place where this form ends if it begins at `at`. `cut` becomes true if it might go on
    /// behind the end of the text.
    fn ends(&self, text: &[u8], at: usize, cut: &mut bool) -> BTreeSet<usize> {
        match self {
            Text(bytes) => {
                let rest = &text[at..];
                *cut |= rest.len() < bytes.len() && bytes.starts_with(rest);
                BTreeSet::from_iter(rest.starts_with(bytes).then_some(at + bytes.len()))
            }
            One(range) => {
                *cut |= at == text.len();
                let fits = text.get(at).is_some_and(|byte| range.contains(byte));
                BTreeSet::from_iter(fits.then_some(at + 1))
            }
            Any(forms) => forms.iter().flat_map(|form| form.ends(text, at, cut)).collect(),
            Then(forms) => forms.iter().fold(BTreeSet::from([at]), |ends, form| {
                ends.into_iter().flat_map(|end| form.ends(text, end, cut)).collect()
            }),
            Times(form, least, most) => {
                let (mut found, mut ends) = (BTreeSet::new(), BTreeSet::from([at]));
                for count in 0..=*most {
                    if count >= *least {
                        found.extend(&ends);
                    }
                    if count < *most {
                        ends = ends.into_iter().flat_map(|end| form.ends(text, end, cut)).collect();
                    }
                    if ends.is_empty() {
                        break;
                    }
                }
                found
            }
            Lines(forms, line_break, apart) => {
                // Places, and how many stand between the last break and there.
                // Three stand before the first break.
                let mut places = BTreeSet::from([(at, *apart - 3)]);
                for (index, form) in forms.iter().enumerate() {
                    for (at, since) in places.clone() {
                        if index > 0 && since >= *apart {
                            places
                                .extend(line_break.ends(text, at, cut).iter().map(|end| (*end, 0)));
                        }
                    }
                    let behind = |(at, since): (usize, usize)| -> Vec<(usize, usize)> {
                        let ends = form.ends(text, at, cut);
                        ends.into_iter().map(|end| (end, (since + 1).min(*apart))).collect()
                    };
                    places = places.into_iter().flat_map(behind).collect();
                }
                places.into_iter().map(|(end, _)| end).collect()
            }
        }
    }

    /// The bytes that this form can begin with, and whether it can be empty.
    fn begins(&self) -> (BTreeSet<u8>, bool) {
        match self {
            Text(bytes) => (bytes.first().copied().into_iter().collect(), bytes.is_empty()),
            One(range) => (range.clone().collect(), false),
            Any(forms) => {
                let begins: Vec<_> = forms.iter().map(Self::begins).collect();
                let empty = begins.iter().any(|(_, empty)| *empty);
                (begins.into_iter().flat_map(|(bytes, _)| bytes).collect(), empty)
            }
            Then(forms) | Lines(forms, ..) => {
                let mut first = BTreeSet::new();
                for form in forms {
                    let (bytes, empty) = form.begins();
                    first.extend(bytes);
                    if !empty {
                        return (first, false);
                    }
                }
                (first, true)
            }
            Times(form, least, _) => {
                let (bytes, empty) = form.begins();
                (bytes, empty || *least == 0)
            }
        }
    }
}

fn text(bytes: impl AsRef<[u8]>) -> Form {
    Text(bytes.as_ref().to_vec())
}

fn any<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Form {
    Any(texts.into_iter().map(text).collect())
}

fn optional(form: Form) -> Form {
    Times(Box::new(form), 0, 1)
}

/// Lower or upper hexadecimal digits, each with the same bytes around.
fn hex(write: impl Fn(&dyn Fn(u32, usize) -> String) -> String) -> Form {
    any([write(&|n, width| format!("{n:0width$x}")), write(&|n, width| format!("{n:0width$X}"))])
}

const BACKSLASH: [&str; 3] = ["\\", "%5C", "%5c"];

/// One of these, over and over.
fn repeated(kinds: &[&str], least: usize, most: usize) -> Form {
    Any(kinds.iter().map(|kind| Times(Box::new(text(kind)), least, most)).collect())
}

/// B* and B+.
fn backslashes(least: usize) -> Form {
    repeated(&BACKSLASH, least, 16)
}

/// B+ and then something.
fn escaped(form: Form) -> Form {
    Then(vec![backslashes(1), form])
}

fn is_blank(byte: &u8) -> bool {
    b" \t\n\r\x0b\x0c".contains(byte)
}

/// Without ASCII whitespace at both ends.
fn strip(bytes: &[u8]) -> &[u8] {
    let Some(first) = bytes.iter().position(|byte| !is_blank(byte)) else { return &[] };
    let last = bytes.iter().rposition(|byte| !is_blank(byte)).unwrap();
    &bytes[first..=last]
}

/// A piece is split into these.
#[derive(Debug, PartialEq)]
enum Unit {
    LineEnd,
    Backslashes(usize),
    Word(u8),
    Ascii(u8),
    Char(char),
    Byte(u8),
}

fn units(piece: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    for chunk in piece.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(char) = chars.next() {
            units.push(match char {
                '\n' => Unit::LineEnd,
                '\r' => {
                    chars.next_if_eq(&'\n');
                    Unit::LineEnd
                }
                '\\' => {
                    let mut run = 1;
                    while chars.next_if_eq(&'\\').is_some() {
                        run += 1;
                    }
                    Unit::Backslashes(run)
                }
                '0'..='9' | 'A'..='Z' | 'a'..='z' | '_' => Unit::Word(char as u8),
                '\0'..='\x7f' => Unit::Ascii(char as u8),
                _ => Unit::Char(char),
            });
        }
        units.extend(chunk.invalid().iter().map(|byte| Unit::Byte(*byte)));
    }
    units
}

fn alternatives(unit: &Unit, last: bool) -> Form {
    match *unit {
        Unit::LineEnd => line_end(),
        Unit::Backslashes(run) => {
            let token = ["\\", "%5C", "%5c", "%255C", "%255c", "&#92;", "&#x5C;", "&#x5c;"];
            repeated(&token, run, 8 * run + 8)
        }
        Unit::Word(byte) => text([byte]),
        Unit::Ascii(byte) => ascii(byte, last),
        Unit::Char(char) => character(char),
        Unit::Byte(byte) => Any(vec![
            text([byte]),
            hex(|h| format!("%{}", h(byte.into(), 2))),
            escaped(hex(|h| format!("x{}", h(byte.into(), 2)))),
            escaped(text(format!("{byte:03o}"))),
        ]),
    }
}

/// Any form of CR, and then perhaps any form of LF; or any form of LF.
fn line_end() -> Form {
    let forms = |code: u32, letter: &str| {
        Any(vec![
            text([code as u8]),
            escaped(text(letter)),
            escaped(text(format!("{code:03o}"))),
            escaped(hex(|h| format!("u{}", h(code, 4)))),
            escaped(hex(|h| format!("x{}", h(code, 2)))),
            hex(|h| format!("%{}", h(code, 2))),
            hex(|h| format!("%25{}", h(code, 2))),
            any([format!("&#{code};"), format!("&amp;#{code};")]),
            hex(|h| format!("&#x{};", h(code, 1))),
            hex(|h| format!("&amp;#x{};", h(code, 1))),
        ])
    };
    Any(vec![Then(vec![forms(13, "r"), optional(forms(10, "n"))]), forms(10, "n")])
}

/// `last` says whether it is the last of its piece.
fn ascii(byte: u8, last: bool) -> Form {
    let code = u32::from(byte);
    let mut entities = vec![
        format!("&#{code};"),
        format!("&#0{code};"),
        format!("&#x{code:x};"),
        format!("&#x{code:X};"),
    ];
    let name = match byte {
        b'&' => Some("amp"),
        b'<' => Some("lt"),
        b'>' => Some("gt"),
        b'"' => Some("quot"),
        b'\'' => Some("apos"),
        _ => None,
    };
    entities.extend(name.map(|name| format!("&{name};")));
    // Read as: those of every special character, not only of the five that have a name.
    for entity in entities.clone() {
        entities.push(entity.replacen('&', "&amp;", 1));
    }
    let mut plain = vec![
        text([byte]),
        hex(|h| format!("%{}", h(code, 2))),
        hex(|h| format!("%25{}", h(code, 2))),
        any(entities),
    ];
    let mut forms = vec![
        escaped(hex(|h| format!("u{}", h(code, 4)))),
        escaped(hex(|h| format!("x{}", h(code, 2)))),
        escaped(text(format!("{byte:03o}"))),
    ];
    let letter = match byte {
        b'\t' => Some("t"),
        8 => Some("b"),
        12 => Some("f"),
        11 => Some("v"),
        _ => None,
    };
    forms.extend(letter.map(|letter| escaped(text(letter))));
    match byte {
        b' ' => plain.push(any(["+", "%2B", "%2b"])),
        b'\'' => {
            let quoted = || Then(vec![backslashes(0), text("\"")]);
            plain.push(Then(vec![text("'"), backslashes(1), text("''")]));
            plain.push(Then(vec![text("'"), quoted(), text("'"), quoted(), text("'")]));
        }
        _ => {}
    }
    // Behind the last character, a second quote is the end of the text around it.
    if b"'\"".contains(&byte) && !last {
        plain.push(text([byte, byte]));
    }
    forms.push(Then(vec![backslashes(0), Any(plain)]));
    Any(forms)
}

fn character(char: char) -> Form {
    let code = u32::from(char);
    let mut buffer = [0; 4];
    let bytes = char.encode_utf8(&mut buffer).as_bytes();
    let all = |before: &str, h: &dyn Fn(u32, usize) -> String| -> String {
        bytes.iter().map(|byte| format!("{before}{}", h((*byte).into(), 2))).collect()
    };
    let sequence =
        |form: &dyn Fn(u32) -> Form| Then(bytes.iter().map(|byte| form((*byte).into())).collect());
    let mut units = [0; 2];
    let units = char.encode_utf16(&mut units).iter();
    let escape = |unit: &u16| escaped(hex(|h| format!("u{}", h((*unit).into(), 4))));
    let mut forms = vec![
        sequence(&|byte| Then(vec![backslashes(0), text([byte as u8])])),
        hex(|h| all("%", h)),
        hex(|h| all("%25", h)),
        // Read as: the two of a pair have each its own backslashes and its own case.
        Then(units.map(escape).collect()),
        escaped(hex(|h| format!("U{}", h(code, 8)))),
        sequence(&|byte| escaped(hex(|h| format!("x{}", h(byte, 2))))),
        sequence(&|byte| escaped(text(format!("{byte:03o}")))),
        text(format!("&#{code};")),
        hex(|h| format!("&#x{};", h(code, 1))),
    ];
    if code <= 0xff {
        forms.push(escaped(hex(|h| format!("x{}", h(code, 2)))));
    }
    Any(forms)
}

/// Family 1 with the piece as it is.
fn text_needle(piece: &[u8]) -> Form {
    cased_needle(piece, String::from)
}

/// Family 1: units, with colours between them. A character that `change` makes another one of, one
/// that is no ASCII either, may be either.
fn cased_needle(piece: &[u8], change: impl Fn(char) -> String) -> Form {
    let colour = || {
        let one =
            Then(vec![text("\x1b["), Times(Box::new(One(0x20..=0x3f)), 0, 24), One(0x40..=0x7e)]);
        Times(Box::new(one), 0, usize::MAX)
    };
    let mut forms = Vec::new();
    let units = units(piece);
    for (index, unit) in units.iter().enumerate() {
        if index > 0 {
            forms.push(colour());
        }
        let mut unit_forms = vec![alternatives(unit, index == units.len() - 1)];
        if let Unit::Char(char) = unit
            && let [other] = change(*char).chars().collect::<Vec<_>>()[..]
            && !other.is_ascii()
        {
            unit_forms.push(character(other));
        }
        forms.push(Any(unit_forms));
    }
    Then(forms)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A character of base64 in any of its dresses.
fn base64_char(index: usize) -> Form {
    match BASE64[index] {
        b'+' => any(["+", "-", "%2B", "%2b"]),
        b'/' => any(["/", "_", "%2F", "%2f", "\\/"]),
        other => text([other]),
    }
}

/// Family 4, with `before` unknown bytes in the first group.
/// `skipped` characters stand on the line before; they are no part of it.
fn base64_needle(piece: &[u8], before: usize, skipped: usize) -> Form {
    let bits: Vec<usize> = piece
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |i| usize::from(byte >> i & 1)))
        .collect();
    // The first bits belong to a character that the byte before decides as well.
    let bits = &bits[[0, 4, 2][before]..];
    let number = |bits: &[usize]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let characters =
        bits.chunks_exact(6).skip(skipped).map(|six| base64_char(number(six))).collect();
    let line_break = any(["\n", "\r\n", "\\n", "\\r\\n"]);
    // Read as: lines have 16 characters or more; the first may be the end of a longer one.
    let mut forms = vec![Lines(characters, Box::new(line_break), 16)];
    let left = bits.chunks_exact(6).remainder();
    if !left.is_empty() {
        let free = 6 - left.len();
        let agreeing = (0..64).filter(|index| index >> free == number(left)).map(base64_char);
        // Read as: no line break stands before that character, nor before padding; padding stands
        // only behind it, and is what it would be: `=` after 2 bytes of a group, `==` after 1.
        let padding = Times(Box::new(any(["=", "%3D", "%3d"])), free / 2, free / 2);
        let last = Then(vec![Any(agreeing.collect()), optional(padding)]);
        forms.push(optional(last));
    }
    Then(forms)
}

/// All needles of one piece.
fn needles(piece: &[u8]) -> Vec<Form> {
    let mut forms = vec![text_needle(piece)];
    if piece.len() < 8 {
        return forms;
    }
    let ascii_sign = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphabetic();
    if piece.iter().any(|byte| ascii_sign(byte) && !b" -_.".contains(byte)) {
        let (upper, lower) = (piece.to_ascii_uppercase(), piece.to_ascii_lowercase());
        forms.push(cased_needle(&upper, |char| char.to_uppercase().collect()));
        forms.push(cased_needle(&lower, |char| char.to_lowercase().collect()));
    }
    for piece in BTreeSet::from([
        piece.to_vec(),
        with_line_ends(piece, b"\n"),
        with_line_ends(piece, b"\r\n"),
    ]) {
        forms.push(hex(|h| piece.iter().map(|byte| h((*byte).into(), 2)).collect()));
        forms
            .push(hex(|h| piece.iter().map(|byte| format!("%{}", h((*byte).into(), 2))).collect()));
        for skipped in 0..3 {
            forms.extend((0..3).map(|before| base64_needle(&piece, before, skipped)));
        }
    }
    forms
}

fn with_line_ends(piece: &[u8], end: &[u8]) -> Vec<u8> {
    lines(piece).join(end)
}

/// The lines of a piece, without their ends.
fn lines(piece: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), piece);
    while let Some(end) = rest.iter().position(|byte| b"\r\n".contains(byte)) {
        lines.push(&rest[..end]);
        rest = &rest[end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }..];
    }
    lines.push(rest);
    lines
}

/// What is looked for because of one value, and whether in all its forms.
fn pieces(value: &[u8]) -> BTreeSet<(&[u8], bool)> {
    let core = strip(value);
    if core.len() < 4 {
        return BTreeSet::new();
    }
    // Lines of a long text have no other forms than text.
    let few = lines(core).len() <= 64;
    let lines = match &lines(core)[..] {
        [_] => Vec::new(),
        lines => lines.iter().map(|line| strip(line)).collect(),
    };
    let boundary =
        |line: &&[u8]| line.starts_with(b"-----BEGIN ") || line.starts_with(b"-----END ");
    let long = lines.into_iter().filter(|line| line.len() >= 8 && !boundary(line));
    long.map(|line| (line, few)).chain([(core, true)]).collect()
}

/// One needle, and what it counts for.
struct Needle {
    name: String,
    form: Form,
    begins: BTreeSet<u8>,
    longest: usize,
}

/// Knows the values; slow.
pub(super) struct Slow {
    needles: Vec<Needle>,
}

/// A stretch that is masked, and for which name.
type Occurrence = (usize, usize, String);

impl Slow {
    pub(super) fn new(values: &[Named]) -> Self {
        let mut all = Vec::new();
        for (name, value) in values {
            for (piece, all_forms) in pieces(value) {
                let forms = if all_forms { needles(piece) } else { vec![text_needle(piece)] };
                for form in forms {
                    let (begins, name) = (form.begins().0, name.clone());
                    all.push(Needle { name, form, begins, longest: 16 * piece.len() + 1024 });
                }
            }
        }
        Self { needles: all }
    }

    /// Every occurrence, those inside others too; and where one begins that may go on behind the
    /// end of the text.
    fn search(&self, text: &[u8]) -> (BTreeSet<Occurrence>, BTreeSet<usize>) {
        let (mut found, mut open) = (BTreeSet::new(), BTreeSet::new());
        for start in 0..text.len() {
            for Needle { name, form, begins, longest } in &self.needles {
                if !begins.contains(&text[start]) {
                    continue;
                }
                let mut cut = false;
                let ends = form.ends(text, start, &mut cut);
                // Read as: of the ends that are near enough, the last.
                if let Some(end) = ends.range(..=start + longest).next_back() {
                    found.insert((start, *end, name.clone()));
                }
                if cut && text.len() - start < *longest {
                    open.insert(start);
                }
            }
        }
        (found, open)
    }

    /// The masked text, and how often each name was hit.
    pub(super) fn mask(&self, text: &[u8]) -> (Vec<u8>, BTreeMap<String, u64>) {
        let (found, _) = self.search(text);
        let inside = |(start, end, _): &&Occurrence| {
            found.iter().any(|(s, e, _)| s <= start && end <= e && e - s > end - start)
        };
        let counted: Vec<&Occurrence> = found.iter().filter(|one| !inside(one)).collect();
        let mut hits = BTreeMap::new();
        for (_, _, name) in &counted {
            *hits.entry(name.clone()).or_default() += 1;
        }
        let mut stretches: Vec<(usize, usize)> = Vec::new();
        for &&(start, end, _) in &counted {
            match stretches.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(end),
                _ => stretches.push((start, end)),
            }
        }
        let (mut out, mut at) = (Vec::new(), 0);
        for (start, end) in stretches {
            out.extend_from_slice(&text[at..start]);
            out.extend_from_slice(b"***");
            at = end;
        }
        out.extend_from_slice(&text[at..]);
        (out, hits)
    }

    /// How many bytes at the end of a text may have to wait for what follows: from the first that
    /// may begin a value, or the whole stretch that this overlaps.
    pub(super) fn undecided(&self, text: &[u8]) -> usize {
        let (found, open) = self.search(text);
        let Some(&(mut first)) = open.first() else { return 0 };
        for (start, end, _) in found.iter().rev() {
            // In the order of their starts, from the last: each may reach over the next one.
            if *end > first && *start < first {
                first = *start;
            }
        }
        text.len() - first
    }
}

mod tests {
    use super::*;

    fn slow(values: &[&str]) -> Slow {
        let named =
            |(index, value): (usize, &&str)| (format!("v{index}"), value.as_bytes().to_vec());
        Slow::new(&values.iter().enumerate().map(named).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(values: &[&str], text: &str, masked: &str, hits: &[u64]) {
        let (out, counted) = slow(values).mask(text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), masked);
        let counted: Vec<u64> =
            (0..hits.len()).map(|i| counted.get(&format!("v{i}")).copied().unwrap_or(0)).collect();
        assert_eq!(counted, hits);
    }

    #[test]
    fn values_are_stripped_and_short_ones_stay() {
        check(&[" \t\nwxyz\r\n"], "a wxyz b", "a *** b", &[1]);
        check(&["  xyz  "], "a xyz   b", "a xyz   b", &[0]);
    }

    #[test]
    fn stretches_merge_when_they_overlap_and_not_when_they_touch() {
        check(&["aabaab"], "aabaabaab", "***", &[2]);
        check(&["abcd", "cdef"], "abcdef", "***", &[1, 1]);
        check(&["abcd", "efgh"], "abcdefgh", "******", &[1, 1]);
        check(&["abcd", "abcdef"], "abcdef abcd", "*** ***", &[1, 1]);
        check(&["same", "same"], "same", "***", &[1, 1]);
    }

    #[test]
    fn the_same_name_counts_once_at_a_stretch() {
        let twice = [("v0".to_owned(), b"same".to_vec()), ("v0".to_owned(), b"same ".to_vec())];
        assert_eq!(Slow::new(&twice).mask(b"same").1, BTreeMap::from([("v0".to_owned(), 1)]));
    }

    #[test]
    fn characters_have_alternatives() {
        let value = r#"p@ss w/ord+"q"&<x>é"#;
        for form in [
            r#"p@ss w/ord+"q"&<x>é"#,
            "p%40ss%20w/ord%2B%22q%22%26%3Cx%3E%C3%A9",
            "p%40ss+w%2ford%2b%22q%22%26%3cx%3e%c3%a9",
            "p%2540ss%2520w%252ford%252b%2522q%2522%2526%253cx%253e%25c3%25a9",
            r#"p@ss w\/ord+\"q\"&<x>\u00e9"#,
            r#"p@ss w/ord+\\\"q\\\"&<x>\\u00e9"#,
            "p@ss w/ord+&quot;q&quot;&amp;&lt;x&gt;&#233;",
            "p&#64;ss w/ord+&#34;q&#034;&#x26;&#60;x&#x3E;&#xe9;",
            "p@ss w/ord+&amp;quot;q&amp;#34;&amp;amp;&amp;lt;x&amp;gt;é",
            r#"p@ss\ w/ord+\"q\"\&\<x\>é"#,
            r#"p@ss w/ord+""q""&<x>\303\251"#,
            r#"p@ss w/ord+"q"&<x>\xc3\xA9"#,
            r#"p@ss w/ord+"q"&<x>\xe9"#,
            r#"p@ss w/ord+"q"&<x>\U000000E9"#,
            "p@ss\x1b[0m\x1b[1;31m w/ord+\"q\"&<x\x1b[K>é",
        ] {
            check(&[value], &format!("a {form} b"), "a *** b", &[1]);
        }
        for other in [
            "P@ss w/ord+\"q\"&<x>é",
            "p@ss w/ord+\"q\"&<x>e",
            "p@ss w/ord+\"q\"&<x>%c3%A9",
            "p@ss w/ord+\"q\"\x1b&<x>é",
        ] {
            check(&[value], other, other, &[0]);
        }
    }

    #[test]
    fn quotes_and_backslashes_have_more() {
        for form in ["it's so", "it''s so", r"it'\''s so", r#"it'"'"'s so"#, r#"it'\"'\"'s so"#] {
            check(&["it's so"], form, "***", &[1]);
        }
        check(
            &[r"a\b\\c"],
            r"[a\b\\c] [a\\b\\\\c] [a%5Cb%5c%255cc]",
            "[***] [***] [a%5Cb%5c%255cc]",
            &[2],
        );
        check(&[r"a\b\\c"], r"ab\\c a\b\c", r"ab\\c a\b\c", &[0]);
        check(&[r"a\b\\c"], r"a%5Cb%5C%5Cc a&#92;b%5c%5cc", "*** ***", &[2]);
        check(&["say \"x\""], "'say \"\"x\"\"'", "'***\"'", &[1]);
        // Backslashes before a first character belong to it, 16 of them.
        check(&["@bcd"], &format!("{}@bcd", "\\".repeat(18)), r"\\***", &[1]);
    }

    #[test]
    fn letter_case_needs_a_letter_and_a_digit() {
        check(&["Abc-1234"], "ABC-1234 abc-1234 aBC-1234", "*** *** aBC-1234", &[2]);
        check(&["Abc-defg"], "ABC-DEFG", "ABC-DEFG", &[0]);
        check(&["Abc-123"], "ABC-123", "ABC-123", &[0]);
    }

    #[test]
    fn long_pieces_have_encoded_forms() {
        let value = "Secret-Value?>";
        for form in [
            "5365637265742d56616c75653f3e",
            "5365637265742D56616C75653F3E",
            "%53%65%63%72%65%74%2d%56%61%6c%75%65%3f%3e",
            "U2VjcmV0LVZhbHVlPz4=",
            "U2VjcmV0LVZhbHVlPz4",
            "U2VjcmV0LVZhbHVlPz4%3d",
            "U2Vj\ncmV0LVZhbHVlPz4=",
            "U2V\r\njcmV0LVZhbHVlPz4=",
        ] {
            check(&[value], &format!("a {form} b"), "a *** b", &[1]);
        }
        // One character or two at the end of a line could be the end of any word.
        check(&[value], "U\r\n2VjcmV0LVZhbHVlPz4=", "U\r\n***", &[1]);
        check(&[value], "U2\\nVjcmV0LVZhbHVlPz4=", "U2\\n***", &[1]);
        // After one byte and after two; what follows decides the last character.
        check(&[value], "eFNlY3JldC1WYWx1ZT8+eA==", "eF***eA==", &[1]);
        check(&[value], "eFNlY3JldC1WYWx1ZT8-", "eF***", &[1]);
        check(&[value], "eHhTZWNyZXQtVmFsdWU/Png=", "eHh***g=", &[1]);
        check(&["?>?>?>?>"], "Pz4/Pj8+Pz4= Pz4_Pj8-Pz4 Pz4%2FPj8%2BPz4=", "*** *** ***", &[3]);
        let broken = "U2Vj\ncmV0LVZhbHV\nlPz4=";
        check(&[value], broken, broken, &[0]);
        check(&["Secret!"], "U2VjcmV0IQ==", "U2VjcmV0IQ==", &[0]);
        check(&[value], "5365637265742D56616c75653f3e", "5365637265742D56616c75653f3e", &[0]);
    }

    #[test]
    fn lines_count_alone_and_line_ends_are_alike() {
        let key = "-----BEGIN KEY-----\r\nabcdefgh1\r\nshort\r\n-----END KEY-----\r\n";
        for end in ["\n", "\r\n", "\\n", "\\\\r\\\\n", "%0A", "%0d%0a", "&#13;&#10;", "\\012"] {
            let whole = key.trim_end().replace("\r\n", end);
            check(&[key], &format!("<{whole}>"), "<***>", &[1]);
        }
        let part = "-----BEGIN KEY-----\n> abcdefgh1\n> short\n> -----END KEY-----";
        check(&[key], part, "-----BEGIN KEY-----\n> ***\n> short\n> -----END KEY-----", &[1]);
        check(&["line one\nline two"], "bGluZSBvbmUNCmxpbmUgdHdv", "***", &[1]);
    }

    #[test]
    fn what_is_too_long_is_none() {
        let blanks = "\x1b[0m".repeat(272);
        let text = format!("a{blanks}bcd");
        assert_eq!(text.len(), 16 * 4 + 1024 + 4);
        check(&["abcd"], &text, &text, &[0]);
        check(&["abcd"], &format!("a{}bcd", "\x1b[0m".repeat(271)), "***", &[1]);
    }

    #[test]
    fn what_may_go_on_is_undecided() {
        let slow = slow(&["abcd-efg1", "g1+wxyz"]);
        for (text, undecided) in [
            ("none of it", 0),
            ("xx abcd", 4),
            ("xx abcd-efg", 8),
            ("abcd\x1b[3", 7),
            ("abcd%", 5),
            ("abcdx", 0),
            // Found, and the second may still overlap it.
            ("xx abcd-efg1", 9),
            ("xx abcd-efg1+w", 11),
            ("xx abcd-efg1 ", 0),
            ("YWJj", 4),
        ] {
            assert_eq!(slow.undecided(text.as_bytes()), undecided, "{text:?}");
        }
    }
}
