//! Adding a secret: while the value waits to be stored, it is in memory once.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use nix::unistd::Pid;

use super::search::{Planted, copies, environment};
use super::text;
use crate::containment::{Who, below, needs_root};
use crate::running::Going;
use crate::support::until;

/// Whether a process waits for a lock on a file: proc_locks(5).
fn waits(pid: Pid) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let pid = pid.to_string();
    locks.lines().any(|line| line.contains("->") && line.split(' ').any(|field| field == pid))
}

#[test]
fn a_value_that_waits_to_be_stored_is_in_memory_once() {
    if needs_root() {
        return;
    }
    for who in Who::all() {
        for input in ["standard input", "a file", "a service", "an import"] {
            let sandbox = who.sandbox();
            let value = text(input);
            // The directory's lock is waited for before a store or a key is made.
            let directory = File::open(sandbox.store().parent().unwrap()).unwrap();
            directory.lock().unwrap();
            let file = sandbox.write(
                "value",
                match input {
                    "a service" => format!("[other]\nhost=db\npassword={value}\n"),
                    "an import" => format!("OTHER='{value}'\n"),
                    _ => value.clone(),
                },
            );
            let file = file.to_str().unwrap();
            let store = sandbox.store().with_file_name("other.db");
            let mut arguments = vec!["--store", store.to_str().unwrap(), "secret"];
            arguments.extend(match input {
                "standard input" => vec!["add", "OTHER"],
                "a file" => vec!["add", "OTHER", "--from-file", file],
                "a service" => vec!["add-service", "--from-file", file],
                _ => vec!["import", file, "--format", "env", "--yes"],
            });
            arguments.extend(["-P", "survey"]);
            let mut command = below(&sandbox, &[&who.words()], &arguments);
            command.env("PGPASSWORD", text("PGPASSWORD"));
            if input == "standard input" {
                command.stdin(File::open(file).unwrap());
            }
            let going = Going::spawn(command);
            until("it waits", || waits(going.pid()));

            let planted =
                [&value, &text("PGPASSWORD")].map(|text| Planted::new(text, text.as_bytes()));
            let found = copies(going.pid(), &planted);
            assert_eq!(found[0].len(), 1, "{who:?}, {input}: {:#?}", found[0]);
            assert_eq!(found[1], Vec::<String>::new(), "{who:?}, {input}");
            let credential = text("PGPASSWORD");
            let environment = environment(going.pid());
            assert!(!environment.windows(credential.len()).any(|w| w == credential.as_bytes()));
            let owner = fs::metadata(format!("/proc/{}/mem", going.pid())).unwrap().uid();
            assert_eq!(owner, 0, "{who:?}, {input}: others of the account can look in");

            drop(directory);
            let ended = going.end().success();
            assert!(!ended.stderr.contains(&value) && !ended.stdout.contains(&value));
        }
    }
}
