//! What a token must say, and when it may.

use std::time::Duration;

use qgis_secrets::job_token::{Policy, Source, Verifier};
use serde_json::json;

use super::{AUDIENCE, File, NOW, TRUSTED, at, claims, jwks, now, verdict, verdict_at, verify};

#[test]
fn a_token_says_who_the_job_is() {
    let token = TRUSTED.ed.claiming(json!({
        "iss": "orchestrator", "attempt": 3, "iat": NOW - 5, "nbf": NOW, "sub": "ignored",
        "organization": "ninja/org", "aud": ["https://other.example", AUDIENCE],
        "https://example/role": {"nested": [1, null]},
    }));
    let said = verify(&TRUSTED.verifier, token, now()).unwrap();
    assert_eq!(said.id, "t-1");
    assert_eq!(said.issuer.as_deref(), Some("orchestrator"));
    assert_eq!(said.audience, ["https://other.example", AUDIENCE]);
    assert_eq!(said.expires, at(600));
    assert_eq!((said.issued, said.not_before), (Some(at(-5)), Some(at(0))));
    assert_eq!((said.job.as_str(), said.attempt), ("7c1e0d52", Some(3)));
    assert_eq!(said.identity.project.as_str(), "f3b0c442");
    assert_eq!(said.identity.organization.as_ref().unwrap().as_str(), "ninja/org");
    assert_eq!(said.identity.user.as_ref().unwrap().as_str(), "u-1204");
}

/// `null` says that there is none; a claim that was forgotten says nothing.
#[test]
fn organization_and_user_must_be_there() {
    let token = TRUSTED.ed.claiming(json!({"organization": null, "user": null}));
    let said = verify(&TRUSTED.verifier, token, now()).unwrap();
    assert_eq!((said.identity.organization, said.identity.user), (None, None));
    for claim in ["organization", "user"] {
        let message = without(claim).unwrap_err().to_string();
        assert!(message.contains(claim) && message.contains("null"), "{message}");
    }
}

#[test]
fn every_required_claim_is_required() {
    for claim in ["aud", "exp", "jti", "job", "project", "organization", "user"] {
        let refused = without(claim).unwrap_err();
        assert_eq!(refused.kind(), "token_claims", "{claim}");
        assert!(refused.to_string().contains(&format!("`{claim}`")), "{refused}");
    }
}

fn without(claim: &str) -> Result<qgis_secrets::job_token::Claims, super::Refused> {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim).unwrap();
    let token = TRUSTED.ed.token(TRUSTED.ed.header().to_string(), claims.to_string());
    verify(&TRUSTED.verifier, token, now())
}

#[test]
fn claims_have_their_types_and_forms() {
    let long = "x".repeat(256);
    for (claim, values) in [
        ("jti", vec![json!(null), json!(1), json!(""), json!("a b"), json!("ä"), json!(long)]),
        ("iss", vec![json!(null), json!(1), json!(["x"])]),
        ("aud", vec![json!(null), json!(1), json!({}), json!([1]), json!([AUDIENCE, null])]),
        ("exp", vec![json!(null), json!("1800000600"), json!([NOW]), json!(true), json!({})]),
        ("nbf", vec![json!(null), json!("0"), json!(false)]),
        ("iat", vec![json!(null), json!("0"), json!([])]),
        (
            "attempt",
            vec![
                json!(null),
                json!(0),
                json!(-1),
                json!(1.5),
                json!("1"),
                json!(4_294_967_296_u64),
            ],
        ),
        ("job", vec![json!(null), json!(7), json!(""), json!("-a"), json!("a b"), json!(long)]),
        ("project", vec![json!(null), json!(7), json!(""), json!("a/../b"), json!("a%2f")]),
        ("organization", vec![json!(7), json!(""), json!([]), json!(false), json!("a\n")]),
        ("user", vec![json!(7), json!(""), json!({}), json!("/a"), json!(["u-1204"])]),
    ] {
        for value in values {
            let token = TRUSTED.ed.claiming(json!({ claim: value }));
            assert_eq!(verdict(&TRUSTED.verifier, token), "token_claims", "{claim}: {value}");
        }
    }
    for jti in ["!", "~", &"x".repeat(255)] {
        let token = TRUSTED.ed.claiming(json!({ "jti": jti }));
        assert_eq!(verdict(&TRUSTED.verifier, token), "fine", "{jti}");
    }
}

/// The last one could be what another reader takes.
#[test]
fn no_claim_stands_twice() {
    let text = claims().to_string();
    for (claim, value) in claims().as_object().unwrap() {
        for again in [value.clone(), json!(null)] {
            let doubled = format!(r#"{},"{claim}":{again}}}"#, &text[..text.len() - 1]);
            let token = TRUSTED.ed.token(TRUSTED.ed.header().to_string(), doubled);
            assert_eq!(verdict(&TRUSTED.verifier, token), "token_malformed", "{claim}");
        }
    }
    let doubled = format!(r#"{},"\u0070roject":"evil"}}"#, &text[..text.len() - 1]);
    let token = TRUSTED.ed.token(TRUSTED.ed.header().to_string(), doubled);
    assert_eq!(verdict(&TRUSTED.verifier, token), "token_malformed");
}

#[test]
fn times_count_with_leeway_and_no_longer() {
    const DAY: i64 = 24 * 3600;
    for (claim, offset, expected) in [
        ("exp", json!(NOW + 1), "fine"),
        ("exp", json!(NOW - 29), "fine"),
        ("exp", json!(NOW - 30), "token_expired"),
        ("exp", json!(NOW - 31), "token_expired"),
        ("exp", json!(NOW as f64 - 29.5), "fine"),
        ("exp", json!(NOW as f64 - 30.5), "token_expired"),
        ("exp", json!(0), "token_expired"),
        ("exp", json!(-1), "token_expired"),
        ("exp", json!(i64::MIN), "token_expired"),
        ("exp", json!(-1e300), "token_expired"),
        ("exp", json!(NOW + DAY + 30), "fine"),
        ("exp", json!(NOW + DAY + 31), "token_lifetime"),
        // Milliseconds, as somebody may write them.
        ("exp", json!(NOW * 1000), "token_lifetime"),
        ("exp", json!(i64::MAX), "token_lifetime"),
        ("exp", json!(u64::MAX), "token_lifetime"),
        ("exp", json!(1e300), "token_lifetime"),
        ("nbf", json!(NOW + 30), "fine"),
        ("nbf", json!(NOW + 31), "token_not_yet_valid"),
        ("nbf", json!(i64::MAX), "token_not_yet_valid"),
        ("nbf", json!(1e300), "token_not_yet_valid"),
        ("nbf", json!(-1e300), "fine"),
        ("iat", json!(NOW + 30), "fine"),
        ("iat", json!(NOW + 31), "token_not_yet_valid"),
        ("iat", json!(0), "fine"),
    ] {
        let token = TRUSTED.ed.claiming(json!({ claim: offset }));
        assert_eq!(verdict(&TRUSTED.verifier, token), expected, "{claim} {offset}");
    }
    // One token, as time goes by.
    let token = TRUSTED.ec.claiming(json!({"nbf": NOW}));
    for (later, expected) in
        [(-31, "token_not_yet_valid"), (-30, "fine"), (629, "fine"), (630, "token_expired")]
    {
        assert_eq!(verdict_at(&TRUSTED.verifier, &token, at(later)), expected, "{later}");
    }
}

#[test]
fn a_policy_can_ask_for_less_time_and_an_issuer() {
    let file = File::of(jwks(&[&TRUSTED.ed]));
    let policy = Policy {
        issuer: Some("orchestrator".into()),
        leeway: Duration::ZERO,
        max_lifetime: Duration::from_secs(900),
        ..Policy::new(AUDIENCE)
    };
    let verifier = Verifier::new(policy, [Source::File(file.path())]).unwrap();
    let iss = json!("orchestrator");
    for (members, expected) in [
        (json!({}), "token_issuer"),
        (json!({"iss": "another"}), "token_issuer"),
        (json!({"iss": "orchestrator "}), "token_issuer"),
        (json!({"iss": iss}), "fine"),
        (json!({"iss": iss, "exp": NOW + 900}), "fine"),
        (json!({"iss": iss, "exp": NOW + 901}), "token_lifetime"),
        (json!({"iss": iss, "exp": NOW + 1}), "fine"),
        (json!({"iss": iss, "exp": NOW}), "token_expired"),
        (json!({"iss": iss, "nbf": NOW + 1}), "token_not_yet_valid"),
    ] {
        let token = TRUSTED.ed.claiming(members.clone());
        assert_eq!(verdict(&verifier, token), expected, "{members}");
    }
}

#[test]
fn a_token_is_for_the_audience_that_it_names() {
    for (aud, expected) in [
        (json!(AUDIENCE), "fine"),
        (json!([AUDIENCE]), "fine"),
        (json!(["x", AUDIENCE]), "fine"),
        (json!([]), "token_audience"),
        (json!(""), "token_audience"),
        (json!(["x"]), "token_audience"),
        (json!("https://secrets.example/"), "token_audience"),
        (json!("https://SECRETS.example"), "token_audience"),
        (json!("https://secrets.example.evil"), "token_audience"),
        (json!(format!("x {AUDIENCE}")), "token_audience"),
    ] {
        let token = TRUSTED.ed.claiming(json!({ "aud": aud }));
        assert_eq!(verdict(&TRUSTED.verifier, token), expected, "{aud}");
    }
}

/// The signature comes first: a wrong one hides everything that the claims would tell.
#[test]
fn nothing_is_said_of_claims_that_nobody_signed() {
    let stranger = super::Forger::ed25519("ed");
    for members in [json!({"exp": 0}), json!({"aud": "x"}), json!({"job": null}), json!({})] {
        let token = stranger.claiming(members);
        assert_eq!(verdict(&TRUSTED.verifier, token), "token_signature");
    }
}
