//! The state in which the job's program starts: descriptors, session, signals, limits, privileges.

use std::process::Command;

use serde_json::json;

use super::run;
use crate::support::{Ended, Sandbox, end};

const JOB: [&str; 5] = ["exec", "-P", "survey", "--", "sh"];

/// Signals 32 and 33, which libc keeps for itself and gives nobody access to.
const LIBC: u64 = 3 << 31;

/// A run below another program, which prepares something.
fn below(sandbox: &Sandbox, wrapper: &[&str], script: &str) -> Ended {
    let own = sandbox.command(JOB);
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(own.get_program()).args(own.get_args()).args(["-c", script]);
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.home());
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    end(command)
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    sandbox
}

/// The line of `/proc/…/status` or `limits` that begins with `name`, without it.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

#[test]
fn only_the_standard_descriptors_are_open() {
    let wrapper = ["sh", "-c", "exec 9</etc/hostname 5<>/dev/null; exec \"$@\"", "sh"];
    let ended = below(&sandbox(), &wrapper, "ls /proc/$$/fd; true").success();
    assert_eq!(ended.stdout, "0\n1\n2\n");
}

#[test]
fn signals_are_as_a_program_expects_them() {
    let wrapper = ["env", "--ignore-signal=INT,PIPE,USR1", "--block-signal"];
    // The shell itself changes none of them before its first command.
    let ended = below(&sandbox(), &wrapper, "exec cat /proc/self/status").success();
    for name in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        let signals = u64::from_str_radix(field(&ended.stdout, name), 16).unwrap();
        assert_eq!(signals & !LIBC, 0, "{name} {signals:x}");
    }
}

#[test]
fn session_and_group_are_its_own() {
    let ended = sandbox().shell("cat /proc/$$/stat; true").success();
    let (pid, rest) = ended.stdout.split_once(" (sh) ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    assert_eq!(fields[2..4], [pid, pid], "group and session");
}

#[test]
fn no_privileges_to_gain_and_no_core_to_dump() {
    let ended = sandbox().shell("cat /proc/self/status /proc/self/limits").success();
    assert_eq!(field(&ended.stdout, "NoNewPrivs:"), "1");
    let core: Vec<&str> = field(&ended.stdout, "Max core file size").split_whitespace().collect();
    assert_eq!(core, ["1", "1", "bytes"]);
    let ended = sandbox().shell("cat /proc/self/coredump_filter").success();
    assert_eq!(ended.stdout, "00000000\n");
}

/// Whoever starts the runner may ignore SIGCHLD, and the runner inherits that.
#[test]
fn a_runner_whose_parent_ignores_its_children_ends_all_the_same() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let ignore = "import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])";
    // A run that waits for ever is ended from outside, and fails here.
    below(&sandbox, &["timeout", "-k", "1", "30", "/usr/bin/python3", "-c", ignore], "exit 5")
        .fails(5);
}

/// The job's /dev/shm is its own: what is shared through a file must be elsewhere.
#[test]
fn what_the_job_cannot_share_is_refused_with_a_remedy() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let shared = sandbox.memory().to_str().unwrap();
    let members = json!({"working_dir": shared});
    let words = "the job has a private /dev/shm";
    run(&sandbox, members).error(65, "working_dir_unusable", words);
    let members = json!({"feedback": format!("{shared}/feedback.json")});
    let words = "would be in the job's private /dev/shm";
    run(&sandbox, members).error(65, "input_refused", words);
}

/// A full disk below the log, or a reader of it that has gone, is no reason to stop a job.
#[test]
fn a_log_that_cannot_be_written_stops_no_job() {
    let sandbox = sandbox();
    nix::unistd::mkfifo(&sandbox.path("closed"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for level in ["namespace", "process"] {
        // A level that isn't the strongest, and a job of root's, are told of.
        // The pipe is opened for both, so that nobody waits for its reader, and then has none.
        for stderr in ["exec 2>/dev/full", "exec 3<>closed 2>closed 3<&-"] {
            let script = format!("{stderr}; exec \"$@\"");
            let own = sandbox.command(["--log", "debug", "exec", "-P", "survey", "--containment"]);
            let mut command = Command::new("sh");
            command.args(["-c", &script, "sh"]).arg(own.get_program()).args(own.get_args());
            command.args([level, "--", "sh", "-c", "echo \"$API_KEY\"; exit 3"]).env_clear();
            command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.current_dir(sandbox.home()).stdin(std::process::Stdio::null());
            command.stdout(std::process::Stdio::piped());
            let ended = end(command).fails(3);
            assert_eq!(ended.stdout, "value-1\n", "{level} {stderr}");
        }
    }
}
