//! Public keys that belong together: those of a file, or of a JWK set from an address.
//!
//! Invariants: no two keys of a set have the same id and algorithm, so that a token's key is never
//! a guess; a set holds no private key.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde_json::{Map, Value as Json};

use super::pem;
use super::public_key::{Algorithm, PublicKey, Unusable};
use super::refused::BadKey;

/// The largest set, in bytes: some hundred keys.
pub(super) const MAX_SET: usize = 256 * 1024;

/// A set of public keys.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

/// What a set says about the key that a token names.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Its place in the set.
    Found(usize),
    /// The id is another algorithm's.
    Other(Algorithm),
    Absent,
}

/// Why a text is not a set of public keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotASet {
    Private,
    Other(String),
}

impl KeySet {
    /// Reads a file of PEM public keys (SPKI, RFC 7468, or PKCS #1), or of a JWK set or a single
    /// JWK (RFC 7517). Every key in it must be usable: somebody put it there on purpose.
    pub fn read(path: &Path) -> Result<Self, BadKey> {
        let unreadable = |error| BadKey::Unreadable(path.into(), error);
        let content = |why: &str| BadKey::Content(path.into(), why.to_owned());
        let file = File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_SET as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > MAX_SET {
            return Err(content("too large for a file of keys"));
        }
        let text = str::from_utf8(&bytes).map_err(|_| {
            content("neither PEM nor JSON; make PEM of DER with: openssl pkey -pubin -inform DER")
        })?;
        let set = if text.trim_start().starts_with('{') {
            Self::from_json(&bytes, Unasked::Refuse)
        } else {
            Self::from_pem(text)
        };
        set.map_err(|why| match why {
            NotASet::Private => BadKey::Private(path.into()),
            NotASet::Other(why) => content(&why),
        })
    }

    fn from_pem(text: &str) -> Result<Self, NotASet> {
        let other = |why: &str| NotASet::Other(why.to_owned());
        let blocks = pem::blocks(text).ok_or_else(|| other("a PEM block has no end"))?;
        if blocks.is_empty() {
            return Err(other("holds no public key, neither as PEM nor as a JWK set"));
        }
        let mut set = Self::default();
        for block in blocks {
            if block.label.contains("PRIVATE") {
                return Err(NotASet::Private);
            }
            if !matches!(block.label, "PUBLIC KEY" | "RSA PUBLIC KEY") {
                return Err(other(
                    "holds a PEM block that is no public key; take it out of a certificate with: \
                     openssl x509 -pubkey -noout",
                ));
            }
            let pem = block.text.as_bytes();
            let jwk = DecodingKey::from_ed_pem(pem)
                .or_else(|_| DecodingKey::from_ec_pem(pem))
                .or_else(|_| DecodingKey::from_rsa_pem(pem))
                .and_then(|key| Jwk::from_decoding_key(&key, None))
                .ok()
                .and_then(|jwk| serde_json::to_value(jwk).ok());
            let Some(Json::Object(jwk)) = jwk else {
                return Err(other("not an Ed25519, P-256 or RSA key"));
            };
            set.take(&jwk, Unasked::Refuse)?;
        }
        Ok(set)
    }

    /// Reads a JWK set, or a single JWK.
    pub(super) fn from_json(text: &[u8], unasked: Unasked) -> Result<Self, NotASet> {
        let other = |why: &str| NotASet::Other(why.to_owned());
        let Ok(Json::Object(mut document)) = serde_json::from_slice(text) else {
            return Err(other("not a JSON object"));
        };
        let keys = match document.remove("keys") {
            Some(Json::Array(keys)) => keys,
            None if document.contains_key("kty") => vec![Json::Object(document)],
            _ => return Err(other("not a JWK set: it has no array `keys`")),
        };
        let mut set = Self::default();
        for key in keys {
            let Json::Object(jwk) = key else { return Err(other("a key is not a JSON object")) };
            set.take(&jwk, unasked)?;
        }
        if unasked == Unasked::Refuse && set.keys.is_empty() {
            return Err(other("holds no key"));
        }
        Ok(set)
    }

    fn take(&mut self, jwk: &Map<String, Json>, unasked: Unasked) -> Result<(), NotASet> {
        let key = match (PublicKey::from_jwk(jwk), unasked) {
            (Ok(key), _) => key,
            (Err(Unusable::Private), Unasked::Refuse) => return Err(NotASet::Private),
            (Err(Unusable::Other(why)), Unasked::Refuse) => {
                return Err(NotASet::Other(why.to_owned()));
            }
            (Err(Unusable::Private), Unasked::PassOver) => {
                tracing::error!(
                    "the key set publishes a private key: whoever saw it can sign, so it is not \
                     trusted; its owner must replace it"
                );
                return Ok(());
            }
            (Err(Unusable::Other(why)), Unasked::PassOver) => {
                tracing::debug!(why, "a key of the set is not for job tokens");
                return Ok(());
            }
        };
        let same =
            |other: &PublicKey| other.kid() == key.kid() && other.algorithm() == key.algorithm();
        match self.keys.iter().find(|other| same(other)) {
            None => self.keys.push(key),
            Some(other) if other.thumbprint() == key.thumbprint() => {}
            Some(_) => {
                return Err(NotASet::Other("two different keys have the same `kid`".to_owned()));
            }
        }
        Ok(())
    }

    /// Adds the keys of another set; one that has a key of the same id and algorithm is refused.
    pub fn join(&mut self, other: Self, path: &Path) -> Result<(), BadKey> {
        for key in other.keys {
            let clash = self
                .keys
                .iter()
                .find(|own| own.kid() == key.kid() && own.algorithm() == key.algorithm());
            match clash {
                None => self.keys.push(key),
                Some(own) if own.thumbprint() == key.thumbprint() => {}
                Some(_) => {
                    let why = "a different key with the same `kid` is in another file";
                    return Err(BadKey::Content(path.into(), why.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// The keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The JWK set (RFC 7517, section 5) to publish.
    pub fn to_jwks(&self) -> JwkSet {
        JwkSet { keys: self.keys.iter().map(|key| key.jwk().clone()).collect() }
    }

    pub(super) fn find(&self, kid: &str, algorithm: Algorithm) -> Lookup {
        let mut other = Lookup::Absent;
        for (index, key) in self.keys.iter().enumerate().filter(|(_, key)| key.kid() == kid) {
            if key.algorithm() == algorithm {
                return Lookup::Found(index);
            }
            other = Lookup::Other(key.algorithm());
        }
        other
    }
}

/// What to do with a key that can't check job tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Refuse the set: it is a file that somebody named.
    Refuse,
    /// Pass over it, as RFC 7517, section 5, asks: a published set serves others too.
    PassOver,
}
