//! Looks for a value in a text as somebody would who wants it: by undoing what encoders do, again
//! and again.
//!
//! Decoders are generous: each undoes all of its kind that it finds, and leaves the rest.

use std::collections::BTreeSet;

/// How many decoders stand one behind the other, at most.
const DEPTH: usize = 3;

type Decoder = fn(&[u8]) -> Vec<u8>;

const DECODERS: &[Decoder] = &[
    |text| percent(text, false),
    |text| percent(text, true),
    |text| backslashes(text, false),
    |text| backslashes(text, true),
    entities,
    hex,
    base64,
    colours,
    |text| replace(text, b"\r\n", b"\n"),
    |text| replace(text, b"''", b"'"),
    |text| replace(text, b"\"\"", b"\""),
    |text| replace(text, b"'\"'\"'", b"'"),
    |text| replace(text, br"'\''", b"'"),
];

/// Which of these stand in the text, after any few decoders.
pub(super) fn find<'p>(text: &[u8], pieces: &[&'p [u8]]) -> BTreeSet<&'p [u8]> {
    find_behind(text, pieces, DEPTH)
}

/// The same, with at most `last` decoders one behind the other.
pub(crate) fn find_behind<'p>(text: &[u8], pieces: &[&'p [u8]], last: usize) -> BTreeSet<&'p [u8]> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::from([text.to_vec()]);
    let mut now = vec![text.to_vec()];
    for depth in 0..=last {
        for text in &now {
            found.extend(pieces.iter().filter(|piece| contains(text, piece)));
        }
        if depth == last {
            break;
        }
        let decoded = now.iter().flat_map(|text| DECODERS.iter().map(|decode| decode(text)));
        now = decoded.filter(|text| seen.insert(text.clone())).collect();
    }
    found
}

/// Whether a text holds a piece; if it is like a token, in lower or upper letters, too.
fn contains(text: &[u8], piece: &[u8]) -> bool {
    let within = |piece: &[u8]| memchr::memmem::find(text, piece).is_some();
    let any = |is: fn(&u8) -> bool| piece.iter().any(is);
    let token = piece.len() >= 8 && any(u8::is_ascii_alphabetic) && any(u8::is_ascii_digit);
    within(piece)
        || token && (within(&piece.to_ascii_lowercase()) || within(&piece.to_ascii_uppercase()))
}

/// All that is `what` becomes `with`, from the left.
pub(super) fn replace(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    for found in memchr::memmem::find_iter(text, what) {
        out.extend_from_slice(&text[at..found]);
        out.extend_from_slice(with);
        at = found + what.len();
    }
    out.extend_from_slice(&text[at..]);
    out
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u32::from_str_radix(text, radix).ok()
}

/// Walks through a text: what `step` understands is replaced, and skipped.
fn walk(text: &[u8], step: impl Fn(&[u8], &mut Vec<u8>) -> Option<usize>) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match step(&text[at..], &mut out) {
            Some(read) => at += read,
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

fn percent(text: &[u8], plus: bool) -> Vec<u8> {
    walk(text, |rest, out| match rest {
        [b'+', ..] if plus => {
            out.push(b' ');
            Some(1)
        }
        [b'%', high, low, ..] => {
            out.push(u8::try_from(number(&[*high, *low], 16)?).ok()?);
            Some(3)
        }
        _ => None,
    })
}

fn push(out: &mut Vec<u8>, char: char) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Escapes of JSON, C, Python and shells; `latin` says whether `\xe9` is a character.
fn backslashes(text: &[u8], latin: bool) -> Vec<u8> {
    walk(text, |rest, out| {
        let [b'\\', kind, after @ ..] = rest else { return None };
        let digits = |from: usize, width: usize| number(after.get(from..from + width)?, 16);
        match kind {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let first = digits(0, 4)?;
                let low = after.get(4..6).filter(|two| two == b"\\u").and_then(|_| digits(6, 4));
                let pair =
                    low.and_then(|low| char::decode_utf16([first as u16, low as u16]).next()?.ok());
                return match (char::from_u32(first), pair) {
                    (Some(char), _) => {
                        push(out, char);
                        Some(6)
                    }
                    (None, Some(char)) => {
                        push(out, char);
                        Some(12)
                    }
                    (None, None) => None,
                };
            }
            b'U' => {
                push(out, char::from_u32(digits(0, 8)?)?);
                return Some(10);
            }
            b'x' => {
                let byte = u8::try_from(digits(0, 2)?).ok()?;
                if latin {
                    push(out, byte.into());
                } else {
                    out.push(byte);
                }
                return Some(4);
            }
            b'0'..=b'3' if after.len() >= 2 => {
                let byte = number(&rest[1..4], 8).and_then(|byte| u8::try_from(byte).ok())?;
                if latin {
                    push(out, byte.into());
                } else {
                    out.push(byte);
                }
                return Some(4);
            }
            other => out.push(*other),
        }
        Some(2)
    })
}

fn entities(text: &[u8]) -> Vec<u8> {
    walk(text, |rest, out| {
        let body = rest.strip_prefix(b"&")?;
        let end = body.iter().take(12).position(|byte| *byte == b';')?;
        let char = match &body[..end] {
            b"amp" => '&',
            b"lt" => '<',
            b"gt" => '>',
            b"quot" => '"',
            b"apos" => '\'',
            [b'#', b'x', digits @ ..] => char::from_u32(number(digits, 16)?)?,
            [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
            _ => return None,
        };
        push(out, char);
        Some(end + 2)
    })
}

fn colours(text: &[u8]) -> Vec<u8> {
    walk(text, |rest, _| {
        let body = rest.strip_prefix(b"\x1b[")?;
        let end = body.iter().position(|byte| !matches!(byte, 0x20..=0x3f))?;
        matches!(body[end], 0x40..=0x7e).then_some(end + 3)
    })
}

/// All that is decoded stands in lines of its own.
fn hex(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for run in text.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= 16) {
        for from in 0..2 {
            let pairs = run[from..].chunks_exact(2);
            out.extend(pairs.map(|pair| u8::try_from(number(pair, 16).unwrap()).unwrap()));
            out.push(b'\n');
        }
    }
    out
}

fn base64(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for end in [&b"\\r\\n"[..], b"\\n", b"\r\n", b"\n"] {
        text = replace(&text, end, b"");
    }
    let six = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut out = Vec::new();
    for run in text.split(|byte| six(*byte).is_none()).filter(|run| run.len() >= 8) {
        // It may begin anywhere in a longer run of such characters.
        for from in 0..4 {
            let mut bits = 0_u32;
            for (count, byte) in run[from..].iter().enumerate() {
                bits = bits << 6 | u32::from(six(*byte).unwrap());
                match count % 4 {
                    1 => out.push((bits >> 4) as u8),
                    2 => out.push((bits >> 2) as u8),
                    3 => out.push(bits as u8),
                    _ => {}
                }
            }
            out.push(b'\n');
        }
    }
    out
}
