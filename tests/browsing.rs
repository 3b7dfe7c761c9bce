//! The page in a real browser, Chromium: what people do, see and can't do. The scripts in
//! `tests/browsing/` drive it; each has a service of its own, and says in its head what it proves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::end;

/// The Python that has what drives the browser: `make deps` puts it below the target directory.
pub(crate) fn python() -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .ancestors()
        .map(|folder| folder.join("test-tools/bin/python"))
        .find(|python| python.exists());
    tools.expect("what drives the browser is not installed: run `make deps`")
}

/// Plays a script to its end.
#[track_caller]
fn play(script: &str, options: &[&str]) {
    let script = format!("{}/tests/browsing/{script}.py", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python());
    command
        .args([&script, "--binary", env!("CARGO_BIN_EXE_qgis-secrets")])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    end(command).success();
}

#[test]
fn every_task_by_mouse() {
    play("tasks", &["--by", "mouse"]);
}

#[test]
fn every_task_by_keyboard() {
    play("tasks", &["--by", "keyboard"]);
}

#[test]
fn every_task_by_mouse_without_scripts() {
    play("tasks", &["--by", "mouse", "--without-script"]);
}

#[test]
fn every_task_by_keyboard_without_scripts() {
    play("tasks", &["--by", "keyboard", "--without-script"]);
}

#[test]
fn every_state_is_accessible_and_fits() {
    play("accessibility", &[]);
}

#[test]
fn nothing_is_lost_or_done_twice_by_a_mishap() {
    play("mishaps", &[]);
}

#[test]
fn nothing_is_lost_or_done_twice_by_a_mishap_without_scripts() {
    play("mishaps", &["--without-script"]);
}

#[test]
fn markup_in_fields_runs_nowhere() {
    play("hostile", &[]);
}
