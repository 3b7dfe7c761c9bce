//! The report file: what it says, and that it never says a value.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value as Json, json};

use super::{report, run, script};
use crate::support::Sandbox;

/// The members of an object, in their order.
fn keys(object: &Json) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `2026-01-02T03:04:05.678Z`, the fraction as short as it can be.
#[track_caller]
fn assert_timestamp(text: &Json) {
    let text = text.as_str().unwrap();
    let (seconds, rest) = text.split_at(19);
    let shape: String = seconds.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00", "{text}");
    assert!(rest.ends_with('Z') && rest.len() <= 5, "{text}");
}

#[test]
fn a_run_is_told_without_values() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-O org", "API_KEY", "organization-value");
    sandbox.add_sensitive("-O org -U ada", "API_KEY", "member-value");
    sandbox.add_sensitive("-P survey", "API_KEY", "project-value");
    sandbox.add_service("-P survey -U ada", "ninja", "ada_role", "ada-password");
    let crs = ["secret", "add", "CRS", "-P", "survey", "--not-sensitive"];
    sandbox.run_with(crs, "EPSG:4326").success();
    sandbox.write("report.json", "an old one");

    let mut members = script("exit 4");
    members["attempt"] = json!(2);
    members["labels"] = json!({"project_name": "ninja/survey"});
    members["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    members["env"] = json!({"FROM_DESCRIPTOR": "descriptor-value"});
    run(&sandbox, members).fails(4);

    let path = sandbox.path("report.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    for value in [
        "organization-value",
        "member-value",
        "project-value",
        "password",
        "EPSG",
        "ada_role",
        "descriptor-value",
        "exit 4",
    ] {
        assert!(!text.contains(value), "the report holds {value}");
    }
    let report = report(&sandbox);
    assert_eq!(
        keys(&report),
        [
            "backend",
            "containment",
            "ended_at",
            "event",
            "exit_code",
            "job",
            "outcome",
            "output",
            "peak_memory_bytes",
            "program",
            "secrets",
            "stages_us",
            "started_at",
            "version",
            "wipe",
        ]
    );
    assert_eq!(report["version"], 1);
    assert_eq!(report["event"], "ended");
    assert_eq!(report["backend"], "embedded");
    assert_eq!(report["program"], concat!("qgis-secrets ", env!("CARGO_PKG_VERSION")));
    assert_eq!(report["containment"]["workspace"], "memory");
    assert_eq!(report["outcome"], json!({"kind": "failed", "job_exit_code": 4}));
    assert_eq!(
        report["job"],
        json!({
            "id": "job-1", "attempt": 2, "organization": "org", "project": "survey",
            "user": "ada", "labels": {"project_name": "ninja/survey"},
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "program": "sh",
        })
    );
    assert_eq!(
        keys(&report["stages_us"]),
        ["contain", "materialise", "output", "pull", "resolve", "supervise", "wipe"]
    );
    assert_timestamp(&report["started_at"]);
    assert_timestamp(&report["ended_at"]);
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(
        report["wipe"],
        json!({
            "by": "inner", "files_removed": 5, "processes_killed": 0, "verified": true,
        })
    );
    let secrets: Vec<Json> = report["secrets"].as_array().unwrap().clone();
    let facts: Vec<[&Json; 4]> =
        secrets.iter().map(|s| [&s["kind"], &s["key"], &s["level"], &s["sensitive"]]).collect();
    assert_eq!(
        facts,
        [
            [&json!("envvar"), &json!("API_KEY"), &json!("project"), &json!(true)],
            [&json!("envvar"), &json!("CRS"), &json!("project"), &json!(false)],
            [&json!("pgservice"), &json!("ninja"), &json!("project_user"), &json!(true)],
        ]
    );
    let shadowed: Vec<&Json> =
        secrets[0]["shadowed"].as_array().unwrap().iter().map(|s| &s["level"]).collect();
    assert_eq!(shadowed, ["organization_user", "organization"]);
    // The ids are those of the store.
    let list = sandbox.run(["secret", "list", "--format", "json"]).success().stdout;
    for secret in &secrets {
        assert!(list.contains(secret["id"].as_str().unwrap()), "{secret}");
    }
}

#[test]
fn a_run_that_did_not_start_is_told_too() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    run(&sandbox, json!({"command": ["no-such-program"]})).fails(127);
    let told = report(&sandbox);
    assert_eq!(told["outcome"]["kind"], "not_started");
    assert_eq!(told["outcome"]["reason"], "command_not_found");
    assert_eq!(told["exit_code"], 127);
    assert_eq!(told["wipe"]["verified"], true);
    assert_eq!(told["secrets"][0]["key"], "API_KEY");

    run(&sandbox, json!({"project": null})).fails(65);
    let told = report(&sandbox);
    assert_eq!(told["outcome"]["reason"], "job_invalid");
    assert_eq!(told.get("job"), None);
    assert_eq!(told["secrets"], json!([]));
}

#[test]
fn a_report_that_cannot_be_written_changes_no_code() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let job = sandbox.job(script("exit 3"));
    let missing = sandbox.path("no/such/report.json");
    let arguments = ["run".as_ref(), "--report".as_ref(), missing.as_os_str(), job.as_os_str()];
    let ended = sandbox.run(arguments).fails(3);
    assert!(ended.stderr.contains("the report is lost"), "{}", ended.stderr);
}

/// What is no regular file is written to as it is, after what the job wrote there.
#[test]
fn a_report_can_go_where_the_output_goes() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let program = env!("CARGO_BIN_EXE_qgis-secrets");
    let script = format!("{program} exec -P survey --report /dev/stdout -- echo printed > out");
    let mut command = sandbox.command::<&str>([]);
    let environment: Vec<_> =
        command.get_envs().map(|(n, v)| (n.to_owned(), v.unwrap().to_owned())).collect();
    command = std::process::Command::new("sh");
    command.args(["-c", &script]).env_clear().envs(environment).current_dir(sandbox.home());
    crate::support::end(command).success();
    let out = fs::read_to_string(sandbox.path("out")).unwrap();
    let (printed, report) = out.split_once('\n').unwrap();
    assert_eq!(printed, "printed");
    assert_eq!(crate::support::schema::report(report.as_bytes())["event"], "ended");
}

/// A pipe that nobody reads doesn't keep the runner.
#[test]
fn a_report_into_a_pipe_without_a_reader_is_lost_and_said() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let pipe = sandbox.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let report = ["--report".as_ref(), pipe.as_os_str(), "--".as_ref(), "sh".as_ref()];
    let exec = ["exec".as_ref(), "-P".as_ref(), "survey".as_ref()].into_iter().chain(report);
    let ended = sandbox.run(exec.chain(["-c".as_ref(), "exit 3".as_ref()])).fails(3);
    assert!(ended.stderr.contains("the report is lost"), "{}", ended.stderr);
}

/// A job that cleans up its own workspace leaves nothing to complain of.
#[test]
fn a_workspace_that_the_job_removed_is_gone() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    sandbox.shell("rm -r \"$(dirname \"$PGSERVICEFILE\")\"").success();
}

/// A tmpfs below `/dev` is a place for files like any other.
#[test]
fn a_report_can_be_a_new_file_on_dev_shm() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let path = sandbox.memory().join("report.json");
    let exec = ["exec", "-P", "survey", "--report", path.to_str().unwrap(), "--", "true"];
    for _ in 0..2 {
        sandbox.run(exec).success();
        assert_eq!(crate::support::json(&path)["event"], "ended");
    }
    fs::remove_file(path).unwrap();
}

/// `report.termination_log` set to a file below the home directory.
fn with_summary(sandbox: &Sandbox, file: &str, members: Json) -> crate::support::Ended {
    let path = sandbox.path(file);
    let settings = format!("[report]\ntermination_log = '{}'", path.display());
    super::run_with_settings(sandbox, &settings, members)
}

/// The file is a mount in a container: another in its place would not be seen.
#[test]
fn a_summary_is_written_in_place() {
    use std::os::unix::fs::MetadataExt;
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    let path = sandbox.write("termination-log", "x".repeat(5000));
    let number = fs::metadata(&path).unwrap().ino();
    with_summary(&sandbox, "termination-log", script("exit 3")).fails(3);
    let summary = crate::support::json(&path);
    assert_eq!(
        summary,
        json!({"version": 1, "job": "job-1", "attempt": 1, "outcome": "failed", "exit_code": 3,
               "wiped": true})
    );
    let require: Vec<String> = (0..400).map(|n| format!("envvar:NAME_{n:020}")).collect();
    let command = json!({"require": require});
    let ended = with_summary(&sandbox, "termination-log", command).fails(66);
    assert!(!ended.stderr.contains("the summary is lost"), "{}", ended.stderr);
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.len() <= 4096 && metadata.ino() == number, "{metadata:?}");
    let summary = crate::support::json(&path);
    assert_eq!(
        (&summary["outcome"], &summary["reason"]),
        (&json!("not_started"), &json!("secret_missing"))
    );
    let message = summary["message"].as_str().unwrap();
    assert!(message.starts_with("the required secrets envvar:NAME_0"), "{message}");
    let named = summary["missing"].as_array().unwrap().len() as u64;
    assert_eq!(named + summary["more_missing"].as_u64().unwrap(), 400);
}

#[test]
fn a_summary_makes_no_file_and_changes_no_code() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    let ended = with_summary(&sandbox, "not-there", script("exit 3")).fails(3);
    assert!(ended.stderr.contains("the summary is lost"), "{}", ended.stderr);
    assert!(ended.stderr.contains("report.termination_log"), "{}", ended.stderr);
    assert!(!sandbox.path("not-there").exists());
}
