//! `psql` as a job, typed at.

use std::process::{Command, Stdio};

use super::CANARY;
use super::server::Server;
use crate::support::{Sandbox, end};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/terminal.py");

pub(super) fn psql_can_be_typed_at(server: &Server) {
    let sandbox = Sandbox::new();
    let service = server.service("typed", "reader", &[]);
    sandbox
        .run_with(["secret", "add-service", "--from-file", "-", "-P", "survey"], service)
        .success();
    let person = r#"
start(); shown("gis=> "); type("SELECT 6 * 7 AS answer;\r"); shown("42"); shown("gis=> ")
type("\\prompt 'who? ' who\r"); shown("who? "); type("Ada\r"); shown("gis=> ")
type("SELECT pg_sleep(60);\r"); time.sleep(0.3); type(b"\x03"); shown("canceling statement")
shown("gis=> "); type("\\echo :who at :PORT\r"); shown("Ada at "); type("\\q\r")
say(ended(), is_as_before())
"#;
    let words = ["--log", "error", "exec", "-P", "survey", "--", "psql", "-X", "service=typed"];
    let own = sandbox.command(words);
    let mut typed = Command::new("/usr/bin/python3");
    typed.args([FIXTURE, person]).arg(own.get_program()).args(own.get_args()).env_clear();
    typed.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    typed.current_dir(sandbox.home()).stdin(Stdio::null());
    typed.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = end(typed).success();
    assert_eq!(ended.stdout, "ended 0 True\n");
    assert!(!ended.stdout.contains(CANARY));
}
