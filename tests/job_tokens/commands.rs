//! `token …` through the binary.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value as Json, json};

use super::{Forger, jwks};
use crate::support::http::{Answer, Server};
use crate::support::{Ended, Sandbox};

/// A sandbox with a key in `key` and `key.pub`.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(["token", "new-key", "key"]).success();
    sandbox
}

fn issue(sandbox: &Sandbox, more: &[&str]) -> Ended {
    let common = ["token", "issue", "--signing-key", "key", "--audience", "https://s.example"];
    sandbox.run([&common, more].concat())
}

const WHO: [&str; 8] = ["--job", "7c1e0d52", "-P", "f3b0c442", "-O", "org-81", "-U", "u-1204"];

/// A token that expired a minute ago, and its key's file.
fn expired(sandbox: &Sandbox, members: Json) -> String {
    let forger = Forger::ed25519("k");
    sandbox.write("keys", jwks(&[&forger]));
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"aud": "https://s.example", "exp": now - 60});
    forger.claiming(super::with(claims, members))
}

#[test]
fn a_token_is_issued_and_counts() {
    let sandbox = prepared();
    let token = issue(&sandbox, &WHO).success().stdout;
    assert_eq!(token.lines().count(), 1);
    let checked = ["token", "inspect", "--keys", "key.pub", "--audience", "https://s.example"];
    let shown = sandbox.run_with(checked, &token).success().stdout;
    for word in ["7c1e0d52", "f3b0c442", "org-81", "u-1204", "EdDSA", "\nvalid\n"] {
        assert!(shown.contains(word), "no {word} in\n{shown}");
    }
    let json = [&checked[..], &["--format", "json"]].concat();
    let shown: Json =
        serde_json::from_str(&sandbox.run_with(json, &token).success().stdout).unwrap();
    assert_eq!(shown["valid"], true);
    assert_eq!(shown["refused"], Json::Null);
    let claims = &shown["claims"];
    assert_eq!(claims["organization"], "org-81");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert_eq!(claims.get("attempt"), None);
    // No two are the same.
    let other = issue(&sandbox, &WHO).success().stdout;
    assert_ne!(token, other);
}

/// `null` is written out, for a service that asks for it.
#[test]
fn a_job_without_organization_and_user_says_so() {
    let sandbox = prepared();
    let more = ["--job", "j", "-P", "p", "--issuer", "me", "--attempt", "2", "--lifetime", "60"];
    let token = issue(&sandbox, &more).success().stdout;
    let shown = sandbox.run_with(["token", "inspect", "--format", "json"], token).success().stdout;
    let shown: Json = serde_json::from_str(&shown).unwrap();
    let claims = shown["claims"].as_object().unwrap();
    assert!(claims["organization"].is_null() && claims["user"].is_null());
    assert_eq!((&claims["iss"], &claims["attempt"]), (&json!("me"), &json!(2)));
    assert_eq!((&shown["valid"], &shown["signature_checked"]), (&Json::Null, &json!(false)));
}

#[test]
fn a_descriptor_says_whose_token_it_is() {
    let sandbox = prepared();
    let job = sandbox.job(json!({"id": "j-9", "attempt": 4, "user": null, "task": "t",
                                 "params": {}, "command": null}));
    let mut text: Json = serde_json::from_slice(&fs::read(&job).unwrap()).unwrap();
    text.as_object_mut().unwrap().remove("command");
    fs::remove_file(&job).unwrap();
    sandbox.write("job.json", text.to_string());
    let claims = |ended: Ended| -> Json {
        let token = ended.success().stdout;
        let shown = sandbox.run_with(["token", "inspect", "--format", "json"], token).success();
        serde_json::from_str::<Json>(&shown.stdout).unwrap()["claims"].clone()
    };
    // As other commands call it.
    assert_eq!(claims(issue(&sandbox, &["--job-id", "j", "-P", "p"]))["job"], "j");
    // Its task is known where it runs, not here.
    let said = claims(issue(&sandbox, &["--from-job", "job.json"]));
    assert_eq!((&said["job"], &said["attempt"]), (&json!("j-9"), &json!(4)));
    assert_eq!((&said["project"], &said["user"]), (&json!("survey"), &Json::Null));
    let piped = ["token", "issue", "--signing-key", "key", "--audience", "https://s.example"];
    let piped = [&piped[..], &["--from-job", "-"]].concat();
    assert_eq!(claims(sandbox.run_with(piped, text.to_string()))["job"], "j-9");
    sandbox.write("job.json", with_organization_forgotten(text).to_string());
    issue(&sandbox, &["--from-job", "job.json"]).error(65, "job_invalid", "organization");
    issue(&sandbox, &["--from-job", "nowhere"]).error(65, "job_unreadable", "nowhere");
}

fn with_organization_forgotten(mut job: Json) -> Json {
    job.as_object_mut().unwrap().remove("organization");
    job
}

#[test]
fn who_the_token_is_for_must_be_said() {
    let sandbox = prepared();
    issue(&sandbox, &[]).error(64, "usage", "--from-job");
    issue(&sandbox, &["--job", "j"]).error(64, "usage", "-P PROJECT");
    issue(&sandbox, &["-P", "p"]).error(64, "usage", "--job");
    issue(&sandbox, &["--job", "j", "-P", "p", "--from-job", "x"]).fails(64);
    issue(&sandbox, &["--job-id", "j", "--from-job", "x"]).fails(64);
    issue(&sandbox, &["--job-id", "j", "--job", "k", "-P", "p"]).fails(64);
    issue(&sandbox, &["--job", "j", "-P", "p", "--lifetime", "86401"]).fails(64);
    issue(&sandbox, &["--job", "j", "-P", "p", "--lifetime", "0"]).fails(64);
    issue(&sandbox, &["--job", "j", "-P", "../p"]).fails(64);
    let long = "x".repeat(9000);
    let ended = issue(&sandbox, &["--job", "j", "-P", "p", "--issuer", &long]);
    ended.error(65, "token_unusable", "longer than 8192");
}

#[test]
fn a_token_in_a_file_is_for_its_owner_only() {
    let sandbox = prepared();
    sandbox.write("out", "an older one, which others can read");
    fs::set_permissions(sandbox.path("out"), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = issue(&sandbox, &[&WHO[..], &["--out", "out"]].concat()).success();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    assert_eq!(fs::metadata(sandbox.path("out")).unwrap().mode() & 0o777, 0o600);
    sandbox.run(["token", "inspect", "--keys", "key.pub", "out"]).success();
    let ended = issue(&sandbox, &[&WHO[..], &["--out", "nowhere/out"]].concat());
    ended.error(70, "io", "nowhere/out");
}

#[test]
fn keys_are_made_once_and_for_their_owner_only() {
    let sandbox = Sandbox::new();
    for algorithm in ["ed25519", "es256", "rs256"] {
        let made = sandbox.run(["token", "new-key", "--algorithm", algorithm, algorithm]).success();
        assert_eq!(made.stdout.trim().len(), 43, "a thumbprint: {}", made.stdout);
        let public = format!("{algorithm}.pub");
        assert!(made.stderr.contains(&public), "{}", made.stderr);
        let mode = |name: &str| fs::metadata(sandbox.path(name)).unwrap().mode() & 0o777;
        assert_eq!((mode(algorithm), mode(&public)), (0o600, 0o644));
        let before = fs::read(sandbox.path(algorithm)).unwrap();
        let again = sandbox.run(["token", "new-key", algorithm]);
        again.error(65, "token_key_exists", algorithm);
        assert_eq!(fs::read(sandbox.path(algorithm)).unwrap(), before);
        // Nor is half a pair made.
        fs::remove_file(sandbox.path(algorithm)).unwrap();
        sandbox.run(["token", "new-key", algorithm]).error(65, "token_key_exists", &public);
        assert!(!sandbox.path(algorithm).exists());
        let set = sandbox.run(["token", "jwks", &public]).success().stdout;
        let set: Json = serde_json::from_str(&set).unwrap();
        assert_eq!(set["keys"][0]["kid"], made.stdout.trim());
        assert_eq!(set["keys"][0]["use"], "sig");
    }
    let set = sandbox.run(["token", "jwks", "ed25519.pub", "es256.pub", "rs256.pub"]).success();
    assert!(!set.stdout.contains("\"d\""));
    let set: Json = serde_json::from_str(&set.stdout).unwrap();
    assert_eq!(set["keys"].as_array().unwrap().len(), 3);
}

#[test]
fn bad_keys_have_their_words() {
    let sandbox = prepared();
    sandbox.write("text", "no key");
    fs::set_permissions(sandbox.path("text"), fs::Permissions::from_mode(0o600)).unwrap();
    let with_key = |key: &str| {
        let common = ["token", "issue", "--audience", "x", "--signing-key", key];
        sandbox.run([&common, &WHO[..]].concat())
    };
    with_key("nowhere").error(78, "token_key_unreadable", "nowhere");
    with_key("text").error(78, "token_key_invalid", "text");
    with_key("/dev/null").error(78, "token_key_invalid", "not a regular file");
    fs::set_permissions(sandbox.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    with_key("key").error(78, "permissions_too_wide", "chmod 600 key");
    fs::set_permissions(sandbox.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.run(["token", "jwks", "key"]).error(78, "token_key_invalid", "private key");
    sandbox.run(["token", "jwks", "text"]).error(78, "token_key_invalid", "text");
    let token = issue(&sandbox, &WHO).success().stdout;
    let ended = sandbox.run_with(["token", "inspect", "--keys", "key"], &token);
    ended.error(78, "token_key_invalid", "key holds a private key");
    let ended = sandbox.run_with(["token", "inspect", "--jwks-url", "http://s.example"], &token);
    ended.error(78, "token_key_url_invalid", "https://");
}

#[test]
fn a_refused_token_is_shown_with_the_reason() {
    let sandbox = prepared();
    let token = expired(&sandbox, json!({}));
    let ended = sandbox.run_with(["token", "inspect", "--keys", "keys"], &token).fails(77);
    assert!(ended.stdout.contains("not valid [token_expired]: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("f3b0c442"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
    // The claims alone say that, too.
    sandbox.run_with(["token", "inspect"], &token).fails(77);
    let arguments = ["token", "inspect", "--keys", "key.pub", "--format", "json"];
    let ended = sandbox.run_with(arguments, &token).fails(77);
    let shown: Json = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&shown["valid"], &shown["refused"]["kind"]),
        (&json!(false), &json!("token_key_unknown"))
    );
    let good = issue(&sandbox, &WHO).success().stdout;
    for (option, kind) in [
        (["--audience", "https://another.example"], "token_audience"),
        (["--issuer", "another"], "token_issuer"),
    ] {
        let arguments = [&["token", "inspect", "--keys", "key.pub"], &option[..]].concat();
        let ended = sandbox.run_with(arguments, &good).fails(77);
        assert!(ended.stdout.contains(kind), "{}", ended.stdout);
    }
    sandbox.run_with(["token", "inspect"], "hello").error(77, "token_malformed", "three parts");
    sandbox.run_with(["token", "inspect"], "x".repeat(20_000)).error(77, "token_malformed", "8192");
    sandbox.run(["token", "inspect", "nowhere"]).error(78, "token_unreadable", "nowhere");
}

/// Whoever looks over somebody's shoulder can't use what is shown.
#[test]
fn a_signature_is_never_shown() {
    let sandbox = prepared();
    for token in [issue(&sandbox, &WHO).success().stdout, expired(&sandbox, json!({}))] {
        let signature = token.trim().rsplit('.').next().unwrap();
        for arguments in [&[][..], &["--keys", "key.pub"], &["--keys", "keys"]] {
            for format in ["table", "json"] {
                let all = [&["token", "inspect", "--format", format], arguments].concat();
                let ended = sandbox.run_with(all, &token);
                let shown = ended.stdout + &ended.stderr;
                assert!(!shown.contains(&signature[..16]), "{shown}");
            }
        }
    }
}

/// A claim is somebody else's text.
#[test]
fn a_terminal_is_not_driven_by_a_claim() {
    let sandbox = Sandbox::new();
    let token =
        expired(&sandbox, json!({"x\u{1b}[2J": "a\u{1b}]0;b\u{7}\n", "y": "z".repeat(500)}));
    let ended = sandbox.run_with(["token", "inspect"], token).fails(77);
    // Not by what strips colours from a pipe: on a terminal nothing does.
    for shown in ["x\u{fffd}[2J", "a\u{fffd}]0;b\u{fffd}\u{fffd}"] {
        assert!(ended.stdout.contains(shown), "{:?}", ended.stdout);
    }
    assert!(ended.stdout.lines().all(|line| line.chars().count() < 200), "{}", ended.stdout);
}

#[test]
fn keys_of_an_address_check_a_token() {
    let sandbox = prepared();
    let token = issue(&sandbox, &WHO).success().stdout;
    let set = sandbox.run(["token", "jwks", "key.pub"]).success().stdout;
    let server = Server::new([Answer::fine(set)]);
    let url = server.url("/jwks.json");
    let arguments = ["token", "inspect", "--jwks-url", &url];
    let ended = sandbox.run_with(arguments, &token).success();
    assert!(ended.stdout.contains("\nvalid\n"), "{}", ended.stdout);
    let server = Server::new([Answer::status(404)]);
    let url = server.url("/jwks.json");
    let ended = sandbox.run_with(["token", "inspect", "--jwks-url", &url], &token);
    ended.error(69, "keys_unavailable", "404");
}
