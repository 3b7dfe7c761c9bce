//! Files of keys: what they may hold, and what is said of those that hold something else.

use std::os::unix::fs::PermissionsExt;

use qgis_secrets::job_token::{Algorithm, KeySet, SigningKey, Source};
use serde_json::json;

use super::{AUDIENCE, File, Forger, Policy, TRUSTED, Verifier, jwks, verdict, with};
use crate::support::Sandbox;

fn fault(content: impl AsRef<[u8]>) -> String {
    let file = File::of(content);
    let fault = KeySet::read(&file.path()).unwrap_err().to_string();
    assert!(fault.contains(file.path().to_str().unwrap()), "{fault}");
    fault
}

/// Their own examples: RFC 8037, appendix A.3; RFC 7638, section 3.1.
#[test]
fn thumbprints_are_those_of_the_standards() {
    let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256"}"#;
    for (jwk, thumbprint) in [
        (ed, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
    ] {
        let file = File::of(jwk);
        let set = KeySet::read(&file.path()).unwrap();
        assert_eq!(set.keys()[0].thumbprint(), thumbprint);
        assert_eq!(set.keys()[0].kid(), thumbprint, "without a `kid` of its own");
    }
}

#[test]
fn a_file_holds_public_keys_and_nothing_else() {
    let ed = TRUSTED.ed.jwk();
    let set = |key: serde_json::Value| json!({"keys": [TRUSTED.rsa.jwk(), key]}).to_string();
    for (what, content, why) in [
        ("nothing", String::new(), "holds no public key"),
        ("text", "hello".into(), "holds no public key"),
        ("a cut block", "-----BEGIN PUBLIC KEY-----\nAA==\n".into(), "has no end"),
        ("JSON", "{}".into(), "not a JWK set"),
        ("broken JSON", "{".into(), "not a JSON object"),
        ("no keys", r#"{"keys":[]}"#.into(), "holds no key"),
        ("keys no array", r#"{"keys":{}}"#.into(), "not a JWK set"),
        ("a key no object", r#"{"keys":["x"]}"#.into(), "not a JSON object"),
        ("another type", set(json!({"kty": "AKP"})), "not an Ed25519, P-256 or RSA key"),
        ("no type", set(with(ed.clone(), json!({"kty": null}))), "not an Ed25519"),
        ("X25519", set(with(ed.clone(), json!({"crv": "X25519"}))), "not an Ed25519"),
        ("Ed448", set(with(ed.clone(), json!({"crv": "Ed448"}))), "not an Ed25519"),
        ("P-384", set(json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"})), "P-256"),
        ("secp256k1", set(with(TRUSTED.ec.jwk(), json!({"crv": "secp256k1"}))), "P-256"),
        ("off the curve", set(with(TRUSTED.ec.jwk(), json!({"y": ed["x"]}))), "P-256"),
        ("a short x", set(with(ed.clone(), json!({"x": "AAAA"}))), "Ed25519"),
        ("padding", set(with(ed.clone(), json!({"x": "AA=="}))), "base64url"),
        ("no x", set(with(ed.clone(), json!({"x": null}))), "missing"),
        ("a small n", set(with(TRUSTED.rsa.jwk(), json!({"n": "wQ"}))), "fewer than 2048"),
        ("an even n", set(with(TRUSTED.rsa.jwk(), json!({"n": "_".repeat(341) + "g"}))), "safe"),
        ("an even e", set(with(TRUSTED.rsa.jwk(), json!({"e": "Ag", "kid": "2"}))), "safe to use"),
        ("e of 1", set(with(TRUSTED.rsa.jwk(), json!({"e": "AQ", "kid": "2"}))), "safe to use"),
        ("e of 0", set(with(TRUSTED.rsa.jwk(), json!({"e": "AA", "kid": "2"}))), "safe to use"),
        ("no e", set(with(TRUSTED.rsa.jwk(), json!({"e": "", "kid": "2"}))), "safe to use"),
        ("a huge e", set(with(TRUSTED.rsa.jwk(), json!({"e": "_".repeat(340)}))), "safe to use"),
        ("PS256", set(with(TRUSTED.rsa.jwk(), json!({"alg": "PS256"}))), "`alg`"),
        ("HS256", set(with(ed.clone(), json!({"alg": "HS256"}))), "`alg`"),
        ("for encryption", set(with(ed.clone(), json!({"use": "enc"}))), "not for signatures"),
        ("to sign", set(with(ed.clone(), json!({"key_ops": ["sign"]}))), "not for signatures"),
        ("an empty kid", set(with(ed.clone(), json!({"kid": ""}))), "`kid`"),
        ("a kid no text", set(with(ed.clone(), json!({"kid": 1}))), "`kid`"),
        ("a private JWK", set(with(ed, json!({"d": "AAAA"}))), "private key"),
        ("a secret", set(json!({"kty": "oct", "k": "AAAA"})), "private key"),
        (
            "two keys of one kid",
            String::from_utf8(jwks(&[&Forger::ed25519("a"), &Forger::ed25519("a")])).unwrap(),
            "same `kid`",
        ),
    ] {
        let fault = fault(content);
        assert!(fault.contains(why), "{what}: {fault}");
    }
    assert!(fault(vec![b' '; 300 * 1024]).contains("too large"));
    assert!(fault(b"\x30\x2a\xff").contains("neither PEM nor JSON"));
    let missing = KeySet::read("/nowhere/keys.pem".as_ref()).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/keys.pem cannot be read"), "{missing}");
}

/// One `kid` for keys of two types is one key each: the token says which type.
#[test]
fn keys_of_two_types_can_share_a_kid() {
    let (ed, ec) = (Forger::ed25519("a"), Forger::p256("a"));
    let verifier = super::trusting(&[&ed, &ec]);
    assert_eq!(verdict(&verifier, ed.good()), "fine");
    assert_eq!(verdict(&verifier, ec.good()), "fine");
}

#[test]
fn files_are_trusted_together_unless_they_contradict_each_other() {
    let (one, two, again) = (Forger::ed25519("1"), Forger::p256("2"), Forger::ed25519("1"));
    let (first, second) = (File::of(jwks(&[&one])), File::of(jwks(&[&two, &one])));
    let sources = [Source::File(first.path()), Source::File(second.path())];
    let verifier = Verifier::new(Policy::new(AUDIENCE), sources).unwrap();
    assert_eq!(verdict(&verifier, one.good()), "fine");
    assert_eq!(verdict(&verifier, two.good()), "fine");
    let third = File::of(jwks(&[&again]));
    let sources = [Source::File(first.path()), Source::File(third.path())];
    let fault = Verifier::new(Policy::new(AUDIENCE), sources).unwrap_err().to_string();
    assert!(fault.contains("same `kid`"), "{fault}");
}

/// What `new-key` writes is what everything else reads, for each type.
#[test]
fn made_keys_sign_and_check() {
    let sandbox = Sandbox::new();
    let mut all = String::new();
    for algorithm in Algorithm::ALL {
        let path = sandbox.path(algorithm.as_str());
        let made = SigningKey::generate(algorithm).unwrap();
        let public = made.create(&path).unwrap();
        let read = SigningKey::read(&path).unwrap();
        assert_eq!(read.public().kid(), made.public().kid());
        assert_eq!(read.public().algorithm(), algorithm);
        assert!(!format!("{read:?}").contains("PRIVATE"));
        let set = KeySet::read(&public).unwrap();
        assert_eq!(set.keys()[0].thumbprint(), made.public().thumbprint());
        all += &std::fs::read_to_string(&public).unwrap();
        let fault = KeySet::read(&path).unwrap_err().to_string();
        assert!(fault.contains("private key") && fault.contains("-pubout"), "{fault}");
        assert!(made.create(&path).unwrap_err().to_string().contains("exists already"));
    }
    // Several PEM blocks are several keys, none of them left out.
    let file = sandbox.write("all.pub", all);
    assert_eq!(KeySet::read(&file).unwrap().keys().len(), 3);
}

#[test]
fn a_private_key_that_others_can_read_is_refused() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("key");
    SigningKey::generate(Algorithm::EdDsa).unwrap().create(&path).unwrap();
    for mode in [0o640, 0o604, 0o644, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let fault = SigningKey::read(&path).unwrap_err().to_string();
        assert!(fault.contains("chmod 600"), "{mode:o}: {fault}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    SigningKey::read(&path).unwrap();
}
