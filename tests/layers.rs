//! The architecture, as checks over the source.

use std::fs;
use std::path::{Path, PathBuf};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// A module imports only from lines above its own; those on one line don't know each other.
const LAYERS: &[&[&str]] = &[
    &["sys", "secret", "task"],
    &[
        "pgservice",
        "environment",
        "job",
        "redact",
        "settings",
        "http",
        "dotenv",
        "qgis_project",
        "connect",
        "access",
    ],
    &["membership"],
    &["precedence", "store", "log", "wire"],
    &["job_token"],
    &["backend", "containment", "supervise", "client"],
    &["report"],
    &["error"],
    &["pipeline"],
    &["preflight"],
    &["server"],
    &["cli"],
];

/// Needles, and the only files that may hold them (a folder stands for all in it).
const CONFINED: &[(&str, &[&str])] = &[
    ("unsafe_code", &["sys/"]),
    (
        // Looking inside a value.
        ".expose(",
        &[
            "secret.rs",
            "pgservice.rs",
            "pgservice/",
            "environment.rs",
            "http.rs",
            "http/peer.rs",
            "client.rs",
            "client/body.rs",
            "cli/api_token.rs",
            "server/resolve.rs",
            "server/api/access.rs",
            "store/seal.rs",
            "wire/answer.rs",
            "store/access/token.rs",
            "backend/service/exchange.rs",
            "containment/handover.rs",
            "containment/workspace.rs",
            "supervise/child.rs",
            "pipeline.rs",
            "pipeline/resolve.rs",
            "redact/",
            "cli/secret/",
            "cli/serve.rs",
            "dotenv.rs",
            "http/form.rs",
            "server/login/oidc/exchange.rs",
            "server/login/oidc/known.rs",
            "job_token/compact.rs",
            "job_token/remote.rs",
            "job_token/signing.rs",
            "job_token/verifier.rs",
            "cli/token/issue.rs",
            "server/submission.rs",
            "server/submission/",
            "server/page/typed.rs",
        ],
    ),
    ("reqwest", &["http.rs", "http/"]),
    ("crypto::hpke", &["store/seal.rs"]),
    (
        "rustls::",
        &["http/tls.rs", "server/listen/", "server/tls.rs", "store/postgres/", "store/seal.rs"],
    ),
    ("axum", &["server/"]),
    ("rusqlite", &["store/sqlite.rs"]),
    ("tokio_postgres", &["store/postgres.rs", "store/postgres/"]),
    ("jsonwebtoken::", &["job_token/"]),
    (
        "aws_lc_rs::",
        &[
            "job_token/public_key.rs",
            "job_token/signing.rs",
            "server/tls.rs",
            "store/postgres/tls.rs",
            "store/seal.rs",
        ],
    ),
    ("clap::", &["cli/"]),
    // What is printed of an error begins with a word of its own: `Error::kind`, which is documented.
    ("error[{", &["cli/output.rs"]),
    ("use landlock::", &["containment/landlock.rs", "containment/mod.rs"]),
    ("fork()", &["sys/spawn.rs"]),
    ("std::process::Command", &[]),
    ("std::env::vars_os", &["pipeline/parent.rs"]),
];

fn sources() -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut paths = Vec::new();
    walk(Path::new(SOURCE), &mut paths);
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.strip_prefix(SOURCE).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Comments and tests apart: what the program does.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

fn module(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|line| line.contains(&module))
}

/// Modules of this crate that a text names: `crate::a::…`, `use crate::{a, b::…}`.
fn imports(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let after = &text[at + "crate::".len()..];
        match after.strip_prefix('{') {
            None => found.push(word(after)),
            Some(list) => {
                let mut depth = 1;
                let mut start = 0;
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => {
                            found.push(word(&list[start..i]));
                            start = i + 1;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        found.push(word(&list[start..i]));
                        break;
                    }
                }
            }
        }
    }
    found.retain(|module| !module.is_empty());
    found
}

#[test]
fn modules_import_only_from_above() {
    let mut seen = 0;
    for (name, text) in sources() {
        let own = module(&name);
        if matches!(own, "lib" | "main") {
            continue;
        }
        let own_layer = layer(own).unwrap_or_else(|| panic!("{name} stands on no line"));
        for imported in imports(&code(&text)) {
            if imported == own {
                continue;
            }
            let other = layer(&imported).unwrap_or_else(|| panic!("{name} imports {imported}"));
            assert!(other < own_layer, "{name} must not import {imported}");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} imports found: the search is broken");
}

#[test]
fn imports_are_found() {
    let text = "use crate::a::B;\nuse crate::{c, d::{e, f}, g};\ncrate::h::i();";
    assert_eq!(imports(text), ["a", "c", "d", "g", "h"]);
}

#[test]
fn what_is_confined_stays_where_it_belongs() {
    for (needle, allowed) in CONFINED {
        for (name, text) in sources() {
            let permitted = allowed.iter().any(|place| match place.strip_suffix('/') {
                Some(folder) => name.starts_with(&format!("{folder}/")),
                None => name == *place,
            });
            if !permitted && !is_test(&name) {
                assert!(!code(&text).contains(needle), "{name} must not have `{needle}`");
            }
        }
        for place in *allowed {
            assert!(Path::new(SOURCE).join(place).exists(), "{place} is not there any more");
        }
    }
}

/// Types that carry a value have no way to show or copy it.
#[test]
fn values_cannot_be_shown_or_copied() {
    for (file, name) in [
        ("secret.rs", "Value"),
        ("secret.rs", "ValueBuf"),
        ("store/seal.rs", "PrivateKey"),
        ("store/schema.rs", "NewSecret"),
        ("store/keys.rs", "Keyring"),
        ("store/access/token.rs", "Fresh"),
        ("backend/mod.rs", "Revealed"),
        ("server/administration/answers.rs", "Addition"),
        ("server/submission.rs", "ServiceFields"),
        ("server/submission.rs", "Accepted"),
        ("server/api/forms.rs", "Text"),
        ("server/api/forms.rs", "NewSecret"),
        ("server/api/forms.rs", "Fields"),
        ("server/api/forms.rs", "Setting"),
        ("server/api/forms.rs", "Import"),
        ("wire.rs", "Given"),
        ("wire.rs", "Answer"),
        ("environment.rs", "Credential"),
        ("environment.rs", "Environment"),
        ("pgservice.rs", "Service"),
        ("pgservice.rs", "Setting"),
        ("job_token/signing.rs", "SigningKey"),
        ("server/login/ticket.rs", "Ticket"),
    ] {
        let text = fs::read_to_string(format!("{SOURCE}/{file}")).unwrap();
        let at = struct_at(&text, name).unwrap_or_else(|| panic!("no {name}"));
        let attributes: String = text[..at]
            .lines()
            .rev()
            .take_while(|line| line.starts_with("///") || line.starts_with("#["))
            .filter(|line| line.starts_with("#["))
            .collect();
        for banned in ["Clone", "Serialize", "Display"] {
            assert!(!attributes.contains(banned), "{file}: {name} derives {banned}");
            let by_hand = format!("{banned} for {name}");
            assert!(!text.contains(&by_hand), "{file}: {by_hand}");
        }
    }
}

/// Where a public type begins.
fn struct_at(text: &str, name: &str) -> Option<usize> {
    ["pub struct", "pub(crate) struct", "pub(super) struct"].iter().find_map(|word| {
        let at = text.find(&format!("{word} {name} "));
        at.or_else(|| text.find(&format!("{word} {name}(")))
    })
}

/// A reader keeps a file in the head.
#[test]
fn files_have_one_subject() {
    for (name, text) in sources() {
        assert!(text.starts_with("//!"), "{name} doesn't say what it is about");
        let lines = code(&text).lines().count();
        assert!(lines <= 450, "{name} has {lines} lines of code");
    }
}
