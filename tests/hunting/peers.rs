//! What other tools for masking output are known to get wrong, through the program: one job writes
//! all of it, with pauses that let the runner read what is there.

use base64ct::{Base64, Base64Url, Encoding};
use serde_json::json;

use crate::masking::decoders::find_behind;
use crate::support::{Ended, Sandbox};

const TOKEN: &str = "k9TqX2vLm8RzB4nWc7YpD1sHf6JgA3eU";
const SPECIAL: &str = r#"p@ss w/ord+"q"&<x>é"#;
const KEY: &str = "first-line-of-it-0001\nsecond-line-of-it-0002\nthird-line-of-it-0003\n";
const SHORT: &str = "x7";
const LONGER: &str = "k9TqX2vLm8RzB4nWc7YpD1sHf6JgA3eU-and-more";
const OVERLAP: &str = "aabaabX";
const REPEATED: &str = "ababac";

/// What must come out.
enum Comes {
    /// These bytes.
    As(Vec<u8>),
    /// A mask, and next to nothing of this value.
    Without(&'static str),
}

/// Something that the job writes.
struct Row {
    name: &'static str,
    stream: u8,
    /// Bytes, and the pause behind them in milliseconds.
    pieces: Vec<(Vec<u8>, u64)>,
    comes: Comes,
}

fn row(name: &'static str, pieces: &[(&[u8], u64)], comes: &[u8]) -> Row {
    let pieces = pieces.iter().map(|(bytes, pause)| (bytes.to_vec(), *pause)).collect();
    Row { name, stream: 1, pieces, comes: Comes::As(comes.to_vec()) }
}

fn whole(name: &'static str, text: &str, comes: &str) -> Row {
    row(name, &[(text.as_bytes(), 0)], comes.as_bytes())
}

fn split(name: &'static str, first: &str, pause: u64, second: &str, comes: &str) -> Row {
    row(name, &[(first.as_bytes(), pause), (second.as_bytes(), 0)], comes.as_bytes())
}

fn bytewise(name: &'static str, text: &str) -> Row {
    let pieces: Vec<(&[u8], u64)> = text.as_bytes().chunks(1).map(|byte| (byte, 2)).collect();
    row(name, &pieces, b"***")
}

fn encoded(name: &'static str, text: String, value: &'static str) -> Row {
    Row { comes: Comes::Without(value), ..whole(name, &text, "") }
}

fn rows() -> Vec<Row> {
    let hex = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
    let lines: Vec<&str> = KEY.lines().collect();
    let on_stderr = |row: Row| Row { stream: 2, ..row };
    let basic = format!("ada:{TOKEN}");
    let (half, rest) = TOKEN.split_at(11);
    let coloured = format!("{half}\x1b[1;31m{rest}\x1b[0m");
    let mut rows = vec![
        whole("whole", TOKEN, "***"),
        whole("in a text", &format!("a {TOKEN}, b"), "a ***, b"),
        split("20 ms apart", half, 20, rest, "***"),
        split("400 ms apart", half, 400, rest, "***"),
        split("1.2 s apart", half, 1200, rest, "***"),
        bytewise("byte by byte", TOKEN),
        bytewise("specials, byte by byte", SPECIAL),
        bytewise("lines, byte by byte", KEY.trim_end()),
        on_stderr(whole("whole, on the other", TOKEN, "***")),
        on_stderr(split("apart, on the other", half, 20, rest, "***")),
        on_stderr(whole("specials, on the other", SPECIAL, "***")),
        whole("specials", SPECIAL, "***"),
        encoded("base64", Base64::encode_string(TOKEN.as_bytes()), TOKEN),
        encoded("base64 of user and password", Base64::encode_string(basic.as_bytes()), TOKEN),
        encoded("base64 for URLs", Base64Url::encode_string(SPECIAL.as_bytes()), SPECIAL),
        encoded("base64 of specials", Base64::encode_string(SPECIAL.as_bytes()), SPECIAL),
        whole("hex", &hex(TOKEN), "***"),
        whole("hex, upper", &hex(SPECIAL).to_uppercase(), "***"),
        whole("a URL", "p%40ss%20w%2Ford%2B%22q%22%26%3Cx%3E%C3%A9", "***"),
        whole("a URL, lower", "p%40ss%20w%2ford%2b%22q%22%26%3cx%3e%c3%a9", "***"),
        whole("a form", "p%40ss+w%2Ford%2B%22q%22%26%3Cx%3E%C3%A9", "***"),
        whole("JSON", r#""p@ss w/ord+\"q\"&<x>é""#, r#""***""#),
        whole("JSON, ASCII", r#""p@ss w\/ord+\"q\"&<x>\u00e9""#, r#""***""#),
        whole("HTML", "p@ss w/ord+&quot;q&quot;&amp;&lt;x&gt;&#233;", "***"),
        whole("lines", KEY, "***\n"),
        whole("one line", lines[1], "***"),
        whole("lines, CRLF", &KEY.replace('\n', "\r\n"), "***\r\n"),
        whole("lines in JSON", &format!("\"{}\"", lines.join("\\n")), "\"***\""),
        split("lines, apart", lines[0], 20, &KEY[lines[0].len()..], "***\n"),
        whole("the longer one", LONGER, "***"),
        split("the longer one, apart", TOKEN, 50, &LONGER[TOKEN.len()..], "***"),
        split("the shorter one", TOKEN, 50, "-and-less", "***-and-less"),
        split("overlaps itself", "aa", 20, "abaabX", "a***"),
        split("overlaps itself, longer", "xaabaa", 20, "baabXx", "xaab***x"),
        split("repeats itself", "xabab", 20, "abacx", "xab***x"),
        whole("twice", &format!("{TOKEN}{TOKEN}"), "******"),
        whole("upper case", &TOKEN.to_uppercase(), "***"),
        row("no UTF-8", &[(b"\xff\xfe\x00a\x80", 5), (b"\xc3(", 0)], b"\xff\xfe\x00a\x80\xc3("),
        row("a character in halves", &[(b"caf\xc3", 20), (b"\xa9!", 0)], b"caf\xc3\xa9!"),
        whole("too short to be masked", SHORT, SHORT),
        whole(
            "no value",
            "k9TqX2vLm8RzB4nWc7YpD1sHf6JgA3e aabaab",
            "k9TqX2vLm8RzB4nWc7YpD1sHf6JgA3e aabaab",
        ),
    ];
    rows.push(row("colours inside", &[(coloured.as_bytes(), 0)], b"***\x1b[0m"));
    rows
}

/// Writes the rows, each behind a line of its own on both streams.
const JOB: &str = "import base64, json, os, time
for number, (stream, pieces) in enumerate(json.load(open('rows.json'))):
    for out in (1, 2):
        os.write(out, f'\\n@@{number}\\n'.encode())
    for data, pause in pieces:
        os.write(stream, base64.b64decode(data))
        time.sleep(pause / 1000)
for out in (1, 2):
    os.write(out, b'\\n@@\\n')";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, value) in [
        ("TOKEN", TOKEN),
        ("SPECIAL", SPECIAL),
        ("KEY", KEY),
        ("SHORT", SHORT),
        ("LONGER", LONGER),
        ("OVERLAP", OVERLAP),
        ("REPEATED", REPEATED),
    ] {
        sandbox.add_sensitive("-P survey", name, value);
    }
    sandbox
}

/// What came out between the lines of this row and the next.
fn part(output: &[u8], number: usize) -> &[u8] {
    let behind = |line: &[u8]| memchr::memmem::find(output, line).map(|at| (at, at + line.len()));
    let (_, from) = behind(format!("\n@@{number}\n").as_bytes()).expect("the line of the row");
    let next = behind(format!("\n@@{}\n", number + 1).as_bytes()).or_else(|| behind(b"\n@@\n"));
    &output[from..next.expect("the line of the next row").0]
}

#[test]
fn what_others_get_wrong() {
    let sandbox = sandbox();
    let rows = rows();
    let written: Vec<_> = rows
        .iter()
        .map(|row| {
            let piece = |(bytes, pause): &(Vec<u8>, u64)| (Base64::encode_string(bytes), *pause);
            (row.stream, row.pieces.iter().map(piece).collect::<Vec<_>>())
        })
        .collect();
    sandbox.write("rows.json", json!(written).to_string());
    let words = ["--log", "error", "exec", "-P", "survey", "--", "/usr/bin/python3", "-c", JOB];
    let output = sandbox.command(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wrong = Vec::new();
    for (number, Row { name, stream, comes, .. }) in rows.iter().enumerate() {
        let out = part(if *stream == 1 { &output.stdout } else { &output.stderr }, number);
        let right = match comes {
            Comes::As(bytes) => out == &**bytes,
            Comes::Without(value) => {
                let rest = out.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
                // What stands before it in the same text may stay.
                memchr::memmem::find(out, b"***").is_some()
                    && rest <= 8
                    && find_behind(out, &[&value.as_bytes()[3..]], 2).is_empty()
            }
        };
        if !right {
            wrong.push(format!("{name}: {}", out.escape_ascii()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A final line break is kept, and none is added.
#[test]
fn the_end_of_the_output_is_as_it_was() {
    let sandbox = sandbox();
    for (text, comes) in [
        ("end", "end"),
        ("end\\n", "end\n"),
        ("end\\n\\n", "end\n\n"),
        ("%s", "***"),
        ("%s\\n", "***\n"),
        ("", ""),
        // The beginning of a value is held back, and comes at the end.
        ("k9TqX2vLm8", "k9TqX2vLm8"),
        ("aabaab", "aabaab"),
    ] {
        for stream in ["1", "2"] {
            let script = format!("printf '{text}' \"$TOKEN\" >&{stream}");
            let words = ["--log", "off", "exec", "-P", "survey", "--", "sh", "-c"];
            let script =
                if text.contains("%s") { script } else { script.replace(" \"$TOKEN\"", "") };
            let Ended { stdout, stderr, .. } =
                sandbox.run(words.iter().copied().chain([script.as_str()])).success();
            assert_eq!(if stream == "1" { stdout } else { stderr }, comes, "{text}, {stream}");
        }
    }
}
