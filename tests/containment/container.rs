//! The runner as the first process of a container: signals without a default, orphans of others.

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use super::{LEVELS, Who, needs_root, report, run_command};
use crate::running::{Going, until_written};
use crate::support::{Sandbox, inner};

/// A PID namespace in which the program is the first process; unshare(1) mirrors its exit.
const CONTAINER: [&str; 6] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];

fn start(sandbox: &Sandbox, level: &str, script: &str) -> Going {
    let members = json!({"command": ["sh", "-c", script], "grace_s": 3600});
    Going::spawn(run_command(sandbox, &[&CONTAINER], &["--containment", level], members))
}

#[test]
fn orders_to_the_first_process_are_passed_on() {
    if needs_root() {
        return;
    }
    for level in LEVELS {
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT")] {
            let sandbox = Who::Root.sandbox();
            let script =
                format!("trap 'exit 7' {name}; echo > ready; while :; do sleep 0.02; done");
            let going = start(&sandbox, level, &script);
            until_written(&sandbox.path("ready"), "\n");
            kill(inner(going.pid()).unwrap(), signal).unwrap();
            going.end().fails(7);
            assert_eq!(report(&sandbox)["outcome"]["by"], signal.as_str(), "{level}");
        }
    }
}

/// Whoever asks a stopped container to end isn't kept waiting: the first process cannot be stopped.
#[test]
fn a_job_that_was_stopped_ends_when_the_container_is_told_to() {
    if needs_root() {
        return;
    }
    for level in LEVELS {
        let sandbox = Who::Root.sandbox();
        let going =
            start(&sandbox, level, "trap 'exit 7' TERM; while :; do echo > beat; sleep 0.01; done");
        until_written(&sandbox.path("beat"), "\n");
        let first = inner(going.pid()).unwrap();
        kill(first, Signal::SIGTSTP).unwrap();
        super::supervision::until_stopped(first);
        kill(first, Signal::SIGTERM).unwrap();
        going.end().fails(7);
        assert_eq!(report(&sandbox)["outcome"]["by"], "SIGTERM", "{level}");
    }
}

#[test]
fn orphans_are_reaped_and_exits_mirrored() {
    if needs_root() {
        return;
    }
    // Daemons that end: as long as one is there, as a zombie too, the job goes on.
    let reaped = "mark=daemon; mark=$mark-that-ends
        for end in 'exit 3' 'kill -KILL $$' 'kill -40 $$'; do
            (setsid sh -c \"$end # $mark\" &)
        done
        while cat /proc/[0-9]*/cmdline 2>/dev/null | grep -aq \"${mark%s}[s]\"; do sleep 0.01; done
        while grep -ls '^State:.Z' /proc/[0-9]*/status; do sleep 0.01; done >/dev/null";
    for level in LEVELS {
        for (last, code) in
            [("exit 0", 0), ("exit 42", 42), ("kill -KILL $$", 137), ("kill -USR1 $$", 138)]
        {
            let sandbox = Who::Root.sandbox();
            start(&sandbox, level, &format!("{reaped}\n{last}")).end().fails(code);
            // One that is about to end may be counted as killed; none is left.
            assert_eq!(report(&sandbox)["wipe"]["verified"], true, "{level}");
        }
    }
}

/// A process of the container that isn't the job's loses its parent: the first process gets it.
#[test]
fn orphans_of_others_are_reaped_by_the_outer_process() {
    if needs_root() {
        return;
    }
    for level in LEVELS {
        let sandbox = Who::Root.sandbox();
        let going =
            start(&sandbox, level, "echo > ready; while ! test -e go; do sleep 0.02; done; exit 5");
        until_written(&sandbox.path("ready"), "\n");
        let first = inner(going.pid()).unwrap();
        let target = first.to_string();
        let enter = ["--pid", "--mount", "--target", &target];
        // What it leaves has ended before the outer process could know of it.
        let status = std::process::Command::new("nsenter")
            .args(enter)
            .args(["sh", "-c", "(setsid true &)"])
            .status()
            .unwrap();
        assert!(status.success());
        crate::support::until("no zombie is left", || {
            let children =
                std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
            children.split_whitespace().all(|pid| crate::support::is_running(pid.parse().unwrap()))
        });
        sandbox.write("go", "");
        going.end().fails(5);
    }
}
