//! Where a service listens, and whether it says that it can do its work.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::support::until;

#[test]
fn a_job_gets_its_secrets_by_a_socket_of_the_mode_that_is_set() {
    let ground = Ground::new("[service]\nsocket_mode = 0o600\n");
    ground.fill();
    let socket = ground.sandbox.path("service.sock");
    let place = format!("unix:{}", socket.display());
    let settings = ground.sandbox.path("serve.toml").display().to_string();
    let words = ["serve", "--settings", &settings, "--listen", &place, "--role", "resolve"];
    let service = Process::start(ground.sandbox.command(words));
    assert_eq!(fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let worker = Sandbox::new();
    worker.token(&ground.token(json!({})));
    let script = "printf %s \"$OWN\" > own";
    let job = worker.job(json!({"command": ["sh", "-c", script]})).display().to_string();
    let words = ["run", "--job-token-file", "tokens/token", "--service", &place, &job];
    end(worker.command(words)).success();
    assert_eq!(fs::read_to_string(worker.path("own")).unwrap(), "of-ada-alone");
    service.stop();
    assert!(!socket.exists(), "the socket stays");
}

#[test]
fn a_service_whose_store_is_damaged_is_not_ready() {
    not_ready_after("DELETE FROM recipient", "store");
}

#[test]
fn a_service_that_lacks_the_stores_key_is_not_ready() {
    not_ready_after("UPDATE recipient SET key_id = '0123456789abcdef'", "key");
}

/// Alters the store, and sees which check fails.
#[track_caller]
fn not_ready_after(statement: &str, check: &str) {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    until("it is ready", || service.send("GET", "/ready", "", None).status == 200);
    let store = rusqlite::Connection::open(ground.sandbox.store()).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    store.execute(statement, []).unwrap();
    let answer = service.send("GET", "/ready", "", None);
    answer.problem(503, "not_ready");
    assert!(answer.body.contains(check), "{answer:?}");
    assert_eq!(service.send("GET", "/live", "", None).status, 200);
}

#[test]
fn without_a_socket_of_systemds_there_is_no_service() {
    let ground = Ground::new("");
    ground.fill();
    let settings = ground.sandbox.path("serve.toml").display().to_string();
    let ended = ground.sandbox.run(["serve", "--settings", &settings, "--listen", "systemd"]);
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("no socket was passed"), "{}", ended.stderr);
    let ended = ground.sandbox.run(["serve", "--settings", &settings, "--listen", "nowhere"]);
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("service.listen"), "{}", ended.stderr);
}

/// Whoever moves the file takes the store away: what would be added to a file that has no name is
/// lost, and another file of that name would share the log.
#[test]
fn a_store_that_was_moved_is_used_no_more_until_it_is_back() {
    let ground = Ground::new("");
    ground.fill();
    let operator = ground.operator();
    let service = ground.serve(&[]);
    let (store, elsewhere) = (ground.sandbox.store(), ground.sandbox.path("elsewhere.db"));
    service.add(&operator, "BEFORE", "value-before").unwrap().with(201);
    fs::rename(&store, &elsewhere).unwrap();
    let unused = || {
        service.add(&operator, "LOST", "value-lost").unwrap().problem(500, "store_replaced");
        let answer = service.resolve(&ground.token(json!({})), json!({}));
        answer.problem(503, "store_replaced");
        service.send("GET", "/ready", "", None).problem(503, "not_ready");
    };
    unused();
    // Nor does a new store begin with the old one's log.
    let add = ["secret", "add", "NEW", "-P", "survey"];
    let ended = ground.sandbox.run_with(add, "value-new");
    ended.error(78, "store_log_left", "store.db-wal");
    assert!(!store.exists(), "a store was made");
    ground.sandbox.write(".local/share/qgis-secrets/store.db", "another file");
    unused();
    fs::rename(&elsewhere, &store).unwrap();
    service.add(&operator, "AFTER", "value-after").unwrap().with(201);
    assert_eq!(service.send("GET", "/ready", "", None).status, 200);
    let answer = service.resolve(&ground.token(json!({})), json!({})).with(200).to_string();
    assert!(answer.contains("value-before") && answer.contains("value-after"), "{answer}");
    assert!(!answer.contains("value-lost"), "{answer}");
    service.stop();
}

#[test]
fn a_key_of_another_store_is_noticed_at_the_start() {
    let ground = Ground::new("");
    ground.fill();
    let other = Sandbox::new();
    other.add("-P survey", "A", "value-a");
    let key = other.key().display().to_string();
    let public = other.run(["key", "public"]).success().stdout;
    let public = ground.sandbox.write("other.pub", public).display().to_string();
    let settings = ground.sandbox.path("serve.toml").display().to_string();
    // A service that doesn't notice it ends as well: nobody can listen there.
    let nowhere = format!("unix:{}", ground.sandbox.path("none/socket").display());
    let serve = ["serve", "--settings", &settings, "--listen", &nowhere];
    for more in [
        &["--key", &key][..],
        &["--public-key", &public],
        &["--public-key", &public, "--role", "admin"],
    ] {
        let ended = ground.sandbox.run(serve.iter().copied().chain(more.iter().copied()));
        ended.error(78, "key_of_another_store", "is not the one that the store");
    }
}

/// Neither files beside the store, nor the mark in it that asks for them: from a read-only mount it
/// could not be opened.
#[test]
fn a_service_that_cannot_start_leaves_the_store_as_it_was() {
    let ground = Ground::new("");
    ground.fill();
    let settings = ground.sandbox.path("serve.toml").display().to_string();
    let nowhere = format!("unix:{}", ground.sandbox.path("none/socket").display());
    // What an end in the middle leaves is a matter of luck.
    for _ in 0..5 {
        let ended = ground.sandbox.run(["serve", "--settings", &settings, "--listen", &nowhere]);
        ended.error(78, "listen_failed", "none");
        let directory = ground.sandbox.store().parent().unwrap().to_owned();
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<_> = files.collect();
        files.sort_unstable();
        assert_eq!(files, ["store.db", "store.key"]);
        // SQLite's file format: 1 is a rollback journal, 2 a write-ahead log.
        assert_eq!(fs::read(ground.sandbox.store()).unwrap()[18..20], [1, 1]);
    }
}
