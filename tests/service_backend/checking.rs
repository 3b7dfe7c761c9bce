//! `check` and `explain` with a service.

use super::*;
use crate::support::http::NOBODY;

fn check(ground: &Ground, more: &[&str]) -> Ended {
    let words = "--settings settings.toml check --format json".split(' ');
    ground.sandbox.run(words.chain(more.iter().copied()))
}

fn findings(ended: &Ended, about: &str) -> Vec<(String, String)> {
    let json: Json = serde_json::from_str(&ended.stdout).unwrap();
    let text = |finding: &Json, member: &str| finding[member].as_str().unwrap().to_owned();
    let all = json["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["check"] == about)
        .map(|finding| (text(finding, "result"), text(finding, "message")))
        .collect()
}

#[test]
fn a_check_asks_whether_the_service_is_there_without_the_token() {
    let ground = Ground::new([Answer::fine("")]);
    let job = ground.job(json!({"require": ["envvar:API_KEY"]}));
    let ended = check(&ground, &["--job-token-file", "tokens/token", &job]).success();
    let expected = format!("{} is there, and its certificate is good", ground.server.url(""));
    assert_eq!(findings(&ended, "service"), [("ok".to_owned(), expected)]);
    let secrets = findings(&ended, "secrets");
    assert!(secrets[0].0 == "ok" && secrets[0].1.contains("not looked up"), "{secrets:?}");
    assert_eq!(findings(&ended, "token").len(), 1);
    // The embedded store's are not needed, and not there.
    assert!(findings(&ended, "store").is_empty() && findings(&ended, "key").is_empty());
    let requests = ground.server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].line.starts_with("GET /live "), "{}", requests[0].line);
    assert_eq!(requests[0].header("Authorization"), None);
    // A host may be checked before there is a job, and a token.
    let ended = check(&ground, &[]).success();
    assert!(findings(&ended, "token").is_empty());
    let ended = check(&ground, &[&job]).fails(78);
    assert_eq!(findings(&ended, "token")[0].0, "failed");
}

#[test]
fn a_check_tells_what_is_wrong_with_the_service() {
    let ground = Ground::new([Answer::status(404)]);
    let ended = check(&ground, &[]).fails(69);
    let found = findings(&ended, "service");
    assert!(found[0].0 == "failed" && found[0].1.contains("check the address"), "{found:?}");
    let nobody = NOBODY.strip_suffix("/job").unwrap().to_owned();
    let stranger = Server::secure([Answer::fine("")], Authority::new().server(Like::Good));
    let good = Server::secure([Answer::fine("")], ground.authority.server(Like::Good));
    for (url, word) in [(&nobody, "Connection refused"), (&stranger.url(""), "not trusted here")] {
        ground.settings(std::slice::from_ref(url), "");
        let found = findings(&check(&ground, &[]).fails(69), "service");
        assert!(found[0].0 == "failed" && found[0].1.contains(word), "{found:?}");
        // One of two is enough for a job.
        ground.settings(&[url.clone(), good.url("")], "");
        let found = findings(&check(&ground, &[]).success(), "service");
        assert!(found[0].0 == "warning" && found[0].1.contains(word), "{found:?}");
        assert_eq!(found[1].0, "ok");
    }
    assert_eq!(stranger.requests().len(), 0);
}

#[test]
fn explain_asks_as_the_job_does_and_says_so() {
    let members = json!({
        "secrets": [secret(json!({"level": "project_user", "assigned_to": "ada"}))],
        "shadowed": [shadowed(json!({"id": "2"}))],
    });
    let ground = Ground::new([answer(members)]);
    let job = ground.job(json!({}));
    let explain = |more: &[&str]| {
        let words = ["--settings", "settings.toml", "explain", "--format", "json"];
        ground.sandbox.command(words.into_iter().chain(more.iter().copied()))
    };
    let ended = end(explain(&["--job-token-file", "tokens/token", &job])).success();
    let json: Json = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["secrets"][0]["level"], "project_user");
    assert_eq!(json["secrets"][0]["shadowed"].as_array().unwrap().len(), 1);
    assert!(ended.stderr.contains("one of the three requests"), "{}", ended.stderr);
    ground.nothing_shown(&ended);
    let mut by_environment =
        explain(&["-P", "survey", "-O", "org", "-U", "ada", "--job-id", "job-1"]);
    by_environment.env("QGIS_SECRETS_JOB_TOKEN", TOKEN);
    ground.nothing_shown(&end(by_environment).success());
    assert_eq!(ground.server.requests().len(), 2);
    end(explain(&[&job])).error(78, "token_missing", "needs a job token");
    end(explain(&["-P", "survey"])).error(64, "usage", "--job-id");
    assert_eq!(ground.server.requests().len(), 2);
}

/// The services' names and their values come with one request.
#[test]
fn connecting_asks_once() {
    let service = json!({
        "kind": "pgservice", "key": "ninja",
        "value": "[ninja]\nhost=127.0.0.1\nport=1\nuser=ada\npassword=pass-3f81\n",
    });
    let ground = Ground::new([Answer::fine(""), answer(json!({"secrets": [secret(service)]}))]);
    let job = ground.job(json!({}));
    let more = ["--connect", "--job-token-file", "tokens/token", &job];
    let ended = check(&ground, &more).fails(69);
    let json: Json = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["services"][0]["service"], "ninja", "{json:#}");
    let lines: Vec<String> = ground.server.requests().into_iter().map(|r| r.line).collect();
    assert_eq!(lines, ["GET /live HTTP/1.1", "POST /v1/resolve HTTP/1.1"]);
    assert!(!ended.stdout.contains("pass-3f81") && !ended.stderr.contains("pass-3f81"));
}

#[test]
fn a_check_that_waits_for_the_service_can_be_ended() {
    let ground = Ground::new([Answer::Silence]);
    let words = "--settings settings.toml check".split(' ');
    let mut child = ground.sandbox.command(words).spawn().unwrap();
    crate::support::until("the service is asked", || ground.server.requests().len() == 1);
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    crate::support::finish_here(&mut child).error(143, "cancelled", "SIGTERM");
}
