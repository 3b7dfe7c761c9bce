//! Masking, by example.

use std::sync::Arc;

use super::*;

const SPECIAL: &str = "p@ss w/ord+\"q\"&<x>é";

fn masker(values: &[(&str, &str)]) -> Arc<Masker> {
    let sensitive = |(name, value): &(&str, &str)| Sensitive {
        name: (*name).to_owned(),
        value: Value::from(*value),
    };
    Arc::new(Masker::new(values.iter().map(sensitive).collect()))
}

fn chunked(masker: &Arc<Masker>, text: &[u8], chunk: usize) -> Vec<u8> {
    let mut stream = masker.stream();
    let mut out = Vec::new();
    for piece in text.chunks(chunk) {
        stream.space()[..piece.len()].copy_from_slice(piece);
        out.extend_from_slice(stream.filled(piece.len()));
    }
    out.extend_from_slice(stream.end());
    out
}

#[track_caller]
fn masks(values: &[&str], text: &str, expected: &str) {
    let values: Vec<_> = values.iter().map(|value| ("s", *value)).collect();
    let masker = masker(&values);
    assert_eq!(masker.text(text), expected, "{text} as the first one");
    for chunk in [1, 2, 3, 7, 64] {
        let out = chunked(&masker, text.as_bytes(), chunk);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{text} by {chunk}");
    }
    assert_eq!(masker.text(text), expected, "{text} behind a stream");
}

#[test]
fn a_value_is_masked_wherever_it_stands() {
    masks(&["hunter2x"], "hunter2x", "***");
    masks(&["hunter2x"], "a hunter2x, hunter2xhunter2x b", "a ***, ****** b");
    masks(&["hunter2x"], "hunter2 hunter2", "hunter2 hunter2");
    masks(&["abcd"], "abc abcd dabcda", "abc *** d***a");
    masks(&["  hunter2x\n"], "hunter2x\n", "***\n");
}

#[test]
fn the_longer_one_wins_and_overlaps_are_one() {
    masks(&["hunter2x", "hunter2x-and-more"], "hunter2x-and-more hunter2x-and", "*** ***-and");
    masks(&["aabaabX"], "aabaabaabX aabaabX aab", "aab*** *** aab");
    masks(&["aabaab"], "aabaabaab", "***");
    masks(&["12345678", "56789abc"], "0123456789abcd", "0***d");
}

#[test]
fn the_forms_of_a_value() {
    for form in [
        "p@ss w/ord+\"q\"&<x>é",
        "p%40ss%20w%2Ford%2B%22q%22%26%3Cx%3E%C3%A9",
        "p%40ss%20w%2ford%2b%22q%22%26%3cx%3e%c3%a9",
        "p%40ss+w%2Ford%2B%22q%22%26%3Cx%3E%C3%A9",
        "p%40ss%20w/ord%2B%22q%22%26%3Cx%3E%C3%A9",
        "p@ss w/ord+\\\"q\\\"&<x>é",
        "p@ss w\\/ord+\\\"q\\\"&<x>\\u00e9",
        "p@ss w/ord+\\u0022q\\u0022\\u0026\\u003cx\\u003e\\u00E9",
        "p@ss w/ord+\\\\\\\"q\\\\\\\"&<x>\\\\u00e9",
        "p@ss w/ord+&quot;q&quot;&amp;&lt;x&gt;é",
        "p@ss w/ord+&#34;q&#34;&amp;&lt;x&gt;&#233;",
        "p@ss\\ w/ord+\\\"q\\\"\\&\\<x\\>é",
        "p@ss w/ord+\"q\"&<x>\\303\\251",
        "p@ss w/ord+\"q\"&<x>\\xc3\\xa9",
        "\x1b[31mp@ss\x1b[0m w/o\x1b[1;32mrd+\"q\"&<x>é",
        "7040737320772f6f72642b2271222c263c783e",
    ] {
        let whole = !form.starts_with("70");
        let expected = if whole { "<***>".to_owned() } else { format!("<{form}>") };
        let expected = if form.starts_with('\x1b') { "<\x1b[31m***>".to_owned() } else { expected };
        masks(&[SPECIAL], &format!("<{form}>"), &expected);
    }
    masks(&["it's a \\ 'x'"], "'it\\'s a \\\\ \\'x\\''", "'***'");
    masks(&["it's a \\ 'x'"], "\"'it\\\\'s a \\\\\\\\ \\\\'x\\\\''\"", "\"'***'\"");
    masks(&["it's a \\ 'x'"], "'it'\\''s a \\ '\\''x'\\'''", "'***'");
    masks(&["it's a \\ 'x'"], "'it'\"'\"'s a \\ '\"'\"'x'\"'\"''", "'***'");
    masks(&["it's a \\ 'x'"], "'it''s a \\ ''x'''", "'***''");
}

#[test]
fn base64_at_every_alignment() {
    // base64 of `hunter2x?>hunter2x` after nothing, `a`, `ab`.
    let value = "hunter2x?>";
    masks(&[value], "aHVudGVyMng/Pg==", "***");
    masks(&[value], "aHVudGVyMng_Pg", "***");
    masks(&[value], "YWh1bnRlcjJ4Pz4=", "YW***");
    masks(&[value], "YWJodW50ZXIyeD8+", "YWJ***");
    masks(&[value], "YWJodW50ZXIyeD8-", "YWJ***");
    masks(&[value], "YWJodW50ZXIyeD8%2B", "YWJ***");
    masks(&[value], "YWJodW50\nZXIyeD8%2B", "YWJ***");
    masks(&[value], "aHVudGVy\\r\\nMng\\/Pg==", "***");
    masks(&["hunter2"], "aHVudGVyMg==", "aHVudGVyMg==");
}

#[test]
fn hexadecimal_digits() {
    masks(&["hunter2x"], "\\x68756e7465723278", "\\x***");
    masks(&["hunter2k"], "68756E746572326B 68756E746572326b", "*** 68756E746572326b");
    masks(&["hunter2k"], "%68%75%6e%74%65%72%32%6b", "***");
    masks(&["hunter2x"], "HUNTER2X", "***");
    masks(&["password"], "PASSWORD", "PASSWORD");
    masks(&["my-password"], "MY-PASSWORD", "MY-PASSWORD");
    masks(&[SPECIAL], "P@SS W/ORD+\"Q\"&<X>É P@SS W/ORD+\"Q\"&<X>é", "*** ***");
}

/// Letters beyond ASCII have cases, with and without others beside them.
#[test]
fn letters_in_the_other_case() {
    masks(&["пароль!"], "ПАРОЛЬ! пароль! парол!", "*** *** парол!");
    masks(&["ПАРОЛЬ!"], "пароль!", "***");
    masks(&["pässwort+1"], "PÄSSWORT+1", "***");
}

#[test]
fn lines_of_a_value() {
    let value =
        "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\r\nhkiG9w0BAQEFAASC\nshort\n-----END KEY-----\n";
    masks(&[value], "MIIBVgIBADANBgkq", "***");
    masks(&[value], "-----BEGIN KEY-----\nshort\n", "-----BEGIN KEY-----\nshort\n");
    for end in ["\n", "\r\n", "\\n", "\\r\\n", "\\\\n", "%0A", "%0D%0A", "&#10;", "&#13;&#xA;"] {
        let form = value.trim_end().replace("\r\n", "\n").replace('\n', end);
        masks(&[value], &format!("a{form}b"), "a***b");
    }
}

#[test]
fn what_is_held_back_could_be_a_value() {
    let masker = masker(&[("s", "hunter2x")]);
    let mut stream = masker.stream();
    let mut feed = |text: &str| {
        stream.space()[..text.len()].copy_from_slice(text.as_bytes());
        let out = String::from_utf8_lossy(stream.filled(text.len())).into_owned();
        (out, stream.held())
    };
    assert_eq!(feed("Password: "), ("Password: ".into(), 0));
    // Each letter begins a form in base64; no line waits for that.
    for line in 'a'..='z' {
        assert_eq!(feed(&format!("{line}{line}\n")), (format!("{line}{line}\n"), 0));
    }
    assert_eq!(feed("line\nhunt"), ("line\n".into(), 4));
    assert_eq!(feed("er"), ("".into(), 6));
    assert_eq!(feed("s and h"), ("hunters and ".into(), 1));
    assert_eq!(feed("unter2x"), ("***".into(), 0));
}

#[test]
fn an_echo_is_released_once() {
    let masker = masker(&[("s", "hunter2x")]);
    let mut stream = masker.stream();
    let mut out = String::new();
    for (key, released) in [("h", "h"), ("u", ""), ("n", ""), ("ter2x", ""), (" h", "h"), (".", "")]
    {
        stream.space()[..key.len()].copy_from_slice(key.as_bytes());
        out += str::from_utf8(stream.filled(key.len())).unwrap();
        assert_eq!(str::from_utf8(stream.release(1)).unwrap(), released, "{out}");
        out += released;
    }
    assert_eq!(out, "h*** h.");
    assert_eq!(stream.hits().into_iter().collect::<Vec<_>>(), [("s", 1)]);
}

#[test]
fn hits_are_counted_by_name() {
    let masker =
        masker(&[("a", "hunter2x"), ("b", "hunter2x"), ("c", "hunter2x-long"), ("c", "zyxw")]);
    let mut stream = masker.stream();
    let text = b"hunter2x hunter2x-long zyxw zyxw";
    stream.space()[..text.len()].copy_from_slice(text);
    assert_eq!(stream.filled(text.len()), b"*** *** *** ***");
    assert_eq!(stream.hits().into_iter().collect::<Vec<_>>(), [("a", 1), ("b", 1), ("c", 3)]);
}

#[test]
fn short_values_are_named() {
    let masker = masker(&[("a", "abc"), ("b", " abc\n"), ("c", "abcd")]);
    assert_eq!(masker.unmaskable().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(masker.text("abc abcd"), "abc ***");
}

#[test]
fn what_is_held_back_has_an_end() {
    let value = "p'".repeat(20);
    let masker = masker(&[("s", &value)]);
    let mut stream = masker.stream();
    // A form of which each character is interrupted by control sequences, without end.
    let mut most = 0;
    for _ in 0..2_000 {
        let text = b"p\x1b[0m\x1b[0m\x1b[0m\x1b[0m";
        stream.space()[..text.len()].copy_from_slice(text);
        let passed = stream.filled(text.len()).len();
        most = most.max(stream.held());
        assert!(passed < 4096);
    }
    assert!(most < 16 * 40 + 1024 + 64, "{most}");
}

/// To make an index takes longer than a run of `true`; but many texts must not take for ever.
#[test]
fn an_index_is_made_when_it_pays() {
    let indexed = |masker: &Masker| masker.prepared.get().is_some_and(Prepared::is_indexed);
    let values = masker(&[("s", "hunter2x")]);
    assert_eq!(values.text("/bin/hunter2x"), "/bin/***");
    assert!(!indexed(&values));
    for _ in 0..20 {
        assert_eq!(values.text("/bin/hunter2x"), "/bin/***");
    }
    assert!(indexed(&values));

    let values = masker(&[("s", "hunter2x")]);
    let long = format!("{}hunter2x", " ".repeat(4096));
    assert!(values.text(&long).ends_with(" ***"));
    assert!(indexed(&values));
}

/// Occurrences that overlap without end are masked at once, as one.
#[test]
fn a_stretch_without_end_is_not_held_back() {
    let masker = masker(&[("s", "abab1abab1")]);
    let mut stream = masker.stream();
    let mut out = Vec::new();
    for _ in 0..20_000 {
        stream.space()[..5].copy_from_slice(b"abab1");
        out.extend_from_slice(stream.filled(5));
        assert!(stream.space().len() < 200_000);
    }
    stream.space()[0] = b'.';
    out.extend_from_slice(stream.filled(1));
    assert_eq!(String::from_utf8_lossy(&out), "***.");
    assert_eq!(stream.hits()["s"], 19_999);
}

/// Who waits to give out an echo must not wait for what is never given out.
#[test]
fn what_is_not_released_is_not_waited_for() {
    let masker = masker(&[("s", "hunter2x")]);
    let mut stream = masker.stream();
    for (key, before) in [("h", true), ("u", false), (" ", false), ("h", true)] {
        stream.space()[..1].copy_from_slice(key.as_bytes());
        stream.filled(1);
        assert_eq!(stream.releases(1), before, "{key}");
        assert_eq!(stream.release(1).is_empty(), !before, "{key}");
        assert!(!stream.releases(1), "{key}");
    }
}
