//! Reports that are POSTed when a job starts and when it ends.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use super::{Going, run_command, script};
use crate::support::http::{Answer, Request, Server};
use crate::support::{Sandbox, json, until};

/// A job that goes on until the test writes the file `go`.
const WAITS: &str = "while ! test -e go; do sleep 0.05; done; exit 3";

fn start(sandbox: &Sandbox, server: &Server, job: &str) -> Going {
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    let token = sandbox.token("report-token\n");
    let settings = format!(
        "[report]\nurl = '{}'\ntoken_file = '{}'\ndeadline_s = 20",
        server.url("/reports"),
        token.display()
    );
    let settings = sandbox.write("settings.toml", settings);
    let options = ["--settings", settings.to_str().unwrap()];
    Going::spawn(run_command(sandbox, script(job), &options))
}

fn answers(statuses: &[u16]) -> Server {
    Server::new(statuses.iter().map(|status| Answer::status(*status)).collect::<Vec<_>>())
}

fn body(request: &Request) -> Json {
    serde_json::from_slice(&request.body).unwrap()
}

fn keys(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect()
}

#[test]
fn start_and_end_are_posted_and_a_repetition_has_the_same_key() {
    let sandbox = Sandbox::new();
    let server = answers(&[500, 200, 429, 200]);
    let going = start(&sandbox, &server, WAITS);
    until("the start was posted twice", || server.requests().len() == 2);
    sandbox.write("go", "");
    let ended = going.end().fails(3);

    let requests = server.requests();
    let twice = ["job-1/1/started", "job-1/1/started", "job-1/1/ended", "job-1/1/ended"];
    assert_eq!(keys(&requests), twice);
    for request in &requests {
        assert_eq!(request.line, "POST /reports HTTP/1.1");
        assert_eq!(request.header("authorization"), Some("Bearer report-token"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let body = body(request);
        let text = body.to_string();
        assert!(!text.contains("the-secret-value") && !text.contains("report-token"), "{text}");
        assert_eq!(body["job"]["id"], "job-1");
        assert_eq!(body["secrets"][0]["key"], "API_KEY");
    }
    let bodies: Vec<Json> = requests.iter().map(body).collect();
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0]["event"], "started");
    assert_eq!(bodies[0].get("outcome"), None);
    assert_eq!(bodies[3], json(&sandbox.path("report.json")));
    assert_eq!(bodies[3]["outcome"]["kind"], "failed");
    assert!(!ended.stderr.contains("report-token"), "{}", ended.stderr);
}

/// The job is over long before its start could be delivered.
#[test]
fn a_short_job_is_told_of_from_start_to_end_and_in_order() {
    let sandbox = Sandbox::new();
    let server = answers(&[503, 200, 200]);
    start(&sandbox, &server, "exit 0").end().success();
    let requests = server.requests();
    assert_eq!(keys(&requests), ["job-1/1/started", "job-1/1/started", "job-1/1/ended"]);
}

#[test]
fn a_report_that_nobody_takes_is_kept_and_changes_no_code() {
    let sandbox = Sandbox::new();
    let server = answers(&[403]);
    let going = start(&sandbox, &server, WAITS);
    let kept = |event| sandbox.store().with_file_name(format!("undelivered/job-1-1-{event}.json"));
    until("the first report is kept", || kept("started").exists());
    sandbox.write("go", "");
    let ended = going.end().fails(3);
    for event in ["started", "ended"] {
        let kept = kept(event);
        assert_eq!(json(&kept)["event"], event);
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(ended.stderr.contains(kept.to_str().unwrap()), "{}", ended.stderr);
    }
    assert!(ended.stderr.contains("403"), "{}", ended.stderr);
}

#[test]
fn an_address_that_does_not_answer_keeps_nobody_who_wants_the_end() {
    let sandbox = Sandbox::new();
    let server = Server::new([Answer::Silence]);
    let going = start(&sandbox, &server, "exit 3");
    until("the report is written", || sandbox.path("report.json").exists());
    going.signal(Signal::SIGTERM);
    going.end().fails(3);
    for event in ["started", "ended"] {
        let kept = sandbox.store().with_file_name(format!("undelivered/job-1-1-{event}.json"));
        assert_eq!(json(&kept)["event"], event);
    }
}
