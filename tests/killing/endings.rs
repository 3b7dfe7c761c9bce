//! The other ends: a timeout, and no room for what has to be written.

use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::ground::Ground;
use super::plan::{Account, Level, surroundings};
use super::subject::{Going, Subject};

/// A job that is never told to end.
#[test]
fn nothing_remains_after_a_timeout() {
    let ground = Ground::shared();
    for (account, level) in surroundings() {
        for seconds in ["0.001", "0.05", "0.2", "1"] {
            let subject = Subject::new(&ground, account, level);
            let options = ["--timeout", seconds, "--grace", "0.2"];
            let ended = Going::start(subject.run(false, &options)).finish().unwrap();
            assert_eq!(ended.code, 124, "{}", ended.stderr);
            let (remains, _) = subject.until_clean(Instant::now());
            assert!(remains.is_clean(), "{level:?}, {account:?}, {seconds} s: {remains:?}");
        }
    }
}

/// Shell text: a tmpfs over the run's own, of this many bytes and files; afterwards what is in it.
const SMALL: &str = r#"
    mount -t tmpfs -o "size=$1,nr_inodes=$2,mode=700" small "$XDG_RUNTIME_DIR"; shift 2
    "$@"; code=$?
    find "$XDG_RUNTIME_DIR" -mindepth 1
    exit $code
"#;

/// A tmpfs that is full after the first file, the second, ...
#[test]
fn nothing_remains_where_there_is_no_room() {
    if !Uid::effective().is_root() {
        return;
    }
    let ground = Ground::shared();
    let (mut refused, mut ran) = (0, 0);
    let rooms = (0..12).map(|files| (1 << 20, files + 2)).chain((0..12).map(|n| (n * 4096, 100)));
    for (bytes, files) in rooms.filter(|(bytes, _)| *bytes > 0) {
        let subject = Subject::new(&ground, Account::Own, Level::Process);
        // The job fills what is left.
        let job = "cat /dev/zero > \"$XDG_RUNTIME_DIR/zero\"; echo ran";
        let run = subject.command(&["exec", "-P", "survey", "--", "sh", "-c", job]);
        let words = ["--mount", "sh", "-c", SMALL, "sh", &bytes.to_string(), &files.to_string()];
        let mut command = std::process::Command::new("unshare");
        command.args(words).arg(run.get_program()).args(run.get_args()).env_clear();
        command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(subject.sandbox.home());
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let ended = Going::start(command).finish().unwrap();
        if ended.code == 0 {
            assert_eq!(ended.stdout, "ran\n", "{bytes} bytes, {files} files");
            ran += 1;
        } else {
            assert_eq!(ended.stdout, "", "{bytes} bytes, {files} files: {}", ended.stderr);
            assert!(ended.stderr.contains("error["), "{}", ended.stderr);
            refused += 1;
        }
        let (remains, _) = subject.until_clean(Instant::now() + Duration::from_secs(1));
        assert!(remains.is_clean(), "{bytes} bytes, {files} files: {remains:?}");
        subject.store_works().unwrap();
    }
    assert!(refused > 2 && ran > 2, "{refused} refused, {ran} ran");
}
