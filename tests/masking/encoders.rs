//! Forms that real programs write: Python and its libraries, shells and their tools, libpq, GDAL,
//! Qt and QGIS. What has gone through the masker gives the value back to no decoder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64ct::{Base64, Encoding};

use super::decoders::find;
use super::{masked, masker};
use crate::support::{Sandbox, finish};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/encoders.py");

const VALUES: &[(&str, &str)] = &[
    ("specials", r#"p@ss w/ord+"q"&<x>é"#),
    ("token", "k9TqX2vLm8RzB4nWc7YpD1sHf6JgA3eU"),
    (
        "PEM",
        "-----BEGIN PRIVATE KEY-----\n\
         MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVcB/UNPxalR9zDYA\n\
         jQIfjojUDiQuGnSJrFEEzZPT/92hRANCAASc7UJtgnF/abqWM60T3XNJEzBv5ez9\n\
         TdwKH0M6xpM2q+53wmsN/eYLdgtjgBd3DBmHtPilCkiFICXyaA8z9LkJ\n\
         -----END PRIVATE KEY-----\n",
    ),
    ("emoji", "🔑-ключ 😀π/日本"),
    ("libpq", r#"it's a \ "test" pa'ss"#),
    ("password", "gis-Postgres#1"),
    ("backslashes", r"\\srv\maps\new\tiles 100% \o/"),
];

/// This is not promised: quotes that were quoted twice.
const NOT_PROMISED: &[(&str, &str)] = &[("libpq", "shlex.join, twice")];

/// The value and, if it has several, its long lines.
fn pieces(value: &str) -> Vec<&[u8]> {
    let lines = value.lines().filter(|line| line.len() >= 8 && !line.starts_with("-----"));
    let mut pieces: Vec<&[u8]> = lines.map(str::as_bytes).collect();
    pieces.push(value.trim_ascii().as_bytes());
    pieces
}

/// What each program wrote: the value's name, the program's, the text.
fn written() -> Vec<(String, String, Vec<u8>)> {
    let sandbox = Sandbox::new();
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg(SCRIPT)
        .env("QT_QPA_PLATFORM", "offscreen")
        .env("XDG_RUNTIME_DIR", sandbox.memory())
        .env("HOME", sandbox.home())
        .current_dir(sandbox.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let values = serde_json::to_vec(&BTreeMap::from_iter(VALUES.iter().copied())).unwrap();
    child.stdin.take().unwrap().write_all(&values).unwrap();
    let ended = finish(child).success();
    let rows: Vec<(String, String, String)> = serde_json::from_str(&ended.stdout).unwrap();
    let decode = |text: String| Base64::decode_vec(&text).unwrap();
    rows.into_iter().map(|(value, program, text)| (value, program, decode(text))).collect()
}

#[test]
fn what_real_programs_write_is_masked() {
    let values: BTreeMap<&str, &str> = VALUES.iter().copied().collect();
    let maskers: BTreeMap<&str, _> = values
        .iter()
        .map(|(name, value)| (*name, masker(&[((*name).to_owned(), value.as_bytes().to_vec())])))
        .collect();
    let (mut programs, mut leaks, mut count) = (BTreeSet::new(), Vec::new(), 0);
    for (name, program, text) in &written() {
        let pieces = pieces(values[name.as_str()]);
        let promised = !NOT_PROMISED.contains(&(name, program));
        if !promised || find(text, &pieces).is_empty() {
            // A program that refused the value, or showed a part of it.
            continue;
        }
        count += 1;
        programs.insert(program.clone());
        let masker: &Arc<_> = &maskers[name.as_str()];
        let out = masked(masker, text, usize::MAX).0;
        assert_eq!(masked(masker, text, 3).0, out, "{name}, written by {program}, in pieces");
        if !find(&out, &pieces).is_empty() {
            let out = String::from_utf8_lossy(&out).into_owned();
            leaks.push(format!("{name}, written by {program}:\n{out}"));
        }
    }
    assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks.join("\n\n"));
    assert!(programs.len() > 100 && count > 600, "{count} texts by {}", programs.len());
}
