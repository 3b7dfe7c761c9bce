//! What keeps a run apart: its levels, its account, what a host may refuse, and its end.
//!
//! Every fact holds for root and for an ordinary user, where the tests run as root; what a host
//! refuses is refused here by filters and namespaces of the test's own, never by a change to the
//! host.

mod account;
mod container;
mod exposed;
mod feedback;
mod hosts;
mod killed;
mod levels;
mod memory;
mod nested;
mod standing;
mod supervision;
mod swept;
mod terminal;

use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::support::{Ended, Sandbox, end};

/// All levels, the strongest first.
pub(crate) const LEVELS: [&str; 3] = ["namespace", "namespace-shared-proc", "process"];

/// The value of the variable that every job gets. Where masking isn't the point, it is not masked:
/// jobs show that they have it.
const VALUE: &str = "canary-contained";

/// The password of the service that every job gets.
const PASSWORD: &str = "canary-of-a-service";

/// The account of an ordinary user.
const NOBODY: u32 = 65_534;

/// Becomes that one; what comes after it is executed.
const AS_NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root with all capabilities.
    Root,
    /// A user without any.
    Ordinary,
}

impl Who {
    /// Those that can be tried here.
    pub(crate) fn all() -> Vec<Self> {
        if is_root() { vec![Self::Root, Self::Ordinary] } else { vec![Self::Ordinary] }
    }

    /// What comes before the program.
    pub(crate) fn words(self) -> Vec<&'static str> {
        if self == Self::Ordinary && is_root() { AS_NOBODY.into() } else { Vec::new() }
    }

    /// A sandbox with a secret and a service, which is theirs. The secret isn't masked.
    pub(crate) fn sandbox(self) -> Sandbox {
        self.sandbox_with(Sandbox::add)
    }

    /// The same, with a secret that is masked.
    fn masked_sandbox(self) -> Sandbox {
        self.sandbox_with(Sandbox::add_sensitive)
    }

    fn sandbox_with(self, add: fn(&Sandbox, &str, &str, &str)) -> Sandbox {
        let sandbox = Sandbox::new();
        add(&sandbox, "-P survey", "API_KEY", VALUE);
        sandbox.add_service("-P survey", "ninja", "ada", PASSWORD);
        self.own(sandbox.home());
        self.own(sandbox.memory());
        sandbox
    }

    /// Makes a directory and all in it theirs.
    fn own(self, path: &Path) {
        if self == Self::Root || !is_root() {
            return;
        }
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                self.own(&entry.unwrap().path());
            }
        }
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says why a test tries nothing here.
#[expect(clippy::print_stdout, reason = "for whoever reads the tests' output")]
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Whether root is needed and not there.
pub(crate) fn needs_root() -> bool {
    if !is_root() {
        skipped("it takes root");
    }
    !is_root()
}

/// The program below others: each list of words before it executes what follows.
pub(crate) fn below(sandbox: &Sandbox, before: &[&[&str]], arguments: &[&str]) -> Command {
    let own = sandbox.command(arguments);
    let program = own.get_program().to_str().unwrap();
    let words: Vec<&str> = before.concat();
    let mut all = words.into_iter().chain([program]);
    let mut command = Command::new(all.next().unwrap());
    command.args(all).args(own.get_args()).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.home()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Words that execute what follows under a filter: see the fixture.
fn refusing(what: &str) -> [&str; 3] {
    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/refusing.py");
    ["/usr/bin/python3", FIXTURE, what]
}

/// Words that execute what follows after a script, in a mount namespace of its own.
fn mounted(script: &str) -> Vec<String> {
    let script = format!("set -e; {script}\nexec \"$@\"");
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).into()
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// `run` of a descriptor with these members and options, and a report.
fn run_command(sandbox: &Sandbox, before: &[&[&str]], options: &[&str], members: Json) -> Command {
    let job = sandbox.job(members);
    let mut arguments = vec!["run", "--report", "report.json"];
    arguments.extend(options);
    arguments.push(job.to_str().unwrap());
    below(sandbox, before, &arguments)
}

/// Runs a shell script as a job.
fn run(sandbox: &Sandbox, before: &[&[&str]], options: &[&str], script: &str) -> Ended {
    end(run_command(sandbox, before, options, json!({"command": ["sh", "-c", script]})))
}

/// Writes to a file that is there, as those of the kernel are, or makes it.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).open(path)?.write_all(text.as_bytes())
}

/// The report of the last run.
fn report(sandbox: &Sandbox) -> Json {
    crate::support::json(&sandbox.path("report.json"))
}

/// What the last run was contained in, and why in no stronger level.
fn containment(sandbox: &Sandbox) -> (String, String) {
    let containment = report(sandbox)["containment"].take();
    let refused = containment["refused"].as_array().cloned().unwrap_or_default();
    let refused: Vec<&str> = refused.iter().filter_map(Json::as_str).collect();
    (containment["level"].as_str().unwrap_or_default().to_owned(), refused.join("; "))
}

/// A run was refused: code, word, a part of the message; the report says so, names the job, and
/// the job left no mark.
#[track_caller]
fn refused(sandbox: &Sandbox, ended: Ended, code: i32, kind: &str, message: &str) {
    let ended = ended.error(code, kind, message);
    assert!(!ended.stdout.contains("started"), "the job was started");
    no_value(&ended);
    let report = report(sandbox);
    assert_eq!(report["outcome"]["kind"], "not_started", "{report:#}");
    assert_eq!(report["outcome"]["reason"], kind, "{report:#}");
    assert_eq!(report["exit_code"], code, "{report:#}");
    assert_eq!(report["job"]["id"], "job-1", "{report:#}");
    std::fs::remove_file(sandbox.path("report.json")).unwrap();
}

/// The runner says no value, masked or not.
#[track_caller]
fn no_value(ended: &Ended) {
    for value in [VALUE, PASSWORD] {
        assert!(!ended.stderr.contains(value), "{}", ended.stderr);
    }
}

/// The directory of the store, as text for a shell.
fn store_directory(sandbox: &Sandbox) -> PathBuf {
    sandbox.store().parent().unwrap().to_owned()
}
