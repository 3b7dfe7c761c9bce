//! Stores in strange places: a job that could read what it must not isn't started.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::{LEVELS, VALUE, Who, below, mounted, needs_root, refused, run, run_command, strs};
use crate::support::{Sandbox, end};

/// Another store with the secret, at this path.
fn store(sandbox: &Sandbox, who: Who, path: &str) {
    let value = sandbox.write("value", VALUE);
    let words = "secret add API_KEY --not-sensitive -P survey".split(' ');
    let arguments: Vec<&str> = ["--store", path].into_iter().chain(words).collect();
    let mut command = below(sandbox, &[&who.words()], &arguments);
    command.stdin(std::fs::File::open(value).unwrap());
    end(command).success();
    std::fs::remove_file(sandbox.path("value")).unwrap();
}

fn directory(sandbox: &Sandbox, who: Who, name: &str) -> String {
    let path = sandbox.path(name);
    std::fs::create_dir(&path).unwrap();
    who.own(&path);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_store_where_the_job_works_stops_it() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let directory = directory(&sandbox, who, "shared");
        let path = format!("{directory}/store.db");
        store(&sandbox, who, &path);
        let home = format!("HOME={directory}");
        let temporary = format!("TMPDIR={directory}");
        let words = who.words();
        for level in LEVELS {
            let options = ["--store", &path, "--containment", level];
            let refuse = |before: &[&[&str]], members: serde_json::Value, what: &str| {
                let mut members = members;
                members["command"] = json!(["sh", "-c", "echo started"]);
                let ended = end(run_command(&sandbox, before, &options, members));
                refused(&sandbox, ended, 78, "credentials_exposed", what);
            };
            refuse(&[&words], json!({"working_dir": directory}), "its working directory");
            refuse(&[&words, &["env", &home]], json!({}), "its home directory");
            refuse(&[&words, &["env", &temporary]], json!({}), "its TMPDIR");

            // Whoever takes the risk is told.
            sandbox.write("settings.toml", "[containment]\nallow_exposed = true");
            let options = [&options[..], &["--settings", "settings.toml"]].concat();
            let before: [&[&str]; 2] = [&words, &["env", &home]];
            let ended = run(&sandbox, &before, &options, "echo started").success();
            assert!(ended.stderr.contains("allow_exposed"), "{}", ended.stderr);
        }
        if who == Who::Root {
            for level in LEVELS {
                let options = ["--store", &path, "--containment", level, "--run-as", "nobody"];
                let script =
                    format!("echo \"$API_KEY\"; cat {directory}/store.key 2>/dev/null; true");
                let before: [&[&str]; 2] = [&words, &["env", &temporary]];
                let ended = run(&sandbox, &before, &options, &script);
                // The store and its key are 0600: that is enough against another account.
                assert_eq!(ended.success().stdout, format!("{VALUE}\n"), "{level}");
            }
        }
    }
}

#[test]
fn a_token_where_the_job_works_stops_it() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let directory = directory(&sandbox, who, "shared");
        sandbox.write("shared/token", "Bearer-1f7c02");
        who.own(&sandbox.path("shared"));
        sandbox.write("settings.toml", format!("[report]\ntoken_file = '{directory}/token'"));
        for level in LEVELS {
            let members = json!({
                "command": ["sh", "-c", "echo started"], "working_dir": directory,
            });
            let options = ["--settings", "settings.toml", "--containment", level];
            let ended = end(run_command(&sandbox, &[&who.words()], &options, members));
            refused(&sandbox, ended, 78, "credentials_exposed", "the token");
        }
    }
}

#[test]
fn a_store_in_etc_stops_the_job_unless_another_account_cannot_read_it() {
    if needs_root() {
        return;
    }
    let sandbox = Who::Root.sandbox();
    let etc = directory(&sandbox, Who::Root, "etc");
    store(&sandbox, Who::Root, &format!("{etc}/store.db"));
    for file in ["passwd", "group"] {
        std::fs::copy(Path::new("/etc").join(file), sandbox.path("etc").join(file)).unwrap();
    }
    let mounted = mounted(&format!("mount --bind {etc} /etc"));
    for level in LEVELS {
        let options = ["--store", "/etc/store.db", "--containment", level];
        let ended = run(&sandbox, &[&strs(&mounted)], &options, "echo started");
        refused(&sandbox, ended, 78, "credentials_exposed", "/etc");
        let options = [&options[..], &["--run-as", "nobody"]].concat();
        run(&sandbox, &[&strs(&mounted)], &options, "test ! -r /etc/store.key").success();
    }
}

/// The runner sees the file system as it is outside; only the job doesn't.
#[test]
fn a_store_is_found_by_any_path_and_hidden_by_every_path() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let real = directory(&sandbox, who, "real");
        symlink(&real, sandbox.path("link")).unwrap();
        store(&sandbox, who, "real/store.db");
        let memory = format!("{}/apart", sandbox.memory().display());
        std::fs::create_dir(&memory).unwrap();
        who.own(Path::new(&memory));
        store(&sandbox, who, &format!("{memory}/store.db"));
        let link = sandbox.path("link/store.db");
        for level in LEVELS {
            for path in [
                "real/store.db",
                "./link/../real/store.db",
                link.to_str().unwrap(),
                &format!("{memory}/store.db"),
            ] {
                let script = format!(
                    "echo \"$API_KEY\"; cat real/store.key link/store.key {memory}/store.key"
                );
                // The other store is none of this run's.
                let script = if path.starts_with(&memory) {
                    script.replace("real/store.key link/store.key", "")
                } else {
                    script.replace(&format!("{memory}/store.key"), "")
                };
                let options = ["--store", path, "--containment", level];
                let ended =
                    run(&sandbox, &[&who.words()], &options, &format!("{script} 2>&-; true"));
                assert_eq!(ended.success().stdout, format!("{VALUE}\n"), "{who:?} {level} {path}");
            }
        }
        std::fs::remove_dir_all(memory).unwrap();
    }
}

#[test]
fn descriptor_and_report_can_be_on_dev_shm() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let job = std::fs::read_to_string(sandbox.job(json!({"command": ["true"]}))).unwrap();
        let [descriptor, report] =
            ["job.json", "told.json"].map(|name| sandbox.memory().join(name));
        super::write(&descriptor, &job).unwrap();
        for level in LEVELS {
            let arguments = [
                "run",
                "--containment",
                level,
                "--report",
                report.to_str().unwrap(),
                descriptor.to_str().unwrap(),
            ];
            end(below(&sandbox, &[&who.words()], &arguments)).success();
            assert_eq!(crate::support::json(&report)["containment"]["level"], level);
            std::fs::remove_file(&report).unwrap();
        }
        std::fs::remove_file(descriptor).unwrap();
    }
}

/// The directory that holds a link is not the one that holds the file.
#[test]
fn what_a_link_leads_to_is_hidden_too() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        directory(&sandbox, who, "real");
        directory(&sandbox, who, "links");
        store(&sandbox, who, "real/store.db");
        for file in ["store.db", "store.key"] {
            symlink(format!("../real/{file}"), sandbox.path("links").join(file)).unwrap();
        }
        for level in LEVELS {
            let options = ["--store", "links/store.db", "--containment", level];
            let script = "echo \"$API_KEY\"; cat real/store.key links/store.key 2>&-; true";
            let ended = run(&sandbox, &[&who.words()], &options, script).success();
            assert_eq!(ended.stdout, format!("{VALUE}\n"), "{who:?} {level}");
        }
    }
}

/// A directory above the hidden one is not renamed, so that the next run finds what this one found.
#[test]
fn what_is_above_a_hidden_directory_stays_where_it_is() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        for level in LEVELS {
            let script = "cd / && for above in .local/share .local; do
                mv \"$HOME/$above\" \"$HOME/moved\" 2>&- && echo \"moved $above\"; done
                cat \"$HOME\"/*/qgis-secrets/store.key \"$HOME\"/*/*/qgis-secrets/store.key 2>&-
                cd \"$HOME\" && cat .local/share/qgis-secrets/store.key 2>&-; true";
            let ended = run(&sandbox, &[&who.words()], &["--containment", level], script);
            assert_eq!(ended.success().stdout, "", "{who:?} {level}");
        }
    }
}

/// From where it stands, as well as by its whole path.
#[test]
fn no_way_leads_to_the_store_from_where_the_job_stands() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        directory(&sandbox, who, "work");
        for level in LEVELS {
            let script = "cat ../.local/share/qgis-secrets/store.key 2>&-; true";
            let arguments =
                ["exec", "--containment", level, "-P", "survey", "--", "sh", "-c", script];
            let mut command = below(&sandbox, &[&who.words()], &arguments);
            command.current_dir(sandbox.path("work"));
            assert_eq!(end(command).success().stdout, "", "{who:?} {level}");
        }
    }
}
