//! The settings file: its sample, its faults, its defaults.

use super::*;

fn parse(text: &str) -> Result<Settings, InvalidSettings> {
    let places = Places::new(&|name: &str| (name == "HOME").then(|| "/home/ada".into()));
    Settings::parse(Some((Path::new("s.toml"), text)), &Overrides::default(), &places)
}

const SAMPLE: &str = include_str!("../../config/settings.toml");

/// `#key = value` is a setting with its default or an example; `# text` is prose.
fn uncommented() -> String {
    let mut text = String::new();
    for line in SAMPLE.lines() {
        let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
        text.push_str(setting.unwrap_or(line));
        text.push('\n');
    }
    text
}

#[test]
fn the_sample_parses_as_it_is_and_with_every_setting_switched_on() {
    parse(SAMPLE).unwrap();
    // A store is at one place.
    let without = |words: &str| {
        let lines = uncommented();
        let lines =
            lines.lines().filter(|line| !line.contains(words)).map(|line| line.to_owned() + "\n");
        parse(&lines.collect::<String>())
    };
    if cfg!(feature = "service") {
        let settings = without("qgis-secrets/store.db\"").unwrap();
        assert!(settings.store.place.file().is_none());
    }
    let settings = without("postgres = ").unwrap();
    let error = parse(&uncommented()).unwrap_err().to_string();
    assert!(error.contains("stands beside store.path"), "{error}");
    assert!(settings.tasks.contains_key("package"));
    assert_eq!(settings.environment.pass, DEFAULT_PASS);
    assert_eq!(settings.report.deadline, Duration::from_secs(30));
}

/// Every key of the type stands in the sample, and so every key is documented.
#[test]
fn the_sample_lists_every_setting() {
    let schema = serde_json::to_value(schemars::schema_for!(File)).unwrap();
    let sample: toml::Table = toml::from_str(&uncommented()).unwrap();
    let sections = schema["properties"].as_object().unwrap();
    assert_eq!(sections.len(), 11);
    for (section, reference) in sections {
        let name = reference["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let keys = schema["$defs"][name]["properties"].as_object().unwrap();
        for key in keys.keys() {
            assert!(sample[section].get(key).is_some(), "{section}.{key} is not in the sample");
        }
    }
    let keys = schema["$defs"]["RawService"]["properties"].as_object().unwrap();
    for key in keys.keys() {
        let service = &sample["backend"]["service"];
        assert!(service.get(key).is_some(), "backend.service.{key} is not in the sample");
    }
}

#[test]
fn defaults_stand_below_home() {
    let settings = parse("").unwrap();
    assert_eq!(
        settings.store.place.file().unwrap(),
        Path::new("/home/ada/.local/share/qgis-secrets/store.db")
    );
    assert_eq!(settings.store.key, Path::new("/home/ada/.local/share/qgis-secrets/store.key"));
    assert!(settings.job.commands);
    let nowhere = Places::new(&|_: &str| None);
    let error = Settings::parse(None, &Overrides::default(), &nowhere).unwrap_err();
    assert!(matches!(error, InvalidSettings::NoHome));
}

#[test]
fn options_beat_the_file() {
    let overrides = Overrides {
        store: Some("/x/s.db".into()),
        exit_codes: Some(ExitCodes::Distinct),
        ..Overrides::default()
    };
    let text = "store.path='/y/s.db'\nsupervision.exit_codes='job'";
    let places = Places::new(&|_: &str| None);
    let settings = Settings::parse(Some((Path::new("s"), text)), &overrides, &places).unwrap();
    assert_eq!(settings.store.place.file().unwrap(), Path::new("/x/s.db"));
    assert_eq!(settings.store.key, Path::new("/x/s.key"));
    assert_eq!(settings.supervision.exit_codes, ExitCodes::Distinct);
}

#[test]
fn faults_name_their_line_and_repeat_no_value() {
    for (text, message) in [
        ("[store]\npaht = 'hunter2'", "line 2: unknown setting `paht`; expected one of `path`"),
        ("[supervision]\ngrace_s = 'hunter2'", "line 2: expected f64"),
        ("\n\n[job]\nmax_bytes = 0", "`job.max_bytes` must be at least 1"),
        ("hunter2 = = 1", "line 1: not valid TOML"),
        ("[environment]\ninherit = 'hunter2'", "line 2: "),
        ("[supervision]\ngrace_s = -1", "`supervision.grace_s` must be seconds"),
        ("[supervision]\ngrace_s = inf", "`supervision.grace_s` must be seconds"),
        ("[environment]\npass = ['QGIS_SECRETS_JOB_TOKEN']", "which no job gets"),
        ("[backend]\nkind = 'hunter2'", "line 2: "),
        ("[backend.service]\nurl = 3", "line 2: expected a URL, or a list of URLs"),
        ("[backend.service]\nurl = ['hunter2']", "an address of the secrets service"),
        ("[workspace]\npath = ['tmp']", "`workspace.path` holds a path that is not absolute"),
        ("[audit]\nfile = 'hunter2'", "`audit.file` holds a path that is not absolute"),
        (
            "[report]\ntermination_log = 'hunter2'",
            "`report.termination_log` holds a path that is not absolute",
        ),
        ("[report]\nurl = 'hunter2'", "`report.url` is no http:// or https:// URL"),
        ("[tasks.t]\ncommand = []", "task `t`: its `command` is empty"),
        ("[tasks.t]\ncommand = ['a']\nshell = true", "line 3: unknown setting `shell`"),
        ("[pg_service]\noldest_libpq = 140000", "line 2: "),
        ("[pg_service]\noldest_libpq = 140", "`pg_service.oldest_libpq` is a major version"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(message), "{text}\n  gave {error}\n  not  {message}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
