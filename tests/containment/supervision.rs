//! How runs end, in each level.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use super::{LEVELS, Who, report, run, run_command};
use crate::running::{Going, until_written};
use crate::support::{Sandbox, inner, is_running, until};

fn start(sandbox: &Sandbox, who: Who, level: &str, members: Json) -> Going {
    Going::spawn(run_command(sandbox, &[&who.words()], &["--containment", level], members))
}

/// Runs a test in each level, as everybody.
fn everywhere(test: impl Fn(Who, &Sandbox, &str)) {
    for who in Who::all() {
        for level in LEVELS {
            test(who, &who.sandbox(), level);
        }
    }
}

/// The leader of the job of a runner: the only grandchild.
fn leader(outer: Pid) -> Option<Pid> {
    inner(inner(outer)?)
}

/// The letter in `/proc/PID/stat`.
fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until the leader of the job below `outer` is stopped.
pub(super) fn until_stopped(outer: Pid) {
    let what = format!("the job of {outer} is stopped");
    // A shell that has just forked waits for its child, which is stopped before it can go on.
    until(&what, || match leader(outer).map(|leader| (leader, state(leader))) {
        Some((_, Some('T'))) => true,
        Some((leader, Some('D'))) => inner(leader).and_then(state) == Some('T'),
        _ => false,
    });
}

#[test]
fn what_a_job_leaves_is_killed_and_counted() {
    everywhere(|who, sandbox, level| {
        // In the background; in a session of its own, deaf; a daemon that forked twice. All hold
        // the output open, and their names tell them apart.
        let name = format!("stray-{}-{}", std::process::id(), level.len());
        std::os::unix::fs::symlink("/bin/sleep", sandbox.path(&name)).unwrap();
        let script = format!(
            "./{name} 1001 & (trap '' TERM INT HUP QUIT; exec setsid ./{name} 1002) &
             (setsid sh -c './{name} 1003 & exit 0' & exit 0)
             while test $(cat /proc/[0-9]*/cmdline 2>/dev/null | grep -ac '{name}.100') = 0 ||
                   test $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' |
                          grep -c '^100[123]$') -lt 3; do sleep 0.01; done
             exit 6"
        );
        let ended = run(sandbox, &[&who.words()], &["--containment", level], &script).fails(6);
        assert_eq!(ended.stdout, "");
        let wipe = &report(sandbox)["wipe"];
        assert_eq!(wipe["processes_killed"], 3, "{who:?}, {level}: {wipe}");
        assert_eq!(wipe["verified"], true);
        assert_eq!(wipe["by"], "inner");
        for entry in fs::read_dir("/proc").unwrap() {
            let line = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&line).contains(&name), "{who:?}, {level}: it lives");
        }
    });
}

#[test]
fn a_deaf_job_is_killed_after_the_grace_and_by_the_timeout() {
    everywhere(|who, sandbox, level| {
        let script = "trap '' TERM; (trap '' TERM; while :; do sleep 0.01; done) &
            echo > ready; while :; do sleep 0.01; done";
        let mut members = json!({"command": ["sh", "-c", script], "grace_s": 0.2});
        let going = start(sandbox, who, level, members.clone());
        until_written(&sandbox.path("ready"), "\n");
        going.signal(Signal::SIGTERM);
        going.end().fails(137);
        assert_eq!(report(sandbox)["outcome"]["ended_by"], "SIGKILL");
        members["timeout_s"] = json!(0.2);
        start(sandbox, who, level, members).end().fails(124);
        let outcome = json!({"kind": "timed_out", "ended_by": "SIGKILL"});
        assert_eq!(report(sandbox)["outcome"], outcome, "{who:?}, {level}");
    });
}

#[test]
fn exits_are_mirrored() {
    everywhere(|who, sandbox, level| {
        for (script, code, kind) in [
            ("exit 0", 0, "succeeded"),
            ("exit 255", 255, "failed"),
            ("kill -KILL $$", 137, "signalled"),
            ("kill -SEGV $$", 139, "signalled"),
            ("kill -KILL 0", 137, "signalled"),
            ("kill -40 $$", 168, "signalled"),
        ] {
            let options = ["--containment", level];
            run(sandbox, &[&who.words()], &options, script).fails(code);
            assert_eq!(report(sandbox)["outcome"]["kind"], kind, "{who:?}, {level}: {script}");
        }
    });
}

#[test]
fn a_stopped_job_is_continued_and_can_be_ended() {
    everywhere(|who, sandbox, level| {
        let script = "trap 'exit 7' TERM; while :; do echo x >> beat; sleep 0.01; done";
        let members = json!({"command": ["sh", "-c", script], "grace_s": 3600});
        // As a shell starts it: in a group of its own, which is no orphan, for the parent is in
        // another one of the session.
        let options = ["--containment", level];
        let mut command = run_command(sandbox, &[&who.words()], &options, members);
        command.process_group(0);
        let going = Going::spawn(command);
        let beat = sandbox.path("beat");
        until_written(&beat, "x");
        let outer = going.pid();
        // The runner stops as well, as a shell expects it.
        going.signal(Signal::SIGTSTP);
        until_stopped(outer);
        until("the runner is stopped", || state(outer) == Some('T'));
        going.signal(Signal::SIGCONT);
        let before = fs::metadata(&beat).unwrap().len();
        until("the job goes on", || fs::metadata(&beat).unwrap().len() > before);
        assert_ne!(state(outer), Some('T'));
        // Somebody stopped the job itself: an order to end continues it.
        killpg(leader(outer).unwrap(), Signal::SIGSTOP).unwrap();
        until_stopped(outer);
        going.signal(Signal::SIGTERM);
        going.end().fails(7);
        assert_eq!(report(sandbox)["outcome"]["by"], "SIGTERM", "{who:?}, {level}");
    });
}

/// Nobody could continue a runner that no shell has started. Then the job goes on as well.
#[test]
fn an_orphan_is_not_stopped() {
    everywhere(|who, sandbox, level| {
        let script = "trap 'echo > continued' CONT; trap 'exit 7' TERM
            echo > ready; while :; do sleep 0.01; done";
        let members = json!({"command": ["sh", "-c", script], "grace_s": 3600});
        let words = [&["setsid"][..], &who.words()].concat();
        let options = ["--containment", level];
        let going = Going::spawn(run_command(sandbox, &[&words], &options, members));
        until_written(&sandbox.path("ready"), "\n");
        going.signal(Signal::SIGTSTP);
        until("the job is continued", || {
            assert_ne!(state(going.pid()), Some('T'), "{who:?}, {level}: it is stopped for ever");
            sandbox.path("continued").exists()
        });
        going.signal(Signal::SIGTERM);
        going.end().fails(7);
    });
}

/// A stop and its end that come at once leave nobody stopped.
#[test]
fn a_short_stop_does_not_last() {
    everywhere(|who, sandbox, level| {
        let script = "trap 'exit 7' TERM; echo > ready; while :; do sleep 0.01; done";
        let going = start(sandbox, who, level, json!({"command": ["sh", "-c", script]}));
        until_written(&sandbox.path("ready"), "\n");
        let runner = inner(going.pid()).unwrap();
        let job = leader(going.pid()).unwrap();
        for _ in 0..20 {
            kill(runner, Signal::SIGTSTP).unwrap();
            kill(runner, Signal::SIGCONT).unwrap();
        }
        // Behind them in the runner's queue.
        going.signal(Signal::SIGUSR1);
        until("the runner has taken the last signal", || !is_running(job.as_raw()));
        going.end().fails(138);
    });
}

#[test]
fn a_runner_that_was_stopped_loses_nothing() {
    everywhere(|who, sandbox, level| {
        let script = "trap 'exit 7' TERM; echo > ready; while :; do sleep 0.01; done";
        let members = json!({"command": ["sh", "-c", script], "grace_s": 3600});
        let going = start(sandbox, who, level, members);
        until_written(&sandbox.path("ready"), "\n");
        going.signal(Signal::SIGSTOP);
        until("the runner is stopped", || state(going.pid()) == Some('T'));
        going.signal(Signal::SIGTERM);
        going.signal(Signal::SIGCONT);
        going.end().fails(7);

        // And while it is stopped, the job's end waits for it.
        let going = start(
            sandbox,
            who,
            level,
            json!({"command": ["sh", "-c",
            "while ! test -e go; do sleep 0.01; done; exit 9"]}),
        );
        until("the job runs", || leader(going.pid()).is_some());
        going.signal(Signal::SIGSTOP);
        sandbox.write("go", "");
        let inner = inner(going.pid()).unwrap();
        until("the inner process has ended", || !is_running(inner.as_raw()));
        going.signal(Signal::SIGCONT);
        going.end().fails(9);
    });
}

/// A reader that pauses: the job waits, the runner holds nothing, nothing is lost.
#[test]
fn output_that_nobody_reads_keeps_the_job_and_loses_nothing() {
    const BYTES: usize = 4 << 20;
    everywhere(|who, sandbox, level| {
        let script = format!("echo > ready; head -c {BYTES} /dev/zero; echo > done");
        let mut going = start(sandbox, who, level, json!({"command": ["sh", "-c", script]}));
        let mut out = going.0.stdout.replace(fake_pipe()).unwrap();
        until_written(&sandbox.path("ready"), "\n");
        let runner = inner(going.pid()).unwrap();
        // The writer waits for the reader.
        until("the job waits", || leader(going.pid()).and_then(inner).and_then(state) == Some('S'));
        let mut first = vec![0; 4096];
        out.read_exact(&mut first).unwrap();
        assert!(!sandbox.path("done").exists(), "{who:?}, {level}: the output was swallowed");
        let status = fs::read_to_string(format!("/proc/{runner}/status")).unwrap_or_default();
        let size = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kib: usize = size.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 32 << 10, "{who:?}, {level}: the runner holds {kib} KiB");
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        assert_eq!(first.len() + rest.len(), BYTES, "{who:?}, {level}");
        going.end().success();
    });
}

/// The end of another child's output, in place of one that is taken away.
fn fake_pipe() -> std::process::ChildStdout {
    let mut child = std::process::Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    child.wait().unwrap();
    child.stdout.take().unwrap()
}
