//! What somebody without a trusted key, or with a token of another job, can send.

use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{
    AUDIENCE, File, Forger, Pair, Policy, Source, TRUSTED, Trusted, Verifier, base64, claims, jwks,
    trusting, verdict, with,
};

#[test]
fn good_tokens_count() {
    for key in [&TRUSTED.ed, &TRUSTED.ec, &TRUSTED.rsa] {
        assert_eq!(verdict(&TRUSTED.verifier, key.good()), "fine", "{}", key.algorithm());
    }
}

/// The header of a token that a trusted key signed, with each of these in the place of `alg`.
#[test]
fn no_other_algorithm_counts() {
    let key = &TRUSTED.ed;
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "hs256", "RS384", "RS512",
        "PS256", "ES384", "ES256K", "eddsa", "EDDSA", "Ed25519", "Ed448", "EdDSA ", "es256",
    ] {
        let header = with(key.header(), json!({ "alg": alg })).to_string();
        let signed = key.token(&header, claims().to_string());
        let (message, _) = signed.rsplit_once('.').unwrap();
        for token in [signed.clone(), format!("{message}."), format!("{message}.AA")] {
            assert_eq!(verdict(&TRUSTED.verifier, token), "token_algorithm", "{alg:?}");
        }
    }
    for alg in [Json::Null, 0.into(), json!(["EdDSA"]), json!({"EdDSA": 1}), true.into()] {
        let header = with(key.header(), json!({ "alg": alg })).to_string();
        let token = key.token(header, claims().to_string());
        assert_eq!(verdict(&TRUSTED.verifier, token), "token_malformed", "{alg}");
    }
    let token = key.token(r#"{"kid":"ed","typ":"JWT"}"#, claims().to_string());
    assert_eq!(verdict(&TRUSTED.verifier, token), "token_malformed");
}

/// A public key is known to everybody: as an HMAC secret it would let everybody sign.
#[test]
fn a_public_key_is_no_secret() {
    let ed = match &TRUSTED.ed.pair {
        Pair::Ed(pair) => aws_lc_rs::signature::KeyPair::public_key(pair).as_ref().to_vec(),
        _ => unreachable!("an Ed25519 key"),
    };
    let der = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &ed].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        <base64ct::Base64 as base64ct::Encoding>::encode_string(&der)
    );
    let jwk = TRUSTED.ed.jwk().to_string();
    let set = jwks(&[&TRUSTED.ed]);
    for secret in [ed.as_slice(), &der, pem.as_bytes(), pem.trim().as_bytes(), jwk.as_bytes(), &set]
    {
        let header = json!({"alg": "HS256", "kid": "ed", "typ": "JWT"}).to_string();
        let message = format!("{}.{}", base64(header), base64(claims().to_string()));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let token = format!("{message}.{}", base64(mac));
        assert_eq!(verdict(&TRUSTED.verifier, &token), "token_algorithm");
        // The same signature under the key's own algorithm.
        let mut own = message.split('.').skip(1);
        let header = base64(TRUSTED.ed.header().to_string());
        let token = format!("{header}.{}.{}", own.next().unwrap(), base64(mac));
        assert_eq!(verdict(&TRUSTED.verifier, token), "token_signature");
    }
}

#[test]
fn a_key_has_one_algorithm() {
    let Trusted { ed, ec, rsa, verifier } = &*TRUSTED;
    for key in [ed, ec, rsa] {
        for other in [ed, ec, rsa] {
            // Signed by `key`, which the header gives `other`'s id.
            let header = with(key.header(), json!({"kid": other.kid})).to_string();
            let token = key.token(header, claims().to_string());
            let same = key.kid == other.kid;
            let expected = if same { "fine" } else { "token_algorithm" };
            assert_eq!(verdict(verifier, token), expected, "{} {}", key.kid, other.kid);
            // Signed by `key`, and said to be of `other`'s algorithm.
            let header = with(key.header(), json!({"alg": other.algorithm()})).to_string();
            let token = key.token(header, claims().to_string());
            assert_eq!(verdict(verifier, token), expected, "{} {}", key.kid, other.kid);
            // Signed by `key`, everything else `other`'s.
            let token = key.token(other.header().to_string(), claims().to_string());
            let expected = if same { "fine" } else { "token_signature" };
            assert_eq!(verdict(verifier, token), expected, "{} {}", key.kid, other.kid);
        }
    }
}

#[test]
fn a_token_brings_no_key() {
    let stranger = Forger::ed25519("stranger");
    for (member, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("jwk", Json::Null),
    ] {
        for key in [&stranger, &TRUSTED.ed] {
            let header = with(key.header(), json!({ member: value })).to_string();
            let token = key.token(header, claims().to_string());
            assert_eq!(verdict(&TRUSTED.verifier, token), "token_malformed", "{member}");
        }
    }
    // What says nothing about keys is ignored.
    let header = with(TRUSTED.ed.header(), json!({"x5t": "AAAA", "traceparent": "00"}));
    let token = TRUSTED.ed.token(header.to_string(), claims().to_string());
    assert_eq!(verdict(&TRUSTED.verifier, token), "fine");
}

#[test]
fn other_types_of_tokens_are_refused() {
    for (typ, expected) in [
        (json!("JWT"), "fine"),
        (json!("jwt"), "fine"),
        (json!("application/JWT"), "fine"),
        (json!("at+jwt"), "token_malformed"),
        (json!("JOSE"), "token_malformed"),
        (json!("dpop+jwt"), "token_malformed"),
        (Json::Null, "token_malformed"),
        (json!(["JWT"]), "token_malformed"),
    ] {
        let header = with(TRUSTED.ed.header(), json!({ "typ": typ })).to_string();
        let token = TRUSTED.ed.token(header, claims().to_string());
        assert_eq!(verdict(&TRUSTED.verifier, token), expected, "{typ}");
    }
    let token = TRUSTED.ed.token(r#"{"alg":"EdDSA","kid":"ed"}"#, claims().to_string());
    assert_eq!(verdict(&TRUSTED.verifier, token), "fine");
}

#[test]
fn a_key_is_found_by_its_id_alone() {
    let stranger = Forger::ed25519("ed");
    assert_eq!(verdict(&TRUSTED.verifier, stranger.good()), "token_signature");
    let long = "k".repeat(4000);
    for kid in [
        "",
        " ",
        "ED",
        "ed ",
        "ed\0",
        "ed/../ed",
        "../../../../dev/null",
        "/etc/passwd",
        "file:///etc/passwd",
        "' OR '1'='1",
        "ed\n",
        "%65d",
        "*",
        "\u{1b}[2J",
        &long,
    ] {
        for key in [&stranger, &TRUSTED.ed] {
            let header = with(key.header(), json!({ "kid": kid })).to_string();
            let token = key.token(header, claims().to_string());
            assert_eq!(verdict(&TRUSTED.verifier, &token), "token_key_unknown", "{kid:?}");
            let refused = super::verify(&TRUSTED.verifier, token, super::now()).unwrap_err();
            let message = refused.to_string();
            assert!(!message.contains(char::is_control) && message.len() < 300, "{message}");
        }
    }
    for kid in [Json::Null, 0.into(), json!(["ed"]), json!({})] {
        let header = with(TRUSTED.ed.header(), json!({ "kid": kid })).to_string();
        let token = TRUSTED.ed.token(header, claims().to_string());
        assert_eq!(verdict(&TRUSTED.verifier, token), "token_malformed", "{kid}");
    }
}

#[test]
fn a_token_without_a_kid_needs_exactly_one_key_of_its_algorithm() {
    let token = |key: &Forger| {
        let header = json!({"alg": key.algorithm()}).to_string();
        key.token(header, claims().to_string())
    };
    let (one, two, ec) = (Forger::ed25519("1"), Forger::ed25519("2"), Forger::p256("3"));
    assert_eq!(verdict(&trusting(&[&one, &ec]), token(&one)), "fine");
    assert_eq!(verdict(&trusting(&[&one, &ec]), token(&ec)), "fine");
    assert_eq!(verdict(&trusting(&[&one, &ec]), token(&two)), "token_signature");
    assert_eq!(verdict(&trusting(&[&one, &two]), token(&one)), "token_key_unknown");
    assert_eq!(verdict(&trusting(&[&one, &two]), token(&ec)), "token_key_unknown");
    // One key under two names is one key.
    let same =
        File::of(json!({"keys": [one.jwk(), with(one.jwk(), json!({"kid": "x"}))]}).to_string());
    let verifier = Verifier::new(Policy::new(AUDIENCE), [Source::File(same.path())]).unwrap();
    assert_eq!(verdict(&verifier, token(&one)), "fine");
}

/// A token is three parts of canonical base64url, two of them JSON objects.
#[test]
fn there_is_one_way_to_write_a_token() {
    let key = &TRUSTED.ed;
    let good = key.good();
    let [header, claims, signature] = *good.split('.').collect::<Vec<_>>() else { panic!() };
    let text = claims_text();
    let raw = |header: &[u8], claims: &[u8]| key.token(header, claims);
    let head = key.header().to_string();
    let nested = format!(r#"{{"x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for (what, token) in [
        ("nothing", String::new()),
        ("a dot", ".".into()),
        ("two dots", "..".into()),
        ("three dots", "...".into()),
        ("one part", header.into()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{good}.")),
        ("four full parts", format!("{good}.{signature}")),
        ("five parts, as in JWE", format!("{header}.{claims}.{claims}.{claims}.{signature}")),
        ("a dot in front", format!(".{good}")),
        ("no header", format!(".{claims}.{signature}")),
        ("no claims", format!("{header}..{signature}")),
        ("a blank in front", format!(" {good}")),
        ("a blank in a part", format!("{header} .{claims}.{signature}")),
        ("Bearer", format!("Bearer {good}")),
        ("padding of the header", format!("{header}=.{claims}.{signature}")),
        ("padding of the claims", format!("{header}.{claims}==.{signature}")),
        ("another alphabet", format!("{header}.{}.{signature}", claims.replacen('e', "+", 1))),
        ("no base64url", format!("{header}.{claims}!.{signature}")),
        ("an NUL", format!("{header}\0.{claims}.{signature}")),
        ("beyond ASCII", format!("{header}ä.{claims}.{signature}")),
        ("JSON form", format!(r#"{{"payload":"{claims}","protected":"{header}"}}"#)),
        ("claims no object", raw(head.as_bytes(), b"[]")),
        ("claims a string", raw(head.as_bytes(), b"\"x\"")),
        ("claims null", raw(head.as_bytes(), b"null")),
        ("claims empty", raw(head.as_bytes(), b"")),
        ("claims no JSON", raw(head.as_bytes(), b"{'a': 1}")),
        ("claims cut", raw(head.as_bytes(), &text.as_bytes()[..text.len() - 1])),
        ("claims and more", raw(head.as_bytes(), format!("{text}x").as_bytes())),
        ("claims twice", raw(head.as_bytes(), format!("{text}{text}").as_bytes())),
        ("claims and a NUL", raw(head.as_bytes(), format!("{text}\0").as_bytes())),
        ("claims with a BOM", raw(head.as_bytes(), format!("\u{feff}{text}").as_bytes())),
        ("claims not UTF-8", raw(head.as_bytes(), b"{\"jti\":\"\xff\"}")),
        ("claims too deep", raw(head.as_bytes(), nested.as_bytes())),
        ("a number too large", raw(head.as_bytes(), b"{\"exp\":1e999}")),
        ("header no object", raw(b"[\"EdDSA\"]", text.as_bytes())),
        ("header and more", raw(format!("{head} x").as_bytes(), text.as_bytes())),
        ("header twice", raw(format!("{head}{head}").as_bytes(), text.as_bytes())),
        ("alg twice", raw(br#"{"alg":"none","kid":"ed","alg":"EdDSA"}"#, text.as_bytes())),
        ("kid twice", raw(br#"{"alg":"EdDSA","kid":"x","kid":"ed"}"#, text.as_bytes())),
        ("alg twice, escaped", raw(br#"{"alg":"EdDSA","\u0061lg":"none"}"#, text.as_bytes())),
        ("oversized", {
            let claims = with(super::claims(), json!({"x": "x".repeat(8192)})).to_string();
            raw(head.as_bytes(), claims.as_bytes())
        }),
    ] {
        assert_eq!(verdict(&TRUSTED.verifier, &token), "token_malformed", "{what}: {token}");
    }
    // Blanks inside the JSON are JSON.
    let spaced = text.replace("\":", "\" :\n ");
    assert_eq!(verdict(&TRUSTED.verifier, raw(head.as_bytes(), spaced.as_bytes())), "fine");
    assert_eq!(verdict(&TRUSTED.verifier, raw(head.as_bytes(), br"{}")), "token_claims");
}

fn claims_text() -> String {
    claims().to_string()
}

#[test]
fn the_longest_token_counts_and_one_byte_more_does_not() {
    let token = |filler: usize| TRUSTED.ed.claiming(json!({"x": "x".repeat(filler)}));
    let longest = (5000..8192).map(token).find(|token| token.len() >= 8191).unwrap();
    assert!(longest.len() <= 8192, "{}", longest.len());
    assert_eq!(verdict(&TRUSTED.verifier, &longest), "fine");
    let longer = (5000..8192).map(token).find(|token| token.len() > 8192).unwrap();
    assert_eq!(verdict(&TRUSTED.verifier, &longer), "token_malformed");
}

#[test]
fn a_signature_has_one_form() {
    for key in [&TRUSTED.ed, &TRUSTED.ec, &TRUSTED.rsa] {
        let good = key.good();
        let (message, signature) = good.rsplit_once('.').unwrap();
        let bytes = key.sign(message.as_bytes());
        let mut zero = bytes.clone();
        zero.fill(0);
        let cut = &bytes[..bytes.len() - 1];
        for (what, forged) in [
            ("none", String::new()),
            ("cut by a byte", base64(cut)),
            ("cut in front", base64(&bytes[1..])),
            ("a byte more", base64([&bytes, b"\0".as_slice()].concat())),
            ("a byte in front", base64([b"\0", bytes.as_slice()].concat())),
            ("twice", base64([bytes.as_slice(), &bytes].concat())),
            ("zeros", base64(&zero)),
            ("far too long", base64(vec![1; 2000])),
            ("padded", format!("{signature}=")),
            ("padded twice", format!("{signature}==")),
            ("a line end", format!("{signature}\n")),
            ("a blank", format!("{signature} ")),
            ("no base64url", format!("{signature}!")),
            ("of another message", base64(key.sign(b"something else"))),
        ] {
            let token = format!("{message}.{forged}");
            let verdict = verdict(&TRUSTED.verifier, token);
            assert_eq!(verdict, "token_signature", "{} {what}", key.algorithm());
        }
    }
}

/// JWS has r and s in 32 bytes each (RFC 7518, section 3.4). The other root, n - s, is a signature
/// as well, and says the same: see the document.
#[test]
fn ecdsa_in_der_is_refused_and_the_other_s_is_the_same_token() {
    let good = TRUSTED.ec.good();
    let (message, _) = good.rsplit_once('.').unwrap();
    let bytes = TRUSTED.ec.sign(message.as_bytes());
    let der = super::interoperability::to_der(&bytes);
    let token = format!("{message}.{}", base64(der));
    assert_eq!(verdict(&TRUSTED.verifier, token), "token_signature");

    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut other = bytes;
    let mut borrow = 0;
    for i in (0..32).rev() {
        let digit = i32::from(ORDER[i]) - i32::from(other[32 + i]) - borrow;
        borrow = i32::from(digit < 0);
        other[32 + i] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    let token = format!("{message}.{}", base64(&other));
    assert_ne!(token, good);
    assert_eq!(verdict(&TRUSTED.verifier, token), "fine");
    let zeros = format!("{message}.{}", base64([&other[..32], &[0; 32]].concat()));
    assert_eq!(verdict(&TRUSTED.verifier, zeros), "token_signature");
}

/// Parts of two good tokens make none.
#[test]
fn parts_of_two_tokens_make_none() {
    let one = TRUSTED.ed.good();
    let two = TRUSTED.ed.claiming(json!({"project": "another", "jti": "t-2"}));
    let (one, two): (Vec<_>, Vec<_>) = (one.split('.').collect(), two.split('.').collect());
    let mixed = format!("{}.{}.{}", one[0], two[1], one[2]);
    assert_eq!(verdict(&TRUSTED.verifier, mixed), "token_signature");
    let mixed = format!("{}.{}.{}", one[0], one[1], two[2]);
    assert_eq!(verdict(&TRUSTED.verifier, mixed), "token_signature");
}

/// Each place of the token, each character that base64url has, and a few that it hasn't.
#[test]
fn every_changed_character_is_noticed() {
    const OTHERS: &[u8] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/ \n\0\x80";
    let good = TRUSTED.ed.good().into_bytes();
    let mut tried = 0;
    for place in 0..good.len() {
        // All of them at the ends of the parts, where bits are left over; a few elsewhere.
        let end = good[place + 1..].first().is_none_or(|next| *next == b'.');
        let step = if end { 1 } else { 7 };
        for other in OTHERS.iter().skip(place % step).step_by(step) {
            if *other == good[place] {
                continue;
            }
            let mut token = good.clone();
            token[place] = *other;
            let verdict = verdict(&TRUSTED.verifier, &token);
            assert_ne!(verdict, "fine", "{other:?} at {place}");
            tried += 1;
        }
    }
    assert!(tried > 3000, "{tried}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_change_is_noticed(
        which in 0..3_usize,
        place in any::<prop::sample::Index>(),
        bits in 1_u8..,
        cut in any::<bool>(),
    ) {
        let key = [&TRUSTED.ed, &TRUSTED.ec, &TRUSTED.rsa][which];
        let mut token = key.good().into_bytes();
        let place = place.index(token.len());
        token[place] ^= bits;
        prop_assert_ne!(verdict(&TRUSTED.verifier, &token), "fine");
        token[place] ^= bits;
        if cut {
            token.truncate(place);
        } else {
            token.remove(place);
        }
        prop_assert_ne!(verdict(&TRUSTED.verifier, &token), "fine");
    }

    /// Whatever comes in, there is an answer.
    #[test]
    fn anything_has_an_answer(token in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_ne!(verdict(&TRUSTED.verifier, token), "fine");
    }
}
