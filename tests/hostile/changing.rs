//! Changes what is mounted, opens by handle, and opens the kernel's own files for writing.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;

use super::{PYTHON, Process, jails};
use crate::support::{Sandbox, end};

/// What `escape.py` opens, and never writes to.
const KERNEL: [&str; 5] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/drop_caches",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
];

fn handle_of(file: &Path) -> String {
    let [python, options] = PYTHON;
    let script = format!("{}/handle.py", super::FIXTURES);
    let output = Command::new(python).args([options, &script]).arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn mounts_handles_and_kernel_files() {
    for jail in jails() {
        let handles = [handle_of(&jail.sandbox.key()), handle_of(&jail.sandbox.store())];
        let said = jail.run("escape.py", &[&handles[0], &handles[1]]).cleanly();
        said.is("over", "yes");
        for name in said.beginning("handle-").chain(said.beginning("nested-handle-")) {
            said.refused(name);
        }
        said.show(said.all("handle-root").len() == 2, "tried two handles");

        let mut opened = 0;
        for file in KERNEL {
            let name = file.rsplit('/').next().unwrap();
            let own = OpenOptions::new().write(true).open(file).is_ok();
            if !Path::new(file).exists() {
                println!("not there: {file}");
                continue;
            }
            opened += 1;
            // In the level process uid 0 is root with files, whatever it lacks.
            let expected = jail.level == Process && jail.uid_0() && own;
            said.is_done_if(name, expected);
            said.is_done_if(&format!("nested-{name}"), expected);
        }
        assert!(opened > 0, "no file of the kernel is there");
        for name in ["release_agent", "cgroup.procs"] {
            if said.lines.contains_key(name) && !(jail.level == Process && jail.uid_0()) {
                said.refused(name);
                said.refused(&format!("nested-{name}"));
            }
        }
        if jail.uid_0() && jail.apart() {
            said.refused("keys");
        }

        for name in ["umount-proc", "umount-shm", "umount-cover", "pivot", "rw-proc-sys"] {
            said.refused(name);
            said.refused(&format!("nested-{name}"));
        }
        for name in ["rw-sys", "mount-proc", "mount-sysfs", "mount-tmpfs", "chroot", "new-mounts"] {
            said.refused(name);
        }
        for name in ["setns-runner", "setns-1", "nested-pid-core", "nested-uevent"] {
            said.refused(name);
        }
        // A new mount of its own cgroup, which the kernel allows in a user namespace.
        if said.all("nested-cgroup2").contains(&"done".to_owned()) {
            said.is_done_if("nested-procs", jail.apart() && jail.uid_0());
        } else {
            println!("no cgroup2 can be mounted: {:?} {:?}", jail.level, jail.who);
        }
    }
}

/// Uid 0 without CAP_SYS_ADMIN gets its namespaces by a user namespace, and owns the kernel's files
/// there as well.
#[test]
fn uid_0_in_a_user_namespace_has_no_kernel_files() {
    if !geteuid().is_root() {
        println!("skipped: only root can be root");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let script = "for file in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches; do
        test ! -e $file || (: >>$file) 2>/dev/null && test -e $file && echo \"opened $file\"; done
        cat /proc/self/uid_map";
    let own =
        sandbox.command(["exec", "--containment", "namespace", "-P", "survey", "--", "sh", "-c"]);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_admin"]).arg(own.get_program()).args(own.get_args());
    command.arg(script).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.home()).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let ended = end(command).success();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    assert!(!ended.stdout.contains("opened"), "{}", ended.stdout);
    assert_ne!(ended.stdout, map, "it is in no user namespace: {}", ended.stdout);
}
