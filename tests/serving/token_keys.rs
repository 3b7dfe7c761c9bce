//! Public keys for job tokens in files that change while the service runs.

use super::*;
use crate::support::until;

impl Ground {
    /// Replaces the file of keys in one step.
    fn trust(&self, keys: &[&Forger]) {
        let beside = self.sandbox.write("orchestrator.new", jwks(keys));
        std::fs::rename(beside, self.sandbox.path("orchestrator.jwks")).unwrap();
    }
}

/// What a service answers to a new token that `forger` signed.
fn answered(service: &Process, forger: &Forger) -> u16 {
    service.resolve(&token(forger, json!({})), json!({})).status
}

#[test]
fn a_key_is_replaced_without_a_restart() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    let (old, new) = (&ground.orchestrator, Forger::ed25519("new"));
    assert_eq!((answered(&service, old), answered(&service, &new)), (200, 401));
    ground.trust(&[old, &new]);
    until("the new key counts", || answered(&service, &new) == 200);
    assert_eq!(answered(&service, old), 200);
    ground.trust(&[&new]);
    until("the old key counts no more", || answered(&service, old) == 401);
    assert_eq!(answered(&service, &new), 200);
    let refused = service.resolve(&token(old, json!({})), json!({}));
    refused.problem(401, "token_key_unknown");
    service.stop();
}

/// A file that is bad, that contradicts another one, or that is gone changes nothing, and is said.
#[test]
fn bad_keys_leave_the_last_ones_in_force() {
    let ground = Ground::new("");
    ground.fill();
    let other = ground.sandbox.write("other.jwks", jwks(&[&Forger::ed25519("other")]));
    let file = ground.sandbox.path("orchestrator.jwks");
    let (one, two) = (file.display().to_string(), other.display().to_string());
    let service = ground.serve(&["--job-token-keys", &one, "--job-token-keys", &two]);
    let said = |log: &str| log.matches("the keys for job tokens stay as they were").count();
    for (n, content) in [
        "no key at all".as_bytes(),
        b"-----BEGIN PRIVATE KEY-----\ncanary-4c7e\n-----END PRIVATE KEY-----\n",
        &jwks(&[&Forger::ed25519("other")]),
    ]
    .into_iter()
    .enumerate()
    {
        ground.sandbox.write("bad.new", content);
        std::fs::rename(ground.sandbox.path("bad.new"), &file).unwrap();
        until("it is said", || {
            assert_eq!(answered(&service, &ground.orchestrator), 200);
            said(&service.log()) == n + 1
        });
    }
    std::fs::remove_file(&file).unwrap();
    until("it is said", || {
        assert_eq!(answered(&service, &ground.orchestrator), 200);
        said(&service.log()) == 4
    });
    ground.trust(&[]);
    let log = service.stop();
    assert!(log.contains("holds a private key") && !log.contains("canary"), "{log}");
    assert!(log.contains("orchestrator.jwks"), "{log}");
}

#[test]
fn sighup_has_the_keys_read_at_once() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    ground.sandbox.write("orchestrator.jwks", "nonsense");
    service.signal(Signal::SIGHUP);
    // Nobody asks for anything meanwhile.
    until("it is said", || service.log().contains("the keys for job tokens stay as they were"));
    assert_eq!(answered(&service, &ground.orchestrator), 200);
    service.stop();
}
