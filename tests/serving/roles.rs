//! The sides apart, and that only one of them can open anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64ct::{Base64UrlUnpadded, Encoding};

use super::*;
use crate::containment::needs_root;
use crate::memory::search::{Planted, copies};
use crate::support::until;

const CANARY: &str = "canary-5e1d90a7-3b62-4c8f-9d14-77f0aa62b3c9";

/// A ground whose public key lies in `key.pub`, and whose private one is somewhere else; and an API
/// token for it.
fn without_key() -> (Ground, String) {
    let ground = Ground::new("");
    ground.fill();
    let operator = ground.operator();
    let public = ground.sandbox.run(["key", "public"]).success().stdout;
    ground.sandbox.write("key.pub", public);
    fs::rename(ground.sandbox.key(), ground.sandbox.path("away.key")).unwrap();
    (ground, operator)
}

#[test]
fn adding_needs_no_private_key_and_keeps_no_value() {
    let (ground, operator) = without_key();
    // Whatever stands at the key's place can't be a key.
    fs::create_dir(ground.sandbox.key()).unwrap();
    fs::set_permissions(ground.sandbox.key(), fs::Permissions::from_mode(0o000)).unwrap();
    let public = ground.sandbox.path("key.pub").display().to_string();
    let service = ground.serve(&["--role", "admin", "--public-key", &public]);
    let mut answers = String::new();
    let mut keep = |answer: Answer| {
        answers.push_str(&answer.head);
        answers.push_str(&answer.body);
        answer
    };
    keep(service.add(&operator, "CANARY", CANARY).unwrap()).with(201);
    keep(service.add(&operator, "CANARY", CANARY).unwrap()).problem(409, "secret_exists");
    keep(service.add(&operator, "not a name", CANARY).unwrap()).with(422);
    keep(service.send("GET", "/v1/projects/survey/secrets", &operator, None)).with(200);
    keep(service.send("GET", "/metrics", "", None));
    let nothing = service.resolve(&ground.token(json!({})), json!({}));
    nothing.problem(404, "not_found");
    assert!(nothing.body.contains("answers no jobs"), "{nothing:?}");

    if !needs_root() {
        let planted = Planted::new("the canary", CANARY.as_bytes());
        // The last answer is there before its request is gone altogether.
        until("the value is out of memory", || copies(service.pid(), [&planted])[0].is_empty());
    }
    let directory = ground.sandbox.store().parent().unwrap().to_owned();
    let in_files = || {
        let files = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        let mut searched = 0;
        for file in files.filter(|path| path.is_file()) {
            let content = fs::read(&file).unwrap();
            let found = memchr::memmem::find(&content, CANARY.as_bytes());
            assert_eq!(found, None, "{}", file.display());
            searched += content.len();
        }
        assert!(searched > 4096);
    };
    in_files();
    let log = service.stop();
    in_files();
    assert!(!answers.contains(CANARY) && !log.contains(CANARY), "{answers}\n{log}");

    // Who has the key opens it.
    fs::remove_dir(ground.sandbox.key()).unwrap();
    fs::rename(ground.sandbox.path("away.key"), ground.sandbox.key()).unwrap();
    let service = ground.serve(&["--role", "resolve"]);
    let answer = service.resolve(&ground.token(json!({})), json!({}));
    assert!(answer.body.contains(CANARY), "{answer:?}");
    service.stop();
}

/// The private key lies where it always does, and the process could read it.
#[test]
fn the_private_key_is_only_in_the_process_that_answers_jobs() {
    if needs_root() {
        return;
    }
    let ground = Ground::new("");
    ground.fill();
    let operator = ground.operator();
    let public = ground.sandbox.run(["key", "public"]).success().stdout;
    let public = ground.sandbox.write("key.pub", public).display().to_string();
    let file = fs::read_to_string(ground.sandbox.key()).unwrap();
    let line = file.lines().find(|line| line.starts_with("qgis-secrets-private-")).unwrap();
    let text = line.rsplit_once("x25519-").unwrap().1;
    let mut bytes = [0; 32];
    Base64UrlUnpadded::decode(text, &mut bytes).unwrap();
    let key = [Planted::new("its text", text.as_bytes()), Planted::new("its bytes", &bytes)];
    for (role, has_it) in [("admin", false), ("resolve", true)] {
        let service = ground.serve(&["--role", role, "--public-key", &public]);
        // Both have worked: sealed, or opened.
        if has_it {
            service.resolve(&ground.token(json!({})), json!({})).with(200);
        } else {
            service.add(&operator, "CANARY", CANARY).unwrap().with(201);
        }
        let found = copies(service.pid(), &key);
        assert_eq!(found.iter().any(|places| !places.is_empty()), has_it, "{role}: {found:?}");
        service.stop();
    }
}

#[test]
fn who_answers_jobs_has_no_page_and_no_management() {
    let ground = Ground::new("");
    ground.fill();
    let operator = ground.operator();
    let service = ground.serve(&["--role", "resolve"]);
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/login"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/whoami"),
        ("GET", "/v1/projects/survey/secrets"),
        ("GET", "/v1/audit"),
        ("PUT", "/v1/projects/survey"),
    ] {
        service.send(method, path, &operator, None).problem(404, "not_found");
    }
    assert_eq!(service.add(&operator, "A", "value-a").unwrap().status, 404);
    ground.sandbox.write("token", &operator);
    let url = service.url();
    let list = ["secret", "list", "-P", "survey", "--server", &url, "--token-file", "token"];
    ground.sandbox.run(list).error(69, "backend_refused", "whose role is `resolve` has none");
    service.resolve(&ground.token(json!({})), json!({})).with(200);
    for path in ["/live", "/ready"] {
        assert_eq!(service.send("GET", path, "", None).status, 200, "{path}");
    }
    let log = service.stop();
    assert!(!log.contains("log in with this link"), "{log}");
}

#[test]
fn a_side_without_its_key_is_refused() {
    let (ground, _) = without_key();
    let admin = ["serve", "--listen", "127.0.0.1:0", "--role", "admin"];
    ground.sandbox.run(admin).error(64, "usage", "--public-key");
    let resolve = ["serve", "--listen", "127.0.0.1:0", "--role", "resolve"];
    ground.sandbox.run(resolve).error(78, "key_missing", "store.key");
    let nowhere = admin.into_iter().chain(["--public-key", "none.pub"]);
    ground.sandbox.run(nowhere).error(78, "key_missing", "`qgis-secrets key public` prints");
}
