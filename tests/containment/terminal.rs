//! A run on a terminal, started by a shell with job control: the fixture plays shell and user.

use super::{LEVELS, Who, below};
use crate::support::end;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/terminal.py");

#[test]
fn the_keys_of_a_terminal_reach_the_job_once() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = who.sandbox();
            let script = "trap 'echo int >> keys' INT; trap 'echo term >> keys; exit 7' TERM
                echo ready; while :; do echo x >> beat; sleep 0.01; done";
            let before: [&[&str]; 2] = [&["/usr/bin/python3", FIXTURE], &who.words()];
            let arguments = [
                "exec",
                "-P",
                "survey",
                "--grace",
                "3600",
                "--containment",
                level,
                "--",
                "sh",
                "-c",
                script,
            ];
            let told = end(below(&sandbox, &before, &arguments)).success().stdout;
            // Ctrl-Z stops runner and job, `fg` continues both; Ctrl-C is an order to end, and a
            // trap that doesn't end leaves the job to the second order.
            let expected = "stopped\nno beat\ncontinued\nbeat\ninterrupted\nkilled 137\n";
            assert_eq!(told, expected, "{who:?}, {level}");
            let keys = std::fs::read_to_string(sandbox.path("keys")).unwrap();
            assert_eq!(keys, "int\n", "{who:?}, {level}");
        }
    }
}
