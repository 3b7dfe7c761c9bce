//! What came from a secrets service, by TLS, and what it was asked with.

use super::*;
use crate::support::tls::{Authority, Like};

/// The job token, and what the service sends: whether each is masked in what the job writes.
const SENT: [(&str, bool); 4] = [
    ("the job token", true),
    ("a sent variable", true),
    ("a sent variable that is not masked", false),
    ("a sent role", false),
];

#[test]
fn what_a_service_sent_is_not_kept() {
    if needs_root() {
        return;
    }
    let canaries: Vec<Canary> = SENT
        .iter()
        .map(|(name, masked)| Canary {
            planted: Planted::new(name, text(name).as_bytes()),
            masked: *masked,
        })
        .collect();
    let [token, value, plain, role] = SENT.map(|(name, _)| text(name));
    let secret = |id: usize, kind: &str, key: &str, value: &str, sensitive: bool| {
        json!({
            "id": id.to_string(), "kind": kind, "key": key, "level": "project", "owner": "survey",
            "assigned_to": null, "sensitive": sensitive, "value": value,
        })
    };
    // Escaped, so that the parser makes a copy; and many, so that buffers grow.
    let mut secrets: Vec<_> = (3..200)
        .map(|n| secret(n, "envvar", &format!("CRS_{n}"), &format!("{plain}-{n}\n"), false))
        .collect();
    secrets.push(secret(1, "envvar", "API_KEY", &format!("\"{value}\""), true));
    let section = format!("[ninja]\nhost=db.example\nuser={role}\n");
    secrets.push(secret(2, "pgservice", "ninja", &section, true));
    let answer = json!({
        "version": 1, "job": {"id": "job-1", "attempt": 1}, "organization": "org",
        "project": "survey", "user": "ada", "secrets": secrets, "shadowed": [],
    });
    let authority = Authority::new();
    let answers = vec![Answer::status(503), Answer::fine(answer.to_string())];
    let mut faults = Vec::new();
    for level in ["namespace", "process"] {
        let server = Server::secure(answers.clone(), authority.server(Like::Good));
        let sandbox = Sandbox::new();
        let script = "echo > ready; while ! test -e go; do sleep 0.01; done";
        sandbox.job(json!({"command": ["sh", "-c", script]}));
        let ca = sandbox.write("ca.pem", authority.pem());
        let service = format!("url = '{}'\nca_file = '{}'", server.url(""), ca.display());
        sandbox.write(
            "settings.toml",
            format!("backend.kind = 'service'\n[backend.service]\n{service}"),
        );
        let words = ["--settings", "settings.toml", "run", "--containment", level, "job.json"];
        let mut command = sandbox.command(words);
        command.env("QGIS_SECRETS_JOB_TOKEN", &token);
        let going = Going::spawn(command);
        until("the job runs", || sandbox.path("ready").exists());
        let outer = going.pid();
        let inner = first_child(outer).unwrap();
        let leader = first_child(inner).unwrap();
        let there = copies(leader, canaries.iter().map(|canary| &canary.planted));
        assert!(!there[1].is_empty(), "the job doesn't have its variable");
        for (who, pid) in [("outer", outer), ("inner", inner)] {
            let found = copies(pid, canaries.iter().map(|canary| &canary.planted));
            for (Canary { planted, masked }, places) in canaries.iter().zip(found) {
                if places.len() > if who == "inner" && *masked { MASKED } else { 0 } {
                    faults.push(format!("{level}, {who}, {}: {places:#?}", planted.name));
                }
            }
        }
        sandbox.write("go", "");
        going.end().success();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
