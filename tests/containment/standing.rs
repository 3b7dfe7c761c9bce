//! Where the runner stands when it starts a job that names no directory: the job stands there too,
//! in its own view of the file system and not in the runner's.

use std::path::Path;

use super::{LEVELS, VALUE, Who, below};
use crate::support::{Ended, Sandbox, end};

fn exec(sandbox: &Sandbox, who: Who, level: &str, directory: &Path, script: &str) -> Ended {
    let arguments = ["exec", "--containment", level, "-P", "survey", "--", "/bin/sh", "-c", script];
    let mut command = below(sandbox, &[&who.words()], &arguments);
    command.current_dir(directory);
    end(command)
}

/// In the runner's own /proc uid 0 could write to the kernel's files, and see everybody.
#[test]
fn in_proc() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let script = "read -r pid rest <self/stat; test $pid = $$ && echo own
            (: >>sys/vm/drop_caches) 2>&- && echo opened; true";
        let ended = exec(&sandbox, who, "namespace", Path::new("/proc"), script).success();
        assert_eq!(ended.stdout, "own\n", "{who:?}");
    }
}

/// What it leaves in the runner's /dev/shm nobody would take away.
#[test]
fn in_shared_memory() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        for level in &LEVELS[..2] {
            let ended = exec(&sandbox, who, level, sandbox.memory(), "echo started >here");
            ended.error(65, "working_dir_unusable", "the job has a private /dev/shm");
        }
        let script = "echo \"$API_KEY\"; pwd";
        let ended = exec(&sandbox, who, "process", sandbox.memory(), script).success();
        assert_eq!(ended.stdout, format!("{VALUE}\n{}\n", sandbox.memory().display()));
    }
}

#[test]
fn in_a_directory_that_has_gone() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        for level in LEVELS {
            let gone = sandbox.path("gone");
            std::fs::create_dir(&gone).unwrap();
            let arguments = ["exec", "--containment", level, "-P", "survey", "--", "true"];
            let wrapper = ["sh", "-c", "cd gone && rmdir ../gone && exec \"$@\"", "sh"];
            end(below(&sandbox, &[&wrapper, &who.words()], &arguments)).success();
        }
    }
}
