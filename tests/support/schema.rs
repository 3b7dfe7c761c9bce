//! Checks JSON against a committed JSON Schema, more strictly than a receiver would: a member that
//! the schema doesn't know is a fault, and so is a keyword that this validator doesn't know.

use std::fs;
use std::sync::OnceLock;

use serde_json::Value as Json;

/// Keywords that say nothing about an instance.
const SILENT: [&str; 7] = ["$id", "$schema", "$defs", "title", "description", "format", "default"];

/// Reads a report, which must be one by the schema.
#[track_caller]
pub(crate) fn report(text: &[u8]) -> Json {
    let report = serde_json::from_slice(text).unwrap();
    assert_report(&report);
    report
}

/// Fails unless `report` is one by `config/report.schema.json`.
#[track_caller]
pub(crate) fn assert_report(report: &Json) {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    let root = SCHEMA.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/report.schema.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    });
    if let Err(fault) = check(root, root, report, "report") {
        panic!("{fault}\n{report:#}");
    }
}

fn check(root: &Json, schema: &Json, instance: &Json, at: &str) -> Result<(), String> {
    let fault = |what: String| Err(format!("{at}: {what}"));
    let mut known = Vec::new();
    members(root, schema, instance, &mut known);
    let foreign = |name: &&String| !known.is_empty() && !known.contains(name);
    if let Some(name) = instance.as_object().and_then(|object| object.keys().find(foreign)) {
        return fault(format!("the schema doesn't know `{name}`"));
    }
    rules(root, schema, instance, at)
}

/// The members that a schema names, through references and the alternative that fits.
fn members<'s>(root: &'s Json, schema: &'s Json, instance: &Json, known: &mut Vec<&'s String>) {
    let Some(schema) = schema.as_object() else { return };
    known.extend(
        schema.get("properties").and_then(Json::as_object).into_iter().flatten().map(|m| m.0),
    );
    if let Some(target) = schema.get("$ref") {
        members(root, referred(root, target), instance, known);
    }
    for one in ["oneOf", "anyOf"].iter().filter_map(|list| schema.get(*list)?.as_array()).flatten()
    {
        if rules(root, one, instance, "").is_ok() {
            members(root, one, instance, known);
        }
    }
}

fn referred<'s>(root: &'s Json, target: &Json) -> &'s Json {
    let pointer = target.as_str().unwrap().strip_prefix('#').unwrap();
    root.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {target}"))
}

fn rules(root: &Json, schema: &Json, instance: &Json, at: &str) -> Result<(), String> {
    let fault = |what: String| Err(format!("{at}: {what}"));
    let rules = schema.as_object().unwrap_or_else(|| panic!("{at}: the schema is {schema}"));
    let fits = |one: &Json| self::rules(root, one, instance, at).is_ok();
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$ref" => self::rules(root, referred(root, rule), instance, at)?,
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|name| is(instance, name.as_str().unwrap())) {
                    return fault(format!("{instance} is no {rule}"));
                }
            }
            "const" if instance != rule => return fault(format!("{instance} is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(instance) => {
                return fault(format!("{instance} is none of {rule}"));
            }
            "minimum" if instance.as_f64() < rule.as_f64() => {
                return fault(format!("{instance} is below {rule}"));
            }
            "maximum" if instance.as_f64() > rule.as_f64() => {
                return fault(format!("{instance} is above {rule}"));
            }
            "const" | "enum" | "minimum" | "maximum" => {}
            "required" => {
                let names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                if let Some(name) = names.into_iter().find(|name| instance.get(name).is_none()) {
                    return fault(format!("`{name}` is missing"));
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(member) = instance.get(name) {
                        check(root, rule, member, &format!("{at}.{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                for (name, member) in instance.as_object().unwrap() {
                    check(root, rule, member, &format!("{at}.{name}"))?;
                }
            }
            "items" => {
                for (index, element) in instance.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, element, &format!("{at}[{index}]"))?;
                }
            }
            "oneOf" if rule.as_array().unwrap().iter().filter(|one| fits(one)).count() != 1 => {
                return fault(format!("{instance} is not exactly one of {rule}"));
            }
            "anyOf" if !rule.as_array().unwrap().iter().any(fits) => {
                return fault(format!("{instance} is none of {rule}"));
            }
            "oneOf" | "anyOf" => {}
            "if" if fits(rule) => self::rules(root, &rules["then"], instance, at)?,
            "if" | "then" => {}
            silent if SILENT.contains(&silent) => {}
            unknown => panic!("this validator doesn't know `{unknown}`"),
        }
    }
    Ok(())
}

fn is(instance: &Json, name: &str) -> bool {
    match name {
        "null" => instance.is_null(),
        "boolean" => instance.is_boolean(),
        "integer" => instance.is_u64() || instance.is_i64(),
        "number" => instance.is_number(),
        "string" => instance.is_string(),
        "array" => instance.is_array(),
        "object" => instance.is_object(),
        _ => panic!("no type {name}"),
    }
}

#[test]
fn the_validator_finds_faults() {
    let good = serde_json::json!({
        "version": 1, "event": "started", "program": "p", "backend": "embedded", "secrets": [
            {"kind": "envvar", "key": "A", "level": "project", "id": "i", "sensitive": true},
        ],
        "started_at": "t", "stages_us": {"pull": 1},
        "job": {"id": "j", "attempt": 1, "organization": null, "project": "p", "user": "u",
                "program": "sh", "labels": {"a": "b"}},
        "outcome": {"kind": "failed", "job_exit_code": 1},
    });
    assert_report(&good);
    for (pointer, bad) in [
        ("/version", 2.into()),
        ("/event", "over".into()),
        ("/event", "ended".into()),
        ("/secrets/0/kind", "file".into()),
        ("/secrets/0", serde_json::json!({"value": "v"})),
        ("/job/attempt", 0.into()),
        ("/job/organization", 1.into()),
        ("/job/labels/a", 1.into()),
        ("/stages_us/pull", "x".into()),
        ("/outcome", serde_json::json!({"kind": "failed"})),
        ("/outcome", serde_json::json!({"kind": "failed", "job_exit_code": 1, "more": 2})),
        ("/outcome", Json::Null),
    ] {
        let mut report = good.clone();
        *report.pointer_mut(pointer).unwrap() = bad.clone();
        let found = std::panic::catch_unwind(|| assert_report(&report));
        assert!(found.is_err(), "{pointer}: {bad} was not noticed");
    }
    let mut more = good;
    more["secrets"][0]["value"] = "v".into();
    assert!(std::panic::catch_unwind(|| assert_report(&more)).is_err());
}
