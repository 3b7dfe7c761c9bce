//! Reports that nobody takes change no exit code, and are not lost.

use std::fs;

use serde_json::json;

use super::{CANARY, no_canary, sandbox, silent};
use crate::support::http::{Answer, NOBODY, Server};
use crate::support::{Ended, Sandbox, json, schema};

/// A descriptor for a job that ends with `code`, after `script`.
fn job(sandbox: &Sandbox, script: &str, code: i32) -> String {
    let script = format!("{script}; exit {code}");
    let path = sandbox.job(json!({
        "id": "team/job-1", "command": ["sh", "-c", script], "timeout_s": 30, "grace_s": 0,
    }));
    path.to_str().unwrap().to_owned()
}

/// Settings that send reports to `url` with a token.
fn settings(sandbox: &Sandbox, url: &str, deadline: u32) {
    sandbox.token(&format!("{CANARY}-token\n"));
    sandbox.write(
        "settings.toml",
        format!(
            "[report]\nurl = \"{url}\"\ntoken_file = \"{0}/tokens/token\"\ndeadline_s = {deadline}\n\
             undelivered = \"{0}/undelivered\"\n",
            sandbox.home().display()
        ),
    );
}

fn run(sandbox: &Sandbox, job: &str) -> Ended {
    sandbox.run(["--settings", "settings.toml", "run", job])
}

#[test]
fn a_report_file_that_cannot_be_written_changes_no_exit_code() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.path("directory")).unwrap();
    for path in ["no/such/report.json", "directory", "/proc/report.json"] {
        for code in [0, 7] {
            let job = job(&sandbox, "touch started", code);
            let ended = sandbox.run(["run", "--report", path, &job]).fails(code);
            let word = format!("the report could not be written to {path}");
            assert!(ended.stderr.contains(&word), "{}", ended.stderr);
            silent(&ended);
            fs::remove_file(sandbox.path("started")).unwrap();
        }
    }
    let left = fs::read_dir(sandbox.path("directory")).unwrap().count();
    assert_eq!(left, 0, "a half-written report was left");
}

#[test]
fn reports_that_cannot_be_delivered_are_kept() {
    for answer in [None, Some(Answer::Silence), Some(Answer::status(403))] {
        let sandbox = sandbox();
        let server = answer.clone().map(|answer| Server::new([answer]));
        let url = server.as_ref().map_or(NOBODY.to_owned(), |server| server.url("/reports"));
        settings(&sandbox, &url, 1);
        let kept = sandbox.path("undelivered");
        let started = kept.join("team%2Fjob-1-1-started.json");
        // The job waits until its start was given up.
        let wait = format!("while ! test -e '{}'; do sleep 0.01; done", started.display());
        let ended = run(&sandbox, &job(&sandbox, &wait, 7)).fails(7);
        let (url, kept) = (url.as_str(), kept.join("team%2Fjob-1-1-ended.json"));
        for word in ["the report could not be delivered", url, "the report was kept", "ended.json"]
        {
            assert!(ended.stderr.contains(word), "{answer:?}: no `{word}` in {}", ended.stderr);
        }
        silent(&ended);
        for (path, event) in [(&started, "started"), (&kept, "ended")] {
            no_canary(path);
            assert_eq!(json(path)["event"], event);
        }
        assert_eq!(json(&kept)["exit_code"], 7);
        assert_eq!(json(&kept)["secrets"][0]["key"], "KEPT");
    }
}

#[test]
fn a_report_that_is_delivered_late_is_delivered_once() {
    let sandbox = sandbox();
    let script = [Answer::status(500), Answer::status(429), Answer::status(200)];
    let server = Server::new(script);
    settings(&sandbox, &server.url("/reports"), 30);
    // Too quick for its start to be told of: only the end is.
    let ended = run(&sandbox, &job(&sandbox, "true", 3)).fails(3);
    silent(&ended);
    assert!(!sandbox.path("undelivered").exists(), "{}", ended.stderr);
    let requests = server.requests();
    for request in &requests {
        assert!(request.line.starts_with("POST /reports "), "{}", request.line);
        assert_eq!(request.header("Authorization"), Some("Bearer canary-5e1f9a-token"));
        let report = schema::report(&request.body);
        let event = report["event"].as_str().unwrap();
        let key = format!("team/job-1/1/{event}");
        assert_eq!(request.header("Idempotency-Key"), Some(&*key));
        assert!(!String::from_utf8_lossy(&request.body).contains(CANARY));
    }
    let last = schema::report(&requests.last().unwrap().body);
    assert_eq!(last["event"], "ended");
    assert_eq!(last["exit_code"], 3);
}

#[test]
fn a_report_token_that_cannot_be_read_is_said_and_the_report_kept() {
    let sandbox = sandbox();
    let server = Server::new([Answer::status(200)]);
    settings(&sandbox, &server.url("/reports"), 1);
    fs::remove_file(sandbox.path("tokens/token")).unwrap();
    let ended = run(&sandbox, &job(&sandbox, "true", 0)).success();
    assert!(ended.stderr.contains("the token file"), "{}", ended.stderr);
    assert!(sandbox.path("undelivered/team%2Fjob-1-1-ended.json").exists());
    assert_eq!(server.requests().len(), 0);
}
