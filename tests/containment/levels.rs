//! Which level a run gets: the strongest that the host allows, and never a weaker one in silence.

use std::path::Path;

use super::{
    LEVELS, VALUE, Who, containment, mounted, needs_root, refused, refusing, report, run,
    store_directory, strs,
};
use crate::support::Sandbox;

const PRINT: &str = "printf 'started %s' \"$API_KEY\"";

/// A run gets this level, with a warning that names it and the reasons, and the report has them.
#[track_caller]
fn falls_back(sandbox: &Sandbox, before: &[&[&str]], level: &str, reasons: &[&str]) {
    let ended = run(sandbox, before, &[], PRINT).success();
    assert_eq!(ended.stdout, format!("started {VALUE}"));
    let (got, why) = containment(sandbox);
    assert_eq!(got, level, "{why}");
    let warning = ended.stderr.lines().find(|line| line.contains("not the strongest")).unwrap();
    assert!(warning.contains("WARN"), "{warning}");
    assert!(warning.contains(&format!("\"level\":\"{level}\"")) || warning.contains(level));
    for reason in reasons {
        assert!(why.contains(reason), "no `{reason}` in {why}");
        assert!(warning.contains(reason), "no `{reason}` in {warning}");
    }
    // Whoever requires it knows it.
    let ended = run(sandbox, before, &["--containment", level], PRINT).success();
    assert!(!ended.stderr.contains("not the strongest"), "{}", ended.stderr);
    // Whoever requires more gets nothing.
    for stronger in LEVELS.iter().take_while(|word| **word != level) {
        let ended = run(sandbox, before, &["--containment", stronger], PRINT);
        refused(sandbox, ended, 78, "containment_unavailable", reasons[0]);
        sandbox.write("settings.toml", format!("[containment]\nrequire = \"{stronger}\""));
        let ended = run(sandbox, before, &["--settings", "settings.toml"], PRINT);
        refused(sandbox, ended, 78, "containment_unavailable", reasons[0]);
        let options = ["--containment", stronger, "--exit-codes", "distinct"];
        run(sandbox, before, &options, PRINT).error(125, "containment_unavailable", reasons[0]);
    }
}

#[test]
fn the_strongest_is_taken_and_each_can_be_required() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let before = who.words();
        let ended = run(&sandbox, &[&before], &[], PRINT).success();
        assert_eq!(ended.stdout, format!("started {VALUE}"));
        assert!(!ended.stderr.contains("not the strongest"), "{}", ended.stderr);
        assert_eq!(containment(&sandbox), ("namespace".into(), String::new()));
        for level in LEVELS {
            run(&sandbox, &[&before], &["--containment", level], PRINT).success();
            assert_eq!(containment(&sandbox), (level.into(), String::new()), "{who:?}");
            let report = report(&sandbox);
            assert_eq!(report["containment"]["workspace"], "memory");
            assert_eq!(report["wipe"]["by"], "inner");
            assert_eq!(report["wipe"]["verified"], true);
        }
    }
}

/// As Docker's default filter does.
#[test]
fn namespaces_that_a_filter_refuses() {
    let plain = "new namespaces: Operation not permitted";
    let user = "new namespaces with a user namespace: Operation not permitted";
    for who in Who::all() {
        let reasons = if who == Who::Root { vec![plain, user] } else { vec![user] };
        let before = who.words();
        falls_back(&who.sandbox(), &[&before, &refusing("namespaces")], "process", &reasons);
    }
}

/// As `sysctl user.max_user_namespaces=0` does. It counts for each user namespace, so that one of
/// the test's own is enough; without capabilities its root is an ordinary user.
#[test]
fn namespaces_of_which_none_is_left() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let script = "echo 0 > /proc/sys/user/max_user_namespaces
            exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\"";
        let none = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"];
        let reason = "new namespaces (user.max_user_namespaces): No space left on device";
        falls_back(&sandbox, &[&who.words(), &none], "process", &[reason]);
    }
}

/// As AppArmor does on Ubuntu: the namespace is given, and its capabilities are taken away.
#[test]
fn namespaces_in_which_nothing_can_be_mounted() {
    for who in Who::all() {
        let before = who.words();
        let reason = "a new tmpfs: Operation not permitted";
        falls_back(&who.sandbox(), &[&before, &refusing("mounts")], "process", &[reason]);
    }
}

/// As AppArmor's profile of Docker does: what is new can be made, and not be mounted.
#[test]
fn namespaces_in_which_one_way_to_mount_is_refused() {
    for who in Who::all() {
        let before = who.words();
        let reason = "mounts for the job alone: Permission denied";
        falls_back(&who.sandbox(), &[&before, &refusing("mount")], "process", &[reason]);
    }
}

/// What a container's engine hides below `/proc`.
const MASKS: &str = "mount --bind \"$HOME/masked\" /proc/version
    mount -t tmpfs -o ro none /proc/tty; mount --bind /dev/null /proc/cpuinfo";

#[test]
fn a_masked_proc_is_kept_for_who_cannot_have_a_new_one() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Ordinary.sandbox();
    sandbox.write("masked", "masked\n");
    let masked = mounted(MASKS);
    let before = [&*strs(&masked), &Who::Ordinary.words()];
    let reason = "a new /proc: Operation not permitted";
    falls_back(&sandbox, &before, "namespace-shared-proc", &[reason]);
    run(&sandbox, &before, &["--containment", "process"], PRINT).success();
}

#[test]
fn root_gets_a_new_proc_with_the_masks_of_the_old_one() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    sandbox.write("masked", "masked\n");
    let masked = mounted(MASKS);
    let script = "cat /proc/version; ls -A /proc/tty; wc -c < /proc/cpuinfo
        ls -d /proc/[0-9]* | wc -l
        for file in sys/kernel/core_pattern sys/kernel/hostname sysrq-trigger; do
            (: >> /proc/$file) 2>/dev/null && echo \"/proc/$file can be written to\"
        done; true";
    let ended = run(&sandbox, &[&strs(&masked)], &[], script).success();
    assert_eq!(containment(&sandbox), ("namespace".into(), String::new()));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[..2], ["masked", "0"], "{}", ended.stdout);
    assert!(lines[2].parse::<u32>().unwrap() < 8, "the host's processes: {}", ended.stdout);
    assert_eq!(lines.len(), 3, "{}", ended.stdout);
}

/// Neither by reading, nor by a user namespace of its own, nor by killing its runner.
#[test]
fn the_job_reaches_neither_the_store_nor_its_runner() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let directory = store_directory(&sandbox);
        let paths = format!(
            "exec 2>/dev/null
             cd /; for file in store.db store.key; do cat {0}/$file && echo read; done
             unshare --user --mount sh -c 'umount {0} && cat {0}/store.key && echo uncovered'
             unshare --user --mount --map-root-user sh -c '
                 umount {0} && cat {0}/store.key && echo uncovered'
             mv {0} {0}-moved && cat {0}-moved/store.key && echo moved",
            directory.display()
        );
        let processes = format!(
            "for process in /proc/[0-9]*; do
                 cat $process/root{0}/store.key && echo \"by the eyes of $process\"
             done",
            directory.display()
        );
        let end = "kill -KILL $PPID; echo alive";
        let script = [&paths, &processes, end].join("\n");
        for level in LEVELS {
            let options = ["--containment", level];
            let ended = run(&sandbox, &[&who.words()], &options, &script).success();
            assert_eq!(ended.stdout, "alive\n", "{who:?}, {level}");
            assert!(sandbox.key().exists(), "{who:?}, {level}: the key is gone");
        }
        // Namespaces need no Landlock for that. In the old `/proc` a job as uid 0 finds the jobs of
        // other tests, and without Landlock it looks through their eyes.
        let without_processes = [&paths, end].join("\n");
        for (level, script) in [(LEVELS[0], &script), (LEVELS[1], &without_processes)] {
            let options = ["--containment", level];
            let before: [&[&str]; 2] = [&who.words(), &refusing("landlock")];
            let ended = run(&sandbox, &before, &options, script).success();
            assert_eq!(ended.stdout, "alive\n", "{who:?}, {level}");
        }
    }
}

/// The job's own `/dev/shm` and its shared memory are nobody else's, and end with it.
#[test]
fn nothing_of_the_job_is_seen_outside() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let name = format!("private-{}", std::process::id());
        let script = format!(
            "ipcmk --shmem 4321 >/dev/null; ipcs -m | grep -c ' 4321 '; echo > /dev/shm/{name}"
        );
        for level in &LEVELS[..2] {
            let options = ["--containment", level];
            let ended = run(&sandbox, &[&who.words()], &options, &script).success();
            assert_eq!(ended.stdout, "1\n", "{who:?}, {level}");
            assert!(!Path::new("/dev/shm").join(&name).exists(), "{who:?}, {level}");
            let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
            assert!(!segments.contains(" 4321 "), "{who:?}, {level}: {segments}");
        }
    }
}
