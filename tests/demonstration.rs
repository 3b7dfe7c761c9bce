//! The user documentation's case of three roles, with a real PostGIS and real QGIS jobs, played by
//! the same script as `make demo`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Sandbox, end, json};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/demo/demo.py");
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

#[test]
fn three_roles_at_three_levels() {
    play(Path::new(SYSTEM_PYTHON), &[]);
}

/// The same secrets, and jobs that get them from a service with a token each.
#[test]
fn three_roles_by_the_service() {
    play(Path::new(SYSTEM_PYTHON), &["--service"]);
}

/// The same with secrets that a person adds and removes in a browser.
#[test]
#[cfg(feature = "service")]
fn three_roles_by_the_page() {
    play(&crate::browsing::python(), &["--page"]);
}

fn play(python: &Path, options: &[&str]) {
    let sandbox = Sandbox::new();
    let rows = sandbox.path("rows.json");
    let mut command = Command::new(python);
    command
        .args([SCRIPT, "--binary", env!("CARGO_BIN_EXE_qgis-secrets"), "--json"])
        .arg(&rows)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = end(command).success();
    let table = json(&rows);
    assert_eq!(table["ok"], true, "{}", ended.stdout);
    let got: Vec<&str> = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["step"].as_str().unwrap().starts_with("PyQGIS writes"))
        .map(|row| row["got"].as_str().unwrap())
        .collect();
    // In the order of the story, so that a script that skips a step cannot pass.
    let expected = [
        "refused (66)",
        "ninja_org",
        "ninja_project",
        "ninja_user",
        "ninja_project",
        "ninja_project",
        "ninja_org",
        "refused (66)",
        "no such service",
        "ninja_project",
        "ninja_org",
        "refused (66)",
    ];
    assert_eq!(got, expected, "{}", ended.stdout);
}
