//! The feedback file: a job that exits with 0 may still have failed, and what is masked in it.

use std::fs;

use serde_json::{Value as Json, json};

use super::{report, run, run_command, script};
use crate::support::{Ended, Sandbox, end};

const ERROR: &str = "the job exited with 0, but its feedback holds an error";
const MISSING: &str =
    "the job exited with 0, but did not write the feedback file that it had promised";
const UNREADABLE: &str = "the job exited with 0, but its feedback is not a readable JSON object";

/// A run whose job writes `text` and exits with `code`.
fn told(sandbox: &Sandbox, text: Option<&str>, code: u8) -> Ended {
    let path = sandbox.path("feedback.json");
    let write = text.map_or(String::new(), |text| format!("echo '{text}' > feedback.json; "));
    let mut members = script(&format!("{write}exit {code}"));
    members["feedback"] = json!(path);
    run(sandbox, members)
}

#[test]
fn the_feedback_decides_about_a_job_that_exits_with_0() {
    for (text, complaint) in [
        (Some(r#"{"steps": [1, 2]}"#), None),
        (Some(r#"{"error": null}"#), None),
        (Some(r#"{"error": "the layer is not there"}"#), Some(ERROR)),
        (Some(r#"{"error": {"type": "X"}, "steps": []}"#), Some(ERROR)),
        (None, Some(MISSING)),
        (Some("done"), Some(UNREADABLE)),
        (Some("[]"), Some(UNREADABLE)),
        (Some(r#"{"error": null"#), Some(UNREADABLE)),
    ] {
        let sandbox = Sandbox::new();
        sandbox.add_sensitive("-P survey", "API_KEY", "value-1");
        let ended = told(&sandbox, text, 0);
        let outcome = &report(&sandbox)["outcome"];
        match complaint {
            None => {
                ended.success();
                assert_eq!(*outcome, json!({"kind": "succeeded"}), "{text:?}");
            }
            Some(complaint) => {
                ended.fails(1);
                let expected = json!({"kind": "failed", "job_exit_code": 0, "message": complaint});
                assert_eq!(*outcome, expected, "{text:?}");
            }
        }
    }
}

#[test]
fn a_file_from_before_is_no_feedback_of_this_run() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "value-1");
    sandbox.write("feedback.json", r#"{"error": null}"#);
    told(&sandbox, None, 0).fails(1);
    assert_eq!(report(&sandbox)["outcome"]["message"], MISSING);
    // Written again, with the same content, it counts.
    told(&sandbox, Some(r#"{"error": null}"#), 0).success();
}

#[test]
fn another_exit_code_stays_whatever_the_feedback_says() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "value-1");
    for text in [None, Some(r#"{"error": "x"}"#), Some("{}"), Some("?")] {
        told(&sandbox, text, 9).fails(9);
        let expected = json!({"kind": "failed", "job_exit_code": 9});
        assert_eq!(report(&sandbox)["outcome"], expected);
    }
}

/// Runs a script whose standard output is its feedback; returns the published one.
fn feedback_of(sandbox: &Sandbox, text: &str, more: Json) -> String {
    let path = sandbox.path("feedback.json");
    let mut members = script(&format!("{{ {text}; }} > feedback.json"));
    members["feedback"] = json!(path);
    for (key, value) in more.as_object().unwrap() {
        members[key] = value.clone();
    }
    // The orchestrator's own is passed on by the settings.
    let settings = sandbox.write("settings.toml", "[environment]\npass = [\"ORCHESTRATOR_*\"]");
    let mut command = run_command(sandbox, members, &["--settings", settings.to_str().unwrap()]);
    command.env("ORCHESTRATOR_TOKEN", "orchestrators-token");
    let ended = end(command);
    assert!(ended.code <= 1, "{}", ended.stderr);
    fs::read_to_string(path).unwrap()
}

#[test]
fn what_is_masked_and_what_is_not() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "the-api-key");
    let crs = ["secret", "add", "CRS", "-P", "survey", "--not-sensitive"];
    sandbox.run_with(crs, "EPSG:4326").success();
    let service = "[ninja]\nhost=db.example\nport=5433\ndbname=fieldsurvey\nuser=worker\n\
        password=the-password\nsslpassword=the-key-password\n\
        oauth_client_secret=the-client-secret\nscram_client_key=the-client-key\n\
        scram_server_key=the-server-key\napplication_name=survey-app\n";
    let add = ["secret", "add-service", "-P", "survey", "--from-file", "-"];
    sandbox.run_with(add, service).success();
    let members = json!({
        "env": {"WORKER_TOKEN": "the-workers-token", "PLAIN": "a-plain-value"},
        "mask_env": ["WORKER_TOKEN", "ORCHESTRATOR_TOKEN", "NOT_THERE"],
    });
    let text = "echo '{'; for line in $(cat $PGSERVICEFILE) $API_KEY $CRS $WORKER_TOKEN $PLAIN
        do echo \"  \\\"$line\\\": \\\"$line\\\",\"; done
        echo '  \"orchestrators-token\": \"orchestrators-token\"'; echo '}'";
    let lines = |keys_and_values: &[(&str, &str)]| {
        let lines: Vec<String> = keys_and_values
            .iter()
            .map(|(key, value)| format!("  \"{key}\": \"{value}\""))
            .collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    };
    // The keys stay what they are.
    let expected = lines(&[
        ("[ninja]", "[ninja]"),
        ("host=db.example", "host=db.example"),
        ("port=5433", "port=5433"),
        ("dbname=fieldsurvey", "dbname=fieldsurvey"),
        ("user=worker", "user=worker"),
        ("password=the-password", "password=***"),
        ("sslpassword=the-key-password", "sslpassword=***"),
        ("oauth_client_secret=the-client-secret", "oauth_client_secret=***"),
        ("scram_client_key=the-client-key", "scram_client_key=***"),
        ("scram_server_key=the-server-key", "scram_server_key=***"),
        ("application_name=survey-app", "application_name=survey-app"),
        ("the-api-key", "***"),
        ("EPSG:4326", "EPSG:4326"),
        ("the-workers-token", "***"),
        ("a-plain-value", "a-plain-value"),
        ("orchestrators-token", "***"),
    ]);
    assert_eq!(feedback_of(&sandbox, text, members), expected);
    assert_eq!(report(&sandbox)["outcome"], json!({"kind": "succeeded"}));
}

#[test]
fn however_the_job_ends() {
    for (ending, code, kind) in [
        ("exit 9", 9, "failed"),
        ("kill -KILL $$", 137, "signalled"),
        ("sleep 1000", 124, "timed_out"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.add_sensitive("-P survey", "API_KEY", "the-api-key");
        let path = sandbox.path("feedback.json");
        let mut members = script(&format!("echo \"[\\\"$API_KEY\\\"]\" > feedback.json; {ending}"));
        members["feedback"] = json!(path);
        if kind == "timed_out" {
            members["timeout_s"] = json!(0.5);
        }
        run(&sandbox, members).fails(code);
        assert_eq!(report(&sandbox)["outcome"]["kind"], kind);
        assert_eq!(fs::read_to_string(path).unwrap(), "[\"***\"]\n", "{ending}");
    }
}

#[test]
fn what_is_no_json_is_masked_as_text() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "the-api-key");
    let text = "printf 'error: %s\\n' \"$API_KEY\"";
    assert_eq!(feedback_of(&sandbox, text, json!({})), "error: ***\n");
    assert_eq!(report(&sandbox)["outcome"]["message"], UNREADABLE);
    // Too large to be read as a whole, though it is JSON.
    let text = "echo '{\"a\": \"'; head -c 16777216 /dev/zero | tr '\\0' x; echo \"$API_KEY\\\"}\"";
    let masked = feedback_of(&sandbox, text, json!({}));
    assert_eq!(masked, format!("{{\"a\": \"\n{}***\"}}\n", "x".repeat(16_777_216)));
    assert_eq!(report(&sandbox)["outcome"]["message"], UNREADABLE);
}

/// No run touches what it has nothing to mask in.
#[test]
fn without_values_the_file_stays_as_the_job_made_it() {
    let sandbox = Sandbox::new();
    let crs = ["secret", "add", "CRS", "-P", "survey", "--not-sensitive"];
    sandbox.run_with(crs, "EPSG:4326").success();
    let mut members = script("echo '{}' > feedback.json; stat -c %i feedback.json > inode");
    let path = sandbox.path("feedback.json");
    members["feedback"] = json!(path);
    run(&sandbox, members).success();
    let inode = fs::read_to_string(sandbox.path("inode")).unwrap();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert_eq!(inode.trim(), std::os::unix::fs::MetadataExt::ino(&metadata).to_string());
}

#[test]
fn a_job_that_writes_none_or_does_not_start_leaves_the_old_file() {
    for (command, code) in [("true", 1), ("no-such-program", 127)] {
        for before in [Some("{\"old\": 1}"), None] {
            let sandbox = Sandbox::new();
            sandbox.add_sensitive("-P survey", "API_KEY", "the-api-key");
            let path = sandbox.path("out/feedback.json");
            fs::create_dir(sandbox.path("out")).unwrap();
            if let Some(text) = before {
                sandbox.write("out/feedback.json", text);
            }
            run(&sandbox, json!({"command": [command], "feedback": path})).fails(code);
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), before, "{command}");
            let files = fs::read_dir(sandbox.path("out")).unwrap().count();
            assert_eq!(files, usize::from(before.is_some()), "{command}");
        }
    }
}

/// A runner that is root must not write where the job's links lead.
#[test]
fn a_link_of_the_job_is_not_followed() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "the-api-key");
    let text = "{\"x\": \"the-api-key\"}";
    for attack in [
        "ln -sf ../victim/feedback.json feedback.json",
        "cd ..; mv out moved; ln -s victim out",
        "cd ..; rm -r out; ln -s victim out",
        "rm feedback.json; mkfifo feedback.json",
        "rm feedback.json; mkdir feedback.json",
    ] {
        drop(fs::remove_dir_all(sandbox.path("moved")));
        drop(fs::remove_file(sandbox.path("out")));
        drop(fs::remove_dir_all(sandbox.path("out")));
        fs::create_dir(sandbox.path("out")).unwrap();
        fs::DirBuilder::new().recursive(true).create(sandbox.path("victim")).unwrap();
        sandbox.write("victim/feedback.json", text);
        let mut members = script(&format!("cd out; {attack}"));
        members["feedback"] = json!(sandbox.path("out/feedback.json"));
        run(&sandbox, members).fails(1);
        assert_eq!(report(&sandbox)["outcome"]["message"], UNREADABLE, "{attack}");
        let victim = fs::read_to_string(sandbox.path("victim/feedback.json")).unwrap();
        assert_eq!(victim, text, "{attack}");
        assert_eq!(fs::read_dir(sandbox.path("victim")).unwrap().count(), 1, "{attack}");
    }
}
