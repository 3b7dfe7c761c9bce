//! How one character of a value may turn up in text that a program has escaped.
//!
//! Invariant: a letter or digit turns up as itself only; so what is found is at least as unlikely
//! to be there by chance as the value itself.

/// A part of a value that is escaped as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// An ASCII letter or digit, or `_`: nothing escapes it.
    Plain(u8),
    /// CRLF, LF or CR.
    LineEnd,
    /// So many backslashes.
    Backslashes(usize),
    /// Any other ASCII character.
    Special(u8),
    /// Any other character.
    Char(char),
    /// The one or the other.
    Either(char, char),
    /// A byte that is no UTF-8.
    Byte(u8),
}

impl Unit {
    /// The first unit of `piece`, which is not empty, and its length there.
    pub(super) fn first(piece: &[u8]) -> (Self, usize) {
        match piece {
            [b'\r', b'\n', ..] => (Self::LineEnd, 2),
            [b'\r' | b'\n', ..] => (Self::LineEnd, 1),
            [b'\\', ..] => {
                let run = piece.iter().take_while(|byte| **byte == b'\\').count();
                (Self::Backslashes(run), run)
            }
            [byte, ..] if byte.is_ascii_alphanumeric() || *byte == b'_' => (Self::Plain(*byte), 1),
            [byte, ..] if byte.is_ascii() => (Self::Special(*byte), 1),
            _ => {
                // A character has at most four bytes.
                let head = &piece[..piece.len().min(4)];
                let whole =
                    head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
                match whole {
                    Some(char) => (Self::Char(char), char.len_utf8()),
                    None => (Self::Byte(piece[0]), 1),
                }
            }
        }
    }

    /// The bytes of its shortest rendering.
    pub(super) fn shortest(self) -> usize {
        match self {
            Self::Backslashes(run) => run,
            Self::Char(char) => char.len_utf8(),
            Self::Either(one, other) => one.len_utf8().min(other.len_utf8()),
            _ => 1,
        }
    }
}

/// How many backslashes may stand before a [`Part`]: each layer of escaping doubles them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// None.
    No,
    /// 0 to [`MOST_ESCAPES`].
    Any,
    /// 1 to [`MOST_ESCAPES`].
    Some,
}

/// The most backslashes before one character.
pub(super) const MOST_ESCAPES: usize = 16;

/// What stands for a backslash before a character; one kind at a time.
pub(super) const ESCAPES: [&[u8]; 3] = [b"\\", b"%5C", b"%5c"];

/// What stands for a backslash of the value itself.
pub(super) const BACKSLASHES: [&[u8]; 8] =
    [b"\\", b"%5C", b"%5c", b"%255C", b"%255c", b"&#92;", b"&#x5C;", b"&#x5c;"];

/// How many of [`BACKSLASHES`] stand for a run of so many.
pub(super) fn backslashes(run: usize) -> std::ops::RangeInclusive<usize> {
    run..=8 * run + 8
}

/// Backslashes, and then a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The backslashes.
    pub(super) escapes: Escapes,
    length: u8,
    text: [u8; 15],
}

impl Part {
    fn new(escapes: Escapes, parts: &[&[u8]]) -> Self {
        let mut part = Self { escapes, length: 0, text: [0; 15] };
        for byte in parts.iter().copied().flatten() {
            part.text[usize::from(part.length)] = *byte;
            part.length += 1;
        }
        part
    }

    /// What stands after the backslashes.
    pub(super) fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

/// Calls `take` with each rendering of a unit but [`Unit::Backslashes`]; `last` says whether it is
/// the last of its piece.
pub(super) fn each(unit: Unit, last: bool, take: &mut dyn FnMut(&[Part])) {
    use Escapes::{No, Some};
    match unit {
        Unit::Plain(byte) => take(&[Part::new(No, &[&[byte]])]),
        Unit::Backslashes(_) => {}
        Unit::LineEnd => line_end(take),
        Unit::Special(byte) => special(byte, last, take),
        Unit::Char(char) => character(char, take),
        Unit::Either(one, other) => {
            character(one, take);
            character(other, take);
        }
        Unit::Byte(byte) => {
            take(&[Part::new(No, &[&[byte]])]);
            for digits in cases(byte) {
                take(&[Part::new(No, &[b"%", &digits])]);
                take(&[Part::new(Some, &[b"x", &digits])]);
            }
            take(&[Part::new(Some, &[&octal(byte)])]);
        }
    }
}

/// Any form of CR, of LF, or of one after the other.
fn line_end(take: &mut dyn FnMut(&[Part])) {
    each_form(b'\r', b'r', &mut |back| {
        take(&[back]);
        each_form(b'\n', b'n', &mut |feed| take(&[back, feed]));
    });
    each_form(b'\n', b'n', &mut |feed| take(&[feed]));
}

/// The forms of a control character whose code has one hexadecimal digit.
fn each_form(byte: u8, letter: u8, take: &mut dyn FnMut(Part)) {
    use Escapes::{No, Some};
    take(Part::new(No, &[&[byte]]));
    take(Part::new(Some, &[&[letter]]));
    take(Part::new(Some, &[&octal(byte)]));
    for and in [&b"&"[..], b"&amp;"] {
        take(Part::new(No, &[and, b"#", decimal(byte.into()).text(), b";"]));
    }
    for digits in cases(byte) {
        take(Part::new(No, &[b"%", &digits]));
        take(Part::new(No, &[b"%25", &digits]));
        take(Part::new(Some, &[b"u00", &digits]));
        take(Part::new(Some, &[b"x", &digits]));
        take(Part::new(No, &[b"&#x", &digits[1..], b";"]));
        take(Part::new(No, &[b"&amp;#x", &digits[1..], b";"]));
    }
}

fn special(byte: u8, last: bool, take: &mut dyn FnMut(&[Part])) {
    use Escapes::{Any, No, Some};
    take(&[Part::new(Any, &[&[byte]])]);
    for digits in cases(byte) {
        take(&[Part::new(Any, &[b"%", &digits])]);
        take(&[Part::new(Any, &[b"%25", &digits])]);
        take(&[Part::new(Some, &[b"u00", &digits])]);
        take(&[Part::new(Some, &[b"x", &digits])]);
        // A control character may have one digit only.
        let short = digits.strip_prefix(b"0").unwrap_or(&digits);
        take(&[Part::new(Any, &[b"&#x", short, b";"])]);
        take(&[Part::new(Any, &[b"&amp;#x", short, b";"])]);
    }
    take(&[Part::new(Some, &[&octal(byte)])]);
    let decimal = decimal(u32::from(byte));
    for zero in [&b""[..], b"0"] {
        take(&[Part::new(Any, &[b"&#", zero, decimal.text(), b";"])]);
        take(&[Part::new(Any, &[b"&amp;#", zero, decimal.text(), b";"])]);
    }
    let name: &[u8] = match byte {
        b'&' => b"amp",
        b'<' => b"lt",
        b'>' => b"gt",
        b'"' => b"quot",
        b'\'' => b"apos",
        _ => b"",
    };
    if !name.is_empty() {
        take(&[Part::new(Any, &[b"&", name, b";"])]);
        take(&[Part::new(Any, &[b"&amp;", name, b";"])]);
    }
    match byte {
        // A form in a form, too.
        b' ' => {
            for plus in [&b"+"[..], b"%2B", b"%2b"] {
                take(&[Part::new(Any, &[plus])]);
            }
        }
        b'\t' => take(&[Part::new(Some, &[b"t"])]),
        0x08 => take(&[Part::new(Some, &[b"b"])]),
        0x0b => take(&[Part::new(Some, &[b"v"])]),
        0x0c => take(&[Part::new(Some, &[b"f"])]),
        // Behind the last character a second quote is the end of the text around it.
        b'"' if !last => take(&[Part::new(Any, &[b"\"\""])]),
        b'\'' => {
            if !last {
                take(&[Part::new(Any, &[b"''"])]);
            }
            // A shell's quotes: closed, the character escaped, opened again.
            let quote = Part::new(Any, &[b"'"]);
            take(&[quote, Part::new(Some, &[b"''"])]);
            let double = Part::new(Any, &[b"\""]);
            let single = Part::new(No, &[b"'"]);
            take(&[quote, double, single, double, single]);
        }
        _ => {}
    }
}

fn character(char: char, take: &mut dyn FnMut(&[Part])) {
    use Escapes::{Any, No, Some};
    let mut buffer = [0; 4];
    let bytes = char.encode_utf8(&mut buffer).as_bytes();
    let code = u32::from(char);
    // Each byte, or each half of a surrogate pair, is a part of its own.
    let mut take_each = |parts: &mut dyn Iterator<Item = Part>| {
        let mut all = [Part::new(No, &[]); 4];
        let mut count = 0;
        for part in parts {
            all[count] = part;
            count += 1;
        }
        take(&all[..count]);
    };
    take_each(&mut bytes.iter().map(|byte| Part::new(Any, &[&[*byte]])));
    take_each(&mut bytes.iter().map(|byte| Part::new(Some, &[&octal(*byte)])));
    for upper in [false, true] {
        let digits = |byte: &u8| hex(*byte, upper);
        take_each(&mut bytes.iter().map(|byte| Part::new(No, &[b"%", &digits(byte)])));
        take_each(&mut bytes.iter().map(|byte| Part::new(No, &[b"%25", &digits(byte)])));
        take_each(&mut bytes.iter().map(|byte| Part::new(Some, &[b"x", &digits(byte)])));
        let mut units = [0; 2];
        let units = char.encode_utf16(&mut units).iter();
        take_each(&mut units.map(|unit| {
            let [high, low] = unit.to_be_bytes();
            Part::new(Some, &[b"u", &hex(high, upper), &hex(low, upper)])
        }));
        let [a, b, c, d] = code.to_be_bytes().map(|byte| hex(byte, upper));
        take_each(&mut std::iter::once(Part::new(Some, &[b"U", &a, &b, &c, &d])));
        if code <= 0xff {
            take_each(&mut std::iter::once(Part::new(Some, &[b"x", &d])));
        }
        let all = [a, b, c, d].concat();
        let from = all.iter().position(|digit| *digit != b'0').unwrap_or(0);
        take_each(&mut std::iter::once(Part::new(No, &[b"&#x", &all[from..], b";"])));
    }
    take_each(&mut std::iter::once(Part::new(No, &[b"&#", decimal(code).text(), b";"])));
}

/// The two hexadecimal digits of a byte in lower case, and in upper case if that is another text.
fn cases(byte: u8) -> impl Iterator<Item = [u8; 2]> {
    let (lower, upper) = (hex(byte, false), hex(byte, true));
    [Some(lower), (lower != upper).then_some(upper)].into_iter().flatten()
}

/// Two hexadecimal digits.
pub(super) fn hex(byte: u8, upper: bool) -> [u8; 2] {
    let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

fn octal(byte: u8) -> [u8; 3] {
    [b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]
}

fn decimal(mut number: u32) -> Part {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return Part::new(Escapes::No, &[&digits[at..]]);
        }
    }
}
