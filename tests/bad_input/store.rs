//! Stores that are locked, damaged, foreign, or closed to us.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::Pid;
use rusqlite::Connection;

use super::{
    CANARY, KEPT, add, complained, exec, marker, mounted, no_canary, nothing_is_lost, overwrite,
    refused, sandbox, silent, touching, unprivileged,
};
use crate::support::{Sandbox, end, finish, inner, until};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Neither a job nor `secret add` can use the store as it is now.
#[track_caller]
fn unusable(sandbox: &Sandbox, code: i32, kind: &str, words: &[&str]) {
    let path = sandbox.store().display().to_string();
    let words = [words, &[&path]].concat();
    refused(sandbox, exec(sandbox), code, kind, &words);
    complained(add(sandbox), code, kind, &words);
}

#[test]
fn a_locked_store_stops_a_job_after_a_while() {
    let sandbox = sandbox();
    let lock = Connection::open(sandbox.store()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let job = sandbox.command(touching(&sandbox)).spawn().unwrap();
    let words = [sandbox.store().display().to_string()];
    let words = [&*words[0], "locked by another process; try again"];
    complained(add(&sandbox), 69, "store_locked", &words);
    refused(&sandbox, finish(job), 69, "store_locked", &words);
    lock.execute_batch("ROLLBACK").unwrap();
    nothing_is_lost(&sandbox);
}

#[test]
fn a_store_that_is_unlocked_in_time_is_used() {
    let sandbox = sandbox();
    let lock = Connection::open(sandbox.store()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let job = sandbox.command(touching(&sandbox)).spawn().unwrap();
    // It holds the file open from just before it meets the lock.
    let outer = Pid::from_raw(job.id().try_into().unwrap());
    until("the job has opened the store", || {
        let Some(inner) = inner(outer) else { return false };
        let open = fs::read_dir(format!("/proc/{inner}/fd")).unwrap().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|to| to == sandbox.store())
    });
    lock.execute_batch("ROLLBACK").unwrap();
    finish(job).success();
    assert!(marker(&sandbox).exists());
}

#[test]
fn a_running_job_locks_nobody_out() {
    let sandbox = sandbox();
    let script = "mkfifo go && touch started && read line < go && printf %s \"$KEPT\"";
    let arguments = ["exec", "-P", "survey", "--timeout", "60", "--", "sh", "-c", script];
    let job = sandbox.command(arguments).spawn().unwrap();
    until("the job runs", || marker(&sandbox).exists());
    let added = add(&sandbox);
    let replaced = sandbox.run(["secret", "remove", "envvar:KEPT", "-P", "survey"]);
    fs::OpenOptions::new().write(true).open(sandbox.path("go")).unwrap().write_all(b"\n").unwrap();
    assert_eq!(finish(job).success().stdout, KEPT, "a job keeps what it was started with");
    added.success();
    replaced.success();
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let sandbox = sandbox();
    let store = sandbox.store();
    let good = fs::read(&store).unwrap();
    let later = |sql: &str| {
        overwrite(&store, &good);
        Connection::open(&store).unwrap().execute_batch(sql).unwrap();
        fs::read(&store).unwrap()
    };
    let newer = later("PRAGMA user_version = 99");
    let unmarked = later("PRAGMA application_id = 7");
    let (damaged, foreign) = (["damaged or not a store; restore it from a copy"], ["--store"]);
    for (content, code, kind, words) in [
        (CANARY.repeat(1000).into_bytes(), 69, "store_damaged", damaged),
        (Vec::new(), 69, "store_damaged", damaged),
        (good[..60].to_vec(), 69, "store_damaged", damaged),
        (good[..4096].to_vec(), 69, "store_damaged", damaged),
        (good[..good.len() / 2].to_vec(), 69, "store_damaged", damaged),
        (good[..good.len() - 4096].to_vec(), 69, "store_damaged", damaged),
        (newer, 78, "store_newer", ["is of version 99, and this program knows up to 3; update it"]),
        (unmarked, 78, "store_foreign", foreign),
    ] {
        overwrite(&store, &content);
        unusable(&sandbox, code, kind, &words);
        assert!(fs::read(&store).unwrap() == content, "{kind}: the file was changed");
    }
    fs::remove_file(&store).unwrap();
    let sql = format!("CREATE TABLE secret (a TEXT); INSERT INTO secret VALUES ('{CANARY}')");
    Connection::open(&store).unwrap().execute_batch(&sql).unwrap();
    set_mode(&store, 0o600);
    unusable(&sandbox, 78, "store_foreign", &foreign);
    overwrite(&store, &good);
    nothing_is_lost(&sandbox);
}

#[test]
fn a_store_that_is_not_there_is_told_from_an_empty_one() {
    let sandbox = sandbox();
    let (store, aside) = (sandbox.store(), sandbox.path("aside.db"));
    fs::rename(&store, &aside).unwrap();
    let words = [store.to_str().unwrap(), "the first `secret add` makes one"];
    refused(&sandbox, exec(&sandbox), 78, "store_missing", &words);
    fs::create_dir(&store).unwrap();
    unusable(&sandbox, 78, "store_foreign", &["--store"]);
    fs::remove_dir(&store).unwrap();
    fs::rename(&aside, &store).unwrap();
    nothing_is_lost(&sandbox);
}

/// A disk that forgets: 32 bytes in the middle of each page in turn.
#[test]
fn a_damaged_page_gives_what_was_added_or_nothing() {
    let sandbox = Sandbox::new();
    let lines: Vec<String> = (10..40).map(|n| format!("K_{n}={CANARY}-{n}")).collect();
    let text = format!("{}\n", lines.join("\n"));
    sandbox.write("all.env", &text);
    let import = "secret import all.env -P survey --yes".split(' ');
    sandbox.run(import).success();
    let store = sandbox.store();
    let good = fs::read(&store).unwrap();
    let mut arguments = touching(&sandbox);
    arguments.truncate(arguments.len() - 3);
    for n in 10..40 {
        arguments.extend(["--require".to_owned(), format!("envvar:K_{n}")]);
    }
    let script = "touch started; env | grep ^K_ | sort >written";
    arguments.extend(["--", "sh", "-c", script].map(str::to_owned));
    let written = sandbox.path("written");
    let mut stopped = 0;
    for page in 0..good.len() / 4096 {
        let mut bad = good.clone();
        bad[page * 4096 + 2032..page * 4096 + 2064].iter_mut().for_each(|byte| *byte ^= 0xff);
        overwrite(&store, &bad);
        let ended = end(sandbox.command(&arguments));
        if ended.code == 0 {
            assert_eq!(fs::read_to_string(&written).unwrap(), text, "page {page}");
            fs::remove_file(&written).unwrap();
            fs::remove_file(marker(&sandbox)).unwrap();
        } else {
            stopped += 1;
            assert!([66, 69, 78].contains(&ended.code), "page {page}: {}", ended.stderr);
            assert!(ended.stderr.contains("error["), "page {page}: {}", ended.stderr);
            assert!(!marker(&sandbox).exists(), "page {page}: the job was started");
            silent(&ended);
            no_canary(&sandbox.path("report.json"));
        }
    }
    assert!(stopped > 0, "no page was of any use");
    overwrite(&store, &good);
    end(sandbox.command(&arguments)).success();
    assert_eq!(fs::read_to_string(&written).unwrap(), text);
}

#[test]
fn a_store_that_others_can_read_is_refused_with_the_command_that_helps() {
    let sandbox = sandbox();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        set_mode(&sandbox.store(), mode);
        let words =
            [format!("mode {mode:04o}"), format!("chmod 600 {}", sandbox.store().display())];
        unusable(&sandbox, 78, "permissions_too_wide", &[&words[0], &words[1]]);
    }
    set_mode(&sandbox.store(), 0o600);
    nothing_is_lost(&sandbox);
}

/// What a job needs of a store is to read it.
#[test]
fn a_read_only_store_serves_jobs_and_takes_no_secrets() {
    let sandbox = sandbox();
    let directory = sandbox.store().parent().unwrap().to_owned();
    let path = directory.display();
    let mount = format!("mount -o bind,ro '{path}' '{path}'");
    let print = ["exec", "-P", "survey", "--", "printenv", "KEPT"];
    let file = sandbox.write("new", format!("{CANARY}-new"));
    let adding = ["secret", "add", "NEW", "-P", "survey", "--from-file", file.to_str().unwrap()];
    let words = [sandbox.store().display().to_string()];
    let words = [&*words[0], "is read-only"];

    assert_eq!(mounted(&sandbox, &mount, &print).success().stdout, format!("{KEPT}\n"));
    complained(mounted(&sandbox, &mount, &adding), 78, "store_read_only", &words);
    for (of_directory, of_store) in [(0o500, 0o600), (0o500, 0o400), (0o700, 0o400)] {
        set_mode(&directory, of_directory);
        set_mode(&sandbox.store(), of_store);
        assert_eq!(unprivileged(&sandbox, &print).success().stdout, format!("{KEPT}\n"));
        complained(unprivileged(&sandbox, &adding), 78, "store_read_only", &words);
        set_mode(&directory, 0o700);
    }
    set_mode(&sandbox.store(), 0o600);
    let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    nothing_is_lost(&sandbox);
}

#[test]
fn a_store_that_we_may_not_read_is_named() {
    let sandbox = sandbox();
    let directory = sandbox.store().parent().unwrap().to_owned();
    let arguments = touching(&sandbox);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    set_mode(&directory, 0);
    let ended = unprivileged(&sandbox, &arguments);
    set_mode(&directory, 0o700);
    refused(&sandbox, ended, 78, "file_denied", &["store.db", "Permission denied"]);
    nothing_is_lost(&sandbox);
}
