//! Commands that cannot be started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{CANARY, inside, job, nothing_is_lost, refused, run, sandbox, unprivileged};
use crate::support::{Sandbox, end, json};

fn executable(sandbox: &Sandbox, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = sandbox.write(name, content);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A run of `members` is refused, and its workspace was wiped.
#[track_caller]
fn does_not_start(sandbox: &Sandbox, members: Json, code: i32, kind: &str, words: &[&str]) {
    let path = job(sandbox, members);
    refused(sandbox, run(sandbox, path.to_str().unwrap()), code, kind, words);
    let report = json(&sandbox.path("report.json"));
    assert_ne!(report["wipe"]["verified"], false, "{report:#}");
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let sandbox = sandbox();
    let script = executable(&sandbox, "qgis-tool", "#!/no/such/interpreter\n");
    executable(&sandbox, "here", "#!/bin/sh\ntouch started\n");
    let named = |name: &str| format!("the command `{name}` was not found");
    for (word, hint) in [
        ("no-such-program", " in the job's PATH"),
        ("/no/such/program", ""),
        ("/etc/passwd/program", ""),
        (&*script, ": its file is there, but the interpreter that it names is not"),
        // The current directory is not searched.
        ("here", " in the job's PATH"),
    ] {
        let words = [named(word) + hint];
        let members = json!({"command": [word, CANARY]});
        does_not_start(&sandbox, members, 127, "command_not_found", &[&words[0]]);
    }
    let path = format!(":/usr/bin:/bin:{}", sandbox.home().display());
    let arguments = ["exec", "-P", "survey", "--", "qgis-tool"];
    let mut command = sandbox.command(arguments);
    command.env("PATH", path);
    let ended = end(command);
    let hint = "its file is there, but the interpreter that it names is not";
    refused(&sandbox, ended, 127, "command_not_found", &[hint]);
    // Nor is a forbidden directory on the way the fault of a name that is nowhere.
    let closed = sandbox.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let script = "PATH=$PATH:$PWD/closed; exec \"$@\"";
    let words = ["unshare", "--user", "--map-user=1000", "--", "sh", "-c", script, "sh"];
    let arguments = ["exec", "-P", "survey", "--", "no-such-program"];
    let ended = end(inside(&sandbox, &words, &arguments));
    let word = "`no-such-program` was not found in the job's PATH, of which a directory isn't";
    refused(&sandbox, ended, 127, "command_not_found", &[word]);
    nothing_is_lost(&sandbox);
}

#[test]
fn a_file_that_is_no_program_is_126() {
    let sandbox = sandbox();
    let directory = sandbox.home().to_str().unwrap().to_owned();
    let plain = sandbox.write("plain", "#!/bin/sh\ntouch started\n");
    let plain = plain.to_str().unwrap().to_owned();
    let headless = executable(&sandbox, "headless", format!("touch started # {CANARY}\n"));
    let binary = executable(&sandbox, "binary", b"\x7fELF and nothing else");
    for (word, why) in [
        (&directory, "isn't permitted"),
        (&plain, "isn't permitted"),
        (&headless, "no script that begins with #!"),
        (&binary, "not a program of this machine"),
    ] {
        let words = [&*format!("the command `{word}` cannot be executed: "), why];
        let members = json!({"command": [word, CANARY]});
        does_not_start(&sandbox, members, 126, "command_not_executable", &words);
    }
    nothing_is_lost(&sandbox);
}

#[test]
fn a_working_directory_that_cannot_be_entered_is_named() {
    let sandbox = sandbox();
    let file = sandbox.write("file", "");
    let closed = sandbox.path("closed");
    fs::create_dir(&closed).unwrap();
    for path in [Path::new("/no/such/directory"), &file, &file.join("below")] {
        let word = format!("the working directory {} cannot be entered", path.display());
        let members = json!({"working_dir": path});
        does_not_start(&sandbox, members, 65, "working_dir_unusable", &[&word]);
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    let path = job(&sandbox, json!({"working_dir": closed}));
    let ended = unprivileged(&sandbox, &["run", "--report", "report.json", path.to_str().unwrap()]);
    let words = [closed.to_str().unwrap(), "Permission denied"];
    refused(&sandbox, ended, 65, "working_dir_unusable", &words);
    assert_eq!(json(&sandbox.path("report.json"))["wipe"]["verified"], true);
    nothing_is_lost(&sandbox);
}

#[test]
fn arguments_longer_than_the_kernel_takes_are_refused() {
    let sandbox = sandbox();
    sandbox.write("settings.toml", "[job]\nmax_bytes = 16_000_000\n");
    let touch = |rest: Vec<String>| [vec!["touch".to_owned(), "started".to_owned()], rest].concat();
    let one = touch(vec![CANARY.repeat(10_100)]);
    // The kernel takes 6 MiB together at most, whatever the limit on the stack.
    let many = touch(vec![CANARY.repeat(7_000); 75]);
    for command in [one, many] {
        let path = job(&sandbox, json!({"command": command}));
        let arguments = ["--settings", "settings.toml", "run", "--report", "report.json"];
        let ended = sandbox.run(arguments.into_iter().chain([path.to_str().unwrap()]));
        let words = ["longer than the kernel takes", "pass long text in a file"];
        refused(&sandbox, ended, 65, "arguments_too_long", &words);
        assert_eq!(json(&sandbox.path("report.json"))["wipe"]["verified"], true);
    }
    nothing_is_lost(&sandbox);
}
