//! Both directions, and what is refused.

#![expect(clippy::needless_pass_by_value, reason = "a test hands over what `json!` makes")]

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::secret::ValueBuf;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn secret(more: Json) -> Json {
    let mut secret = json!({
        "id": "1", "kind": "envvar", "key": "API_KEY", "level": "project_user",
        "owner": "survey", "assigned_to": "ada", "sensitive": true, "value": "hunter2",
    });
    merge(&mut secret, more);
    secret
}

fn shadowed(more: Json) -> Json {
    let mut secret = secret(more);
    secret.as_object_mut().unwrap().remove("value");
    secret
}

fn answer(more: Json) -> Json {
    let mut answer = json!({
        "version": 1, "job": {"id": "7c1e0d52", "attempt": 2}, "organization": "org",
        "project": "survey", "user": "ada", "secrets": [secret(json!({}))], "shadowed": [],
    });
    merge(&mut answer, more);
    answer
}

/// `"-"` takes a member away.
fn merge(into: &mut Json, more: Json) {
    for (key, value) in more.as_object().unwrap() {
        if value == "-" {
            into.as_object_mut().unwrap().remove(key);
        } else {
            into[key] = value.clone();
        }
    }
}

fn decode(json: Json) -> Result<Answer, Malformed> {
    Answer::decode(json.to_string().as_bytes())
}

#[test]
fn an_answer_is_read() {
    let json = answer(json!({
        "later": {"x": [1]},
        "shadowed": [shadowed(json!({
            "id": "2", "kind": "pgservice", "key": "a:b", "level": "organization",
            "owner": "org", "assigned_to": null, "sensitive": false, "comment": "new",
        }))],
    }));
    let Answer { job, identity, secrets, shadowed } = decode(json).unwrap();
    assert_eq!(job, JobId { id: id("7c1e0d52"), attempt: 2 });
    assert_eq!(identity.organization, Some(id("org")));
    assert_eq!(secrets[0].value.expose(), b"hunter2");
    assert_eq!(secrets[0].facts.owner.level(), Level::ProjectUser);
    let beaten = Facts {
        id: SecretId::from("2".to_owned()),
        name: Name::pgservice("a:b"),
        owner: Owner::Organization { organization: id("org"), user: None },
        sensitive: false,
    };
    assert_eq!(shadowed, [beaten]);
}

#[test]
fn what_is_wrong_is_said_and_nothing_repeated() {
    let one = |more| json!({"secrets": [secret(more)]});
    let missing = "a member is missing";
    for (more, message) in [
        (json!({"version": 2, "secrets": "-"}), "its version is 2"),
        (json!({"version": "-"}), missing),
        (json!({"organization": "-"}), missing),
        (json!({"user": "-"}), missing),
        (json!({"secrets": "-"}), missing),
        (json!({"shadowed": "-"}), missing),
        (json!({"organization": "../hunter2"}), "`organization`: an id begins"),
        (json!({"project": "hunter2 "}), "`project`: an id holds only"),
        (json!({"job": {"id": "a", "attempt": 0}}), "attempts count from 1"),
        (one(json!({"kind": "file"})), "a kind that this program doesn't know: `file`"),
        (one(json!({"kind": "Hunter2!"})), "a kind that this program doesn't know"),
        (one(json!({"level": "team"})), "a level that this program doesn't know: `team`"),
        (one(json!({"assigned_to": null})), "`level` does not fit `assigned_to`"),
        (one(json!({"level": "project"})), "`level` does not fit `assigned_to`"),
        (one(json!({"assigned_to": "-"})), missing),
        (one(json!({"sensitive": "-"})), missing),
        (one(json!({"value": "-"})), "`secrets` hold one without a value"),
        (one(json!({"value": null})), "`secrets` hold one without a value"),
        (one(json!({"value": ["hunter2"]})), missing),
        (one(json!({"key": ""})), "`key` is empty"),
        (one(json!({"key": "hunter2\n"})), "`key` is empty, or holds a control character"),
        (one(json!({"id": "hunter2 x"})), "no visible ASCII"),
        (json!({"shadowed": [secret(json!({}))]}), "`shadowed` hold one with a value"),
    ] {
        let error = decode(answer(more.clone())).expect_err(&more.to_string());
        let text = error.to_string();
        assert!(text.contains(message), "{more}\n  gave {text}\n  not  {message}");
        assert!(!text.to_lowercase().contains("hunter2"), "{text}");
        let newer = message.contains("version is 2") || message.contains("doesn't know");
        assert_eq!(error.is_newer(), newer, "{text}");
    }
}

#[test]
fn an_answer_that_is_cut_anywhere_is_none() {
    let text = answer(json!({})).to_string();
    for end in 0..text.len() {
        assert!(Answer::decode(&text.as_bytes()[..end]).is_err(), "{end}");
    }
    assert_eq!(Answer::decode(b"").unwrap_err(), Malformed::Truncated);
    assert!(Answer::decode(format!("{text} {{}}").as_bytes()).is_err());
    let doubled = text.replacen('{', "{\"secrets\":[],", 1);
    assert!(matches!(Answer::decode(doubled.as_bytes()), Err(Malformed::Json { .. })));
}

#[test]
fn a_request_is_written_and_read() {
    let identity = Identity { project: id("a/b"), organization: None, user: Some(id("ada")) };
    let job = JobId { id: id("7c1e0d52"), attempt: 1 };
    let request = Request { job, identity, require: vec![Name::pgservice("ninja")] };
    let text = request.encode();
    let expected = json!({
        "version": 1, "job": {"id": "7c1e0d52", "attempt": 1}, "organization": null,
        "project": "a/b", "user": "ada", "require": ["pgservice:ninja"],
    });
    assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), expected);
    assert_eq!(Request::decode(text.as_bytes()).unwrap(), request);
    for (more, message) in [
        (json!({"organization": "-"}), "a member is missing"),
        (json!({"require": ["API_KEY"]}), "`require` holds something else"),
        (json!({"version": 3}), "its version is 3"),
    ] {
        let mut json = expected.clone();
        merge(&mut json, more);
        let error = Request::decode(json.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_value_that_is_no_text_is_not_encoded() {
    let mut answer = decode(answer(json!({}))).unwrap();
    answer.secrets[0].value = Value::new(b"\xff".to_vec());
    assert_eq!(answer.encode().unwrap_err(), NotText(Name::envvar("API_KEY")));
}

#[test]
fn a_refusal_is_bounded_and_harmless() {
    let refusal = |json: Json| Refusal::decode(json.to_string().as_bytes(), str::to_owned);
    let read =
        refusal(json!({"type": "about:blank", "kind": "token_expired", "detail": "a\u{1b}[2J"}));
    assert_eq!((read.kind.as_str(), read.detail.as_str()), ("token_expired", "a\u{fffd}[2J"));
    let long = refusal(json!({"kind": "a b", "detail": "ä".repeat(501)}));
    assert_eq!((long.kind.as_str(), long.detail.chars().count()), ("", 501));
    assert!(long.detail.ends_with('…'));
    assert_eq!(refusal(json!({"detail": "ä".repeat(500)})).detail, "ä".repeat(500));
    // A value that the cut would go through is masked first.
    let json = json!({"detail": format!("{}hunter2", "x".repeat(497))}).to_string();
    let masked = Refusal::decode(json.as_bytes(), |text| text.replace("hunter2", "***"));
    assert_eq!(masked.detail, format!("{}***", "x".repeat(497)));
    for text in ["", "<html>", "[]", "{\"kind\": 1}"] {
        assert_eq!(Refusal::decode(text.as_bytes(), str::to_owned), Refusal::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a value holds, it arrives byte for byte.
    #[test]
    fn values_survive_the_way(values in proptest::collection::vec("\\PC*|[\\x00-\\x7f]*", 0..4)) {
        let facts = |index: usize| Facts {
            id: SecretId::from(index.to_string()),
            name: Name::envvar(format!("A\"{index}")),
            owner: Owner::Project { project: id("survey"), user: None },
            sensitive: index.is_multiple_of(2),
        };
        let given = |(index, text): (usize, &String)| {
            let mut value = ValueBuf::new();
            value.push(text.as_bytes());
            Given { facts: facts(index), value: value.finish() }
        };
        let sent = Answer {
            job: JobId { id: id("j"), attempt: 1 },
            identity: Identity { project: id("survey"), organization: None, user: None },
            secrets: values.iter().enumerate().map(given).collect(),
            shadowed: vec![facts(7), facts(8)],
        };
        let text = sent.encode().unwrap();
        let read = Answer::decode(text.expose()).unwrap();
        prop_assert_eq!(read.identity, sent.identity);
        prop_assert_eq!(read.shadowed, sent.shadowed);
        for (read, sent) in read.secrets.iter().zip(&sent.secrets) {
            prop_assert_eq!(&read.facts, &sent.facts);
            prop_assert_eq!(read.value.expose(), sent.value.expose());
        }
        prop_assert_eq!(read.secrets.len(), sent.secrets.len());
    }
}
