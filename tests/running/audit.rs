//! The audit: one line for each decision about a job's secrets, and no job without one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{run, run_command, run_with_settings, script};
use crate::support::{Ended, Sandbox, end, log_lines};

/// The audit lines of a run.
#[track_caller]
fn audit(ended: &Ended) -> Vec<Json> {
    let mut lines = log_lines(&ended.stderr);
    lines.retain(|line| line["target"] == "audit");
    lines
}

#[track_caller]
fn decisions(lines: &[Json]) -> Vec<(&str, Option<&str>)> {
    lines.iter().map(|l| (l["decision"].as_str().unwrap(), l["reason"].as_str())).collect()
}

#[track_caller]
fn file(path: &Path) -> Vec<Json> {
    log_lines(&fs::read_to_string(path).unwrap())
}

fn settings(file: &Path) -> String {
    format!("[audit]\nfile = '{}'", file.display())
}

#[test]
fn what_a_job_gets_is_told_whatever_is_logged() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-O org", "API_KEY", "organization-value");
    sandbox.add_sensitive("-P survey", "API_KEY", "project-value");
    sandbox.add_service("-P survey -U ada", "ninja", "ada_role", "ada-password");
    let mut job = script("true");
    job["labels"] = json!({"project_name": "ninja/survey"});
    job["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    for level in ["error", "warn", "info", "trace"] {
        let ended = end(run_command(&sandbox, job.clone(), &["--log", level])).success();
        for value in ["organization-value", "project-value", "ada-password", "ada_role"] {
            assert!(!ended.stderr.contains(value), "{value} in {}", ended.stderr);
        }
        let lines = audit(&ended);
        assert_eq!(decisions(&lines), [("given", None)], "{level}");
        let line = &lines[0];
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["backend"], "embedded");
        assert_eq!(
            line["job"],
            json!({"id": "job-1", "attempt": 1, "organization": "org", "project": "survey",
                   "user": "ada"})
        );
        assert_eq!(line["labels"], json!({"project_name": "ninja/survey"}));
        assert_eq!(line["traceparent"], job["traceparent"]);
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        // The same facts as in the report.
        assert_eq!(line["secrets"], super::report(&sandbox)["secrets"]);
        assert_eq!(line["secrets"][0]["shadowed"][0]["level"], "organization");
        assert_eq!(line.get("missing"), None);
    }
    let ended = end(run_command(&sandbox, job, &["--log", "off"])).success();
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_person_at_a_terminal_is_told_who_asks_for_it() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    let on_terminal = |level: &str| {
        let own = run_command(&sandbox, script("echo done"), &["--log", level]);
        let quote = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
        let words: Vec<String> =
            std::iter::once(own.get_program()).chain(own.get_args()).map(quote).collect();
        let mut command = std::process::Command::new("script");
        command.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
        command.env_clear().envs(own.get_envs().filter_map(|(n, v)| Some((n, v?))));
        command.current_dir(sandbox.home()).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        end(command).success().stdout
    };
    let quiet = on_terminal("warn");
    assert!(quiet.contains("done") && !quiet.contains("audit"), "{quiet}");
    let told = anstream::adapter::strip_str(&on_terminal("info")).to_string();
    let line = " INFO job-1 audit: the job gets its secrets: envvar:API_KEY (project)";
    assert!(told.contains(line), "{told}");
}

#[test]
fn who_gets_nothing_is_told_too() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");

    let missing = json!({"require": ["envvar:API_KEY", "envvar:OTHER"]});
    let lines = audit(&run(&sandbox, missing).fails(66));
    assert_eq!(decisions(&lines), [("refused", Some("secret_missing"))]);
    assert_eq!(lines[0]["missing"], json!(["envvar:OTHER"]));
    assert_eq!(lines[0]["secrets"][0]["key"], "API_KEY");

    // What was to be given could not be opened.
    let key = sandbox.key();
    let aside = sandbox.path("aside");
    fs::rename(&key, &aside).unwrap();
    let lines = audit(&run(&sandbox, json!({})).fails(78));
    assert_eq!(decisions(&lines), [("given", None), ("failed", Some("key_missing"))]);
    fs::rename(&aside, &key).unwrap();

    // There is nothing to look it up in.
    fs::rename(sandbox.store(), &aside).unwrap();
    let lines = audit(&run(&sandbox, json!({})).fails(78));
    assert_eq!(decisions(&lines), [("failed", Some("store_missing"))]);
    assert_eq!((&lines[0]["secrets"], &lines[0]["job"]["user"]), (&json!([]), &json!("ada")));
}

#[test]
fn explaining_opens_nothing_and_is_not_told() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    for arguments in [["explain", "-P", "survey"], ["check", "-P", "survey"]] {
        assert_eq!(audit(&sandbox.run(arguments).success()), Vec::<Json>::new());
    }
}

#[test]
fn a_file_gets_every_line_whole_and_is_not_the_jobs() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    fs::create_dir(sandbox.path("audit")).unwrap();
    let path = sandbox.path("audit/audit.jsonl");
    let settings = settings(&path);
    let ended = run_with_settings(&sandbox, &settings, script("ls audit")).success();
    assert_eq!(ended.stdout, "", "the job sees the audit log");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(file(&path), audit(&ended));

    let options = ["--settings", "settings.toml", "--log", "off"];
    let arguments = options.into_iter().chain(["exec", "-P", "survey", "--", "true"]);
    let started = |_| sandbox.command(arguments.clone()).spawn().unwrap();
    let going: Vec<_> = (0..8).map(started).collect();
    for child in going {
        crate::support::finish(child).success();
    }
    let lines = file(&path);
    assert_eq!(decisions(&lines), [("given", None); 9]);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 9);
}

/// The line comes first: neither is a value opened nor does the job start without it.
#[test]
fn without_its_line_nothing_is_given() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    // To open a value would be another error.
    fs::remove_file(sandbox.key()).unwrap();
    for (path, why) in [
        (sandbox.path("no/such/audit.jsonl"), "No such file"),
        (sandbox.home().to_owned(), "Is a directory"),
        ("/dev/full".into(), "No space left"),
    ] {
        let ended = run_with_settings(&sandbox, &settings(&path), script("touch started"));
        let ended = ended.error(78, "audit_failed", &path.display().to_string());
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        assert_eq!(audit(&ended), Vec::<Json>::new());
        assert!(!sandbox.path("started").exists());
        assert_eq!(super::report(&sandbox)["outcome"]["reason"], "audit_failed");
    }
}

#[test]
fn a_check_says_that_no_job_would_start() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    fs::create_dir(sandbox.path("audit")).unwrap();
    let path = sandbox.path("audit/audit.jsonl");
    let check = |path: &Path| {
        sandbox.write("settings.toml", settings(path));
        sandbox.run(["--settings", "settings.toml", "check", "--format", "json"])
    };
    let ended = check(&path).success();
    assert!(ended.stdout.contains("\"audit\""), "{}", ended.stdout);
    assert!(!path.exists(), "a check changes nothing");
    let ended = check(&sandbox.path("no/such/audit.jsonl")).fails(78);
    assert!(ended.stdout.contains("audit_failed"), "{}", ended.stdout);
}
