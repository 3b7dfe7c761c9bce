//! A service that refuses, fails or is away.

use super::*;
use crate::support::http::NOBODY;

#[test]
fn what_the_service_refuses_is_final_and_its_words_are_shown() {
    for (answer, code, kind, words) in [
        (
            problem(401, "token_expired", "the token has expired"),
            77,
            "backend_denied",
            ["401 token_expired: the token has expired", "the job token is not valid"],
        ),
        (
            problem(403, "identity_mismatch", "not this project"),
            77,
            "backend_denied",
            ["identity_mismatch: not this project", "must name the same job"],
        ),
        (
            problem(409, "token_used_up", "used three times"),
            77,
            "backend_denied",
            ["token_used_up", "issue another one"],
        ),
        (Answer::status(400), 69, "backend_refused", ["(400)", "the same version"]),
        (Answer::status(404), 69, "backend_refused", ["404", "check the address"]),
        (problem(422, "job_unknown", "x"), 69, "backend_refused", ["job_unknown: x", "422"]),
        (Answer::status(421), 69, "backend_refused", ["421", "the wrong server"]),
        (Answer::Redirect(NOBODY.into()), 69, "backend_refused", ["302", "are not followed"]),
    ] {
        let ground = Ground::new([answer]);
        let ended = ground.run(json!({}));
        ground.refused(ended, code, kind, &words);
        assert_eq!(ground.server.requests().len(), 1, "asked again");
    }
}

/// The service's own words can't show the token, move the cursor, or fill the screen.
#[test]
fn the_services_words_are_masked_and_bounded() {
    let detail = format!("bad\u{1b}[2J\n{}Bearer {TOKEN} {}", "x".repeat(470), "y".repeat(1000));
    let ground = Ground::new([problem(401, TOKEN, &detail)]);
    let ended = ground.run(json!({}));
    let ended = ground.refused(ended, 77, "backend_denied", &["bad\u{fffd}[2J\u{fffd}x", "***"]);
    let [start, ..] = TOKEN.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    assert!(!ended.stderr.contains(start), "a part of the token: {}", ended.stderr);
    let line = ended.stderr.lines().find(|line| line.starts_with("error[")).unwrap();
    assert!(line.len() < 1000 && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn what_may_pass_is_tried_again() {
    for failing in [Answer::status(500), Answer::status(503), Answer::Announced(500)] {
        let ground = Ground::new([failing.clone(), failing, answer(json!({}))]);
        // The last request waits for a part of it.
        ground.settings(&[ground.server.url("")], "deadline_s = 6");
        ground.run(json!({})).success();
        let requests = ground.server.requests();
        assert_eq!(requests.len(), 3);
        let token = format!("Bearer {TOKEN}");
        assert!(requests.iter().all(|r| r.header("Authorization") == Some(&token)));
    }
}

#[test]
fn a_token_is_not_used_more_often_than_it_may() {
    for (failing, word) in [
        (problem(503, "store_busy", ""), "503 Service Unavailable, store_busy"),
        (Answer::Announced(500), "last, https"),
    ] {
        let ground = Ground::new([failing]);
        ground.settings(&[ground.server.url("")], "deadline_s = 6");
        let ended = ground.run(json!({}));
        ground.refused(ended, 69, "backend_unavailable", &["failed 3 times", word]);
        assert_eq!(ground.server.requests().len(), 3);
    }
}

#[test]
fn a_service_that_asks_to_wait_is_waited_for() {
    let busy = |header| Answer::Headed(429, header, Vec::new());
    let ground = Ground::new([busy("Retry-After: 1"), answer(json!({}))]);
    let started = std::time::Instant::now();
    ground.run(json!({})).success();
    assert!(started.elapsed().as_millis() >= 1_000);
    assert_eq!(ground.server.requests().len(), 2);

    let ground = Ground::new([busy("Retry-After: 3600")]);
    let ended = ground.run(json!({}));
    let words = ["asks to wait 3600s", "429", "deadline_s"];
    ground.refused(ended, 69, "backend_unavailable", &words);
    assert_eq!(ground.server.requests().len(), 1);
}

#[test]
fn a_service_that_is_away_or_silent_is_given_up_at_the_deadline() {
    let ground = Ground::new([Answer::Silence]);
    let nobody = NOBODY.strip_suffix("/job").unwrap().to_owned();
    for (url, word) in [
        (ground.server.url(""), "no answer"),
        (nobody, "Connection refused"),
        ("unix:/nowhere/service.sock".to_owned(), "No such file"),
        ("https://no-such-host.invalid".to_owned(), "no-such-host.invalid"),
    ] {
        ground.settings(std::slice::from_ref(&url), "deadline_s = 1");
        let started = std::time::Instant::now();
        let ended = ground.run(json!({}));
        ground.refused(ended, 69, "backend_unavailable", &["within 1s", &url, word]);
        assert!(started.elapsed().as_secs() < 20, "{url}: {:?}", started.elapsed());
    }
    assert_eq!(ground.server.requests().len(), 1);
}

#[test]
fn the_next_replica_is_asked_when_one_is_away() {
    let ground = Ground::new([answer(json!({}))]);
    let nobody = NOBODY.strip_suffix("/job").unwrap().to_owned();
    let other = Server::secure([Answer::status(503)], ground.authority.server(Like::Good));
    let stranger = Server::secure([answer(json!({}))], Authority::new().server(Like::Good));
    for (index, first) in [&nobody, &other.url(""), &stranger.url("")].into_iter().enumerate() {
        ground.settings(&[first.clone(), ground.server.url("")], "");
        ground.run(json!({})).success();
        assert_eq!(ground.server.requests().len(), index + 1, "{first}");
    }
    assert_eq!(other.requests().len(), 1);
    assert_eq!(stranger.requests().len(), 0, "a stranger was asked");
    assert!(ground.got().contains(VALUE));
}

/// It gets its share of the time, not all of it.
#[test]
fn the_next_replica_is_asked_when_one_is_silent() {
    let ground = Ground::new([answer(json!({}))]);
    let silent = Server::secure([Answer::Silence], ground.authority.server(Like::Good));
    ground.settings(&[silent.url(""), ground.server.url("")], "deadline_s = 15");
    ground.run(json!({})).success();
    assert_eq!((silent.requests().len(), ground.server.requests().len()), (1, 1));
}

/// With none of the replicas, the descriptor's job is not started with the embedded store's secrets.
#[test]
fn the_embedded_store_never_steps_in() {
    let ground = Ground::new([Answer::status(503)]);
    ground.sandbox.add("-P survey", "API_KEY", VALUE);
    ground.settings(&[ground.server.url("")], "deadline_s = 6");
    let ended = ground.run(json!({}));
    ground.refused(ended, 69, "backend_unavailable", &[]);
}
