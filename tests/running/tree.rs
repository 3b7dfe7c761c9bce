//! The job's processes: its leader's end is the end of all of them, and of nobody else.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{Going, report, run, script, until_written};
use crate::support::{Sandbox, end, is_running, until};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    sandbox
}

/// A process by its number and its start time, for numbers come again.
#[derive(Debug)]
struct Process {
    pid: i32,
    started: String,
}

impl Process {
    fn lives(&self) -> bool {
        is_running(self.pid) && started(self.pid).is_some_and(|started| started == self.started)
    }
}

/// The 22nd field of `/proc/PID/stat`.
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19).map(str::to_owned)
}

/// The processes that a job wrote down with [`NOTE`].
fn noted(log: &Path) -> Vec<Process> {
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .map(|line| {
            let (pid, started) = line.split_once(' ').unwrap();
            Process { pid: pid.parse().unwrap(), started: started.to_owned() }
        })
        .collect()
}

/// Shell functions: `note` writes a process down, `await_lines` waits for so many of them.
const NOTE: &str = "
note() { echo \"$1 $(sed 's/.*) //' /proc/$1/stat | cut -d' ' -f20)\" >> pids; }
await_lines() { while test \"$(cat pids 2>/dev/null | wc -l)\" -lt $1; do sleep 0.02; done; }
";

#[test]
fn what_the_leader_leaves_behind_is_killed() {
    let sandbox = sandbox();
    // In the background, in a session of its own that ignores every signal, and a daemon that
    // forked twice; all hold standard output open.
    sandbox.write("note", format!("{NOTE}note $$; trap '' TERM INT HUP QUIT; exec sleep 1000"));
    let leader = format!(
        "{NOTE}
         sh ./note &
         setsid sh ./note &
         (setsid sh -c 'sh ./note & exit 0' & exit 0)
         await_lines 3; exit 6"
    );
    let ended = run(&sandbox, script(&leader)).fails(6);
    assert_eq!(ended.stdout, "");
    let processes = noted(&sandbox.path("pids"));
    assert_eq!(processes.len(), 3);
    for process in processes {
        assert!(!process.lives(), "{process:?} still lives");
    }
    let report = report(&sandbox);
    assert_eq!(report["outcome"], json!({"kind": "failed", "job_exit_code": 6}));
    assert_eq!(report["wipe"]["processes_killed"], 3);
    assert_eq!(report["wipe"]["verified"], true);
}

#[test]
fn what_a_killed_job_leaves_behind_is_killed_too() {
    let sandbox = sandbox();
    sandbox.write("note", format!("{NOTE}note $$; exec sleep 1000"));
    let leader = format!(
        "{NOTE}trap '' TERM; setsid sh ./note & sh ./note & await_lines 2; echo > ready
         while :; do sleep 0.05; done"
    );
    let mut members = script(&leader);
    members["grace_s"] = json!(0.2);
    let going = Going::start(&sandbox, members);
    until_written(&sandbox.path("ready"), "\n");
    going.signal(Signal::SIGTERM);
    going.end().fails(137);
    for process in noted(&sandbox.path("pids")) {
        assert!(!process.lives(), "{process:?} still lives");
    }
}

#[test]
fn an_orphan_that_ends_meanwhile_is_reaped() {
    let sandbox = sandbox();
    // By a code, a signal and a real-time signal: each must leave no zombie of the runner's.
    let ended = run(
        &sandbox,
        script(
            "for end in 'exit 3' 'kill -KILL $$' 'kill -40 $$'; do
                 (setsid sh -c \"$end\" &)
             done
             runner=$PPID
             while :; do
                 others=0
                 for pid in $(cat /proc/$runner/task/*/children); do
                     test $pid = $$ || others=1
                 done
                 test $others = 0 && exit 5
                 sleep 0.02
             done",
        ),
    );
    ended.fails(5);
    assert_eq!(report(&sandbox)["wipe"]["processes_killed"], 0);
}

#[test]
fn children_that_the_runner_had_before_are_not_the_jobs() {
    let sandbox = sandbox();
    let own = sandbox.command(["exec", "-P", "survey", "--", "sh", "-c", "sleep 1000 & exit 3"]);
    let mut command = Command::new("sh");
    command.arg("-c").arg("sleep 1000 & echo $!; exec \"$@\"").arg("sh");
    command.arg(own.get_program()).args(own.get_args());
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.home());
    // Not a pipe: the child that stays would hold it open.
    let out = sandbox.write("out", "");
    command.stdout(fs::OpenOptions::new().append(true).open(&out).unwrap());
    command.stderr(std::process::Stdio::null());
    let ended = end(command);
    let pid = fs::read_to_string(out).unwrap().trim().parse().unwrap();
    let lives = is_running(pid);
    // Its parent is gone; it is ours to end.
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    ended.fails(3);
    assert!(lives, "a child from before the job was killed");
}

/// Whoever kills the runner itself ends the job's leader with it. The workspace is left, in memory:
/// nobody is there any more to wipe it.
#[test]
fn the_leader_dies_with_a_runner_that_is_killed() {
    let sandbox = sandbox();
    let leader = format!("{NOTE}note $$; echo > ready; exec sleep 1000");
    let going = Going::start(&sandbox, script(&leader));
    until_written(&sandbox.path("ready"), "\n");
    going.signal(Signal::SIGKILL);
    let leader = &noted(&sandbox.path("pids"))[0];
    // First, for a leader that lives holds the output open.
    until("the leader is dead", || !leader.lives());
    going.end().fails(137);
    for left in sandbox.left_behind() {
        fs::remove_dir_all(left).unwrap();
    }
}
