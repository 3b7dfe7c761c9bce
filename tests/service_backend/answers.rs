//! Answers that are wrong: no secret of them is used.

use super::*;

#[track_caller]
fn refused(answer: Answer, code: i32, kind: &str, words: &[&str]) {
    let ground = Ground::new([answer]);
    let ended = ground.run(json!({}));
    ground.refused(ended, code, kind, words);
    assert_eq!(ground.server.requests().len(), 1, "asked again");
}

#[test]
fn an_answer_for_somebody_else_is_denied() {
    for (members, what) in [
        (json!({"job": {"id": "job-2", "attempt": 1}}), "another job"),
        (json!({"job": {"id": "job-1", "attempt": 2}}), "another job"),
        (json!({"project": "garden"}), "another project"),
        (json!({"organization": "club"}), "another organization"),
        (json!({"organization": null}), "another organization"),
        (json!({"user": "bob"}), "another user"),
        (json!({"user": null}), "another user"),
    ] {
        refused(answer(members), 77, "backend_denied", &[what, "none of its secrets is used"]);
    }
}

#[test]
fn a_secret_of_somebody_else_stops_the_job() {
    for foreign in [
        json!({"owner": "garden"}),
        json!({"level": "organization", "owner": "club"}),
        json!({"level": "project_user", "assigned_to": "bob"}),
        json!({"level": "organization_user", "owner": "org", "assigned_to": "bob"}),
    ] {
        let given = json!({"secrets": [secret(json!({})), secret(foreign.clone())]});
        refused(answer(given), 69, "secrets_ambiguous", &["which is not this job's"]);
        let beaten = json!({"shadowed": [shadowed(foreign)]});
        refused(answer(beaten), 69, "secrets_ambiguous", &["which is not this job's"]);
    }
}

#[test]
fn a_secret_that_comes_twice_stops_the_job() {
    let given = json!({"secrets": [secret(json!({})), secret(json!({"id": "2"}))]});
    refused(answer(given), 69, "secrets_ambiguous", &["two secrets envvar:API_KEY"]);
    let beaten = json!({"shadowed": [shadowed(json!({}))]});
    refused(answer(beaten), 69, "secrets_ambiguous", &["two secrets envvar:API_KEY"]);
}

#[test]
fn a_winner_without_a_value_stops_the_job() {
    let stronger = json!({"level": "project_user", "assigned_to": "ada", "id": "2"});
    let members = json!({"shadowed": [shadowed(stronger)]});
    refused(answer(members), 69, "backend_invalid", &["no value for envvar:API_KEY, which wins"]);
    let alone = json!({"secrets": [], "shadowed": [shadowed(json!({}))]});
    refused(answer(alone), 69, "backend_invalid", &["no value for envvar:API_KEY"]);
}

#[test]
fn a_value_that_its_kind_does_not_allow_stops_the_job() {
    for (members, word) in [
        (json!({"value": format!("{VALUE}\u{0}")}), "a NUL byte"),
        (json!({"value": ""}), "an empty value"),
        (json!({"key": "LD_PRELOAD"}), "LD_PRELOAD"),
        (json!({"key": "lower"}), "envvar:lower"),
        (json!({"value": "x".repeat(200_000)}), "too long"),
        (json!({"kind": "pgservice", "key": "ninja"}), "pgservice:ninja"),
        (
            json!({"kind": "pgservice", "key": "ninja", "value": "[other]\nhost=h\n"}),
            "holds a service of another name",
        ),
    ] {
        let members = json!({"secrets": [secret(members)]});
        refused(answer(members), 69, "secret_damaged", &[word]);
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    let whole = || match answer(json!({})) {
        Answer::Status(_, body) => body,
        _ => unreachable!(),
    };
    let huge = format!("{} \"{}\"", String::from_utf8(whole()).unwrap(), "x".repeat(17 << 20));
    let secrets = |members| answer(json!({"secrets": [secret(members)]}));
    for (answer, code, kind, word) in [
        (Answer::fine(""), 69, "backend_invalid", "it ends in the middle"),
        (Answer::fine(&whole()[..200]), 69, "backend_invalid", "it ends in the middle"),
        (Answer::fine(format!("<p>{VALUE}")), 69, "backend_invalid", "at line 1, column 1"),
        (Answer::fine("{}"), 69, "backend_invalid", "a member is missing"),
        (Answer::fine(huge), 69, "backend_invalid", "is larger than 16777216 bytes"),
        (Answer::Endless, 69, "backend_invalid", "is larger than 16777216 bytes"),
        (Answer::Announced(1 << 40), 69, "backend_invalid", "is larger than 16777216 bytes"),
        (Answer::Status(204, whole()), 69, "backend_refused", "204"),
        (answer(json!({"version": 2})), 78, "backend_newer", "its version is 2"),
        (secrets(json!({"kind": "file"})), 78, "backend_newer", "doesn't know: `file`"),
        (secrets(json!({"kind": VALUE})), 78, "backend_newer", "a kind that this program"),
        (secrets(json!({"level": "team"})), 78, "backend_newer", "doesn't know: `team`"),
        (secrets(json!({"sensitive": VALUE})), 69, "backend_invalid", "of another type"),
    ] {
        refused(answer, code, kind, &["secrets service at https://127.0.0.1", word]);
    }
}
