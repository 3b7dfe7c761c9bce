//! Runs whose own processes are killed: who wipes, and who tells of it.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use super::{LEVELS, Who, no_value, report, run, run_command};
use crate::running::{Going, until_written};
use crate::support::http::{Answer, Server};
use crate::support::{Ended, Sandbox, inner, schema, until};

/// A job with a daemon, whose processes are known by this name.
fn name() -> String {
    format!("killed-{}-{:?}", std::process::id(), std::thread::current().id())
        .replace(['(', ')'], "")
}

fn start(sandbox: &Sandbox, who: Who, options: &[&str]) -> Going {
    symlink("/bin/sleep", sandbox.path(&name())).unwrap_or_default();
    let script = format!(
        "setsid ./{0} 1000 & cp \"$PGSERVICEFILE\" copy; echo > ready; exec ./{0} 1001",
        name()
    );
    let members = json!({"command": ["sh", "-c", script]});
    drop(std::fs::remove_file(sandbox.path("ready")));
    let going = Going::spawn(run_command(sandbox, &[&who.words()], options, members));
    until_written(&sandbox.path("ready"), "\n");
    until("both processes are there", || processes() == 2);
    going
}

/// How many of the job's processes there are.
fn processes() -> usize {
    let name = name();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with(format!("./{name}\0").as_bytes())).count()
}

/// Nothing is left: no process, no file; no value was told.
#[track_caller]
fn nothing_is_left(sandbox: &Sandbox, ended: &Ended) {
    until("no process is left", || processes() == 0);
    assert_eq!(sandbox.left_behind(), Vec::<std::path::PathBuf>::new());
    no_value(ended);
}

#[test]
fn the_outer_process_tells_of_an_inner_one_that_was_killed() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = who.sandbox();
            let server = Server::new([Answer::status(200)]);
            let settings = format!("[report]\nurl = '{}'\ndeadline_s = 20", server.url("/"));
            sandbox.write("settings.toml", settings);
            let options = ["--containment", level, "--settings", "settings.toml"];
            let going = start(&sandbox, who, &options);
            until("the start was posted", || server.requests().len() == 1);
            kill(inner(going.pid()).unwrap(), Signal::SIGKILL).unwrap();
            let ended = going.end().error(137, "runner_killed", "SIGKILL");
            nothing_is_left(&sandbox, &ended);

            let report = report(&sandbox);
            let outcome = json!({"kind": "signalled", "signal": "SIGKILL", "number": 9});
            assert_eq!(report["outcome"], outcome, "{who:?}, {level}");
            assert_eq!(report["exit_code"], 137);
            assert_eq!(report["job"]["id"], "job-1");
            assert_eq!(report["containment"]["level"], level);
            assert_eq!(report["secrets"][0]["key"], "API_KEY");
            assert!(report["ended_at"].is_string());
            let wipe = &report["wipe"];
            assert_eq!(wipe["verified"], true, "{wipe}");
            if level == "process" {
                assert_eq!(wipe["by"], "outer");
                assert_eq!(wipe["files_removed"], 5);
                // The leader died with the inner process; it may be reaped before it is counted.
                assert!([1, 2].contains(&wipe["processes_killed"].as_u64().unwrap()), "{wipe}");
            } else {
                assert_eq!(wipe["by"], "kernel");
            }
            let requests = server.requests();
            let keys: Vec<_> = requests.iter().map(|r| r.header("idempotency-key")).collect();
            assert_eq!(keys, [Some("job-1/1/started"), Some("job-1/1/ended")], "{who:?}, {level}");
            let posted = schema::report(&requests[1].body);
            assert_eq!(posted, report);

            let options = ["--containment", level, "--exit-codes", "distinct"];
            let going = start(&sandbox, who, &options);
            kill(inner(going.pid()).unwrap(), Signal::SIGKILL).unwrap();
            let ended = going.end().error(125, "runner_killed", "SIGKILL");
            nothing_is_left(&sandbox, &ended);
        }
    }
}

/// Whether the inner process has its handlers.
fn listens(going: &Going) -> bool {
    let Some(inner) = inner(going.pid()) else { return false };
    let status = std::fs::read_to_string(format!("/proc/{inner}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (Signal::SIGTERM as u64 - 1)) != 0
}

#[test]
fn an_inner_process_that_is_killed_before_the_job_started_no_job() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = who.sandbox();
            let arguments = ["run", "--report", "report.json", "--containment", level, "-"];
            let mut command = super::below(&sandbox, &[&who.words()], &arguments);
            command.stdin(Stdio::piped());
            let mut going = Going::spawn(command);
            let open = going.0.stdin.take();
            until("the inner process waits for the descriptor", || listens(&going));
            kill(inner(going.pid()).unwrap(), Signal::SIGKILL).unwrap();
            let ended = going.end().error(137, "runner_killed", "SIGKILL");
            drop(open);
            nothing_is_left(&sandbox, &ended);
            let report = report(&sandbox);
            assert_eq!(report["outcome"]["kind"], "not_started", "{who:?}, {level}: {report:#}");
            assert_eq!(report["outcome"]["reason"], "runner_killed");
            assert_eq!(report["wipe"]["verified"], true);
        }
    }
}

#[test]
fn an_outer_process_that_is_killed_takes_the_job_along() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = who.sandbox();
            let going = start(&sandbox, who, &["--containment", level]);
            going.signal(Signal::SIGKILL);
            let ended = going.end().fails(137);
            until("no process is left", || processes() == 0);
            let file = sandbox.path("report.json");
            if level == "process" {
                until("the inner process has told", || file.exists());
                let report = report(&sandbox);
                assert_eq!(report["outcome"]["kind"], "cancelled", "{who:?}, {level}");
                assert_eq!(report["outcome"]["by"], "the end of the outer process");
                assert_eq!(report["wipe"]["by"], "inner");
                assert_eq!(report["wipe"]["processes_killed"], 1);
            }
            nothing_is_left(&sandbox, &ended);
        }
    }
}

/// Without namespaces nobody is left then: the next start finds what is.
#[test]
fn the_next_start_wipes_what_two_killed_processes_left() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let mut going = start(&sandbox, who, &["--containment", "process"]);
        let runner = inner(going.pid()).unwrap();
        // It can't wipe any more.
        going.signal(Signal::SIGSTOP);
        kill(runner, Signal::SIGKILL).unwrap();
        going.signal(Signal::SIGKILL);
        going.0.wait().unwrap();
        assert_eq!(sandbox.left_behind().len(), 1);
        until("the leader is gone", || processes() == 1);
        let ended = run(&sandbox, &[&who.words()], &[], "true").success();
        assert!(ended.stderr.contains("a dead run was wiped"), "{who:?}: {}", ended.stderr);
        nothing_is_left(&sandbox, &ended);
    }
}
