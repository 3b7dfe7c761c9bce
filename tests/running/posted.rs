//! Reports that are POSTed when a job starts and when it ends.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use super::{Going, run_command, script};
use crate::support::http::{Answer, Request, Server};
use crate::support::{Ended, Sandbox, json, schema, until};

/// A job that goes on until the test writes the file `go`.
const WAITS: &str = "while ! test -e go; do sleep 0.05; done; exit 3";

fn start(sandbox: &Sandbox, server: &Server, job: &str) -> Going {
    sandbox.add_sensitive("-P survey", "API_KEY", "the-secret-value");
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

#[track_caller]
fn body(request: &Request) -> Json {
    schema::report(&request.body)
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

/// The directory of the kept reports is in that of the store, and both are hidden from jobs.
#[test]
fn a_kept_report_keeps_no_other_job_from_its_start() {
    let sandbox = Sandbox::new();
    let server = answers(&[403]);
    start(&sandbox, &server, "exit 3").end().fails(3);
    let kept = sandbox.store().with_file_name("undelivered");
    let job = format!("cat {}/*; exit 3", kept.display());
    for level in ["namespace", "namespace-shared-proc", "process"] {
        let settings = sandbox.path("settings.toml");
        let options = ["--settings", settings.to_str().unwrap(), "--containment", level];
        let ended = crate::support::end(run_command(&sandbox, script(&job), &options)).fails(3);
        assert_eq!(ended.stdout, "", "{level}: the job sees kept reports");
    }
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

/// A file among the kept reports.
fn below(name: &str) -> String {
    format!(".local/share/qgis-secrets/undelivered/{name}")
}

/// `report send`, to an address that gives these answers; what it printed, and what was asked.
fn send(sandbox: &Sandbox, statuses: &[u16]) -> (Ended, Vec<Request>) {
    let server = answers(statuses);
    let token = sandbox.path("tokens/token");
    let url = server.url("/reports");
    let text = format!("[report]\nurl = '{url}'\ntoken_file = '{}'", token.display());
    sandbox.write("settings.toml", text);
    let ended = sandbox.run(["--settings", "settings.toml", "report", "send"]);
    (ended, server.requests())
}

#[test]
fn kept_reports_are_sent_later_the_oldest_first() {
    let sandbox = Sandbox::new();
    start(&sandbox, &answers(&[403]), "exit 3").end().fails(3);
    let kept = sandbox.store().with_file_name("undelivered");
    let files = || {
        let names = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(files(), ["job-1-1-ended.json", "job-1-1-started.json"]);
    // One that another run left long ago, and one that is being written.
    let mut old = json(&kept.join("job-1-1-ended.json"));
    old["job"]["id"] = "team/a-job".into();
    old["started_at"] = "2020-01-01T00:00:00Z".into();
    old["later"] = "a member of a later version".into();
    sandbox.write(&below("z.json"), old.to_string());
    sandbox.write(&below(".report-unfinished"), "{");

    let (ended, requests) = send(&sandbox, &[200, 422, 200]);
    let ended = ended.error(69, "report_undelivered", "1 of 3 reports could not be delivered");
    assert_eq!(ended.stdout, "team/a-job/1/ended\njob-1/1/ended\n");
    assert_eq!(keys(&requests), ["team/a-job/1/ended", "job-1/1/started", "job-1/1/ended"]);
    assert_eq!(requests[0].header("authorization"), Some("Bearer report-token"));
    assert_eq!(requests[0].body, old.to_string().into_bytes(), "sent as it was written");
    assert_eq!(files(), [".report-unfinished", "job-1-1-started.json"]);

    let (ended, _) = send(&sandbox, &[200]);
    assert_eq!(ended.success().stdout, "job-1/1/started\n");
    assert_eq!(files(), [".report-unfinished"]);
    // Nothing is left to be said.
    let (ended, requests) = send(&sandbox, &[200]);
    assert_eq!((ended.success().stdout.as_str(), requests.len()), ("", 0));
}

/// Neither is what is no report, nor one that nobody could be told of, forgotten or repeated.
#[test]
fn what_cannot_be_sent_stays_and_is_said() {
    let sandbox = Sandbox::new();
    start(&sandbox, &answers(&[403]), "exit 3").end().fails(3);
    let kept = sandbox.store().with_file_name("undelivered");
    sandbox.write(&below("a.json"), "the-secret-value");
    let (ended, _) = send(&sandbox, &[200]);
    let ended = ended.error(69, "report_undelivered", "1 of 3 reports");
    assert!(ended.stderr.contains("not a report, at line 1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("the-secret-value"), "{}", ended.stderr);
    assert!(kept.join("a.json").exists());

    sandbox.write("settings.toml", "");
    let ended = sandbox.run(["--settings", "settings.toml", "report", "send"]);
    ended.error(78, "settings_invalid", "`report.url` is not set");
}

/// One deadline is waited for, not one for each report.
#[test]
fn an_address_that_does_not_answer_is_asked_once() {
    let sandbox = Sandbox::new();
    start(&sandbox, &answers(&[403]), "exit 3").end().fails(3);
    let server = Server::new([Answer::Silence]);
    let settings = format!("[report]\nurl = '{}'\ndeadline_s = 0.2", server.url("/reports"));
    sandbox.write("settings.toml", settings);
    let ended = sandbox.run(["--settings", "settings.toml", "report", "send"]);
    ended.error(69, "report_undelivered", "2 of 2 reports");
    assert_eq!(server.requests().len(), 1);
}
