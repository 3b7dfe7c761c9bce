//! Requests made from the document by Schemathesis: none is answered with a fault of the service's,
//! or with what the document doesn't have.
//!
//! `QGIS_SECRETS_TEST_EXAMPLES` says how many for each operation; `make test-api` has many.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::support::end;

/// How many requests are made up for each operation, besides those that the document's limits and
/// examples give.
const EXAMPLES: u32 = 8;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";

/// `make deps` puts it below the target directory.
fn schemathesis() -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .ancestors()
        .map(|folder| folder.join("test-tools/bin/schemathesis"))
        .find(|program| program.exists());
    tools.expect("what makes requests from the document is not installed: run `make deps`")
}

/// Throws requests at the service; `options` say which and how many.
#[track_caller]
fn throw(service: &Service, options: &[&str]) {
    let url = format!("http://{}", service.address);
    let bearer = format!("Authorization: Bearer {}", service.tokens["delegate"]);
    let mut command = Command::new(schemathesis());
    command
        .args(["run", &format!("{url}/openapi.json"), "--url", &url, "--header", &bearer])
        .args(["--no-color", "--suppress-health-check", "all", "--checks", CHECKS])
        .args(options)
        .current_dir(service.sandbox.home())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = end(command).success();
    // `1177 generated, 1177 passed`
    let made = ended.stdout.lines().find_map(|line| line.trim().split_once(" generated, "));
    let made: Option<u32> = made.and_then(|(made, _)| made.parse().ok());
    assert!(made.is_some_and(|made| made > 10), "{}", ended.stdout);
}

#[test]
fn every_answer_is_in_the_document() {
    let service = Service::new();
    let number = std::env::var("QGIS_SECRETS_TEST_EXAMPLES").ok();
    let chosen = number.is_some();
    let number = number.unwrap_or_else(|| EXAMPLES.to_string());
    let mut options = vec!["--max-examples", &number, "--workers", "2"];
    options.extend(if chosen {
        ["--generation-database", "none"].as_slice()
    } else {
        // The same requests each time.
        ["--generation-deterministic", "--phases", "examples,coverage,fuzzing"].as_slice()
    });
    // Among the tokens that could be ended is the one that asks.
    let own = ["--exclude-operation-id", "revokeToken"];
    throw(&service, &[&options[..], &own].concat());
    let own = ["--include-operation-id", "revokeToken"];
    throw(&service, &[&options[..], &own].concat());
    let log = service.log();
    assert!(!log.contains("panic") && !log.contains("\"internal\""), "{log}");
}
