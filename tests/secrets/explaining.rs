//! `explain`: which secrets a job would get and why, with nothing opened.

use std::fs;

use serde_json::{Value as Json, json};

use super::assert_shows_none_of;
use crate::support::{Ended, Sandbox};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qgis_project");

const VALUES: [&str; 5] =
    ["organization-value", "member-value", "project-value", "assigned-value", "the-password"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (place, value) in [
        ("-O org", "organization-value"),
        ("-O org -U ada", "member-value"),
        ("-P survey", "project-value"),
        ("-P survey -U ada", "assigned-value"),
        ("-P other", "of-another-project"),
    ] {
        sandbox.add_sensitive(place, "KEY", value);
    }
    sandbox.add_service("-P survey", "ninja", "role", "the-password");
    // Nothing is opened: no private key is needed.
    fs::remove_file(sandbox.key()).unwrap();
    sandbox
}

fn explain(sandbox: &Sandbox, options: &[&str]) -> Ended {
    let ended = sandbox.run(["explain"].iter().chain(options));
    assert_shows_none_of(&ended, &VALUES);
    ended
}

fn explain_json(sandbox: &Sandbox, options: &[&str]) -> Json {
    let words: Vec<&str> = options.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&explain(sandbox, &words).success().stdout).unwrap()
}

#[test]
fn each_level_wins_in_its_turn_and_shadows_those_below() {
    let sandbox = sandbox();
    for (options, level, shadowed) in [
        (
            &["-O", "org", "-P", "survey", "-U", "ada"][..],
            "project_user",
            &["project", "organization_user", "organization"][..],
        ),
        (&["-O", "org", "-P", "survey", "-U", "bob"], "project", &["organization"]),
        (&["-P", "survey", "-U", "ada"], "project_user", &["project"]),
        (&["-P", "survey"], "project", &[]),
        (&["-O", "org", "-P", "garden", "-U", "ada"], "organization_user", &["organization"]),
        (&["-O", "org", "-P", "garden"], "organization", &[]),
    ] {
        let told = explain_json(&sandbox, options);
        let key = &told["secrets"][0];
        assert_eq!(key["key"], "KEY");
        assert_eq!(key["level"], level, "{options:?}");
        let losers = key["shadowed"].as_array().map_or(&[][..], Vec::as_slice);
        let losers: Vec<&str> = losers.iter().map(|s| s["level"].as_str().unwrap()).collect();
        assert_eq!(losers, shadowed, "{options:?}");
    }
    let told = explain_json(&sandbox, &["-P", "garden"]);
    assert_eq!(told["secrets"], json!([]));
    let none = explain(&sandbox, &["-P", "garden"]).success();
    assert!(none.stdout.starts_with("This job gets no secret.\n"), "{}", none.stdout);
}

#[test]
fn the_table_says_the_same() {
    let sandbox = sandbox();
    let table = explain(&sandbox, &["-O", "org", "-P", "survey", "-U", "ada"]).success().stdout;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .take(3)
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        rows,
        [
            vec!["SECRET", "FROM", "OF", "SHADOWS"],
            vec![
                "envvar:KEY",
                "project_user",
                "project survey, user ada",
                "project, organization_user, organization",
            ],
            vec!["pgservice:ninja", "project", "project survey", "-"],
        ]
    );
    assert!(table.contains("looked at: "), "{table}");
}

#[test]
fn a_descriptors_missing_secret_gives_66() {
    let sandbox = sandbox();
    let job = sandbox.job(json!({"require": ["envvar:KEY", "envvar:ABSENT"]}));
    let job = job.to_str().unwrap();
    let table = explain(&sandbox, &[job]).fails(66);
    assert!(table.stdout.contains("envvar:KEY: there\n"), "{}", table.stdout);
    assert!(table.stdout.contains("envvar:ABSENT: missing\n"), "{}", table.stdout);
    let ended = explain(&sandbox, &[job, "--format", "json"]).fails(66);
    let told: Json = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told["required"], json!(["envvar:KEY", "envvar:ABSENT"]));
    assert_eq!(told["missing"], json!(["envvar:ABSENT"]));
    let levels: Vec<&Json> =
        told["looked_at"].as_array().unwrap().iter().map(|owner| &owner["level"]).collect();
    assert_eq!(levels, ["project_user", "project", "organization_user", "organization"]);
}

#[test]
fn a_job_or_a_project_must_be_named() {
    let sandbox = sandbox();
    explain(&sandbox, &[]).error(64, "usage", "name a job descriptor, or a project with -P");
    explain(&sandbox, &["-O", "org"]).error(64, "usage", "say which project with -P");
}

/// The rows of one table of a `--qgis-project` explanation: first member and verdict.
fn judged(told: &Json, table: &str) -> Vec<(String, String)> {
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let rows = told["qgis_project"][table].as_array().unwrap();
    rows.iter().map(|row| (text(&row["name"]), text(&row["verdict"]))).collect()
}

#[test]
fn the_layers_of_a_project_are_held_against_what_the_job_gets() {
    let sandbox = sandbox();
    for format in ["qgs", "qgz"] {
        let file = format!("{FIXTURES}/connections.{format}");
        let options = ["-P", "survey", "--qgis-project", &file];
        let told = explain_json(&sandbox, &options);
        let expected = [
            ("a service with a blank", "missing"),
            ("host & password", "own_credentials"),
            ("raster", "overridden"),
            ("service and own user", "overridden"),
            ("service only", "resolved"),
            ("through GDAL", "overridden"),
            ("with authcfg", "overridden"),
        ];
        let expected = expected.map(|(name, verdict)| (name.to_owned(), verdict.to_owned()));
        assert_eq!(judged(&told, "layers"), expected, "{format}");
        let table = explain(&sandbox, &options).success().stdout;
        assert!(table.contains("a password in the project file"), "{table}");
        // The file's own password is no more to be shown than a secret.
        assert!(!table.contains("password="), "{table}");
    }
    let without = explain_json(
        &sandbox,
        &["-P", "garden", "--qgis-project", &format!("{FIXTURES}/connections.qgs")],
    );
    let missing = judged(&without, "layers").iter().filter(|row| row.1 == "missing").count();
    assert_eq!(missing, 6);
}

#[test]
fn expressions_are_told_that_do_not_read_a_secret() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "project-value");
    for format in ["qgs", "qgz"] {
        let file = format!("{FIXTURES}/expressions.{format}");
        let told = explain_json(&sandbox, &["-P", "survey", "--qgis-project", &file]);
        let uses = judged(&told, "environment");
        for (name, verdict) in [
            ("API_KEY", "env_meant"),
            ("API_KEY", "resolved"),
            ("LABEL", "undefined"),
            ("ENV_KEY", "no_secret"),
            ("NOT_EVALUATED", "not_evaluated"),
        ] {
            let expected = (name.to_owned(), verdict.to_owned());
            assert!(uses.contains(&expected), "no {expected:?} in {uses:?}");
        }
        let options = ["-P", "survey", "--qgis-project", &file];
        let table = explain(&sandbox, &options).success().stdout;
        let hint = "empty: a secret is no QGIS variable, write env('API_KEY')";
        assert!(table.contains(hint), "{table}");
    }
}

#[test]
fn what_is_no_project_is_refused() {
    let sandbox = sandbox();
    let file = sandbox.write("text.qgs", "no project");
    let file = file.to_str().unwrap();
    let ended = explain(&sandbox, &["-P", "survey", "--qgis-project", file]).fails(65);
    assert!(ended.stderr.contains("error[project_unreadable]"), "{}", ended.stderr);
}
