//! What a job is and holds, and what it can leave: privileges, descriptors, cores, objects.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::geteuid;

use super::{Jail, PYTHON, Process, Root, UID, User, as_user, jails, skipped};

/// `KEPT` of the sources: what uid 0 keeps.
const KEPT: u64 = 0x4fb;

/// Programs that would give privileges, if anything did.
fn lend_privileges(jail: &Jail) {
    if !geteuid().is_root() {
        skipped("only root can make setuid programs");
        return;
    }
    let setuid = jail.sandbox.path("bin/setuid");
    fs::copy("/usr/bin/id", &setuid).unwrap();
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
    let capable = jail.sandbox.path("bin/capable");
    fs::copy("/usr/bin/grep", &capable).unwrap();
    let setcap = Command::new("setcap").arg("cap_sys_admin+ep").arg(&capable).output();
    if !setcap.is_ok_and(|output| output.status.success()) {
        skipped("no setcap here, so no program with file capabilities");
        fs::remove_file(capable).unwrap();
    }
}

#[test]
fn privileges_descriptors_cores_and_what_outlives_it() {
    for (number, jail) in jails().into_iter().enumerate() {
        lend_privileges(&jail);
        let name = format!("qgis-hostile-{}-{number}", std::process::id());
        let key = (0x7173_0000 + (std::process::id() & 0xfff) * 16).to_string();
        let said = jail.run("state.py", &[&name, &key]).cleanly();

        let capabilities = |name: &str| u64::from_str_radix(&said.all(name)[0], 16).unwrap();
        let kept = if jail.uid_0() { KEPT } else { 0 };
        for name in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            said.show(capabilities(name) & !kept == 0, name);
        }
        // Without CAP_SETPCAP the bounding set stays; it gives nothing to who isn't uid 0.
        if jail.who != User || jail.apart() {
            said.show(capabilities("CapBnd") & !kept == 0, "CapBnd");
        }
        said.is("NoNewPrivs", "1");
        said.is("Seccomp", "2");
        // uid 0 may become any user, the others nobody.
        let change = if jail.uid_0() { "done" } else { "refused" };
        said.is("setuid-0", change);
        said.is("setgroups", change);
        if geteuid().is_root() {
            let uid = if jail.who == Root { 0 } else { UID };
            said.is("setuid-program", &uid.to_string());
        }
        if said.lines.contains_key("capable-program") {
            let all = said.all("capable-program");
            let gained = |result: &String| {
                u64::from_str_radix(result, 16).is_ok_and(|effective| effective & !kept != 0)
            };
            said.show(!all.iter().any(gained), "without file capabilities");
        }

        said.is("descriptors", "0,1,2");
        said.is("in-memory", "0");
        said.refused("rights");
        said.is("core", "1 1");
        said.is("dump", "00000000");
        said.refused("raise-core");
        said.is("SIGABRT", "no core");
        said.is("SIGSEGV", "no core");
        said.is("cores", "0");
        for ring in ["thread", "process", "session", "user", "user-session"] {
            said.refused(&format!("key-{ring}"));
        }
        said.refused("request-key");
        said.refused("keyctl");

        for object in ["shm", "sem", "msg"] {
            said.done(object);
        }
        // A domain that keeps it from the store lets it make a queue, and not open it.
        said.is_done_if("mqueue", jail.apart());
        // Found and taken away by whoever the job was: in the level process all of it remains.
        let [python, options] = PYTHON;
        let mut command = match jail.who {
            Root => Command::new(python),
            _ if geteuid().is_root() => as_user(python),
            _ => Command::new(python),
        };
        command.args([options, "left.py", &name, &key]).current_dir(jail.work());
        let output = command.output().unwrap();
        let left = String::from_utf8(output.stdout).unwrap();
        for object in ["shm", "sem", "msg", "mqueue", "file"] {
            let remains = left.contains(&format!("{object}=done\n"));
            let place = &said.place;
            assert_eq!(
                remains,
                jail.level == Process,
                "{place}: {object}: {left} {output:?}",
                output = output.stderr
            );
        }
    }
}
