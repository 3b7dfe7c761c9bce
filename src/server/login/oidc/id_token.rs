//! What an ID token must say (OpenID Connect Core 1.0, sections 3.1.3.7 and 3.1.3.8). Pure.
//!
//! Invariant: the signature was checked before, by one of the provider's keys; what is checked here
//! is that the token is for this service, for this login of this browser, and of now.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::job_token::Algorithm;
use crate::server::login::fault::Fault;

/// How far the provider's clock may be apart, in seconds.
const LEEWAY: i64 = 60;

/// How old a token may be: it is fetched as soon as there is one.
const MAX_AGE: i64 = 600;

/// What is known of the token that a login must get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// In seconds since 1970.
    pub(super) now: i64,
    pub(super) algorithm: Algorithm,
    pub(super) access_token: Option<&'a [u8]>,
}

/// Checks the claims; gives the subject.
pub(super) fn check<'a>(
    claims: &'a Map<String, Json>,
    expected: Expected<'_>,
) -> Result<&'a str, Fault> {
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    let refuse = |why| Err(Fault::Token(why));
    if text("iss") != Some(expected.issuer) {
        return refuse("it is of another issuer");
    }
    let (is_for_us, others) = match claims.get("aud") {
        Some(Json::String(one)) => (one == expected.client_id, false),
        Some(Json::Array(list)) => {
            let ours = list.iter().filter(|one| *one == expected.client_id).count();
            (ours > 0, ours < list.len())
        }
        _ => (false, false),
    };
    if !is_for_us {
        return refuse("it is not for this client");
    }
    match claims.get("azp") {
        Some(party) if party != expected.client_id => {
            return refuse("it was issued to another client");
        }
        None if others => {
            return refuse("it is for others too, and doesn't say for whom it was issued");
        }
        _ => {}
    }
    let now = expected.now;
    match time(claims, "exp") {
        Some(end) if now < end.saturating_add(LEEWAY) => {}
        Some(_) => return refuse("it has expired; compare the clocks"),
        None => return refuse("it doesn't say until when it is valid"),
    }
    match time(claims, "iat") {
        Some(issued) if issued > now + LEEWAY => {
            return refuse("it is issued in the future; compare the clocks");
        }
        Some(issued) if issued < now - MAX_AGE - LEEWAY => {
            return refuse("it was issued long ago; compare the clocks");
        }
        Some(_) => {}
        None => return refuse("it doesn't say when it was issued"),
    }
    match claims.get("nbf") {
        Some(_) if time(claims, "nbf").is_none_or(|start| start > now + LEEWAY) => {
            return refuse("it is not valid yet; compare the clocks");
        }
        _ => {}
    }
    let nonce = text("nonce").unwrap_or_default();
    if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return refuse("it was issued for another login");
    }
    if let (Some(hash), Some(token)) = (claims.get("at_hash"), expected.access_token)
        && hash.as_str() != Some(left_half(expected.algorithm, token).as_str())
    {
        return refuse("the access token beside it is another one");
    }
    // At most 255 ASCII characters: section 2.
    match text("sub") {
        Some(subject) if (1..=255).contains(&subject.len()) && subject.is_ascii() => Ok(subject),
        _ => refuse("it doesn't say who it is about"),
    }
}

/// Seconds since 1970, fractions cut.
fn time(claims: &Map<String, Json>, name: &str) -> Option<i64> {
    let number = claims.get(name)?;
    // `as` saturates.
    number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64))
}

/// `at_hash`, by the hash of the token's own algorithm: section 3.1.3.6.
fn left_half(algorithm: Algorithm, token: &[u8]) -> String {
    match algorithm {
        Algorithm::Es256 | Algorithm::Rs256 => {
            Base64UrlUnpadded::encode_string(&Sha256::digest(token)[..16])
        }
        // Ed25519 is made with SHA-512: RFC 8032, section 5.1.
        Algorithm::EdDsa => Base64UrlUnpadded::encode_string(&Sha512::digest(token)[..32]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;
    const EXPECTED: Expected<'static> = Expected {
        issuer: "https://i.example",
        client_id: "us",
        nonce: "n1",
        now: NOW,
        algorithm: Algorithm::Rs256,
        access_token: Some(b"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
    };

    fn claims() -> Json {
        json!({
            "iss": "https://i.example", "aud": "us", "sub": "ada", "nonce": "n1",
            "iat": NOW - 1, "exp": NOW + 300, "other": {"a": [1]},
        })
    }

    fn judged(claims: &Json) -> Result<String, String> {
        match check(claims.as_object().unwrap(), EXPECTED) {
            Ok(subject) => Ok(subject.to_owned()),
            Err(fault) => {
                assert_eq!(fault.kind(), "id_token_invalid");
                Err(fault.to_string())
            }
        }
    }

    #[test]
    fn what_is_accepted() {
        assert_eq!(judged(&claims()), Ok("ada".into()));
        for (member, value) in [
            ("aud", json!(["us"])),
            ("azp", json!("us")),
            ("exp", json!(NOW - LEEWAY + 1)),
            ("exp", json!(NOW as f64 + 0.5)),
            ("iat", json!(NOW + LEEWAY)),
            ("iat", json!(NOW - MAX_AGE - LEEWAY)),
            ("nbf", json!(NOW + LEEWAY)),
            // OpenID Connect Core 1.0, appendix A.3, has this pair.
            ("at_hash", json!("77QmUPtjPfzWtF2AnpK9RQ")),
            ("sub", json!("x".repeat(255))),
        ] {
            let mut claims = claims();
            claims[member] = value.clone();
            assert!(judged(&claims).is_ok(), "{member} {value}: {:?}", judged(&claims));
        }
        let mut several = claims();
        several["aud"] = json!(["api", "us"]);
        several["azp"] = json!("us");
        assert!(judged(&several).is_ok());
    }

    #[test]
    fn what_is_refused() {
        for (member, value, message) in [
            ("iss", json!("https://i.example/"), "another issuer"),
            ("iss", json!(null), "another issuer"),
            ("aud", json!("them"), "not for this client"),
            ("aud", json!(["them"]), "not for this client"),
            ("aud", json!([]), "not for this client"),
            ("aud", json!({"us": 1}), "not for this client"),
            ("aud", json!(["us", "them"]), "for others too"),
            ("azp", json!("them"), "to another client"),
            ("azp", json!(null), "to another client"),
            ("exp", json!(NOW - LEEWAY), "has expired"),
            ("exp", json!("soon"), "until when"),
            ("exp", json!(null), "until when"),
            ("iat", json!(NOW + LEEWAY + 1), "in the future"),
            ("iat", json!(NOW - MAX_AGE - LEEWAY - 1), "long ago"),
            ("iat", json!(null), "when it was issued"),
            ("nbf", json!(NOW + LEEWAY + 1), "not valid yet"),
            ("nbf", json!("x"), "not valid yet"),
            ("nonce", json!("n2"), "another login"),
            ("nonce", json!(""), "another login"),
            ("nonce", json!(null), "another login"),
            ("at_hash", json!("77QmUPtjPfzWtF2AnpK9RA"), "is another one"),
            ("at_hash", json!(null), "is another one"),
            ("sub", json!(""), "who it is about"),
            ("sub", json!(7), "who it is about"),
            ("sub", json!("ä"), "who it is about"),
            ("sub", json!("x".repeat(256)), "who it is about"),
        ] {
            let mut claims = claims();
            claims[member] = value.clone();
            let error = judged(&claims).expect_err(&format!("{member} {value}"));
            assert!(error.contains(message), "{member} {value}: {error}");
        }
        for member in ["iss", "aud", "exp", "iat", "nonce", "sub"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(member);
            assert!(judged(&claims).is_err(), "{member}");
        }
        let mut several = claims();
        several["aud"] = json!(["us", "them"]);
        several["azp"] = json!("them");
        assert!(judged(&several).is_err());
    }

    #[test]
    fn ed25519_hashes_with_sha_512() {
        // Computed with Python's hashlib.
        assert_eq!(
            left_half(Algorithm::EdDsa, b"a"),
            "H0D8ktokFpR1CXnubPWC8tXX0o4YM13gWrxU0FYOD1M"
        );
        let sha256 = left_half(Algorithm::Es256, b"a");
        assert_eq!(sha256.len(), 22);
    }
}
