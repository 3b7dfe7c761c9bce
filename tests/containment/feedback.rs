//! The feedback file: masked where it is published, in every level, whoever the job runs as, and
//! whoever dies.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value as Json, json};

use super::{LEVELS, VALUE, Who, needs_root, report, run_command};
use crate::running::{Going, until_written};
use crate::support::{Ended, Sandbox, end, inner, until};

const MASKED: &str = "{\"x\": \"a *** b\"}\n";

/// Writes the secret, as JSON, to a file: `$1`.
const WRITE: &str = "w() { echo \"{\\\"x\\\": \\\"a $API_KEY b\\\"}\" > $1; }; cd out; ";

fn members(sandbox: &Sandbox, script: &str) -> Json {
    let path = sandbox.path("out/feedback.json");
    json!({"command": ["sh", "-c", format!("{WRITE}{script}")], "feedback": path})
}

/// A sandbox with a directory for the feedback.
fn sandbox(who: Who) -> Sandbox {
    let sandbox = who.masked_sandbox();
    fs::create_dir(sandbox.path("out")).unwrap();
    who.own(&sandbox.path("out"));
    sandbox
}

fn run(sandbox: &Sandbox, who: Who, options: &[&str], script: &str) -> Ended {
    end(run_command(sandbox, &[&who.words()], options, members(sandbox, script)))
}

/// What is in the feedback's directory, and what it says.
fn out(sandbox: &Sandbox) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(sandbox.path("out"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = match fs::read_link(&path) {
                Ok(_) => "a link".to_owned(),
                Err(_) => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
            };
            (path.file_name().unwrap().to_str().unwrap().to_owned(), text)
        })
        .collect();
    found.sort();
    found
}

fn only(text: &str) -> Vec<(String, String)> {
    vec![("feedback.json".into(), text.into())]
}

#[test]
fn however_the_job_writes_it() {
    for who in Who::all() {
        for level in LEVELS {
            for script in [
                "w feedback.json",
                // A new file in its place, as programs do that never leave half of one.
                "w new; mv new feedback.json",
                "rm -f feedback.json; w feedback.json",
                "w new; cp new feedback.json; rm new",
                "cd ..; rm -r out; mkdir out; cd out; w feedback.json",
            ] {
                let sandbox = sandbox(who);
                run(&sandbox, who, &["--containment", level], script).success();
                assert_eq!(out(&sandbox), only(MASKED), "{who:?}, {level}, {script}");
            }
        }
    }
}

#[test]
fn it_is_not_on_disk_while_the_job_runs() {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = sandbox(who);
            let script =
                "w feedback.json; cat feedback.json > ../seen; echo > ../ready; sleep 1000";
            let command = run_command(
                &sandbox,
                &[&who.words()],
                &["--containment", level],
                members(&sandbox, script),
            );
            let going = Going::spawn(command);
            until_written(&sandbox.path("ready"), "\n");
            assert!(fs::read_to_string(sandbox.path("seen")).unwrap().contains(VALUE));
            assert_eq!(out(&sandbox), only("a link"), "{who:?}, {level}");
            going.signal(Signal::SIGTERM);
            going.end();
            assert_eq!(out(&sandbox), only(MASKED), "{who:?}, {level}");
        }
    }
}

/// With the inner process the values are gone: what can't be masked goes.
#[test]
fn an_inner_process_that_is_killed_leaves_none() {
    for who in Who::all() {
        for level in LEVELS {
            for (before, script) in [
                (None, "w feedback.json"),
                (None, "w new; mv new feedback.json"),
                (Some("{}"), "w feedback.json"),
                (Some("{}"), "w new; mv new feedback.json"),
                (Some("{}"), "rm feedback.json"),
            ] {
                let sandbox = sandbox(who);
                if let Some(text) = before {
                    sandbox.write("out/feedback.json", text);
                    who.own(&sandbox.path("out"));
                }
                let script = format!("{script}; echo > ../ready; sleep 1000");
                let options = ["--containment", level];
                let members = members(&sandbox, &script);
                let going = Going::spawn(run_command(&sandbox, &[&who.words()], &options, members));
                until_written(&sandbox.path("ready"), "\n");
                kill(inner(going.pid()).unwrap(), Signal::SIGKILL).unwrap();
                going.end().error(137, "runner_killed", "SIGKILL");
                let expected = before.map_or(vec![], only);
                assert_eq!(out(&sandbox), expected, "{who:?}, {level}, {script}");
                assert_eq!(report(&sandbox)["wipe"]["verified"], true);
            }
        }
    }
}

/// Nobody is left to take the link away; the next run does.
#[test]
fn two_killed_processes_leave_a_link_to_nothing() {
    for who in Who::all() {
        for before in [None, Some("{}")] {
            let sandbox = sandbox(who);
            if let Some(text) = before {
                sandbox.write("out/feedback.json", text);
                who.own(&sandbox.path("out"));
            }
            let script = "w feedback.json; echo $$ > ../ready; sleep 1000";
            let options = ["--containment", "namespace"];
            let going = Going::spawn(run_command(
                &sandbox,
                &[&who.words()],
                &options,
                members(&sandbox, script),
            ));
            until_written(&sandbox.path("ready"), "\n");
            let runner = inner(going.pid()).unwrap();
            going.signal(Signal::SIGSTOP);
            kill(runner, Signal::SIGKILL).unwrap();
            going.signal(Signal::SIGKILL);
            going.end();
            let path = sandbox.path("out/feedback.json");
            until("the workspace is gone", || !path.exists());
            let left: Vec<String> = out(&sandbox).into_iter().map(|(_, text)| text).collect();
            assert_eq!(left, before.into_iter().chain(["a link"]).collect::<Vec<_>>(), "{who:?}");
            // A job that writes none, in a run that masks nothing: as before the first one.
            let job = json!({"feedback": path, "project": "another"});
            end(run_command(&sandbox, &[&who.words()], &[], job)).fails(1);
            assert_eq!(out(&sandbox), before.map_or(vec![], only), "{who:?}");
            run(&sandbox, who, &[], "w feedback.json").success();
            assert_eq!(out(&sandbox), only(MASKED), "{who:?}");
        }
    }
}

fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let file = fs::symlink_metadata(path).unwrap();
    (file.uid(), file.gid(), file.mode() & 0o7777)
}

#[test]
fn it_belongs_to_the_job() {
    if needs_root() {
        return;
    }
    let own = (2_000_000_011, 2_000_000_012);
    for level in LEVELS {
        for (directory, script, expected) in [
            // The link is followed in a directory that is open to all, as /tmp is.
            (0o1777, "umask 027; w feedback.json", (own.0, own.1, 0o640)),
            (0o1777, "umask 027; w new; mv new feedback.json", (own.0, own.1, 0o640)),
            // It couldn't make a file there at all.
            (0o755, "chmod 600 feedback.json; w feedback.json", (own.0, own.1, 0o600)),
            // Set-group-ID: the directory's group.
            (0o2755, "w feedback.json", (own.0, 0, 0o644)),
        ] {
            let sandbox = sandbox(Who::Root);
            let path = sandbox.path("out");
            fs::set_permissions(sandbox.home(), Permissions::from_mode(0o711)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(directory)).unwrap();
            // The file is there already, with the runner's umask.
            let script = script
                .replace("umask 027; w feedback.json", "w feedback.json; chmod 640 feedback.json");
            let options = ["--containment", level, "--run-as", "2000000011:2000000012"];
            run(&sandbox, Who::Root, &options, &script).success();
            assert_eq!(out(&sandbox), only(MASKED), "{level}, {script}");
            let file = owner_and_mode(&path.join("feedback.json"));
            assert_eq!(file, expected, "{level}, {script}");
        }
        // A file that was there keeps what it is.
        let sandbox = sandbox(Who::Root);
        fs::set_permissions(sandbox.home(), Permissions::from_mode(0o711)).unwrap();
        let path = sandbox.write("out/feedback.json", "{}");
        fs::set_permissions(&path, Permissions::from_mode(0o606)).unwrap();
        let options = ["--containment", level, "--run-as", "2000000011:2000000012"];
        run(&sandbox, Who::Root, &options, "w feedback.json").success();
        assert_eq!(out(&sandbox), only(MASKED), "{level}");
        assert_eq!(owner_and_mode(&path), (0, 0, 0o606), "{level}");
    }
}

/// Where no link can be made: the file of an orchestrator in a directory that is closed.
#[test]
fn a_directory_that_takes_no_link() {
    let who = Who::Ordinary;
    for level in LEVELS {
        let sandbox = sandbox(who);
        let path = sandbox.write("out/feedback.json", "{}");
        who.own(&path);
        fs::set_permissions(sandbox.path("out"), Permissions::from_mode(0o555)).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let options = ["--containment", level, "--log", "info"];
        let ended = run(&sandbox, who, &options, "w feedback.json").success();
        let told = "the feedback is masked where the job writes it";
        assert!(ended.stderr.contains(told), "{level}: {}", ended.stderr);
        assert_eq!(out(&sandbox), only(MASKED), "{level}");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "{level}");
        // Not written in this run.
        run(&sandbox, who, &options, "true").fails(1);
        assert_eq!(out(&sandbox), only(MASKED), "{level}");
    }
}

/// What can be neither masked nor removed is a failed wipe.
#[test]
fn an_unmasked_file_that_stays_is_told() {
    let who = Who::Ordinary;
    for level in LEVELS {
        for code in [0, 7] {
            let sandbox = sandbox(who);
            let script =
                format!("rm feedback.json; w feedback.json; chmod 444 *; chmod 555 .; exit {code}");
            let ended = run(&sandbox, who, &["--containment", level], &script).fails(70);
            assert!(ended.stderr.contains("the wipe failed"), "{level}: {}", ended.stderr);
            assert!(!ended.stderr.contains(VALUE), "{}", ended.stderr);
            let wipe = &report(&sandbox)["wipe"];
            assert_eq!(wipe["verified"], false, "{level}: {wipe}");
            let problem = wipe["problem"].as_str().unwrap();
            let path = sandbox.path("out/feedback.json");
            assert!(problem.contains(path.to_str().unwrap()), "{level}: {problem}");
            assert!(problem.contains("may hold values"), "{level}: {problem}");
        }
        // One that can be emptied is: nothing is left but a job that has failed.
        let sandbox = sandbox(who);
        let script =
            "rm feedback.json; w feedback.json; truncate -s 17M feedback.json; chmod 555 .";
        run(&sandbox, who, &["--containment", level], script).fails(1);
        assert_eq!(out(&sandbox), only(""), "{level}");
        let outcome = &report(&sandbox)["outcome"]["message"];
        assert!(outcome.as_str().unwrap().contains("could not be masked"), "{outcome}");
    }
}
