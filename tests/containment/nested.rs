//! Runs inside of a job: each has its own secrets, and leaves those around it alone.

use super::{LEVELS, Who, below, run};
use crate::support::{Sandbox, end};

/// A store of its own, for a run in the job: the one around it is hidden there.
fn store(sandbox: &Sandbox, who: Who, name: &str) {
    std::fs::create_dir(sandbox.path(name)).unwrap();
    who.own(&sandbox.path(name));
    let store = sandbox.path(&format!("{name}/store.db"));
    let value = sandbox.write("value", format!("canary-{name}"));
    // The job shows it.
    let words = "secret add API_KEY --not-sensitive -P survey".split(' ');
    let arguments: Vec<&str> =
        ["--store", store.to_str().unwrap()].into_iter().chain(words).collect();
    let mut command = below(sandbox, &[&who.words()], &arguments);
    command.stdin(std::fs::File::open(value).unwrap());
    end(command).success();
}

/// What is there before a run inside is there after it: the service file, and the shell itself.
fn around(sandbox: &Sandbox, store: &str, script: &str) -> String {
    let program = env!("CARGO_BIN_EXE_qgis-secrets");
    let store = sandbox.path(store);
    format!(
        "echo \"$API_KEY\"
         {program} --store {}/store.db exec -P survey --grace 3600 -- sh {script}; code=$?
         test -s \"$PGSERVICEFILE\" || test \"$1\" = inside || echo 'the service file is gone'
         test -e \"$PGSERVICEFILE\" || echo 'the workspace is gone'
         exit $code",
        store.display()
    )
}

#[test]
fn two_and_three_deep() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = who.sandbox();
            store(&sandbox, who, "second");
            store(&sandbox, who, "third");
            sandbox
                .write("two.sh", around(&sandbox, "third", "three.sh").replace("\"$1\"", "inside"));
            sandbox.write("three.sh", "echo \"$API_KEY\"; test -e \"$PGSERVICEFILE\" && exit 9");
            let script = around(&sandbox, "second", "two.sh");
            let ended = run(&sandbox, &[&who.words()], &["--containment", level], &script);
            if who == Who::Root && level == "namespace-shared-proc" {
                // The root of a job has no namespaces to give, and sees another one's numbers.
                ended.error(78, "containment_unavailable", "another PID namespace");
                continue;
            }
            let ended = ended.fails(9);
            let expected = "canary-contained\ncanary-second\ncanary-third\n";
            assert_eq!(ended.stdout, expected, "{who:?}, {level}\n{}", ended.stderr);
            assert!(!ended.stderr.contains("dead run"), "{}", ended.stderr);
        }
    }
}
