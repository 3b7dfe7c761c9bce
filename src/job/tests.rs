//! The descriptor: what is read, what is refused, and with what words.

use super::*;

const MINIMAL: &str = r#"{"version":1,"id":"j","organization":null,"project":"p","user":null,
    "command":["true"]}"#;

fn policy(tasks: &BTreeMap<String, Template>) -> Policy<'_> {
    Policy { free_commands: true, tasks, timeout: None, grace: Duration::from_secs(10) }
}

fn parse(text: &str) -> Result<Job, InvalidJob> {
    Job::parse(text.as_bytes(), policy(&BTreeMap::new()))
}

/// The minimal descriptor with one member put in or replaced.
fn with(key: &str, value: &str) -> String {
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(MINIMAL).unwrap();
    object.insert(key.to_owned(), serde_json::from_str(value).unwrap());
    serde_json::to_string(&object).unwrap()
}

#[test]
fn a_whole_descriptor() {
    let job = parse(
        r#"{ "version": 1, "id": "7c1e0d52", "attempt": 2,
             "organization": "org-81", "project": "f3b0c442", "user": "u-1204",
             "labels": {"project_name": "ninja/field-survey"},
             "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
             "command": ["qgis_process", "run", "native:buffer", "--", "INPUT=a b"],
             "env": {"QT_QPA_PLATFORM": "offscreen", "T": "x"}, "mask_env": ["T"],
             "working_dir": "/io/project", "timeout_s": 600, "grace_s": 0.5,
             "require": ["pgservice:ninja", "envvar:API_KEY"],
             "feedback": "/io/feedback.json" }"#,
    )
    .unwrap();
    assert_eq!(job.identity.organization.as_ref().unwrap().as_str(), "org-81");
    assert_eq!(job.command[4], "INPUT=a b");
    assert_eq!(job.timeout, Some(Duration::from_secs(600)));
    assert_eq!(job.grace, Duration::from_millis(500));
    assert_eq!(job.require, [Name::pgservice("ninja"), Name::envvar("API_KEY")]);
    assert_eq!((job.attempt, job.identity.owners().len()), (2, 4));
}

#[test]
fn identity_decides_which_levels_are_looked_at() {
    let job = parse(MINIMAL).unwrap();
    assert_eq!(job.identity.owners().len(), 1);
    assert_eq!(
        job.identity.looked_at(),
        "looked at: project (project p); no organization level: `organization` is null; \
         no user-assigned level: `user` is null"
    );
}

#[test]
fn every_fault_has_its_message() {
    let cases: &[(String, &str)] = &[
        (with("comand", "[]"), "unknown key `comand`; the keys are `version`, `id`"),
        (with("p4ss word", "1"), "unknown key; the keys are"),
        (with("version", "2"), "`version` is 2"),
        (with("version", "\"1\""), "at `version`: expected u64"),
        (with("command", "[]"), "`command`: is empty"),
        (with("command", "[\"\"]"), "`command`: the program's name is empty"),
        (with("command", "[\"a\\u0000b\"]"), "`command`: holds a NUL byte"),
        (with("command", "\"ls -l\""), "at `command`: expected a sequence"),
        (with("task", "\"t\""), "give either `command` or `task`, not both"),
        (with("params", "{}"), "`params` goes with `task`"),
        (with("attempt", "0"), "`attempt`: attempts count from 1"),
        (with("id", "\"\""), "`id`: an id cannot be empty"),
        (with("project", "\"a/../b\""), "`project`: an id has no `.` or `..`"),
        (with("user", "\"a b\""), "`user`: an id holds only"),
        (with("organization", "\"\""), "`organization`: an id cannot be empty"),
        (with("timeout_s", "0"), "`timeout_s`: a timeout of 0"),
        (with("timeout_s", "-1"), "`timeout_s`: give seconds"),
        (with("timeout_s", "1e300"), "`timeout_s`: give seconds"),
        (with("timeout_s", "null"), "at `timeout_s`: expected f64"),
        (with("working_dir", "\"io\""), "`working_dir`: must be an absolute path"),
        (with("working_dir", "\"/io/../etc\""), "`working_dir`: must not hold `..`"),
        (with("feedback", "\"f.json\""), "`feedback`: must be an absolute path"),
        (with("require", "[\"API_KEY\"]"), "`require`: write each as envvar:NAME"),
        (with("env", "{\"A=B\":\"\"}"), "`env`: a variable's name"),
        (with("env", "{\"A\":\"hunter2\\u0000\"}"), "`env`: a variable's value"),
        (with("env", "{\"A\":7}"), "at `env.A`: expected a string"),
        (with("traceparent", "\"00-x\""), "`traceparent`: not a W3C traceparent"),
        (MINIMAL.replace("\"user\":null,", ""), "missing key `user` (null says"),
        (MINIMAL.replace("\"organization\":null,", ""), "missing key `organization` (null"),
        (MINIMAL.replace("\"project\":\"p\",", ""), "missing key `project`"),
        (MINIMAL.replace("\"command\":[\"true\"]", "\"env\":{}"), "give either `command` or"),
        (MINIMAL.replace("\"id\":\"j\"", "\"id\":\"j\",\"id\":\"k\""), "duplicate key `id`"),
        (with("env", "{}").replace("{}", "{\"A\":\"1\",\"A\":\"2\"}"), "a key stands twice"),
        (format!("{MINIMAL} x"), "not valid JSON at line 2, column 25"),
        (MINIMAL[..40].to_owned(), "the text ends in the middle"),
        (String::new(), "the text ends in the middle"),
        ("\n\n  [1]".to_owned(), "line 3, column 3: a descriptor is a JSON object"),
        (MINIMAL.replace("\"version\":1,", "\"version\":2,\"new\":1,"), "`version` is 2"),
    ];
    for (text, message) in cases {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(message), "{text}\n  gave {error}\n  not  {message}");
    }
}

#[test]
fn an_error_never_repeats_a_value() {
    for text in [
        with("command", "\"hunter2\""),
        with("attempt", "\"hunter2\""),
        with("env", "{\"A\":[\"hunter2\"]}"),
        with("env", "\"hunter2, expected hunter2\""),
        with("traceparent", "\"hunter2\""),
        with("hunter2: expected", "0"),
        MINIMAL.replace("null", "hunter2"),
        MINIMAL.replace("\"j\"", "\"hunter2"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn bytes_that_are_not_text() {
    let error = Job::parse(b"{\"id\":\"\xff\"}", policy(&BTreeMap::new())).unwrap_err();
    assert!(matches!(error, InvalidJob::Syntax { .. }), "{error:?}");
}

#[test]
fn tasks_replace_commands() {
    let raw: crate::task::RawTemplate =
        toml::from_str("command=['pack','{file}']\nparams.file.pattern='[a-z]+'").unwrap();
    let tasks = BTreeMap::from([("package".to_owned(), Template::try_from(raw).unwrap())]);
    let strict = Policy { free_commands: false, ..policy(&tasks) };
    let text = MINIMAL
        .replace("\"command\":[\"true\"]", "\"task\":\"package\",\"params\":{\"file\":\"x\"}");
    assert_eq!(Job::parse(text.as_bytes(), strict).unwrap().command, ["pack", "x"]);
    let refused = |text: &str| Job::parse(text.as_bytes(), strict).unwrap_err().to_string();
    assert_eq!(
        refused(MINIMAL),
        "the settings don't allow `command`; use one of their tasks: package"
    );
    assert!(refused(&text.replace("\"x\"", "\"-\"")).contains("begins with `-`"));
    assert!(refused(&text.replace("\"package\"", "\"nope\"")).contains("no task `nope`"));
}

/// The committed schema is the one that the type gives. `UPDATE=1 cargo test` writes it anew.
#[test]
fn the_schema_in_config_is_the_types() {
    let mut schema = schemars::schema_for!(Descriptor);
    schema.insert("$id".to_owned(), "urn:qgis-secrets:job:1".into());
    schema.insert("title".to_owned(), "qgis-secrets job descriptor, version 1".into());
    // What the derive cannot say: null is a value, but the key must be there; one of two keys.
    let required = schema.get_mut("required").unwrap().as_array_mut().unwrap();
    required.extend(["organization".into(), "user".into()]);
    let one = |key: &str| serde_json::json!({ "required": [key] });
    schema.insert("oneOf".to_owned(), serde_json::json!([one("command"), one("task")]));
    for (_, member) in schema.get_mut("properties").unwrap().as_object_mut().unwrap() {
        let member = member.as_object_mut().unwrap();
        if member.get("default").is_some_and(serde_json::Value::is_null) {
            member.remove("default");
        }
    }
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/job.schema.json");
    if std::env::var_os("UPDATE").is_some() {
        use std::io::Write as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text);
}

/// Every example in `config/jobs` is a descriptor, with the tasks of the settings' sample.
#[test]
fn the_examples_parse() {
    let raw: crate::task::RawTemplate =
        toml::from_str("command=['pack','{file}']\nparams.file.pattern='.+'").unwrap();
    let tasks = BTreeMap::from([("package".to_owned(), Template::try_from(raw).unwrap())]);
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/config/jobs");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap();
        let parsed = Job::parse(&text, policy(&tasks));
        assert!(parsed.is_ok(), "{}: {parsed:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 3);
}
