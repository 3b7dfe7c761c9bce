//! Jobs that run as another account than their runner.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{AS_NOBODY, LEVELS, VALUE, Who, needs_root, refused, report, run, run_command};
use crate::support::end;

/// A user that no machine has an account for.
const STRANGER: &str = "2000000011:2000000012,2000000013";

/// What `id` says of an account of this machine.
fn id(option: &str, user: &str) -> String {
    let output = Command::new("id").args([option, user]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn user_and_groups_arrive_and_the_workspace_is_theirs() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    let (uid, gid) = (id("-u", "nobody"), id("-g", "nobody"));
    let own = format!("{uid} {gid} {gid}");
    let script = "echo $(id -u) $(id -g) $(id -G)
        workspace=$(dirname \"$PGSERVICEFILE\"); cd \"$workspace\" || exit
        stat -c '%u %g %a' . pg_service.conf qgis run sysconf
        grep -c password pg_service.conf; touch qgis/a run/a && cat qgis/a run/a
        test \"$API_KEY\" = canary-contained && echo value; echo \"$workspace\"";
    for level in LEVELS {
        for (account, ids) in [
            ("nobody", &*own),
            ("nobody:nogroup", &*own),
            (&*uid, &*own),
            (&*format!("{uid}:{gid}"), &*own),
            ("nobody:4322,4323", &*format!("{uid} 4322 4322 4323")),
            (STRANGER, "2000000011 2000000012 2000000012 2000000013"),
        ] {
            let options = ["--containment", level, "--run-as", account];
            let ended = run(&sandbox, &[], &options, script).success();
            let owner: Vec<&str> = ids.split(' ').take(2).collect();
            let owner = owner.join(" ");
            let expected = format!(
                "{ids}\n{owner} 700\n{owner} 600\n{owner} 700\n{owner} 700\n{owner} 500\n1\nvalue\n"
            );
            let workspace = ended.stdout.strip_prefix(&expected);
            let workspace = workspace.unwrap_or_else(|| {
                panic!("{level}, {account}: {}\n{}", ended.stdout, ended.stderr)
            });
            assert!(!Path::new(workspace.trim()).exists(), "{level}, {account}: {workspace}");
            assert_eq!(
                report(&sandbox)["containment"]["uid"],
                json!(owner.split(' ').next().unwrap().parse::<u32>().unwrap())
            );
            assert!(!ended.stderr.contains("runs as root"), "{}", ended.stderr);
        }
    }
}

/// As initgroups(3) does: the groups that list the user. In files of the test's own.
#[test]
fn the_groups_of_the_files_arrive() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    sandbox.write("passwd", "root:x:0:0::/root:/bin/sh\nqgis:x:4321:4322::/home/qgis:/bin/sh\n");
    sandbox.write("group", "root:x:0:\nqgis:x:4322:\nmaps:x:4323:ada,qgis\nother:x:4324:ada\n");
    let script = "mount --bind passwd /etc/passwd; mount --bind group /etc/group";
    let files = super::mounted(script);
    let print = "echo $(id -u) $(id -g) $(id -G) $HOME $USER $LOGNAME";
    for level in LEVELS {
        let options = ["--containment", level, "--run-as", "qgis"];
        let ended = run(&sandbox, &[&super::strs(&files)], &options, print).success();
        assert_eq!(ended.stdout, "4321 4322 4322 4323 /home/qgis qgis qgis\n", "{level}");
        let env = json!({"HOME": "/tmp", "USER": "someone"});
        let members = json!({"command": ["sh", "-c", print], "env": env});
        sandbox.write("settings.toml", "[environment]\ntrust = [\"HOME\", \"USER\"]");
        let options = [&options[..], &["--settings", "settings.toml"]].concat();
        let ended = end(run_command(&sandbox, &[&super::strs(&files)], &options, members));
        assert_eq!(ended.success().stdout, "4321 4322 4322 4323 /tmp someone qgis\n", "{level}");
    }
}

#[test]
fn output_that_is_a_pipe_can_be_opened_and_the_key_cannot() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    let script = format!(
        "echo to-stdout > /dev/stdout; echo to-stderr > /dev/stderr
         cat {} {} 2>/dev/null; cat /proc/$PPID/environ 2>/dev/null; kill $PPID 2>/dev/null; true",
        sandbox.key().display(),
        sandbox.store().display(),
    );
    for level in LEVELS {
        let options = ["--containment", level, "--run-as", "nobody"];
        let ended = run(&sandbox, &[], &options, &script).success();
        assert_eq!(ended.stdout, "to-stdout\n", "{level}");
        assert!(ended.stderr.contains("to-stderr"), "{level}: {}", ended.stderr);
    }
}

#[test]
fn libpq_reads_the_service_file() {
    if needs_root() {
        return;
    }
    if Command::new("psql").arg("--version").output().is_err() {
        super::skipped("there is no psql");
        return;
    }
    let sandbox = Who::Root.sandbox();
    sandbox
        .run_with(
            [
                "secret",
                "add-service",
                "--service",
                "far",
                "-P",
                "survey",
                "--db-host",
                "127.0.0.1",
                "--db-port",
                "1",
                "--db-user",
                "ada",
                "--password-stdin",
            ],
            VALUE,
        )
        .success();
    // Nobody listens there: that libpq knows where to look is what counts.
    for level in LEVELS {
        let options = ["--containment", level, "--run-as", "nobody"];
        let ended = run(&sandbox, &[], &options, "psql -d service=far -c 'select 1'").fails(2);
        assert!(ended.stderr.contains("127.0.0.1"), "{level}: {}", ended.stderr);
        assert!(ended.stderr.contains("port 1 failed"), "{level}: {}", ended.stderr);
    }
}

#[test]
fn an_account_that_cannot_be_had_stops_the_job() {
    let script = "echo started";
    if !needs_root() {
        let sandbox = Who::Root.sandbox();
        for level in ["auto", "namespace", "process"] {
            for (account, word) in [
                ("no-such-user", "the user `no-such-user`"),
                ("2000000011", "give the group too"),
                ("nobody:no-such-group", "the group `no-such-group`"),
                ("nobody:", "user:group"),
                ("4294967295:1", "4294967295"),
            ] {
                let options = ["--containment", level, "--run-as", account];
                let ended = run(&sandbox, &[], &options, script);
                refused(&sandbox, ended, 78, "run_as_impossible", word);
            }
        }
    }
    let sandbox = Who::Ordinary.sandbox();
    let before = Who::Ordinary.words();
    for account in ["root", "nobody", "1000:1000"] {
        let ended = run(&sandbox, &[&before], &["--run-as", account], script);
        refused(&sandbox, ended, 78, "run_as_impossible", "only root");
    }
}

/// Neither does the root of a user namespace of its own, where there is one account only.
#[test]
fn the_only_account_of_a_user_namespace_is_no_other_one() {
    let sandbox = Who::Ordinary.sandbox();
    let rootless = ["unshare", "--user", "--map-root-user"];
    let before: [&[&str]; 2] = [&Who::Ordinary.words(), &rootless];
    for level in LEVELS {
        let options = ["--containment", level, "--run-as", "1000:1000"];
        let ended = run(&sandbox, &before, &options, "echo started");
        assert!(ended.code == 70 || ended.code == 78, "{}", ended.stderr);
        assert!(!ended.stdout.contains("started"));
        assert_eq!(report(&sandbox)["outcome"]["kind"], "not_started");
        assert_ne!(report(&sandbox)["wipe"]["verified"], false);
    }
}

#[test]
fn root_is_warned_of_unless_it_is_meant() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    for level in LEVELS {
        let options = ["--containment", level, "--run-as", "root"];
        let ended = run(&sandbox, &[], &options, "id -u").success();
        assert_eq!(ended.stdout, "0\n");
        assert!(!ended.stderr.contains("runs as root"), "{level}: {}", ended.stderr);
        let ended = run(&sandbox, &[], &["--containment", level], "id -u").success();
        assert!(ended.stderr.contains("the job runs as root"), "{level}: {}", ended.stderr);
    }
    let sandbox = Who::Ordinary.sandbox();
    let ended = run(&sandbox, &[&AS_NOBODY], &[], "id -u").success();
    assert!(!ended.stderr.contains("runs as root"), "{}", ended.stderr);
}
