//! A kill for want of memory is told from other kills. Needs a memory cgroup of the test's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{LEVELS, Who, report, run, run_command, skipped, write};
use crate::running::{Going, until_written};
use crate::support::{Sandbox, inner, until};

const LIMIT: &str = "67108864";

/// A memory cgroup, removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    /// None where none can be made: then it says why.
    fn new(name: &str) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup/memory");
        if !root.join("memory.limit_in_bytes").exists() {
            skipped("there is no memory controller of version 1");
            return None;
        }
        let path = root.join(format!("qgis-secrets-{name}-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&path) {
            skipped(&format!("no cgroup can be made: {error}"));
            return None;
        }
        let cgroup = Self(path);
        write(&cgroup.0.join("memory.limit_in_bytes"), LIMIT).unwrap();
        // Not there where swap isn't counted.
        write(&cgroup.0.join("memory.memsw.limit_in_bytes"), LIMIT).unwrap_or_default();
        Some(cgroup)
    }

    /// Words that execute what follows in it.
    fn words(&self) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).into()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its last process may not be quite gone.
        until("the cgroup is removed", || fs::remove_dir(&self.0).is_ok());
    }
}

/// More than the limit, and touched.
const ALLOCATE: &str = "exec /usr/bin/python3 -c 'print(len(b\"x\" * (256 << 20)))'";

#[test]
fn a_job_without_memory_is_told_from_one_that_was_killed() {
    for who in Who::all() {
        let Some(cgroup) = Cgroup::new(&format!("job-{who:?}")) else { return };
        let words = cgroup.words();
        let sandbox = who.sandbox();
        let before: [&[&str]; 2] = [&super::strs(&words), &who.words()];
        for level in LEVELS {
            let options = ["--containment", level];
            run(&sandbox, &before, &options, ALLOCATE).fails(137);
            let outcome = json!({"kind": "out_of_memory", "job_exit_code": 137});
            assert_eq!(report(&sandbox)["outcome"], outcome, "{who:?}, {level}");
            assert_eq!(report(&sandbox)["wipe"]["by"], "inner");
            run(&sandbox, &before, &options, "kill -9 $$").fails(137);
            let outcome = json!({"kind": "signalled", "signal": "SIGKILL", "number": 9});
            assert_eq!(report(&sandbox)["outcome"], outcome, "{who:?}, {level}");
        }
    }
}

/// The killer takes the inner process first, because the test makes it the favourite.
#[test]
fn an_inner_process_without_memory_is_told_of_as_such() {
    for who in Who::all() {
        let Some(cgroup) = Cgroup::new(&format!("inner-{who:?}")) else { return };
        let words = cgroup.words();
        for level in LEVELS {
            let sandbox: Sandbox = who.sandbox();
            let before: [&[&str]; 2] = [&super::strs(&words), &who.words()];
            let script =
                format!("echo > ready; while ! test -e go; do sleep 0.01; done; {ALLOCATE}");
            let members = json!({"command": ["sh", "-c", script]});
            let command = run_command(&sandbox, &before, &["--containment", level], members);
            let going = Going::spawn(command);
            until_written(&sandbox.path("ready"), "\n");
            let inner = inner(going.pid()).unwrap();
            write(Path::new(&format!("/proc/{inner}/oom_score_adj")), "1000").unwrap();
            sandbox.write("go", "");
            going.end().error(137, "runner_killed", "SIGKILL");
            let report = report(&sandbox);
            assert_eq!(report["outcome"]["kind"], "out_of_memory", "{who:?}, {level}: {report:#}");
            assert_eq!(report["exit_code"], 137);
            let by = if level == "process" { "outer" } else { "kernel" };
            assert_eq!(report["wipe"]["by"], by);
        }
    }
}
