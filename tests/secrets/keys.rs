//! The key: made, shown, rotated; what does not open it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Sandbox;

fn key_lines(sandbox: &Sandbox) -> Vec<String> {
    let text = fs::read_to_string(sandbox.key()).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn a_new_key_comes_with_an_empty_store() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(["key", "new"]).success();
    assert!(ended.stderr.contains(sandbox.key().to_str().unwrap()), "{}", ended.stderr);
    let [key] = key_lines(&sandbox).try_into().unwrap();
    assert!(!ended.stderr.contains(&key) && !ended.stdout.contains(&key));
    for path in [sandbox.key(), sandbox.store()] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    sandbox.run(["key", "new"]).error(65, "input_refused", "qgis-secrets key rotate");
    assert_eq!(key_lines(&sandbox), [key]);
    sandbox.add_sensitive("-P survey", "KEY", "the-value");
    assert_eq!(sandbox.printed("echo $KEY"), "the-value\n");
}

#[test]
fn a_rotation_changes_the_key_and_no_secret() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "KEY", "the-value");
    sandbox.add_service("-O org", "ninja", "role", "the-password");
    let ids = sandbox.run(["secret", "list"]).success().stdout;
    let (public, old) = (sandbox.run(["key", "public"]).success().stdout, key_lines(&sandbox));
    let ended = sandbox.run(["key", "rotate"]).success();
    assert!(ended.stdout.starts_with("rotated: 2 values"), "{}", ended.stdout);
    assert_eq!(key_lines(&sandbox).len(), 1);
    assert_ne!(key_lines(&sandbox), old);
    assert_ne!(sandbox.run(["key", "public"]).success().stdout, public);
    assert_eq!(sandbox.run(["secret", "list"]).success().stdout, ids);
    let shown = sandbox.printed("echo $KEY; grep password \"$PGSERVICEFILE\"");
    assert_eq!(shown, "the-value\npassword=the-password\n");
    // A copy of the old public key is of no use any more.
    let public = sandbox.write("old.pub", public);
    let words = ["secret", "add", "X", "-P", "survey", "--public-key", public.to_str().unwrap()];
    sandbox.run_with(words, "x-value").error(78, "key_of_another_store", "is not the one");
}

#[test]
fn another_key_opens_nothing() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    sandbox.add_sensitive("-P survey", "KEY", "the-value");
    other.add_sensitive("-P survey", "KEY", "another-value");
    fs::copy(other.key(), sandbox.key()).unwrap();
    let ran = sandbox.path("ran");
    let ended = sandbox.shell(&format!("echo > '{}'", ran.display()));
    ended.error(78, "key_of_another_store", "is not the one that the store");
    assert!(!ran.exists());
    sandbox.run(["key", "rotate"]).error(
        78,
        "key_of_another_store",
        "is not the one that the store",
    );
}

/// A rotation of one store would otherwise take the other's key away.
#[test]
fn two_stores_in_one_directory_have_keys_of_their_own() {
    let sandbox = Sandbox::new();
    for (store, value) in [("stores/a.db", "value-a"), ("stores/b.db", "value-b")] {
        let add = ["--store", store, "secret", "add", "API_KEY", "-P", "survey", "--not-sensitive"];
        sandbox.run_with(add, value).success();
    }
    sandbox.run(["--store", "stores/a.db", "key", "rotate"]).success();
    for (store, value) in [("stores/a.db", "value-a"), ("stores/b.db", "value-b")] {
        let exec = ["--store", store, "exec", "-P", "survey", "--", "printenv", "API_KEY"];
        assert_eq!(sandbox.run(exec).success().stdout, format!("{value}\n"));
    }
}
