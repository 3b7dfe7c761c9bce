//! Which job tokens count.
//!
//! - `attacks`: what somebody without a key, or with another's, can send
//! - `claims`: what a token must say, and when
//! - `commands`: `token …` through the binary
//! - `interoperability`: openssl signs what is accepted here, and checks what is issued here
//! - `keys`: files of keys
//! - `published`: keys from an address that changes, stops answering, or lies

mod attacks;
mod claims;
mod commands;
mod interoperability;
mod keys;
mod published;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use qgis_secrets::error::Error;
use qgis_secrets::job_token::{Claims, Policy, Refused, Source, Verifier};
use qgis_secrets::secret::Value;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// The time at which the tests look, in seconds since 1970.
const NOW: i64 = 1_800_000_000;

/// What the service is called.
const AUDIENCE: &str = "https://secrets.example";

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

fn now() -> Timestamp {
    at(0)
}

/// So many seconds later.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// Somebody's private key, which signs whatever it is given.
pub(crate) struct Forger {
    pair: Pair,
    kid: String,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Forger {
    pub(crate) fn ed25519(kid: &str) -> Self {
        Self { pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()), kid: kid.into() }
    }

    fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { pair: Pair::Ec(pair), kid: kid.into() }
    }

    fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { pair: Pair::Rsa(Box::new(pair)), kid: kid.into() }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed(_) => "EdDSA",
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// The public key as a JWK, with its id.
    fn jwk(&self) -> Json {
        let mut jwk = match &self.pair {
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Pair::Rsa(pair) => {
                let key = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": base64(key.n), "e": base64(key.e)})
            }
        };
        jwk["kid"] = self.kid.clone().into();
        jwk
    }

    pub(crate) fn header(&self) -> Json {
        json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"})
    }

    /// A token of these two texts, JSON or not.
    pub(crate) fn token(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", base64(header), base64(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", base64(signature))
    }

    /// A token with these claims over good ones; `null` stays null.
    pub(crate) fn claiming(&self, members: Json) -> String {
        self.token(self.header().to_string(), with(claims(), members).to_string())
    }

    /// A good token.
    fn good(&self) -> String {
        self.claiming(json!({}))
    }
}

/// Three trusted keys, one of each type; RSA keys take long to make.
struct Trusted {
    ed: Forger,
    ec: Forger,
    rsa: Forger,
    verifier: Verifier,
}

static TRUSTED: LazyLock<Trusted> = LazyLock::new(|| {
    let (ed, ec, rsa) = (Forger::ed25519("ed"), Forger::p256("ec"), Forger::rsa("rsa"));
    let verifier = trusting(&[&ed, &ec, &rsa]);
    Trusted { ed, ec, rsa, verifier }
});

/// Claims that count now.
fn claims() -> Json {
    json!({
        "aud": AUDIENCE, "exp": NOW + 600, "jti": "t-1", "job": "7c1e0d52",
        "organization": "org-81", "project": "f3b0c442", "user": "u-1204",
    })
}

fn with(mut object: Json, members: Json) -> Json {
    for (name, value) in members.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

pub(crate) fn jwks(keys: &[&Forger]) -> Vec<u8> {
    let keys: Vec<Json> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// A verifier that trusts these keys, by a file of them.
fn trusting(keys: &[&Forger]) -> Verifier {
    let file = File::of(jwks(keys));
    Verifier::new(Policy::new(AUDIENCE), [Source::File(file.path())]).unwrap()
}

fn verify(verifier: &Verifier, token: impl AsRef<[u8]>, now: Timestamp) -> Result<Claims, Refused> {
    let token = Value::new(token.as_ref().to_vec());
    runtime().block_on(verifier.verify(&token, now))
}

/// The stable word of what happens now, or `fine`.
fn verdict(verifier: &Verifier, token: impl AsRef<[u8]>) -> &'static str {
    verdict_at(verifier, token, now())
}

fn verdict_at(verifier: &Verifier, token: impl AsRef<[u8]>, now: Timestamp) -> &'static str {
    let token = token.as_ref();
    match verify(verifier, token, now) {
        Ok(_) => "fine",
        Err(refused) => {
            let message = refused.to_string();
            let text = String::from_utf8_lossy(token);
            for part in text.split('.').filter(|part| part.len() > 8) {
                assert!(!message.contains(part), "{message}: holds a part of the token");
            }
            let kind = refused.kind();
            assert_eq!(Error::from(refused).kind(), kind, "one word everywhere");
            kind
        }
    }
}

/// Fetches go on behind a token, so every test's runtime is the same one, and stays.
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
    });
    &RUNTIME
}

/// A file of a test's own.
struct File(TempDir);

impl File {
    fn of(content: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).open(directory.path().join("file")).unwrap();
        file.write_all(content.as_ref()).unwrap();
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("file")
    }
}
