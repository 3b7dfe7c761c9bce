//! How a run ends: exit codes, limits, what stops it before it starts.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{report, run, run_command, run_with_settings, script};
use crate::support::{Sandbox, end};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    sandbox
}

#[test]
fn the_exit_code_is_the_jobs_own() {
    let sandbox = sandbox();
    for (text, code, outcome) in [
        ("exit 0", 0, json!({"kind": "succeeded"})),
        ("exit 3", 3, json!({"kind": "failed", "job_exit_code": 3})),
        ("exit 255", 255, json!({"kind": "failed", "job_exit_code": 255})),
        ("kill -TERM $$", 143, json!({"kind": "signalled", "signal": "SIGTERM", "number": 15})),
        ("kill -KILL $$", 137, json!({"kind": "signalled", "signal": "SIGKILL", "number": 9})),
        (
            // A real-time signal.
            "kill -40 $$",
            168,
            json!({"kind": "signalled", "signal": "signal 40", "number": 40}),
        ),
    ] {
        run(&sandbox, script(text)).fails(code);
        assert_eq!(report(&sandbox)["outcome"], outcome, "{text}");
        assert_eq!(report(&sandbox)["exit_code"], code, "{text}");
    }
}

#[test]
fn a_job_that_cannot_start_says_why() {
    let sandbox = sandbox();
    let text = sandbox.write("text", "no program");
    let missing = json!({"command": ["no-such-program"]});
    let message = "the command `no-such-program` was not found in the job's PATH";
    run(&sandbox, missing).error(127, "command_not_found", message);
    let outcome = &report(&sandbox)["outcome"];
    assert_eq!(outcome["kind"], "not_started");
    assert_eq!(outcome["reason"], "command_not_found");
    let denied = json!({"command": [text]});
    run(&sandbox, denied).error(126, "command_not_executable", "isn't permitted");
}

#[test]
fn distinct_exit_codes_tell_the_runner_from_the_job() {
    let sandbox = sandbox();
    let mut late = script("exec sleep 1000");
    late["timeout_s"] = json!(0.1);
    let mut wanting = script("true");
    wanting["require"] = json!(["envvar:ABSENT"]);
    for (members, code) in [
        (script("exit 0"), 0),
        (script("exit 3"), 1),
        (script("exit 125"), 1),
        (script("kill -KILL $$"), 1),
        (late, 1),
        (json!({"command": ["no-such-program"]}), 125),
        (wanting, 125),
        (json!({"id": "/"}), 125),
    ] {
        let name = members.to_string();
        let by_option = run_command(&sandbox, members.clone(), &["--exit-codes", "distinct"]);
        let ended = end(by_option);
        assert_eq!(ended.code, code, "{name}: {}", ended.stderr);
        let settings = "[supervision]\nexit_codes = 'distinct'";
        run_with_settings(&sandbox, settings, members).fails(code);
        assert_eq!(report(&sandbox)["exit_code"], code, "{name}");
    }
}

#[test]
fn a_timeout_ends_the_job_by_term() {
    let sandbox = sandbox();
    let mut members = script("trap 'echo told; exit 5' TERM; while :; do sleep 0.1; done");
    members["timeout_s"] = json!(0.3);
    let started = Instant::now();
    let ended = run(&sandbox, members).fails(124);
    assert_eq!(ended.stdout, "told\n");
    assert!(started.elapsed() >= Duration::from_millis(300));
    let expected = json!({"kind": "timed_out", "ended_by": "exit code 5"});
    assert_eq!(report(&sandbox)["outcome"], expected);
}

#[test]
fn a_timeout_kills_what_ignores_term_after_the_grace() {
    let sandbox = sandbox();
    let mut members = script("trap '' TERM; while :; do sleep 0.1; done");
    members["timeout_s"] = json!(0.2);
    members["grace_s"] = json!(0.4);
    let started = Instant::now();
    run(&sandbox, members).fails(124);
    assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
    let expected = json!({"kind": "timed_out", "ended_by": "SIGKILL"});
    assert_eq!(report(&sandbox)["outcome"], expected);
}

#[test]
fn limits_come_from_the_settings_where_the_descriptor_has_none() {
    let sandbox = sandbox();
    let settings = "[supervision]\ntimeout_s = 0.1\ngrace_s = 0.1";
    let stubborn = "trap '' TERM; while :; do sleep 0.1; done";
    run_with_settings(&sandbox, settings, script(stubborn)).fails(124);
    let mut members = script("sleep 0.5");
    members["timeout_s"] = json!(60);
    run_with_settings(&sandbox, settings, members).success();
    let options = ["--timeout", "0.1", "--grace", "0.1", "-P", "survey", "--"];
    let words = ["exec"].into_iter().chain(options).chain(["sh", "-c", stubborn]);
    sandbox.run(words).fails(124);
}

#[test]
fn a_missing_required_secret_stops_the_job_and_says_where_it_was_looked_for() {
    let sandbox = sandbox();
    sandbox.add("-P other", "ABSENT", "of-another-project");
    sandbox.add("-P survey -U eve", "ABSENT", "of-another-user");
    let ran = sandbox.path("ran");
    let mut members = script(&format!("echo > '{}'", ran.display()));
    members["require"] = json!(["envvar:API_KEY", "envvar:ABSENT", "pgservice:ninja"]);
    let ended = run(&sandbox, members.clone()).error(
        66,
        "secret_missing",
        "the required secrets envvar:ABSENT, pgservice:ninja are not defined for this job",
    );
    for level in [
        "project_user (project survey, user ada)",
        "project (project survey)",
        "organization (organization org)",
    ] {
        assert!(ended.stderr.contains(level), "no `{level}` in {}", ended.stderr);
    }
    assert!(!ran.exists(), "the job was started");
    let told = report(&sandbox);
    assert_eq!(told["missing"], json!(["envvar:ABSENT", "pgservice:ninja"]));
    assert_eq!(told["outcome"]["reason"], "secret_missing");
    assert_eq!(told["exit_code"], 66);

    // A system job of a personal project is told why two levels are not there.
    members["organization"] = json!(null);
    members["user"] = json!(null);
    let ended = run(&sandbox, members.clone()).fails(66);
    for reason in ["`organization` is null", "`user` is null"] {
        assert!(ended.stderr.contains(reason), "no `{reason}` in {}", ended.stderr);
    }

    sandbox.add("-O org", "ABSENT", "now-there");
    sandbox.add_service("-P survey -U ada", "ninja", "ada", "ada-password");
    members["organization"] = json!("org");
    members["user"] = json!("ada");
    run(&sandbox, members).success();
    assert!(ran.exists());
    assert_eq!(report(&sandbox).get("missing"), None);
}

#[test]
fn a_task_fills_the_gaps_of_the_operators_command() {
    let sandbox = sandbox();
    let settings = "[job]\ncommands = false\n\
        [tasks.show]\ncommand = ['printf', '<%s>', '--file={file}', 'fixed']\n\
        params.file.pattern = '[a-z ;$()*]+'\n";
    let members = json!({
        "command": null, "task": "show", "params": {"file": "a; $(true) *"},
    });
    // A descriptor has no `command` beside a `task`, not even null.
    run_with_settings(&sandbox, settings, members).error(65, "job_invalid", "command");
    let text = |file: &str| {
        json!({
            "version": 1, "id": "job-1", "organization": "org", "project": "survey",
            "user": "ada", "task": "show", "params": {"file": file},
        })
    };
    let settings = sandbox.write("settings.toml", settings);
    let run = |text: serde_json::Value| {
        let job = sandbox.write("task.json", text.to_string());
        let option = ["--settings".as_ref(), settings.as_os_str()];
        sandbox.run(["run".as_ref()].into_iter().chain(option).chain([job.as_os_str()]))
    };
    assert_eq!(run(text("a; $(true) *")).success().stdout, "<--file=a; $(true) *><fixed>");
    run(text("UPPER")).error(65, "job_invalid", "the parameter `file` doesn't match");
    run(text("-a")).error(65, "job_invalid", "begins with `-`");
    let free = sandbox.job(json!({"command": ["true"]}));
    let free = serde_json::from_slice(&std::fs::read(free).unwrap()).unwrap();
    run(free).error(65, "job_invalid", "the settings don't allow `command`");
}

#[test]
fn the_job_starts_where_the_descriptor_says() {
    let sandbox = sandbox();
    let mut members = script("pwd");
    assert_eq!(
        run(&sandbox, members.clone()).success().stdout.trim(),
        sandbox.home().canonicalize().unwrap().to_str().unwrap()
    );
    members["working_dir"] = json!("/usr/bin");
    let ended = run(&sandbox, members.clone()).success();
    assert_eq!(ended.stdout.trim(), std::fs::canonicalize("/usr/bin").unwrap().to_str().unwrap());
    members["working_dir"] = json!("/no/such/directory");
    run(&sandbox, members).error(65, "working_dir_unusable", "/no/such/directory");
}
