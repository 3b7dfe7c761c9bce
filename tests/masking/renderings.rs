//! Values, and the forms that real encoders give them.

use base64ct::{Base64, Base64Url, Base64UrlUnpadded, Encoding};

/// One way to write a value. It gets the value, and a number to vary with.
pub(super) type Encoder = fn(&[u8], usize) -> Vec<u8>;

/// Values that are hard to mask, each for a reason of its own.
pub(super) const HARD: &[&str] = &[
    r#"p@ss w/ord+"q"&<x>é"#,
    "it's a \\ \"test\" pa'ss",
    "aabaab",
    "aabaabaab",
    "=====",
    "\\\\\\\\",
    "\\n\\n\\\\n",
    "''\"''\"",
    "C:\\new\\\\table\\",
    "first line 1\nsecond line 2\nxyz\n",
    "first line 1\r\nsecond line 2\r\n",
    "one\rtwo\rthree-3",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1h+sV/p3q4Zk9\nVwq0Jm3X2u5tT8o7rY6w=\n-----END PRIVATE KEY-----\n",
    "🔑 ключ-π-日本",
    "😀😀😀😀",
    "t0ken%2Fwith%20percent",
    "&amp;&lt;x&gt;",
    "e\u{301}\u{a0}\u{2028}x\u{85}",
    "\ttab\u{b}\u{c}\u{8}bell\u{7}",
    "\u{1b}[31mred\u{1b}[0m",
    "Survey2024!",
    "gis-Postgres#1",
    "8f14e45fceea167a5a36dedd4bea2543",
    "7c1e0d52-58d0-4b6e-9c43-5ad0c7f5a1b2",
    "alpha-secret-value-0001",
    "alpha-secret-value-0002",
    "alpha-secret-value-00",
    "abcd",
    "abc",
    "Zm9vYmFyYmF6",
    "a1b2c3d4e5f6",
    "/+/+/+/+",
    "????>>>>",
];

/// Every encoder with its name.
pub(super) const ENCODERS: &[(&str, Encoder)] = &[
    ("as it is", |value, _| value.to_vec()),
    ("percent, strict", |value, _| percent(value, b"-._~", |byte| format!("%{byte:02X}"))),
    ("percent, lower", |value, _| percent(value, b"-._~", |byte| format!("%{byte:02x}"))),
    ("percent, slash is safe", |value, _| percent(value, b"-._~/", |byte| format!("%{byte:02X}"))),
    ("percent, all", |value, _| {
        value.iter().flat_map(|b| format!("%{b:02x}").into_bytes()).collect()
    }),
    ("form", |value, _| {
        percent(value, b"-._", |byte| match byte {
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
    }),
    ("form, twice", |value, _| {
        let form = |text: &[u8]| {
            percent(text, b"-._", |byte| match byte {
                b' ' => "+".to_owned(),
                _ => format!("%{byte:02X}"),
            })
        };
        form(&form(value))
    }),
    ("JSON", |value, _| json(value)),
    ("JSON, ASCII", |value, _| ascii_json(value)),
    ("libpq", |value, _| quoted(value, b"'\\")),
    ("percent, twice", |value, _| {
        let strict = |text: &[u8]| percent(text, b"-._~", |byte| format!("%{byte:02X}"));
        strict(&strict(value))
    }),
    ("JSON of JSON", |value, _| ascii_json(&json(value))),
    ("HTML of XML", |value, _| {
        quick_xml::escape::escape(lossy(value)).replace('&', "&amp;").into_bytes()
    }),
    ("XML", |value, _| quick_xml::escape::escape(lossy(value)).into_owned().into_bytes()),
    ("XML, text only", |value, _| {
        quick_xml::escape::partial_escape(lossy(value)).into_owned().into_bytes()
    }),
    ("HTML", |value, _| {
        let text = lossy(value).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('"', "&quot;").replace('\'', "&#x27;").into_bytes()
    }),
    ("shell, quoted", |value, _| replaced(value, b'\'', br"'\''")),
    ("shell, Python's", |value, _| replaced(value, b'\'', b"'\"'\"'")),
    ("shell, escaped", |value, _| {
        let special: Vec<u8> = (b' '..=b'~').filter(|b| !b.is_ascii_alphanumeric()).collect();
        quoted(value, &special)
    }),
    ("Python", |value, _| python(value, |char| char.to_string())),
    ("Python, ASCII", |value, _| {
        python(value, |char| match u32::from(char) {
            code @ ..=0xff => format!("\\x{code:02x}"),
            code @ ..=0xffff => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        })
    }),
    ("Python, bytes", |value, _| value.escape_ascii().to_string().into_bytes()),
    ("octal", |value, _| {
        let write = |byte: &u8| match byte {
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\{byte:03o}"),
        };
        value.iter().map(write).collect::<String>().into_bytes()
    }),
    ("SQL", |value, _| replaced(value, b'\'', b"''")),
    ("CSV", |value, _| replaced(value, b'"', b"\"\"")),
    ("base64", |value, n| Base64::encode_string(&shifted(value, n)).into_bytes()),
    ("base64, URL", |value, n| Base64Url::encode_string(&shifted(value, n)).into_bytes()),
    ("base64, URL, bare", |value, n| {
        Base64UrlUnpadded::encode_string(&shifted(value, n)).into_bytes()
    }),
    ("base64, wrapped", |value, n| {
        let text = Base64::encode_string(&shifted(value, n)).into_bytes();
        let (width, end): (usize, &[u8]) =
            [(64, &b"\n"[..]), (76, b"\r\n"), (76, b"\n"), (4, b"\\n")][n % 4];
        text.chunks(width).collect::<Vec<_>>().join(end)
    }),
    ("hex", |value, _| value.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect()),
    ("hex, upper", |value, _| value.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect()),
    ("CRLF", |value, _| replaced(&replaced(value, b'\r', b""), b'\n', b"\r\n")),
    ("upper", |value, _| value.to_ascii_uppercase()),
    ("upper, all letters", |value, _| String::from_utf8_lossy(value).to_uppercase().into_bytes()),
    ("lower", |value, _| value.to_ascii_lowercase()),
    ("coloured", |value, n| {
        let (before, after) = value.split_at(n % (value.len() + 1));
        [before, b"\x1b[1;31m", after, b"\x1b[0m"].concat()
    }),
    ("one line", |value, n| {
        let lines: Vec<&[u8]> = value.split(|byte| *byte == b'\n').collect();
        lines[n % lines.len()].to_vec()
    }),
    ("first lines indented", |value, _| replaced(value, b'\n', b"\n    ")),
];

/// Encoders of text: what is no UTF-8 is not for them.
fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn percent(value: &[u8], safe: &[u8], write: impl Fn(u8) -> String) -> Vec<u8> {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || safe.contains(&byte);
    let bytes = value.iter().flat_map(|&byte| match keep(byte) {
        true => vec![byte],
        false => write(byte).into_bytes(),
    });
    bytes.collect()
}

fn json(value: &[u8]) -> Vec<u8> {
    let text = serde_json::to_string(&lossy(value)).unwrap();
    text.as_bytes()[1..text.len() - 1].to_vec()
}

fn ascii_json(value: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(json(value)).unwrap();
    let escape = |char: char| match char {
        '\0'..='\x7f' => char.to_string(),
        _ => char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    text.chars().map(escape).collect::<String>().into_bytes()
}

fn python(value: &[u8], write: impl Fn(char) -> String) -> Vec<u8> {
    let text = lossy(value);
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let escape = |char: char| match char {
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        char if char == quote => format!("\\{char}"),
        '\0'..='\x1f' | '\x7f' => format!("\\x{:02x}", u32::from(char)),
        '\0'..='\x7f' => char.to_string(),
        _ => write(char),
    };
    text.chars().map(escape).collect::<String>().into_bytes()
}

fn quoted(value: &[u8], special: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| if special.contains(byte) { vec![b'\\', *byte] } else { vec![*byte] };
    value.iter().flat_map(escape).collect()
}

fn replaced(value: &[u8], what: u8, with: &[u8]) -> Vec<u8> {
    value.split(|byte| *byte == what).collect::<Vec<_>>().join(with)
}

/// The value behind none to two bytes, and before as many.
fn shifted(value: &[u8], n: usize) -> Vec<u8> {
    [&b"u:"[..n % 3], value, &b"@h"[..n / 3 % 3]].concat()
}
