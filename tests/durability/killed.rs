//! SIGKILL at any instant: each command is killed in every state that it ever leaves on the disk.
//!
//! A killed process can do nothing more, so two instants between which no file changed are one.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::stepper::Stepper;
use crate::support::Sandbox;

/// What a job is asked to show, where nothing is masked.
const SHOW: &str = "printf %s \"A=$A B=$B C=$C\" >shown";

/// What is shown where there is no store yet.
const NO_STORE: &str = "no store";

struct Case {
    arguments: &'static [&'static str],
    input: &'static str,
    /// What a job may get after the kill: the old state, ..., the new one.
    states: &'static [&'static str],
    /// The least number of states on the disk: the search works.
    at_least: usize,
}

/// Every file of a directory, ordered by name, with its content.
type Files = Vec<(String, Vec<u8>)>;

fn files(directory: &Path) -> Files {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Files = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn directory(sandbox: &Sandbox) -> PathBuf {
    sandbox.path(".local/share/qgis-secrets")
}

/// A sandbox with the same store and key.
fn copy(of: &Sandbox) -> Sandbox {
    let sandbox = Sandbox::new();
    let (from, to) = (directory(of), directory(&sandbox));
    if from.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&to).unwrap();
        for (name, _) in files(&from) {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
    sandbox
}

/// What a job gets.
fn shown(sandbox: &Sandbox) -> String {
    let ended = sandbox.shell(SHOW);
    if ended.code == 78 && ended.stderr.contains("error[store_missing]") {
        return NO_STORE.into();
    }
    ended.success();
    let shown = sandbox.path("shown");
    let text = fs::read_to_string(&shown).unwrap();
    fs::remove_file(shown).unwrap();
    text
}

/// Kills the command in each state that it leaves on the disk; the store is whole every time.
fn kill_everywhere(base: &Sandbox, case: &Case) {
    let Case { arguments, input, states, at_least } = case;
    let mut seen = vec![false; states.len()];
    for kill_at in 0.. {
        let sandbox = copy(base);
        let home = directory(&sandbox);
        let command = sandbox.command(*arguments);
        let mut stepper = Stepper::start(&command, input);
        let mut before = files(&home);
        let (mut changes, mut lives) = (0, true);
        while lives && changes < kill_at {
            lives = stepper.step();
            let now = files(&home);
            if now != before {
                changes += 1;
                before = now;
            }
        }
        drop(stepper);
        let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
        let instant = format!("{arguments:?}, killed after change {kill_at}: {names:?}");
        let state = whole(&sandbox, &instant);
        let which = states.iter().position(|known| *known == state);
        let which = which.unwrap_or_else(|| panic!("a job gets {state}; {instant}"));
        assert!(lives || which + 1 == states.len(), "it ended without effect; {instant}");
        seen[which] = true;
        if !lives {
            assert!(changes >= *at_least, "only {changes} states of {arguments:?} were found");
            assert!(seen[0], "the old state of {arguments:?} was never seen");
            return;
        }
    }
}

/// Everything works, and the key can be rotated; returns what a job gets.
fn whole(sandbox: &Sandbox, instant: &str) -> String {
    let state = shown(sandbox);
    let list = sandbox.run(["secret", "list"]);
    let expected = if state == NO_STORE { 78 } else { 0 };
    assert_eq!(list.code, expected, "{}; {instant}", list.stderr);
    let another = sandbox.run_with(["secret", "add", "ANOTHER", "-P", "survey"], "another-value");
    assert_eq!(another.code, 0, "{}; {instant}", another.stderr);
    let after = if state == NO_STORE { "A= B= C=" } else { &state };
    assert_eq!(shown(sandbox), after, "{instant}");
    let rotated = sandbox.run(["key", "rotate"]);
    assert_eq!(rotated.code, 0, "{}; {instant}", rotated.stderr);
    assert_eq!(shown(sandbox), after, "after a rotation; {instant}");
    let keys = fs::read_to_string(sandbox.key()).unwrap();
    let keys = keys.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(keys, 1, "after a rotation; {instant}");
    let names: Vec<String> = files(&directory(sandbox)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["store.db", "store.key"], "something stays; {instant}");
    state
}

/// A sandbox with variables: place, name, value.
fn with(variables: &[(&str, &str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (place, name, value) in variables {
        sandbox.add(place, name, value);
    }
    sandbox
}

#[test]
fn the_first_add_on_a_machine() {
    let case = Case {
        arguments: &["secret", "add", "A", "-P", "survey"],
        input: "a-new",
        states: &[NO_STORE, "A= B= C=", "A=a-new B= C="],
        at_least: 12,
    };
    kill_everywhere(&with(&[]), &case);
}

#[test]
fn an_add() {
    let base = with(&[("-O org", "A", "a-org"), ("-P survey", "B", "b-old")]);
    let case = Case {
        arguments: &["secret", "add", "A", "-P", "survey"],
        input: "a-new",
        states: &["A=a-org B=b-old C=", "A=a-new B=b-old C="],
        at_least: 5,
    };
    kill_everywhere(&base, &case);
}

#[test]
fn a_replacement() {
    let base = with(&[("-O org", "A", "a-org"), ("-P survey", "A", "a-old")]);
    let case = Case {
        arguments: &["secret", "add", "A", "-P", "survey", "--replace"],
        input: "a-new",
        states: &["A=a-old B= C=", "A=a-new B= C="],
        at_least: 5,
    };
    kill_everywhere(&base, &case);
}

#[test]
fn an_import() {
    let base = with(&[("-O org", "A", "a-org"), ("-P survey", "B", "b-old")]);
    let case = Case {
        arguments: &[
            "secret",
            "import",
            "-",
            "--format",
            "env",
            "-P",
            "survey",
            "--replace",
            "--yes",
        ],
        input: "A=a-new\nB=b-new\nC=c-new\n",
        states: &["A=a-org B=b-old C=", "A=a-new B=b-new C=c-new"],
        at_least: 5,
    };
    kill_everywhere(&base, &case);
}

#[test]
fn a_removal() {
    let base = with(&[("-O org", "A", "a-org"), ("-P survey", "A", "a-old")]);
    let case = Case {
        arguments: &["secret", "remove", "envvar:A", "-P", "survey"],
        input: "",
        states: &["A=a-old B= C=", "A=a-org B= C="],
        at_least: 5,
    };
    kill_everywhere(&base, &case);
}

#[test]
fn a_purge() {
    let base = with(&[
        ("-O org", "A", "a-org"),
        ("-P survey", "A", "a-old"),
        ("-P survey -U ada", "B", "b-old"),
        ("-P survey", "C", "c-old"),
    ]);
    let case = Case {
        arguments: &["secret", "purge", "-P", "survey", "--yes"],
        input: "",
        states: &["A=a-old B=b-old C=c-old", "A=a-org B= C="],
        at_least: 5,
    };
    kill_everywhere(&base, &case);
}

#[test]
fn a_rotation() {
    let base = with(&[
        ("-O org", "A", "a-org"),
        ("-P survey", "B", "b-old"),
        ("-P survey -U ada", "C", "c-old"),
    ]);
    let case = Case {
        arguments: &["key", "rotate"],
        input: "",
        states: &["A=a-org B=b-old C=c-old"],
        at_least: 20,
    };
    kill_everywhere(&base, &case);
}

#[test]
fn a_new_key() {
    let case = Case {
        arguments: &["key", "new"],
        input: "",
        states: &[NO_STORE, "A= B= C="],
        at_least: 10,
    };
    kill_everywhere(&with(&[]), &case);
}
