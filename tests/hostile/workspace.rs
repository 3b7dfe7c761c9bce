//! Tampers with its workspace.

use std::fs;

use super::{Process, jails};

/// Ways, and whether in the level `process`, as the runner's own account, something is left that
/// the job moved out of the workspace.
const WAYS: [(&str, bool); 15] = [
    ("gone", false),
    ("link-instead", false),
    ("file-link", false),
    ("file-fifo", false),
    ("file-directory", false),
    ("many", false),
    ("deep", false),
    ("closed", false),
    ("immutable", false),
    ("moved", true),
    ("directory-moved", true),
    ("linked", true),
    ("mapped", false),
    ("grown", false),
    ("unlinked-held", false),
];

#[test]
fn the_receipt_says_the_truth() {
    tamper(&WAYS[..7]);
}

#[test]
fn the_receipt_says_the_truth_of_what_resists() {
    tamper(&WAYS[7..]);
    for jail in jails() {
        // Needs CAP_LINUX_IMMUTABLE, which no job has.
        jail.run("workspace.py", &["immutable"]).refused("immutable");
    }
}

fn tamper(ways: &[(&str, bool)]) {
    for jail in jails() {
        let bystander = jail.sandbox.write("work/bystander", "kept");
        for (way, escapes) in ways.iter().copied() {
            let said = jail.run("workspace.py", &[way]);
            // As nobody it can't reach the directory that the workspace is in, which is root's.
            let left = escapes && jail.level == Process && jail.same_account();
            said.show(said.report["wipe"]["verified"] == !left, way);
            said.show(said.ended.code == if left { 70 } else { 0 }, way);
            said.show(said.all(way).len() == 1, "attempted");
            for path in jail.sandbox.left_behind() {
                said.show(left, "removed everything");
                let service_file =
                    if path.is_dir() { path.join("pg_service.conf") } else { path.clone() };
                // What is left is empty: the passwords are gone.
                if let Ok(content) = fs::read(service_file) {
                    assert_eq!(content, b"", "{way}");
                }
                fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
            }
            assert_eq!(fs::read(&bystander).unwrap(), b"kept", "{way}");
            assert!(!said.ended.stderr.contains("canary"), "{way}");
        }
    }
}
