//! The report's form, as others are told it.

use serde_json::{Value as Json, json};

use super::*;

/// The committed schema is the one that the type gives. `UPDATE=1 cargo test` writes it anew.
#[test]
fn the_schema_in_config_is_the_types() {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Report>();
    schema.insert("$id".to_owned(), "urn:qgis-secrets:report:1".into());
    schema.insert("title".to_owned(), "qgis-secrets report, version 1".into());
    let mut schema = schema.to_value();
    // What comes with its cause stands together, whatever the event.
    schema["if"] = json!({"properties": {"event": {"const": "ended"}}});
    schema["then"] = json!({"required": ["outcome", "exit_code", "ended_at"]});
    absent_is_not_null(&mut schema);
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/report.schema.json");
    if std::env::var_os("UPDATE").is_some() {
        use std::io::Write as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text);
}

/// A member that may be absent is never `null`, which the derive doesn't know.
fn absent_is_not_null(schema: &mut Json) {
    let is_null = |json: &Json| *json == json!("null") || *json == json!({"type": "null"});
    if let Some(required) = schema.get("required").cloned()
        && let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut)
    {
        let required: Vec<&str> =
            required.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for (_, member) in properties.iter_mut().filter(|(name, _)| !required.contains(&&***name)) {
            let member = member.as_object_mut().unwrap();
            for list in ["type", "anyOf"] {
                let Some(Json::Array(types)) = member.get_mut(list) else { continue };
                types.retain(|json| !is_null(json));
                let [only] = types.as_slice() else { continue };
                let only = only.clone();
                member.remove(list);
                match only {
                    Json::Object(only) => member.extend(only),
                    word => drop(member.insert(list.into(), word)),
                }
            }
        }
    }
    match schema {
        Json::Object(members) => members.values_mut().for_each(absent_is_not_null),
        Json::Array(elements) => elements.iter_mut().for_each(absent_is_not_null),
        _ => {}
    }
}

/// `kind` in reports and in summaries is one word.
#[test]
fn the_words_of_outcomes_are_those_of_reports() {
    let by = String::new;
    for outcome in [
        Outcome::Succeeded,
        Outcome::Failed { job_exit_code: 1, message: None },
        Outcome::killed(9),
        Outcome::OutOfMemory { job_exit_code: 137 },
        Outcome::TimedOut { ended_by: by() },
        Outcome::Cancelled { by: by(), ended_by: by(), job_exit_code: 1 },
        Outcome::NotStarted { reason: "io".into(), message: by() },
    ] {
        assert_eq!(serde_json::to_value(&outcome).unwrap()["kind"], outcome.word());
    }
}

/// What a job's words are repeated in is masked.
#[test]
fn messages_of_outcomes_are_masked() {
    fn mask(text: &str) -> Cow<'_, str> {
        text.replace("value", "***").into()
    }
    let message = || "a value".to_owned();
    for outcome in [
        Outcome::NotStarted { reason: "io".into(), message: message() },
        Outcome::Failed { job_exit_code: 0, message: Some(message()) },
    ] {
        assert_eq!(outcome.masked(mask).message(), Some("a ***"));
    }
}
