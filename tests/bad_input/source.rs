//! Descriptors that are fetched: servers that are down, slow or wrong.

use std::fs;

use serde_json::json;

use super::{CANARY, job, marker, nothing_is_lost, refused, sandbox};
use crate::support::http::{Answer, NOBODY, Server};
use crate::support::{Ended, Sandbox};

/// A sandbox with a token, and settings that give up after a second.
fn impatient() -> Sandbox {
    let sandbox = sandbox();
    sandbox.write("settings.toml", "[job]\ndeadline_s = 1\n");
    sandbox.token(&format!("{CANARY}-token\n"));
    sandbox
}

/// Fetches with the token of [`impatient`].
fn fetch(sandbox: &Sandbox, url: &str) -> Ended {
    let arguments = "--settings settings.toml run --token-file tokens/token --report report.json";
    sandbox.run(arguments.split(' ').chain([url]))
}

#[test]
fn a_server_that_is_down_or_slow_is_given_up_at_the_deadline() {
    let sandbox = impatient();
    let ended = fetch(&sandbox, NOBODY);
    let words = [NOBODY, "no success within 1s", "Connection refused"];
    refused(&sandbox, ended, 69, "job_unavailable", &words);
    let url = "http://no-such-host.invalid/job";
    refused(&sandbox, fetch(&sandbox, url), 69, "job_unavailable", &[url, "no success within 1s"]);
    for answer in [Answer::Silence, Answer::status(500), Answer::status(429)] {
        let server = Server::new([answer]);
        let url = server.url("/job");
        let ended = fetch(&sandbox, &url);
        refused(&sandbox, ended, 69, "job_unavailable", &[&url, "no success within 1s"]);
        assert!(!server.requests().is_empty());
    }
    nothing_is_lost(&sandbox);
}

#[test]
fn an_answer_that_will_not_change_is_final() {
    let sandbox = impatient();
    for (answer, code, kind, word) in [
        (Answer::status(401), 77, "job_denied", "401 Unauthorized; check the token"),
        (Answer::Status(403, CANARY.into()), 77, "job_denied", "403 Forbidden; check the token"),
        (Answer::status(404), 69, "job_unavailable", "404 Not Found; check the address"),
        (Answer::status(410), 69, "job_unavailable", "410 Gone"),
        (Answer::Endless, 65, "job_invalid", "larger than 1048576 bytes (`job.max_bytes`)"),
        (Answer::Announced(1 << 40), 65, "job_invalid", "larger than 1048576 bytes"),
        (Answer::fine(format!("<p>{CANARY}")), 65, "job_invalid", "line 1, column 1"),
        (Answer::fine(""), 65, "job_invalid", "ends in the middle"),
    ] {
        let server = Server::new([answer]);
        let url = server.url("/job");
        refused(&sandbox, fetch(&sandbox, &url), code, kind, &[word]);
        assert_eq!(server.requests().len(), 1, "{word}: asked again");
    }
    nothing_is_lost(&sandbox);
}

#[test]
fn what_may_pass_is_tried_again_with_the_token_each_time() {
    let sandbox = impatient();
    let text = fs::read(job(&sandbox, json!({}))).unwrap();
    let server = Server::new([
        Answer::status(500),
        Answer::status(429),
        // The connection ends in the middle of the body.
        Answer::Announced(500),
        Answer::fine(text),
    ]);
    let url = server.url("/jobs/7c1e0d52");
    sandbox.run(["run", "--token-file", "tokens/token", &url]).success();
    assert!(marker(&sandbox).exists());
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert!(request.line.starts_with("GET /jobs/7c1e0d52 "), "{}", request.line);
        assert_eq!(request.header("Authorization"), Some("Bearer canary-5e1f9a-token"));
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let sandbox = impatient();
    let text = fs::read(job(&sandbox, json!({}))).unwrap();
    let other = Server::new([Answer::fine(text)]);
    let server = Server::new([Answer::Redirect(other.url("/job"))]);
    let ended = fetch(&sandbox, &server.url("/job"));
    let words = ["302 Found", "redirects are not followed, give the final address"];
    refused(&sandbox, ended, 69, "job_unavailable", &words);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(other.requests().len(), 0, "the token went along");
}

#[test]
fn a_bad_token_file_is_named_and_nothing_is_sent() {
    let sandbox = impatient();
    let server = Server::new([Answer::status(500)]);
    let fetch = || fetch(&sandbox, &server.url("/job"));
    for content in [&format!("{CANARY}\n{CANARY}"), &format!("{CANARY} x"), "", "\n", "\u{e9}"] {
        sandbox.token(content);
        refused(
            &sandbox,
            fetch(),
            78,
            "token_invalid",
            &["the token file tokens/token must hold one"],
        );
    }
    sandbox.token(&CANARY.repeat(10_000));
    refused(
        &sandbox,
        fetch(),
        78,
        "token_unreadable",
        &["token file tokens/token", "larger than 64 KiB"],
    );
    fs::remove_file(sandbox.path("tokens/token")).unwrap();
    refused(
        &sandbox,
        fetch(),
        78,
        "token_unreadable",
        &["token file tokens/token", "No such file"],
    );
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn an_address_that_is_none_or_holds_credentials_is_refused() {
    let sandbox = impatient();
    let server = Server::new([Answer::status(500)]);
    let authority = server.authority();
    for (url, word) in [
        (format!("http://ada:{CANARY}@{authority}/job"), "use a token file"),
        (format!("http://{CANARY}@{authority}/job"), "use a token file"),
        (format!("http://[{CANARY}/job"), "begins with http:// or https://"),
        (format!("http://:80/{CANARY}"), "begins with http:// or https://"),
    ] {
        refused(&sandbox, fetch(&sandbox, &url), 64, "job_url_invalid", &[word]);
    }
    assert_eq!(server.requests().len(), 0);
}

/// A query may hold a token of its own.
#[test]
fn the_query_of_an_address_is_not_shown() {
    let sandbox = impatient();
    let server = Server::new([Answer::status(404)]);
    let ended = fetch(&sandbox, &server.url(&format!("/job?sig={CANARY}")));
    refused(&sandbox, ended, 69, "job_unavailable", &[&server.url("/job: ")]);
    let line = &server.requests()[0].line;
    assert!(line.contains(CANARY), "{line}");
}

#[test]
fn https_to_a_plain_port_fails_and_sends_no_token() {
    let sandbox = impatient();
    let server = Server::new([Answer::status(500)]);
    let url = format!("https://{}/job", server.authority());
    refused(&sandbox, fetch(&sandbox, &url), 69, "job_unavailable", &[&url, "last: "]);
    assert_eq!(server.requests().len(), 0);
}
