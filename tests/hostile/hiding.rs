//! Hides processes.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::{Jail, Process, UID, jails};
use crate::support::{finish, inner, is_running, until};

/// Numbers and start times that a job noted. In a PID namespace the numbers are its own.
fn noted(log: &Path) -> Vec<(i32, String)> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(pid, started)| (pid.parse().unwrap(), started.to_owned())).collect()
}

fn lives((pid, started): &(i32, String)) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let same =
        stat.rsplit(") ").next().is_some_and(|rest| rest.split(' ').nth(19) == Some(started));
    same && is_running(*pid)
}

fn processes_of(jail: &Jail) -> Vec<(i32, String)> {
    noted(&jail.work().join("pids"))
}

#[test]
fn none_is_left() {
    for jail in jails() {
        let said = jail.run("hide.py", &["pids"]).cleanly();
        said.is("tracing", "done");
        let processes = processes_of(&jail);
        // One for each way, and the tracer; the small bomb makes up to 128.
        said.show(processes.len() > 9, "hid ten processes");
        // In a namespace of their own there is nobody to ask for but the kernel: standard output
        // was closed by all of them.
        if jail.level != super::Namespace {
            said.show(!processes.iter().any(lives), "ended all of them");
        }
        let killed = said.report["wipe"]["processes_killed"].as_u64();
        said.show(killed.is_some_and(|killed| killed > 9), "killed ten");
    }
}

/// Whoever kills both runners gets a job's processes with them where there is a namespace; without,
/// one that emptied its environment and forgot its parent is nobody's.
#[test]
fn when_both_runners_are_killed() {
    for jail in jails() {
        let mut command = jail.command("hide.py", &["pids", "no_environment", "deaf"]);
        // Not a pipe: who stays would hold it open.
        let out = jail.sandbox.write("out", "");
        command.stdout(fs::OpenOptions::new().append(true).open(&out).unwrap());
        command.stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        until("the processes stand", || {
            fs::read_to_string(&out).is_ok_and(|text| text.contains("started=2\n"))
        });
        let processes = processes_of(&jail);
        assert_eq!(processes.len(), 2);
        let outer = Pid::from_raw(child.id().try_into().unwrap());
        let inner = inner(outer).unwrap();
        // Stopped first, so that neither can act for the other.
        for runner in [inner, outer] {
            kill(runner, Signal::SIGSTOP).unwrap();
        }
        for runner in [inner, outer] {
            kill(runner, Signal::SIGKILL).unwrap();
        }
        child.wait().unwrap();
        until("both are gone", || !is_running(inner.as_raw()));
        if jail.level != Process {
            if jail.level == super::SharedProc {
                until("the namespace is gone", || !processes.iter().any(lives));
            }
            continue;
        }
        // The next run sweeps.
        jail.run("workspace.py", &["nothing"]).cleanly();
        let left: Vec<_> = processes.into_iter().filter(lives).collect();
        let nameless = left.iter().filter(|(pid, _)| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"[kworker"))
        });
        assert_eq!(nameless.count(), 1, "{:?}: {left:?}", jail.who);
        for (pid, _) in &left {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
        }
        assert_eq!(left.len(), 1, "{:?}: one that has its environment is swept", jail.who);
        until("it is gone", || !left.iter().any(lives));
    }
}

/// A directory that anybody can make must not let a sweep end jobs that live.
#[test]
fn a_planted_directory_ends_nobody() {
    for jail in jails().into_iter().filter(|jail| jail.level == Process) {
        let mut command = jail.command("hide.py", &["pids", "deaf"]);
        let out = jail.sandbox.write("out", "");
        command.stdout(fs::OpenOptions::new().append(true).open(&out).unwrap());
        command.stdin(std::process::Stdio::null());
        let going = command.spawn().unwrap();
        until("the job stands", || {
            fs::read_to_string(&out).is_ok_and(|text| text.contains("started=1\n"))
        });
        let planted = jail.sandbox.memory().join(format!("qgis-secrets-{}", "0".repeat(32)));
        fs::create_dir(&planted).unwrap();
        // With another's file in it, which a sweep by root could empty.
        let victim = jail.sandbox.write("victim", "kept");
        let victim_there = jail.sandbox.memory().join("victim");
        fs::copy(&victim, &victim_there).unwrap();
        if geteuid().is_root() {
            fs::hard_link(&victim_there, planted.join("pg_service.conf")).unwrap();
            chown(&planted, Some(UID), Some(UID)).unwrap();
        }
        // Another run, which sweeps the same place.
        let mut other =
            jail.own(["exec", "-P", "survey", "--containment", "process", "--", "true"]);
        other.current_dir(jail.work());
        crate::support::end(other).success();
        assert!(!planted.exists(), "what belongs to nobody is swept");
        assert_eq!(fs::read(&victim_there).unwrap(), b"kept");
        fs::remove_file(victim_there).unwrap();
        let processes = processes_of(&jail);
        assert!(processes.iter().all(lives), "{:?}: a job that lives was ended", jail.who);
        kill(Pid::from_raw(going.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        finish(going);
        until("the job is gone", || !processes.iter().any(lives));
    }
}
