//! What the runner says of itself: whose line it is, and that no value is in one.

use serde_json::{Value as Json, json};

use super::{report, run, run_command, run_with_settings, script};
use crate::support::http::{Answer, Server};
use crate::support::{Sandbox, end, log_lines};

/// A line that isn't the audit's.
#[track_caller]
fn line(stderr: &str, message: &str) -> Json {
    let mut lines = log_lines(stderr).into_iter();
    lines
        .find(|line| line["message"] == message)
        .unwrap_or_else(|| panic!("no {message}: {stderr}"))
}

#[test]
fn every_line_says_which_job_it_is_about() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "PIN", "123");
    let mut job = script("true");
    job["attempt"] = json!(3);
    job["user"] = json!(null);
    job["labels"] = json!({"project_name": "ninja/survey"});
    job["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let ended = run(&sandbox, job).success();
    let text = ended.stderr.lines().find(|line| line.contains("too short")).unwrap();
    let mut timeless =
        line(&ended.stderr, "too short to be masked in the job's output (under 4 bytes)");
    timeless.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert_eq!(
        timeless,
        json!({
            "level": "WARN",
            "target": "qgis_secrets::pipeline",
            "message": "too short to be masked in the job's output (under 4 bytes)",
            "secret": "envvar:PIN",
            "job": {"id": "job-1", "attempt": 3, "organization": "org", "project": "survey",
                    "user": null},
            "labels": {"project_name": "ninja/survey"},
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        })
    );
    // The order is the document's.
    let names = ["timestamp", "level", "target", "message", "secret", "job", "labels"];
    let names = names.into_iter().chain(["traceparent", "trace_id"]);
    let places: Vec<usize> = names.map(|n| text.find(&format!("\"{n}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

/// A command whose name holds a value is a mistake that should not show it.
#[test]
fn no_value_is_in_what_is_said_last() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "the-secret-value");
    let job = json!({"command": ["no-such-the-secret-value"]});
    let ended = run(&sandbox, job).error(127, "command_not_found", "`no-such-***`");
    assert!(!ended.stderr.contains("the-secret-value"), "{}", ended.stderr);
    let outcome = &report(&sandbox)["outcome"];
    let message = outcome["message"].as_str().unwrap();
    assert!(message.contains("`no-such-***`"), "{message}");
    assert!(!outcome.to_string().contains("the-secret-value"), "{outcome}");
}

/// Not even where everything is logged, by the HTTP client too.
#[test]
fn tokens_and_bodies_are_in_no_line() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "the-secret-value");
    let job = std::fs::read(sandbox.job(json!({"env": {"A": "from-the-descriptor"}}))).unwrap();
    let descriptor =
        Server::new([Answer::Status(503, b"body-of-an-error".into()), Answer::fine(job)]);
    let reports =
        Server::new([Answer::Status(500, b"body-of-an-error".into()), Answer::status(200)]);
    let token = sandbox.token("orchestrator-token-1");
    sandbox.write("tokens/report", "report-token-2");
    sandbox.write(
        "settings.toml",
        format!(
            "[job]\ntoken_file = '{}'\n[report]\nurl = '{}'\ntoken_file = '{}'",
            token.display(),
            reports.url("/reports"),
            sandbox.path("tokens/report").display(),
        ),
    );
    let url = descriptor.url("/job");
    let run = ["--settings", "settings.toml", "--log", "trace", "run", &url];
    let ended = sandbox.run(run).success();
    assert_eq!(
        reports.requests()[0].header("authorization"),
        Some("Bearer report-token-2"),
        "the token was sent"
    );
    assert!(line(&ended.stderr, "trying again")["error"].as_str().unwrap().contains("503"));
    let values = ["orchestrator-token-1", "report-token-2", "from-the-descriptor", "body-of-an"];
    for value in values.into_iter().chain(["the-secret-value"]) {
        assert!(!ended.stderr.contains(value), "{value} in {}", ended.stderr);
    }
}

/// The runner's own credentials are masked like the job's secrets, whoever repeats them.
#[test]
fn the_runners_tokens_are_masked() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "the-secret-value");
    let (job, report) = (sandbox.token("orchestrator-token-1\n"), sandbox.path("tokens/report"));
    sandbox.write("tokens/report", "report-token-2");
    let settings = format!(
        "[job]\ntoken_file = '{}'\n[report]\ntoken_file = '{}'",
        job.display(),
        report.display()
    );
    for token in ["orchestrator-token-1", "report-token-2"] {
        let command = json!({"command": [format!("no-such-{token}")]});
        let ended = run_with_settings(&sandbox, &settings, command).fails(127);
        assert!(ended.stderr.contains("`no-such-***`"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(token), "{}", ended.stderr);
    }
}

#[test]
fn a_runner_that_is_to_be_silent_only_says_why_it_fails() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "PIN", "123");
    let ended = end(run_command(&sandbox, json!({"command": ["no-such"]}), &["--log", "off"]));
    let ended = ended.error(127, "command_not_found", "");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}
