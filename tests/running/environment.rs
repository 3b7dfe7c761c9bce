//! The job's environment: exactly the names it should have, and their values byte for byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use serde_json::{Value as Json, json};

use super::{run_command, run_with_settings, script};
use crate::support::{Sandbox, end};

type Variables = BTreeMap<String, Vec<u8>>;

/// What the runner sets itself.
const OWN: [&str; 5] =
    ["JOB_ID", "PGSERVICEFILE", "PGSYSCONFDIR", "QGIS_CUSTOM_CONFIG_PATH", "XDG_RUNTIME_DIR"];

/// What a run's job was started with, as the kernel has it.
fn arrived(
    sandbox: &Sandbox,
    settings: &str,
    env: &Json,
    parent: impl FnOnce(&mut Command),
) -> Variables {
    let settings = sandbox.write("settings.toml", settings);
    let copy = sandbox.path("environ");
    let members = json!({"command": ["cp", "/proc/self/environ", &copy], "env": env});
    let options = ["--settings", settings.to_str().unwrap()];
    let mut command = run_command(sandbox, members, &options);
    parent(&mut command);
    end(command).success();
    let text = fs::read(copy).unwrap();
    let text = text.strip_suffix(b"\0").expect("each string ends in NUL");
    let mut variables = Variables::new();
    for string in text.split(|byte| *byte == 0) {
        let at = string.iter().position(|byte| *byte == b'=').unwrap();
        let name = String::from_utf8(string[..at].to_vec()).unwrap();
        let twice = variables.insert(name, string[at + 1..].to_vec());
        assert_eq!(twice, None, "a variable stands twice");
    }
    variables
}

fn names(variables: &Variables) -> Vec<&str> {
    variables.keys().map(String::as_str).collect()
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.into_iter().chain(OWN).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_clean_environment_has_exactly_these_names() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let variables = arrived(&sandbox, "", &json!({"LABEL": "x"}), |command| {
        command.env("UNKNOWN_TOOL", "x").env("LC_TIME", "C").env("QGIS_DEBUG", "1");
    });
    let expected = sorted(["API_KEY", "HOME", "LABEL", "LANG", "LC_TIME", "PATH", "QGIS_DEBUG"]);
    assert_eq!(names(&variables), expected);
    assert_eq!(variables["JOB_ID"], b"job-1");
}

#[test]
fn the_later_source_wins() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "LC_ALL", "the-secret");
    sandbox.add("-P survey", "API_KEY", "the-secret");
    let env = json!({
        "LC_ALL": "descriptor", "API_KEY": "descriptor", "LC_TIME": "descriptor",
        "XDG_RUNTIME_DIR": "/descriptor", "JOB_ID": "descriptor",
    });
    let settings = "[environment]\npass = ['PATH', 'LC_*', 'JOB_ID']\n\
                    trust = ['XDG_RUNTIME_DIR', 'JOB_ID']";
    let variables = arrived(&sandbox, settings, &env, |command| {
        for name in ["LC_ALL", "LC_TIME", "LC_NAME", "API_KEY", "JOB_ID"] {
            command.env(name, "parent");
        }
    });
    assert_eq!(variables["LC_NAME"], b"parent");
    assert_eq!(variables["LC_TIME"], b"descriptor");
    assert_eq!(variables["LC_ALL"], b"the-secret");
    assert_eq!(variables["API_KEY"], b"the-secret");
    assert_eq!(variables["JOB_ID"], b"job-1");
    assert!(variables["XDG_RUNTIME_DIR"].starts_with(b"/dev/shm/qgis-secrets-"));
}

/// A parent that holds credentials.
fn with_credentials(command: &mut Command) {
    for name in [
        "PGHOST",
        "PGPASSWORD",
        "PGSERVICE",
        "PGPASSFILE",
        "VAULT_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "OP_SERVICE_ACCOUNT_TOKEN",
        "GITHUB_TOKEN",
        "SECRET_KEY",
        "QGIS_SECRETS_LOG",
        "CREDENTIALS_DIRECTORY",
    ] {
        command.env(name, "error");
    }
    command.env("CUSTOM", "kept").env("QGIS_DEBUG", "1");
}

#[test]
fn credentials_of_the_parent_never_arrive() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let clean = arrived(&sandbox, "", &json!({}), with_credentials);
    let expected = ["API_KEY", "HOME", "LANG", "PATH", "QGIS_DEBUG"];
    assert_eq!(names(&clean), sorted(expected));

    let image = "[environment]\ninherit = 'image'";
    let image = arrived(&sandbox, image, &json!({}), with_credentials);
    assert_eq!(names(&image), sorted(expected.into_iter().chain(["CUSTOM"])));

    let prefix = "[environment]\npass = ['PATH', 'PG*', 'VAULT_*', 'AWS_*', 'QGIS_SECRETS_*']";
    let prefix = arrived(&sandbox, prefix, &json!({}), with_credentials);
    assert_eq!(names(&prefix), sorted(["API_KEY", "PATH"]));
}

#[test]
fn an_exact_name_in_the_settings_passes() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let settings = "[environment]\npass = ['PATH', 'PGHOST', 'AWS_PROFILE']";
    let variables = arrived(&sandbox, settings, &json!({}), with_credentials);
    assert_eq!(names(&variables), sorted(["API_KEY", "AWS_PROFILE", "PATH", "PGHOST"]));
}

#[test]
fn values_arrive_byte_for_byte() {
    let sandbox = Sandbox::new();
    // The longest string that the kernel takes, name and `=` included.
    let longest = "é".repeat((131_071 - "LONGEST=".len()) / 2);
    let values = [
        ("LINES", "first\nsecond\n\nlast"),
        ("LINE_END", "ends in a line break\n"),
        ("CRLF", "a\r\nb\r\n"),
        ("QUOTES", "a 'single', a \"double\", a `tick`, $HOME \\n $(true) %s !"),
        ("UNICODE", "Zürich — 東京 — \u{1f5fa}\u{fe0f} — a\u{301} — \u{feff}x"),
        ("CONTROL", "\u{1}\u{7f}\t\u{1b}[31m"),
        ("EQUALS", "=a=b="),
        ("BLANKS", "  both ends  "),
        ("LONGEST", &longest),
    ];
    for (name, value) in values {
        sandbox.add("-P survey", name, value);
    }
    // A parent's value need not be text.
    let raw = OsStr::from_bytes(b"\xff\xfe raw");
    let env = json!({"FROM_DESCRIPTOR": "a\n'\"ü"});
    let variables = arrived(&sandbox, "", &env, |command| {
        command.env("LC_RAW", raw);
    });
    for (name, value) in values {
        assert!(variables[name] == value.as_bytes(), "{name} was changed");
    }
    assert_eq!(variables["LC_RAW"], raw.as_bytes());
    assert_eq!(variables["FROM_DESCRIPTOR"], "a\n'\"ü".as_bytes());
}

#[test]
fn a_descriptor_sets_refused_names_only_where_the_settings_trust_it() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let mut members = script("printf %s \"$PYTHONPATH\"");
    members["env"] = json!({"PYTHONPATH": "/opt/worker"});
    let ended = run_with_settings(&sandbox, "", members.clone());
    let ended = ended.error(65, "variable_refused", "`PYTHONPATH` is refused: it makes");
    assert!(!ended.stderr.contains("/opt/worker"), "{}", ended.stderr);
    let trust = "[environment]\ntrust = ['PYTHONPATH']";
    let ended = run_with_settings(&sandbox, trust, members).success();
    assert_eq!(ended.stdout, "/opt/worker");
    // Trust is for one exact name.
    let mut members = script("true");
    members["env"] = json!({"PYTHONHOME": "/x"});
    run_with_settings(&sandbox, trust, members).error(65, "variable_refused", "PYTHONHOME");
}

#[test]
fn the_service_file_is_there_and_empty_without_services() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let ended = sandbox
        .shell(
            "stat -c '%a %s %F' \"$PGSERVICEFILE\"
             stat -c '%a %F' \"$(dirname \"$PGSERVICEFILE\")\" \"$PGSYSCONFDIR\" \
                 \"$QGIS_CUSTOM_CONFIG_PATH\" \"$XDG_RUNTIME_DIR\"
             ls -A \"$PGSYSCONFDIR\" \"$QGIS_CUSTOM_CONFIG_PATH\" \"$XDG_RUNTIME_DIR\" | grep -v :
             for path in \"$PGSERVICEFILE\" \"$PGSYSCONFDIR\" \"$QGIS_CUSTOM_CONFIG_PATH\" \
                 \"$XDG_RUNTIME_DIR\"; do dirname \"$path\"; done | sort -u",
        )
        .success();
    let lines: Vec<&str> = ended.stdout.lines().filter(|line| !line.is_empty()).collect();
    let [file, workspace, sysconf, qgis, run, parent] = lines.as_slice() else {
        panic!("not one workspace, or files in its directories: {}", ended.stdout)
    };
    assert_eq!(*file, "600 0 regular empty file");
    assert_eq!([*workspace, *qgis, *run], ["700 directory"; 3]);
    assert_eq!(*sysconf, "500 directory");
    assert!(parent.starts_with("/dev/shm/qgis-secrets-"), "{parent}");
}

#[test]
fn the_service_file_holds_every_service_in_canonical_form() {
    let sandbox = Sandbox::new();
    sandbox.add_service("-O org", "water", "org_role", "org password's");
    sandbox.add_service("-P survey", "ninja", "project_role", "project-password");
    sandbox.add_service("-P survey -U ada", "ninja", "ada_role", "ada=password");
    let section = "\u{feff}; of the cadastre\r\n  [cadastre]\r\nhost = db.example\r\n\
                   port=6432\r\n\r\ndbname=land\r\nuser=reader\r\npassword=p4ss word\r\n";
    let arguments = ["secret", "add-service", "-P", "survey", "--from-file", "-"];
    sandbox.run_with(arguments, section).success();
    assert_eq!(
        sandbox.printed("cat \"$PGSERVICEFILE\"; stat -c %a \"$PGSERVICEFILE\""),
        "[cadastre]\nhost=db.example\nport=6432\ndbname=land\nuser=reader\npassword=p4ss word\n\
         [ninja]\nhost=localhost\nuser=ada_role\npassword=ada=password\n\
         [water]\nhost=localhost\nuser=org_role\npassword=org password's\n\
         600\n"
    );
}
