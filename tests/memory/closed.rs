//! Nobody of the same account looks into a runner, and no core of it is written.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::containment::{LEVELS, Who, below, skipped};
use crate::running::Going;
use crate::support::{Sandbox, inner, is_running, until};

/// Allows cores of any size, and executes what follows.
const CORES: [&str; 4] = ["sh", "-c", "ulimit -c unlimited && exec \"$@\"", "sh"];

fn cores(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("core")).collect()
}

/// Whether a process that crashes in `directory` leaves a core there.
fn are_to_be_had(directory: &Path) -> bool {
    let mut crash = Command::new(CORES[0]);
    let status = crash.args(&CORES[1..]).args(["sh", "-c", "kill -ABRT $$"]);
    let dumped = status.current_dir(directory).status().unwrap().core_dumped();
    let cores = cores(directory);
    cores.iter().for_each(|core| fs::remove_file(directory.join(core)).unwrap());
    dumped && !cores.is_empty()
}

/// A run whose job waits, and its two processes.
fn start(who: Who, sandbox: &Sandbox, level: &str) -> (Going, Pid) {
    let script = "echo > ready; while ! test -e go; do sleep 0.01; done";
    let arguments = ["exec", "-P", "survey", "--containment", level, "--", "sh", "-c", script];
    let going = Going::spawn(below(sandbox, &[&CORES, &who.words()], &arguments));
    until("the job runs", || sandbox.path("ready").exists());
    let inner = inner(going.pid()).unwrap();
    (going, inner)
}

#[test]
fn both_processes_are_closed_to_their_account() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = who.sandbox();
            let (going, inner) = start(who, &sandbox, level);
            for pid in [going.pid(), inner] {
                let file = |name| format!("/proc/{pid}/{name}");
                let owner = fs::metadata(file("mem")).unwrap().uid();
                assert_eq!(owner, 0, "{who:?}, {level}");
                if let Ok(filter) = fs::read_to_string(file("coredump_filter")) {
                    assert_eq!(filter.trim(), "00000000", "{who:?}, {level}");
                }
            }
            sandbox.write("go", "");
            going.end().success();
        }
    }
}

#[test]
fn a_runner_that_crashes_leaves_no_core() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = who.sandbox();
            if !are_to_be_had(sandbox.home()) {
                return skipped("the kernel writes no core here");
            }
            let (mut going, inner) = start(who, &sandbox, level);
            // The first process of a PID namespace gets no signal that it doesn't handle.
            let victim = if level == "process" { inner } else { going.pid() };
            kill(victim, Signal::SIGABRT).unwrap();
            let status = going.0.wait().unwrap();
            assert!(!status.core_dumped(), "{who:?}, {level}");
            until("both are gone", || !is_running(inner.as_raw()));
            until("the workspace is gone", || sandbox.left_behind().is_empty());
            assert_eq!(cores(sandbox.home()), Vec::<String>::new(), "{who:?}, {level}");
        }
    }
}
