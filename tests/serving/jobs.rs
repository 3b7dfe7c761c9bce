//! What a job's token gets, how often, and what it doesn't.

use std::fs;

use super::*;
use crate::support::{log_lines, until};

/// What a job prints of itself, past the masker.
const GOT: &str = "env > got; cat \"$PGSERVICEFILE\" >> got";

#[test]
fn a_job_gets_exactly_its_identitys_secrets() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    let worker = Sandbox::new();
    let job = json!({"command": ["sh", "-c", GOT], "require": ["pgservice:ninja"]});
    Process::run(&[&service], &worker, &ground.token(json!({})), job).success();
    let got = fs::read_to_string(worker.path("got")).unwrap();
    for line in [
        "EVERYWHERE=of-the-organization",
        "BEATEN=of-the-project",
        "OWN=of-ada-alone",
        "HIDDEN=hidden-value-1",
        "password=password-of-ninja",
    ] {
        assert!(got.contains(line), "no {line} in\n{got}");
    }
    assert!(!got.contains("never-seen") && !got.contains("eve") && !got.contains("FOREIGN"));

    let answer = service.resolve(&ground.token(json!({})), json!({})).with(200);
    let facts = |member: &str| -> Vec<String> {
        let all = answer[member].as_array().unwrap().iter();
        all.map(|s| format!("{} {} {}", s["key"], s["level"], s["value"])).collect()
    };
    let shadowed = facts("shadowed");
    assert_eq!(shadowed, ["\"BEATEN\" \"organization\" null"]);
    assert!(answer["shadowed"][0].get("value").is_none());
    let mut secrets = facts("secrets");
    secrets.sort();
    assert_eq!(secrets.len(), 5, "{secrets:?}");
    assert!(secrets[2].contains("hidden-value-1"), "{secrets:?}");

    // A row and a line for each.
    let rows = ground.audit();
    let rows: Vec<_> = rows.iter().filter(|row| row["action"] == "resolve").collect();
    let log = service.stop();
    let lines: Vec<Json> =
        log_lines(&log).into_iter().filter(|line| line["target"] == "audit").collect();
    assert_eq!((rows.len(), lines.len()), (2, 2), "{log}");
    for (row, line) in rows.iter().zip(&lines) {
        assert_eq!((&row["decision"], &line["decision"]), (&json!("allowed"), &json!("given")));
        let job = json!({"id": "job-1", "attempt": 1, "organization": "org", "project": "survey",
                         "user": "ada"});
        assert_eq!(line["job"], job);
        let secrets = line["secrets"].as_array().unwrap();
        assert_eq!(secrets.len(), 5, "{line}");
        let own = json!({"kind": "envvar", "key": "OWN", "level": "project_user"});
        assert!(secrets.contains(&own), "{line}");
    }
}

#[test]
fn a_token_is_good_for_three_answers() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    let token = ground.token(json!({}));
    let worker = Sandbox::new();
    for _ in 0..3 {
        Process::run(&[&service], &worker, &token, json!({})).success();
    }
    let fourth = Process::run(&[&service], &worker, &token, json!({"command": ["touch", "ran"]}));
    let fourth = fourth.error(77, "backend_denied", "token_used_up");
    assert!(!worker.path("ran").exists() && !fourth.stderr.contains(&token));
    service.resolve(&token, json!({})).problem(409, "token_used_up");
    let metrics = service.send("GET", "/metrics", "", None);
    for line in ["resolves_total{outcome=\"answered\"} 3", "resolves_total{outcome=\"denied\"} 2"] {
        assert!(metrics.body.contains(line), "no {line} in\n{}", metrics.body);
    }
    let rows = ground.audit();
    let denied = rows.iter().filter(|row| row["reason"] == "token_used_up");
    assert_eq!(denied.count(), 2);
    assert!(service.stop().contains("\"reason\":\"token_used_up\""));
}

#[test]
fn of_a_hundred_requests_at_once_three_are_answered() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    let token = ground.token(json!({}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..100).map(|_| scope.spawn(|| service.resolve(&token, json!({})).status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(409)), (3, 97), "{statuses:?}");
    service.stop();
}

/// A token that doesn't count, or not for this, opens nothing.
#[test]
fn whoever_else_asks_gets_nothing() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    let past = Timestamp::now().as_second() - 600;
    let stranger = Forger::ed25519("o");
    let unsigned = {
        let header = json!({"alg": "none", "typ": "JWT"}).to_string();
        let claims = ground.token(json!({})).split('.').nth(1).unwrap().to_owned();
        let head = stranger.token(header, "{}");
        format!("{}.{claims}.", head.split('.').next().unwrap())
    };
    let tokens = [
        ("expired", ground.token(json!({"exp": past}))),
        ("another key", token(&stranger, json!({}))),
        ("another audience", ground.token(json!({"aud": "https://elsewhere.example"}))),
        ("unsigned", unsigned),
        ("none", String::new()),
    ];
    for (what, token) in &tokens {
        let answer = service.resolve(token, json!({}));
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"), "{answer:?}");
        assert!(!answer.body.contains("of-"), "{answer:?}");
    }
    let others = [
        json!({"project": "other"}),
        json!({"organization": null}),
        json!({"user": "eve"}),
        json!({"user": null}),
        json!({"job": {"id": "job-2", "attempt": 1}}),
    ];
    for other in &others {
        service.resolve(&ground.token(json!({})), other.clone()).problem(403, "identity_mismatch");
    }
    // The attempt counts where the token names one.
    let first = ground.token(json!({"attempt": 1}));
    let second = json!({"job": {"id": "job-1", "attempt": 2}});
    service.resolve(&first, second).problem(403, "identity_mismatch");
    service.resolve(&first, json!({})).with(200);

    let rows = ground.audit();
    let mismatches = rows.iter().filter(|row| row["reason"] == "identity_mismatch");
    assert_eq!(mismatches.count(), others.len() + 1);
    assert_eq!(rows.iter().filter(|row| row["action"] == "resolve").count(), others.len() + 2);
    let log = service.stop();
    let lines = log_lines(&log);
    let lines: Vec<_> = lines.iter().filter(|line| line["target"] == "audit").collect();
    assert_eq!(lines.len(), tokens.len() + others.len() + 2, "{log}");
    for line in &lines[..tokens.len()] {
        assert_eq!(line["decision"], "denied");
        assert_eq!((&line["job"], &line["token"]), (&Json::Null, &Json::Null), "{line}");
        assert_eq!(line["peer"], "127.0.0.1", "{line}");
    }
    for (_, token) in tokens.iter().filter(|(_, token)| token.len() > 20) {
        let signed = token.rsplit('.').next().unwrap();
        assert!(!log.contains(token) && (signed.is_empty() || !log.contains(signed)));
    }
}

/// Each token has a rate of its own, which another's use doesn't touch.
#[test]
fn a_token_that_asks_too_often_has_to_wait() {
    let ground = Ground::new("");
    let settings = fs::read_to_string(ground.sandbox.path("serve.toml")).unwrap();
    let slow = settings.replace("requests_per_second = 10000", "requests_per_second = 1");
    ground.sandbox.write("serve.toml", slow);
    ground.fill();
    let service = ground.serve(&[]);
    let token = ground.token(json!({}));
    // Four at once, then one in a second.
    let answers: Vec<Answer> = (0..30).map(|_| service.resolve(&token, json!({}))).collect();
    let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!limited.is_empty());
    assert!(limited.iter().all(|answer| answer.head.to_lowercase().contains("retry-after: ")));
    limited[0].problem(429, "rate_limited");
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
    service.resolve(&ground.token(json!({})), json!({})).with(200);
    service.stop();
}

/// A token that was answered, kept by somebody, and sent again when its time is over.
#[test]
fn a_token_that_expired_is_not_answered_again() {
    let ground = Ground::new("");
    let settings = fs::read_to_string(ground.sandbox.path("serve.toml")).unwrap();
    let exact = settings.replace("[service.job_tokens]\n", "[service.job_tokens]\nleeway_s = 0\n");
    ground.sandbox.write("serve.toml", exact);
    ground.fill();
    let service = ground.serve(&[]);
    let token = ground.token(json!({"exp": Timestamp::now().as_second() + 5}));
    service.resolve(&token, json!({})).with(200);
    let mut last = String::new();
    until("it is over", || {
        let answer = service.resolve(&token, json!({}));
        assert!(matches!(answer.status, 200 | 409 | 401), "{answer:?}");
        last = answer.body;
        answer.status == 401
    });
    assert!(last.contains("token_expired"), "{last}");
    service.stop();
    // Nor by a service that was started since.
    let service = ground.serve(&[]);
    service.resolve(&token, json!({})).problem(401, "token_expired");
    let rows = ground.audit();
    let given =
        rows.iter().filter(|row| row["action"] == "resolve" && row["decision"] == "allowed");
    assert!((1..=3).contains(&given.count()), "{rows:?}");
    service.stop();
}

/// Nor does anybody wait for it: many bodies at once would fill the memory.
#[test]
fn no_body_of_a_stranger_is_read() {
    let ground = Ground::new("");
    let service = ground.serve(&[]);
    for path in ["/v1/resolve", "/v1/projects/survey/secrets", "/v1/projects/survey/secrets/import"]
    {
        for token in ["", "garbage"] {
            let mut stream = TcpStream::connect(&service.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // Whoever is about to read says so before.
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nExpect: 100-continue\r\n\
                 Content-Length: 1000000\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(str::from_utf8(&first), Ok("HTTP/1.1 401"), "{path} {token:?}");
        }
    }
    service.stop();
}
