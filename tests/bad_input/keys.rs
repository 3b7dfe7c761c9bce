//! Keys that are missing, wrong, or open to others.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use super::{
    CANARY, add, complained, exec, nothing_is_lost, overwrite, refused, sandbox, touching,
    unprivileged,
};
use crate::support::{Sandbox, end};

/// Neither a job nor `secret add` can use the key as it is now.
#[track_caller]
fn unusable(sandbox: &Sandbox, kind: &str, words: &[&str]) {
    refused(sandbox, exec(sandbox), 78, kind, words);
    complained(add(sandbox), 78, kind, words);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_missing_key_is_not_replaced_by_a_new_one() {
    let sandbox = sandbox();
    let aside = sandbox.path("aside");
    fs::rename(sandbox.key(), &aside).unwrap();
    let path = sandbox.key().display().to_string();
    unusable(&sandbox, "key_missing", &[&path, "restore it from its copy", "--key"]);
    assert!(!sandbox.key().exists(), "a new key would make every secret unreadable");
    let ended = sandbox.run(["key", "new"]);
    complained(ended, 65, "input_refused", &["a new key would not open it", "key rotate"]);
    assert!(!sandbox.key().exists());
    fs::rename(&aside, sandbox.key()).unwrap();
    nothing_is_lost(&sandbox);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
    let sandbox = sandbox();
    for mode in [0o644, 0o640, 0o604, 0o660] {
        set_mode(&sandbox.key(), mode);
        let words = [format!("mode {mode:04o}"), format!("chmod 600 {}", sandbox.key().display())];
        unusable(&sandbox, "permissions_too_wide", &[&words[0], &words[1]]);
    }
    set_mode(&sandbox.key(), 0o600);
    nothing_is_lost(&sandbox);
}

/// Not the secrets are damaged, so nobody is told to remove them.
#[test]
fn the_key_of_another_store_is_told_from_damage() {
    let (sandbox, other) = (sandbox(), Sandbox::new());
    other.add("-P survey", "KEPT", CANARY);
    let good = fs::read(sandbox.key()).unwrap();
    fs::copy(other.key(), sandbox.key()).unwrap();
    let store = sandbox.store().display().to_string();
    let words = ["is not the one that the store", &store, "name the right file with --key"];
    unusable(&sandbox, "key_of_another_store", &words);
    overwrite(&sandbox.key(), good);
    nothing_is_lost(&sandbox);
}

#[test]
fn what_is_no_key_is_refused_with_its_line() {
    let sandbox = sandbox();
    let good = fs::read(sandbox.key()).unwrap();
    let public = sandbox.run(["key", "public"]).success().stdout;
    let path = sandbox.key().display().to_string();
    let cut = good[..good.len() - 5].to_vec();
    for (content, words) in [
        (CANARY.as_bytes().to_vec(), ["line 1", "not a private key"]),
        (format!("# a key\n\n{CANARY}\n").into_bytes(), ["line 3", "not a private key"]),
        ([good.as_slice(), CANARY.as_bytes()].concat(), ["line 4", "not a private key"]),
        (cut, ["line 3", "not a private key"]),
        (public.into_bytes(), ["line 1", "not a private key"]),
        (vec![0xff; 100], ["line 1", "not text"]),
        (Vec::new(), ["line 1", "holds no key"]),
        (b"# nothing\n\n".to_vec(), ["line 1", "holds no key"]),
        (vec![b'\n'; 70_000], ["line 1", "too large"]),
    ] {
        overwrite(&sandbox.key(), content);
        unusable(&sandbox, "key_invalid", &[&path, words[0], words[1]]);
    }
    fs::remove_file(sandbox.key()).unwrap();
    fs::create_dir(sandbox.key()).unwrap();
    unusable(&sandbox, "key_invalid", &[&path, "not a regular file"]);
    fs::remove_dir(sandbox.key()).unwrap();
    overwrite(&sandbox.key(), good);
    set_mode(&sandbox.key(), 0o600);
    nothing_is_lost(&sandbox);
}

#[test]
fn a_public_key_that_is_none_adds_nothing() {
    let sandbox = sandbox();
    let private = fs::read_to_string(sandbox.key()).unwrap();
    let other = Sandbox::new();
    other.run(["key", "new"]).success();
    let public = other.run(["key", "public"]).success().stdout;
    for (content, kind, word) in [
        (CANARY.to_owned(), "key_invalid", "line 1: not a public key"),
        (private, "key_invalid", "line 3: not a public key"),
        (String::new(), "key_invalid", "line 1: not a public key"),
        (public, "key_of_another_store", "is not the one that the store"),
    ] {
        sandbox.write("public", content);
        let arguments = ["--public-key", "public", "secret", "add", "NEW", "-P", "survey"];
        complained(sandbox.run_with(arguments, CANARY), 78, kind, &[word]);
    }
    let ended = sandbox.shell("test -z \"$NEW\"");
    ended.success();
}

/// Only root can give a file away, so only root can have one that is readable and not its own;
/// anybody else meets the permission bits.
#[test]
fn a_key_of_another_user_is_refused() {
    let sandbox = sandbox();
    let id = end({
        let mut command = std::process::Command::new("/usr/bin/id");
        command.arg("-u").stdout(std::process::Stdio::piped());
        command
    });
    if id.success().stdout.trim() == "0" {
        chown(sandbox.key(), Some(12_345), None).unwrap();
        let command = format!("chown 0 {}", sandbox.key().display());
        let words = ["belongs to the user with id 12345, not to you or root", &command];
        unusable(&sandbox, "permissions_too_wide", &words);
        chown(sandbox.key(), Some(0), None).unwrap();
    }
    set_mode(&sandbox.key(), 0);
    let arguments = touching(&sandbox);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = unprivileged(&sandbox, &arguments);
    let path = sandbox.key().display().to_string();
    refused(&sandbox, ended, 78, "file_denied", &[&path, "Permission denied"]);
    set_mode(&sandbox.key(), 0o600);
    nothing_is_lost(&sandbox);
}
