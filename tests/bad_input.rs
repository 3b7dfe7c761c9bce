//! Every bad input gives its own error and exit code; nothing starts, nothing leaks, nothing is
//! lost.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::support::{Ended, Sandbox, end, json};

mod commands;
mod descriptor;
mod keys;
mod reporting;
mod secrets;
mod services;
mod settings;
mod source;
mod store;
mod tampering;
mod workspace;

/// Every value of these tests, and every text that must not be repeated, begins with this.
const CANARY: &str = "canary-5e1f9a";

/// The value of a secret that was there before anything went wrong.
const KEPT: &str = "canary-5e1f9a-kept";

/// The id of a user that no machine has an account for.
const STRANGER: u32 = 2_000_000_011;

/// A sandbox whose project `survey` has a secret `KEPT`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "KEPT", KEPT);
    sandbox
}

/// The file that a job of [`job`] makes: the proof that it was started.
fn marker(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("started")
}

/// A descriptor whose command leaves the marker, with the given members over it.
fn job(sandbox: &Sandbox, members: Json) -> PathBuf {
    let mut all = json!({"command": ["touch", marker(sandbox)]});
    if let Json::Object(members) = members {
        all.as_object_mut().unwrap().extend(members);
    }
    sandbox.job(all)
}

/// `run` of a descriptor, with a report.
fn run(sandbox: &Sandbox, source: impl AsRef<str>) -> Ended {
    sandbox.run(["run", "--report", "report.json", source.as_ref()])
}

/// `exec` of a command that leaves the marker, with a report.
fn exec(sandbox: &Sandbox) -> Ended {
    end(sandbox.command(touching(sandbox)))
}

/// The arguments of [`exec`].
fn touching(sandbox: &Sandbox) -> Vec<String> {
    let begin = "exec -P survey -O org -U ada --report report.json -- touch";
    let marker = marker(sandbox).to_str().unwrap().to_owned();
    begin.split(' ').map(str::to_owned).chain([marker]).collect()
}

/// `secret add NEW` to the project.
fn add(sandbox: &Sandbox) -> Ended {
    sandbox.run_with(["secret", "add", "NEW", "-P", "survey"], format!("{CANARY}-new"))
}

/// A run was refused: code, word, every one of `words` in the message; no job was started, no
/// value shown, and the report says the same.
#[track_caller]
fn refused(sandbox: &Sandbox, ended: Ended, code: i32, kind: &str, words: &[&str]) {
    complained(ended, code, kind, words);
    assert!(!marker(sandbox).exists(), "the job was started");
    let report = sandbox.path("report.json");
    if report.exists() {
        no_canary(&report);
        let report = json(&report);
        assert_eq!(report["outcome"]["kind"], "not_started", "{report:#}");
        assert_eq!(report["outcome"]["reason"], kind, "{report:#}");
        assert_eq!(report["exit_code"], code, "{report:#}");
    }
}

/// A command failed as it should, and showed no value.
#[track_caller]
fn complained(ended: Ended, code: i32, kind: &str, words: &[&str]) {
    let ended = ended.error(code, kind, "");
    for word in words {
        assert!(ended.stderr.contains(word), "no `{word}` in\n{}", ended.stderr);
    }
    silent(&ended);
}

/// Nothing of a value is in the output.
#[track_caller]
fn silent(ended: &Ended) {
    let Ended { stdout, stderr, .. } = ended;
    assert!(!stdout.contains(CANARY) && !stderr.contains(CANARY), "shown:\n{stdout}\n{stderr}");
}

#[track_caller]
fn no_canary(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains(CANARY), "{} shows it:\n{text}", path.display());
}

/// What was there before is still there, and given.
#[track_caller]
fn nothing_is_lost(sandbox: &Sandbox) {
    assert_eq!(sandbox.printed("printf %s \"$KEPT\""), KEPT);
}

/// Puts other content into a file, which keeps its permissions.
fn overwrite(path: &Path, content: impl AsRef<[u8]>) {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(content.as_ref()).unwrap();
}

/// The program inside of another one: `words` come before it.
fn inside(sandbox: &Sandbox, words: &[&str], arguments: &[&str]) -> Command {
    let inner = sandbox.command(arguments);
    let mut outer = Command::new(words[0]);
    outer.args(&words[1..]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(sandbox.home()).stdin(std::process::Stdio::null());
    outer.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    outer
}

/// The program as a user whose rights end at the permission bits, whoever runs the tests.
fn unprivileged(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    let words = format!("unshare --user --map-user={STRANGER} --map-group={STRANGER} --");
    let words: Vec<&str> = words.split(' ').collect();
    end(inside(sandbox, &words, arguments))
}

/// The program in a mount namespace of its own, after `script` has mounted what it likes.
fn mounted(sandbox: &Sandbox, script: &str, arguments: &[&str]) -> Ended {
    mounted_then(sandbox, script, "exec \"$@\"", arguments)
}

/// The same; `then` runs the program, which is `"$@"`.
fn mounted_then(sandbox: &Sandbox, script: &str, then: &str, arguments: &[&str]) -> Ended {
    let script = format!("set -e; {script}; {then}");
    let words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
    end(inside(sandbox, &words, arguments))
}
