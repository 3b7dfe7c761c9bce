//! Feedback as it stands in files and as text; what runs do with it is tested through the program.

use std::fs::{self, OpenOptions};

use proptest::prelude::*;

use super::*;
use crate::redact::Sensitive;
use crate::secret::Value;

const SECRET: &str = "geheim-\"1\"\\ä";

fn masker(values: &[&str]) -> Arc<Masker> {
    let sensitive =
        |value: &&str| Sensitive { name: "envvar:A".into(), value: Value::from(*value) };
    Arc::new(Masker::new(values.iter().map(sensitive).collect()))
}

fn settled(promise: Promise) -> Result<(), Complaint> {
    promise.settle(&masker(&[])).verdict
}

#[test]
fn what_the_file_says() {
    let directory = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (Some("{}"), Ok(())),
        (Some(r#"{"error": null, "steps": []}"#), Ok(())),
        (Some(r#"{"error": ""}"#), Ok(())),
        (Some(r#"{"steps": {"error": "inside"}, "x": [{"error": 1}], "y": "error"}"#), Ok(())),
        (Some(r#"{"path": "\udc80", "error": false}"#), Ok(())),
        (Some(r#"{"error": "boom"}"#), Err(Complaint::Error)),
        (Some(r#"{"\u0065rr\u006Fr" : 0 }"#), Err(Complaint::Error)),
        (Some(r#"{"error": {"type": "UNKNOWN"}}"#), Err(Complaint::Error)),
        (Some(r#"{"error": []}"#), Err(Complaint::Error)),
        (Some(r#"{"error": true}"#), Err(Complaint::Error)),
        (Some(r#"{"error": null, "error": true}"#), Err(Complaint::Error)),
        (Some("{"), Err(Complaint::Unreadable)),
        (Some("{} {}"), Err(Complaint::Unreadable)),
        (Some(""), Err(Complaint::Unreadable)),
        (Some("[]"), Err(Complaint::Unreadable)),
        (Some(r#"["error", {"error": 1}]"#), Err(Complaint::Unreadable)),
        (Some("\"error\""), Err(Complaint::Unreadable)),
        (None, Err(Complaint::Missing)),
    ] {
        let path = directory.path().join("feedback.json");
        let promise = Promise::new(&path);
        if let Some(text) = text {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(settled(promise), expected, "{text:?}");
        // The same file before the next run is no feedback of that run.
        if let Some(text) = text {
            assert_eq!(settled(Promise::new(&path)), Err(Complaint::Missing));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn links_pipes_and_directories_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("feedback.json");
    for make in [
        |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        |path: &Path| std::os::unix::fs::symlink("/etc/hostname", path).unwrap(),
        |path: &Path| fs::create_dir(path).unwrap(),
    ] {
        let promise = Promise::new(&path);
        make(&path);
        let before = fs::symlink_metadata(&path).unwrap().file_type();
        let settled = promise.settle(&masker(&[SECRET]));
        assert_eq!(settled, Settled { verdict: Err(Complaint::Unreadable), leak: None });
        assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before);
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    }
}

fn masked(text: &str, values: &[&str]) -> String {
    let examined = json::examine(text.as_bytes(), &masker(values)).unwrap();
    examined.masked.map_or_else(|| text.to_owned(), |masked| String::from_utf8(masked).unwrap())
}

#[test]
fn only_what_holds_a_value_changes() {
    let quoted = serde_json::Value::from(SECRET).to_string();
    for (text, expected) in [
        // Every byte around it stays: blanks, order, repeated keys, numbers that no type holds.
        (
            "{ \"b\":[1.0e+400 ,\t-0.10,123456789012345678901234567890],\r\n\"a\" : \"x@y\" ,\"a\":@}\n",
            "{ \"b\":[1.0e+400 ,\t-0.10,123456789012345678901234567890],\r\n\"a\" : \"x***y\" ,\"a\":\"***\"}\n",
        ),
        // A key is what it is.
        ("{@ : @, \"k\": {@:1}}", "{@ : \"***\", \"k\": {@:1}}"),
        ("@", "\"***\""),
        ("[\"\\u00e4\\/@\\n\", \"\\u00e4\\/\"]", "[\"ä/***\\n\", \"\\u00e4\\/\"]"),
        ("[\"\\ud83d\\ude00 @\", \"\\ud83d\"]", "[\"\u{1f600} ***\", \"\\ud83d\"]"),
        ("[\"\\ud83d @\", \"\\ud83d\\u0041 @\"]", "[\"\u{fffd} ***\", \"\u{fffd}A ***\"]"),
    ] {
        // `@` is the value: a string of its own, or a part of one.
        let put = |text: &str| {
            let mut inside = false;
            let mut escaped = false;
            let mut out = String::new();
            for c in text.chars() {
                match c {
                    '@' if inside => out.push_str(&quoted[1..quoted.len() - 1]),
                    '@' => out.push_str(&quoted),
                    c => out.push(c),
                }
                inside ^= c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
            }
            out
        };
        assert_eq!(masked(&put(text), &[SECRET]), put(expected));
    }
    let numbers = r#"{"12345": [12345, -0.123450, "12345", 1234, true, "tru"], "true": true}"#;
    let expected = r#"{"12345": ["***", "***", "***", 1234, "***", "tru"], "true": "***"}"#;
    assert_eq!(masked(numbers, &["12345", "true"]), expected);
    // Deeper than a reader that calls itself could go.
    let deep = format!("{}\"{}\"{}", "[".repeat(100_000), "1234-", "]".repeat(100_000));
    assert!(masked(&deep, &["1234-"]).contains("\"***\""));
}

#[test]
fn what_is_no_json_is_told_from_what_is() {
    for text in ["", "{", "{]", "[1,]", "nul", "\"\n\"", "01", "{\"a\"}", "NaN", "\"\\x\"", "[] []"]
    {
        assert!(json::examine(text.as_bytes(), &masker(&[SECRET])).is_none(), "{text}");
    }
    assert!(json::examine(b"\"\xff\"", &masker(&[SECRET])).is_none());
}

/// Any JSON, as text with blanks in odd places.
fn documents() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "([a-z\"\\\\/\u{e4}\u{1f600}\\n\\x00-\\x1f{}\\[\\]:,]|geheim){0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::hash_map("[a-z\":\\\\]{0,5}|error|geheim", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What masking should do, by the tree.
fn by_tree(value: serde_json::Value, masker: &Arc<Masker>) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => masker.text(&text).into(),
        Json::Array(values) => values.into_iter().map(|value| by_tree(value, masker)).collect(),
        Json::Object(members) => Json::Object(
            members.into_iter().map(|(key, value)| (key, by_tree(value, masker))).collect(),
        ),
        other => other,
    }
}

proptest! {
    #[test]
    fn as_the_tree_says(document in documents(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&document) }
            else { serde_json::to_string(&document) }.unwrap();
        let masked = masked(&text, &["geheim"]);
        let read: serde_json::Value = serde_json::from_str(&masked).unwrap();
        prop_assert_eq!(&read, &by_tree(document, &masker(&["geheim"])));
        let written = if pretty { serde_json::to_string_pretty(&read) }
            else { serde_json::to_string(&read) }.unwrap();
        prop_assert_eq!(written, masked);
    }
}
