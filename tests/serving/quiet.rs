//! No value in anything that a service writes, and JSON in every line of it.

use std::fs;

use super::*;
use crate::support::log_lines;

const VALUES: [&str; 6] = [
    "of-the-organization",
    "never-seen-beaten-value",
    "of-ada-alone",
    "password-of-ninja",
    "hidden-value-1",
    "added-by-the-api-77",
];

#[test]
fn no_value_is_in_what_a_service_writes() {
    let ground = Ground::new("[service]\none_time_link = 'never'\n");
    ground.fill();
    let operator = ground.operator();
    let mut command = ground.serving(&[]);
    command.env("QGIS_SECRETS_LOG", "trace");
    let service = Process::start(command);
    let mut said = String::new();
    let mut keep = |answer: Answer| said.push_str(&format!("{}\n{}\n", answer.head, answer.body));
    let token = ground.token(json!({}));
    keep(service.add(&operator, "ADDED", VALUES[5]).unwrap());
    keep(service.add(&operator, "ADDED", VALUES[5]).unwrap());
    keep(service.add(&operator, "ADDED=", VALUES[5]).unwrap());
    keep(service.add("wrong", "ADDED", VALUES[5]).unwrap());
    let answer = service.resolve(&token, json!({})).with(200);
    // What wins is there, for the job.
    assert!(VALUES.iter().all(|v| answer.to_string().contains(v) == (*v != VALUES[1])));
    keep(service.resolve(&token, json!({"user": "eve"})));
    keep(service.resolve(&token, json!({"version": 9})));
    keep(service.resolve("wrong", json!({})));
    keep(service.send("GET", "/metrics", "", None));
    keep(service.send("GET", "/v1/audit", &operator, None));
    keep(service.send("GET", "/v1/projects/survey/secrets", &operator, None));
    // A row that was tampered with.
    let store = rusqlite::Connection::open(ground.sandbox.store()).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    let moved = "UPDATE secret SET key = 'MOVED' WHERE key = 'HIDDEN'";
    assert_eq!(store.execute(moved, []).unwrap(), 1);
    drop(store);
    let refused = service.resolve(&ground.token(json!({})), json!({}));
    assert_eq!(refused.status, 500, "{refused:?}");
    keep(refused);
    let metrics = service.send("GET", "/metrics", "", None).body;
    assert!(metrics.contains("resolves_total{outcome=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("store_errors_total{kind="), "{metrics}");

    let directory = ground.sandbox.store().parent().unwrap().to_owned();
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        files.push((path.display().to_string(), fs::read(&path).unwrap()));
    }
    assert!(files.iter().any(|(name, _)| name.ends_with("-wal")), "there is no log to look into");
    let log = service.stop();
    let secrets = VALUES.iter().copied().chain([token.as_str(), operator.as_str()]);
    for value in secrets {
        assert!(!log.contains(value), "{value} in\n{log}");
        assert!(!said.contains(value), "{value} in\n{said}");
        for (name, content) in &files {
            assert_eq!(memchr::memmem::find(content, value.as_bytes()), None, "{value} in {name}");
        }
    }
    let others = log.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>();
    assert!(others.iter().all(|line| line.contains("listening at")), "{others:?}");
    assert!(log_lines(&log).len() > 4);
}

/// A proxy on this machine doesn't open the metrics to everybody.
#[test]
fn metrics_are_for_this_machine() {
    let ground = Ground::new("");
    ground.fill();
    let passed_on = |service: &Process, path: &str| {
        // A header line more, in the place of the token's.
        service.send("GET", path, "x\r\nX-Forwarded-For: 203.0.113.9", None).status
    };
    let service = ground.serve(&[]);
    assert_eq!(service.send("GET", "/metrics", "", None).status, 200);
    assert_eq!(passed_on(&service, "/metrics"), 404);
    assert_eq!((passed_on(&service, "/live"), passed_on(&service, "/ready")), (200, 200));
    service.stop();
    ground.settings("[service]\nmetrics = 'anyone'\n");
    let service = ground.serve(&[]);
    assert_eq!(passed_on(&service, "/metrics"), 200);
    service.stop();
}
