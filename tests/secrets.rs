//! Secrets as their users meet them: adding, listing, removing, importing, explaining; keys.

mod adding;
mod explaining;
mod keys;
mod levels;
mod recorded;
mod removing;

use serde_json::Value as Json;

use crate::support::{Ended, Sandbox};

/// The secrets of `secret list`, with more options.
fn list(sandbox: &Sandbox, options: &[&str]) -> Vec<Json> {
    let words = ["secret", "list", "--format", "json"].iter().chain(options);
    let listing: Json = serde_json::from_str(&sandbox.run(words).success().stdout).unwrap();
    assert_eq!(listing["version"], 1);
    listing["secrets"].as_array().unwrap().clone()
}

/// The id of the only secret that a list holds.
#[track_caller]
fn only_id(secrets: &[Json]) -> String {
    let [secret] = secrets else { panic!("not one secret: {secrets:?}") };
    secret["id"].as_str().unwrap().to_owned()
}

/// Nothing that was printed holds one of the values.
#[track_caller]
fn assert_shows_none_of(ended: &Ended, values: &[&str]) {
    for value in values {
        assert!(!ended.stdout.contains(value), "{value} in {}", ended.stdout);
        assert!(!ended.stderr.contains(value), "{value} in {}", ended.stderr);
    }
}
