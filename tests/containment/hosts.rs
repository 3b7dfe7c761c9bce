//! Hosts that lack something: a clear refusal or the documented weaker level, and nothing left.

use std::path::PathBuf;

use super::{
    LEVELS, NOBODY, VALUE, Who, containment, mounted, needs_root, refused, refusing, run, strs,
};
use crate::running::Going;
use crate::support::Sandbox;

const PRINT: &str = "printf 'started %s' \"$API_KEY\"";

/// A directory of the sandbox's, elsewhere than on a tmpfs.
fn on_disk() -> (tempfile::TempDir, String) {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::os::unix::fs::chown(disk.path(), Some(NOBODY), None).unwrap_or_default();
    let path = disk.path().to_str().unwrap().to_owned();
    (disk, path)
}

#[track_caller]
fn runs(sandbox: &Sandbox, before: &[&[&str]], options: &[&str]) {
    let ended = run(sandbox, before, options, PRINT).success();
    assert_eq!(ended.stdout, format!("started {VALUE}"), "{options:?}");
}

#[test]
fn without_namespaces_and_without_a_tmpfs_nothing_starts() {
    if needs_root() {
        return;
    }
    let (_disk, path) = on_disk();
    let script = format!("mount --bind {path} /dev/shm; export XDG_RUNTIME_DIR={path}");
    let mounted = mounted(&script);
    for who in Who::all() {
        let sandbox = who.sandbox();
        let before: [&[&str]; 3] = [&strs(&mounted), &who.words(), &refusing("namespaces")];
        let ended = run(&sandbox, &before, &[], PRINT);
        refused(&sandbox, ended, 78, "no_tmpfs", &path);
    }
}

#[test]
fn without_landlock_the_runners_own_account_is_no_protection() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let words = who.words();
        let before: [&[&str]; 2] = [&words, &refusing("landlock,namespaces")];
        let ended = run(&sandbox, &before, &[], PRINT);
        refused(&sandbox, ended, 78, "credentials_exposed", "the key");
        sandbox.write("settings.toml", "[containment]\nallow_exposed = true");
        let options = ["--settings", "settings.toml"];
        let ended = run(&sandbox, &before, &options, PRINT).success();
        assert!(ended.stderr.contains("allow_exposed"), "{}", ended.stderr);
        assert_eq!(containment(&sandbox).0, "process");
        // Namespaces hide the key without it.
        let before: [&[&str]; 2] = [&words, &refusing("landlock")];
        for level in &LEVELS[..2] {
            runs(&sandbox, &before, &["--containment", level]);
        }
        if who == Who::Root {
            let before: [&[&str]; 1] = [&refusing("landlock,namespaces")];
            runs(&sandbox, &before, &["--run-as", "nobody"]);
        }
    }
}

#[test]
fn without_proc_nothing_starts() {
    if needs_root() {
        return;
    }
    for script in ["mount -t tmpfs none /proc", "umount -l /proc"] {
        let mounted = mounted(script);
        for who in Who::all() {
            let sandbox = who.sandbox();
            let before: [&[&str]; 2] = [&strs(&mounted), &who.words()];
            let ended = run(&sandbox, &before, &[], PRINT);
            refused(&sandbox, ended, 78, "containment_unavailable", "/proc");
            for level in LEVELS {
                let ended = run(&sandbox, &before, &["--containment", level], PRINT);
                refused(&sandbox, ended, 78, "containment_unavailable", "No such file");
            }
        }
    }
}

/// Numbers in another namespace's `/proc` are other processes.
#[test]
fn a_proc_of_another_pid_namespace_is_as_good_as_none_without_namespaces() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    let before: [&[&str]; 1] = [&["unshare", "--pid", "--fork", "--kill-child", "--"]];
    let ended = run(&sandbox, &before, &["--containment", "process"], PRINT);
    refused(&sandbox, ended, 78, "containment_unavailable", "another PID namespace");
    for level in &LEVELS[..2] {
        runs(&sandbox, &before, &["--containment", level]);
    }
}

#[test]
fn a_read_only_root_is_enough() {
    if needs_root() {
        return;
    }
    let script = "mount --bind \"$HOME\" \"$HOME\"; mount --bind / / ; mount -o remount,bind,ro /";
    // What is mounted below keeps its own mode, as the sandbox's home does.
    let script = script.replace("mount --bind / / ; ", "");
    let mounted = mounted(&script);
    for who in Who::all() {
        let sandbox = who.sandbox();
        let before: [&[&str]; 2] = [&strs(&mounted), &who.words()];
        for level in LEVELS {
            runs(&sandbox, &before, &["--containment", level]);
        }
    }
}

/// A `/dev` of the test's own, with what programs need.
const DEV: &str = "for name in null zero random urandom; do touch \"$HOME/$name\"
        mount --bind /dev/$name \"$HOME/$name\"; done
    mount -t tmpfs -o mode=755 none /dev
    for name in null zero random urandom; do touch /dev/$name; mount --bind \"$HOME/$name\" /dev/$name; done
    ln -s /proc/self/fd /dev/fd;";

#[test]
fn dev_shm_may_be_missing_or_a_link_or_read_only() {
    if needs_root() {
        return;
    }
    let outside = tempfile::tempdir_in("/tmp").unwrap();
    for who in Who::all() {
        for (script, process) in [
            (format!("{DEV} true"), false),
            (format!("{DEV} mkdir -m 1777 /dev/real; ln -s real /dev/shm"), true),
            (format!("{DEV} ln -s /tmp /dev/shm"), false),
            (format!("{DEV} ln -s /nowhere /dev/shm"), false),
            ("mount -t tmpfs -o ro none /dev/shm".to_owned(), false),
        ] {
            let mounted = mounted(&script);
            let sandbox = who.sandbox();
            let before: [&[&str]; 2] = [&strs(&mounted), &who.words()];
            for level in &LEVELS[..2] {
                runs(&sandbox, &before, &["--containment", level]);
                // Sockets of databases are there.
                let see = format!("ls -d {}", outside.path().display());
                run(&sandbox, &before, &["--containment", level], &see).success();
            }
            let options = ["--containment", "process"];
            if process {
                runs(&sandbox, &before, &options);
            } else {
                let ended = run(&sandbox, &before, &options, PRINT);
                refused(&sandbox, ended, 78, "no_tmpfs", "/dev/shm");
            }
        }
    }
}

/// Random numbers come from a system call.
#[test]
fn a_host_without_random_devices_is_enough() {
    if needs_root() {
        return;
    }
    let mounted = mounted(&DEV.replace(" random urandom", ""));
    for who in Who::all() {
        let sandbox = who.sandbox();
        let before: [&[&str]; 2] = [&strs(&mounted), &who.words()];
        // There is no /dev/shm either, which the weakest level needs.
        for level in &LEVELS[..2] {
            run(&sandbox, &before, &["--containment", level], PRINT).success();
        }
    }
}

#[test]
fn an_account_without_an_entry_can_run_jobs() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    let own = |path: PathBuf| {
        let status = std::process::Command::new("chown")
            .arg("-R")
            .arg("2000000011:2000000011")
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success());
    };
    own(sandbox.home().into());
    own(sandbox.memory().into());
    let before: [&[&str]; 1] =
        [&["setpriv", "--reuid=2000000011", "--regid=2000000011", "--clear-groups", "--"]];
    for level in LEVELS {
        runs(&sandbox, &before, &["--containment", level]);
    }
}

/// Where no level can be had, an order to end still counts: the descriptor may never come.
#[test]
fn a_refused_run_that_waits_for_its_descriptor_can_be_ended() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let arguments = ["run", "--containment", "namespace", "-"];
        let words = who.words();
        let mut command = super::below(&sandbox, &[&words, &refusing("namespaces")], &arguments);
        command.stdin(std::process::Stdio::piped());
        let mut going = Going::spawn(command);
        let open = going.0.stdin.take();
        crate::support::until("it catches signals", || {
            let status = format!("/proc/{}/status", going.pid());
            let status = std::fs::read_to_string(status).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
            // Python catches INT, this program both.
            mask & (1 << 14) != 0 && mask & 2 != 0
        });
        going.signal(nix::sys::signal::Signal::SIGTERM);
        going.end().error(143, "cancelled", "SIGTERM");
        drop(open);
    }
}
