//! Reads what it must not: files, and other processes.

use std::fs;
use std::process::{Child, Command, Stdio};

use super::{Jail, Namespace, Process, UID, as_user, jails};
use crate::support::{end, finish, until};

/// A process of the job's account that is not the job's.
pub(super) struct Bystander(pub(super) Child);

impl Bystander {
    pub(super) fn start(jail: &Jail, program: &[&str]) -> Self {
        let mut command = if jail.uid_0() || !nix::unistd::geteuid().is_root() {
            Command::new(program[0])
        } else {
            as_user(program[0])
        };
        command.args(&program[1..]).env_clear().env("CANARY", "canary-of-another");
        command.current_dir(jail.work()).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let environment = format!("/proc/{}/comm", child.id());
        let name = program[0].rsplit('/').next().unwrap();
        until("the bystander has become itself", || {
            fs::read_to_string(&environment).is_ok_and(|comm| name.starts_with(comm.trim()))
        });
        Self(child)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

const FILES: [&str; 4] = ["key", "store", "token", "settings"];

#[test]
fn files_and_processes() {
    for jail in jails() {
        let bystander = Bystander::start(&jail, &["/usr/bin/sleep", "1000"]);
        let pid = bystander.0.id().to_string();
        let going = jail.command("look.py", &[&pid]).spawn().unwrap();
        until("the job is ready", || jail.work().join("ready").exists());
        replace(&jail);
        jail.sandbox.write("work/go", "");
        let said = jail.said(finish(going)).cleanly();
        drop(bystander);
        said.is("over", "yes");
        assert!(!said.ended.stderr.contains("canary"), "{}", said.ended.stderr);

        for file in FILES {
            for way in ["read", "symlink", "second-path", "parts", "hardlink"] {
                said.refused(&format!("{way}-{file}"));
            }
            for way in ["rename", "rename-directory"] {
                said.refused(&format!("{way}-{file}"));
            }
            for way in ["umount", "bind", "bind-all", "move", "read"] {
                said.refused(&format!("nested-{way}-{file}"));
            }
            // Landlock keeps it from reading, not from listing and destroying.
            let open = jail.level == Process && jail.same_account();
            said.is_done_if(&format!("write-{file}"), open);
            said.is_done_if(&format!("make-{file}"), open);
            // The directories of tokens and settings are open to others here.
            let listed = jail.level == Process && matches!(file, "token" | "settings");
            said.is_done_if(&format!("list-{file}"), open || listed);
        }

        let of_runners: Vec<&str> = said.beginning("runner-").collect();
        assert!(of_runners.len() > 10, "{of_runners:?}");
        for name in of_runners {
            // How many there are; what they are is not told.
            said.is_done_if(name, name == "runner-fds" && jail.uid_0());
        }
        // In a namespace with its own /proc nobody has that number.
        said.is_done_if("bystander-stat", jail.level != Namespace);
        for name in said.beginning("bystander-").filter(|name| *name != "bystander-stat") {
            // The numbers of its descriptors are listed for the same account; what they are isn't.
            said.is_done_if(name, name == "bystander-fd" && jail.level != Namespace);
        }
    }
}

/// As an admin does it while jobs run: new files take the place of the old ones.
fn replace(jail: &Jail) {
    let mut add = jail.own(["secret", "add", "OTHER", "-P", "survey"]);
    let value = jail.sandbox.write("value", "canary-new");
    add.stdin(fs::File::open(value).unwrap());
    end(add).success();
    for path in [
        jail.sandbox.key(),
        jail.sandbox.store(),
        jail.sandbox.path("tokens/token"),
        jail.sandbox.path("conf/settings.toml"),
    ] {
        let new = path.with_extension("new");
        fs::copy(&path, &new).unwrap();
        if !jail.same_account() || !nix::unistd::geteuid().is_root() || jail.uid_0() {
            fs::rename(&new, &path).unwrap();
            continue;
        }
        std::os::unix::fs::chown(&new, Some(UID), Some(UID)).unwrap();
        fs::rename(&new, &path).unwrap();
    }
}
