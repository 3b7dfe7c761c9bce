//! A job descriptor: what runs is what a token for it would name, and an error has one plain line.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use qgis_secrets::job::{Job, Policy, Subject};

fuzz_target!(|text: &[u8]| {
    let tasks = BTreeMap::new();
    let grace = Duration::from_secs(10);
    let policy = Policy { free_commands: true, tasks: &tasks, timeout: None, grace };
    let subject = Subject::parse(text);
    match Job::parse(text, policy) {
        Ok(job) => {
            let subject = subject.unwrap();
            assert_eq!((job.id, job.attempt, job.identity), (subject.id, subject.attempt, subject.identity));
            assert!(!job.command.is_empty() && job.attempt > 0);
        }
        Err(error) => assert!(!error.to_string().contains(['\0', '\x1b', '\n'])),
    }
});
