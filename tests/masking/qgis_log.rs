//! A real log of a long QGIS job comes through byte for byte, but for the values.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};

use super::decoders::replace;
use super::{Named, masked, masker};
use crate::support::{Sandbox, finish};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qgis_log.py");

const LINES: usize = 100_000;

/// What jobs are given: passwords of people, keys and tokens of services.
const VALUES: &[(&str, &str)] = &[
    ("envvar:FIELD_PASSWORD", "Survey2024!"),
    ("pgservice:ninja", "gis-Postgres#1"),
    ("pgservice:hostile", r#"it's a \ "test" pa'ss"#),
    ("pgservice:words", "correct horse battery staple"),
    ("pgservice:accents", "Zürich-Grün_für-Ämter"),
    ("envvar:API_KEY", "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"),
    ("envvar:STRIPE", "sk_live_51Hx0aJK9vTqLmZpR7wYcN3eU"),
    ("envvar:GITHUB", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("envvar:AWS_ID", "AKIAIOSFODNN7EXAMPLE"),
    ("envvar:AWS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("envvar:UUID", "7c1e0d52-58d0-4b6e-9c43-5ad0c7f5a1b2"),
    ("envvar:HEX", "8f14e45fceea167a5a36dedd4bea2543c81e728d9d4c2f636f067f89cc14862c"),
    ("envvar:BASE64", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="),
    ("envvar:URL_TOKEN", "dGhpcyBpcyBub3QgYSB0b2tlbg-_x9"),
    (
        "envvar:JWT",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
         eyJzdWIiOiJhZGEiLCJwcm9qZWN0Ijoic3VydmV5In0.\
         Jf36POk6yJV_adQssw5c-SflKxwRJSMeKKF2QT4fwpM",
    ),
    ("envvar:DATABASE_URL", "postgresql://ada:Survey2024!@db.example:5432/gis?sslmode=require"),
    ("envvar:DSN", "host=db.example user=ada password='Wald & Wiesen' dbname=gis"),
    (
        "envvar:KEY",
        "-----BEGIN PRIVATE KEY-----\n\
         MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVcB/UNPxalR9zDYA\n\
         jQIfjojUDiQuGnSJrFEEzZPT/92hRANCAASc7UJtgnF/abqWM60T3XNJEzBv5ez9\n\
         TdwKH0M6xpM2q+53wmsN/eYLdgtjgBd3DBmHtPilCkiFICXyaA8z9LkJ\n\
         -----END PRIVATE KEY-----",
    ),
    ("envvar:PIN", "48151623"),
    ("envvar:WINDOWS", r"\\srv\maps\new"),
];

/// The log, and the forms in which values were put into it.
fn log() -> (Vec<u8>, Vec<Vec<u8>>) {
    let sandbox = Sandbox::new();
    let (forms, log) = (sandbox.path("forms.json"), sandbox.write("log", ""));
    let out = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command
        .args([SCRIPT, &LINES.to_string()])
        .arg(&forms)
        .env("QT_QPA_PLATFORM", "offscreen")
        .env("XDG_RUNTIME_DIR", sandbox.memory())
        .env("HOME", sandbox.home())
        .current_dir(sandbox.home())
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let values = serde_json::to_vec(&BTreeMap::from_iter(VALUES.iter().copied())).unwrap();
    child.stdin.take().unwrap().write_all(&values).unwrap();
    finish(child).success();
    let forms: Vec<String> = serde_json::from_slice(&std::fs::read(forms).unwrap()).unwrap();
    let forms = forms.iter().map(|form| Base64::decode_vec(form).unwrap()).collect();
    (std::fs::read(log).unwrap(), forms)
}

#[test]
fn a_real_log_comes_through_but_for_the_values() {
    let (log, mut forms) = log();
    let lines = log.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines >= LINES, "only {lines} lines");
    // One value may stand in another: the longest first.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    let mut expected = log.clone();
    for form in &forms {
        expected = replace(&expected, form, b"***");
    }
    let values: Vec<Named> = VALUES
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    let (out, hits) = masked(&masker(&values), &log, usize::MAX);
    if out != expected {
        let pair = |(out, expected): &(&[u8], &[u8])| out != expected;
        let mut lines = out.split(|b| *b == b'\n').zip(expected.split(|b| *b == b'\n'));
        let (out, expected) = lines.find(pair).unwrap_or_default();
        panic!("came out:\n{}\nexpected:\n{}", out.escape_ascii(), expected.escape_ascii());
    }
    let missed: Vec<&&str> =
        VALUES.iter().map(|(name, _)| name).filter(|name| !hits.contains_key(**name)).collect();
    assert!(missed.is_empty(), "never hit: {missed:?}");
}
