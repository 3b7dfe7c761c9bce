//! Several processes at once: nothing is lost, and no run fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value as Json;

use crate::support::{Ended, Sandbox};

/// How many names `secret list` has.
fn names(sandbox: &Sandbox) -> Vec<String> {
    let list = sandbox.run(["secret", "list", "--format", "json"]).success().stdout;
    let list: Json = serde_json::from_str(&list).unwrap();
    let secrets = list["secrets"].as_array().unwrap();
    secrets.iter().map(|secret| secret["key"].as_str().unwrap().to_owned()).collect()
}

fn keys(sandbox: &Sandbox) -> usize {
    let text = std::fs::read_to_string(sandbox.key()).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn first_adds_at_the_same_time_make_one_store_and_one_key() {
    let sandbox = Sandbox::new();
    let expected: Vec<String> = (0..8).map(|n| format!("NAME_{n}")).collect();
    thread::scope(|scope| {
        for name in &expected {
            let value = format!("value-of-{name}");
            let sandbox = &sandbox;
            scope.spawn(move || sandbox.add("-P survey", name, &value));
        }
    });
    assert_eq!(names(&sandbox), expected);
    assert_eq!(keys(&sandbox), 1);
    let show = expected.iter().map(|name| format!("echo ${name}; ")).collect::<String>();
    let values: String = expected.iter().map(|name| format!("value-of-{name}\n")).collect();
    assert_eq!(sandbox.shell(&show).success().stdout, values);
}

#[test]
fn a_rotation_disturbs_neither_runs_nor_adds() {
    let sandbox = Sandbox::new();
    for n in 0..20 {
        sandbox.add("-O org", &format!("OLD_{n}"), &format!("old-value-{n}"));
    }
    sandbox.add("-P survey", "A", "constant-value");
    let rotated = AtomicBool::new(false);
    thread::scope(|scope| {
        for n in 0..4 {
            let (sandbox, rotated) = (&sandbox, &rotated);
            scope.spawn(move || {
                // At least two, and until the rotations are over.
                for round in 0.. {
                    sandbox.add("-P survey", &format!("NEW_{n}_{round}"), "new-value");
                    if round > 0 && rotated.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
            scope.spawn(move || {
                for round in 0.. {
                    let ended = sandbox.shell("printf %s \"$A $OLD_19\"").success();
                    assert_eq!(ended.stdout, "constant-value old-value-19");
                    if round > 0 && rotated.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        for _ in 0..3 {
            sandbox.run(["key", "rotate"]).success();
        }
        rotated.store(true, Ordering::SeqCst);
    });
    assert_eq!(keys(&sandbox), 1);
    let names = names(&sandbox);
    let show = names.iter().map(|name| format!("echo ${name}; ")).collect::<String>();
    let shown = sandbox.shell(&show).success().stdout;
    assert_eq!(shown.lines().filter(|line| !line.is_empty()).count(), names.len());
    assert!(names.len() >= 20 + 1 + 8, "{names:?}");
}

#[test]
fn rotations_at_the_same_time_lose_nothing() {
    let sandbox = Sandbox::new();
    for n in 0..10 {
        sandbox.add("-P survey", &format!("NAME_{n}"), &format!("value-{n}"));
    }
    let rotate = || sandbox.run(["key", "rotate"]);
    let ended: Vec<Ended> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(rotate)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut rotated = 0;
    for ended in ended {
        if ended.code == 0 {
            rotated += 1;
        } else {
            ended.error(69, "key_busy", "another process is rotating the key");
        }
    }
    assert!(rotated > 0);
    assert_eq!(keys(&sandbox), 1);
    let shown = sandbox.shell("printf %s \"$NAME_0 $NAME_9\"").success().stdout;
    assert_eq!(shown, "value-0 value-9");
}
