//! Ways around that are known and documented: another who reads for it, and a second mount.

use std::fs;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::reading::Bystander;
use super::{PYTHON, jails};
use crate::support::{end, until};

/// Containment holds a process tree; who answers outside is not in it.
#[test]
fn a_service_of_the_same_account_reads_for_it() {
    for jail in jails() {
        let [python, options] = PYTHON;
        let program = [python, options, "service.py", "door"];
        let service = Bystander::start(&jail, &program);
        until("it listens", || jail.work().join("door").exists());
        let said = jail.run("ask.py", &[]).cleanly();
        said.is_done_if("ask-key", jail.same_account());
        drop(service);
    }
}

/// A cover is on a path. The mount is in a namespace of the test's own.
#[test]
fn a_second_mount_of_the_store_is_not_covered() {
    if !geteuid().is_root() {
        println!("skipped: only root can mount");
        return;
    }
    for jail in jails() {
        let second = jail.sandbox.path("bin/second");
        fs::create_dir(&second).unwrap();
        let run = jail.command("ask.py", &[]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\""]);
        command.arg("sh").arg(jail.sandbox.store().parent().unwrap()).arg(&second);
        command.arg(run.get_program()).args(run.get_args()).env_clear();
        command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(jail.work()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = jail.said(end(command)).cleanly();
        said.is_done_if("second-mount", jail.same_account());
    }
}
