//! `check` and `sweep`, as an operator runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value as Json, json};

use crate::support::{Ended, Sandbox};

fn findings(ended: &Ended) -> Json {
    serde_json::from_str::<Json>(&ended.stdout).unwrap()["findings"].clone()
}

fn find<'a>(findings: &'a Json, check: &str) -> &'a Json {
    let all = findings.as_array().unwrap();
    all.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| {
        panic!("nothing about {check} in {findings:#}");
    })
}

fn check(sandbox: &Sandbox, more: &[&str]) -> Ended {
    sandbox.run(["check", "--format", "json"].iter().chain(more))
}

#[test]
fn what_a_job_would_have_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "a-value-that-stays");
    let ended = check(&sandbox, &["-P", "survey"]).success();
    let found = findings(&ended);
    for check in ["containment", "workspace", "swap", "landlock", "cores", "memory", "key", "store"]
    {
        assert_eq!(find(&found, check)["result"], "ok", "{check}: {found:#}");
    }
    assert_eq!(find(&found, "secrets")["message"], "envvar:API_KEY");
    assert_eq!(find(&found, "exposure")["result"], "ok");
    let text = find(&found, "containment")["message"].as_str().unwrap().to_owned();
    assert!(text.starts_with("namespace: "), "{text}");
    let table = sandbox.run(["check", "-P", "survey"]).success();
    assert!(table.stdout.starts_with("CHECK "), "{}", table.stdout);
    for output in [&ended.stdout, &ended.stderr, &table.stdout, &table.stderr] {
        assert!(!output.contains("a-value-that-stays"));
    }
}

#[test]
fn each_level_can_be_asked_for_and_is_named() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "a-value-that-stays");
    for level in ["namespace", "namespace-shared-proc", "process"] {
        let found = findings(&check(&sandbox, &["--containment", level]).success());
        let message = find(&found, "containment")["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{level}: ")), "{message}");
    }
}

#[test]
fn what_would_keep_a_job_from_running_is_said_with_its_code() {
    let sandbox = Sandbox::new();
    let found = check(&sandbox, &[]).fails(78);
    assert_eq!(find(&findings(&found), "key")["kind"], "key_missing");

    sandbox.add("-P survey", "API_KEY", "a-value-that-stays");
    fs::set_permissions(sandbox.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let found = check(&sandbox, &["-P", "survey"]).fails(78);
    assert_eq!(find(&findings(&found), "key")["kind"], "permissions_too_wide");
    fs::set_permissions(sandbox.key(), fs::Permissions::from_mode(0o600)).unwrap();

    let job = sandbox.job(json!({"require": ["envvar:OTHER"]}));
    let found = check(&sandbox, &[job.to_str().unwrap()]).fails(66);
    let secrets = findings(&found);
    assert_eq!(find(&secrets, "secrets")["kind"], "secret_missing");

    // The store in the directory where the job works.
    let here = sandbox.home().to_str().unwrap();
    let store = format!("{here}/here.db");
    sandbox.run_with(["--store", &store, "secret", "add", "A_KEY", "-P", "survey"], "v").success();
    let found = check(&sandbox, &["--store", &store, "-P", "survey"]).fails(78);
    assert_eq!(find(&findings(&found), "exposure")["kind"], "credentials_exposed");
    sandbox.run(["check", "--connect"]).fails(64);
}

#[test]
fn nobody_hears_of_a_check() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "a-value-that-stays");
    let settings = format!("[report]\nfile = '{}/report.json'\n", sandbox.home().display());
    sandbox.write("settings.toml", settings);
    sandbox.run(["check", "--settings", "settings.toml", "-P", "survey"]).success();
    assert!(!sandbox.path("report.json").exists());
}

#[test]
fn a_sweep_takes_nothing_where_nothing_was_left() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(["sweep"]).success().stdout, "nothing was left\n");
    let other = sandbox.memory().join("qgis-secrets-not-a-directory");
    drop(fs::OpenOptions::new().write(true).create_new(true).open(&other).unwrap());
    sandbox.run(["sweep"]).success();
    assert!(other.exists(), "a file that no run made was removed");
    fs::remove_file(other).unwrap();
}
