//! One public key, and the one algorithm that it has.
//!
//! Invariant: every key came through [`PublicKey::from_jwk`], which takes Ed25519, P-256 and RSA of
//! at least 2048 bits, and refuses what is private or for another use (RFC 8725, sections 3.1 and
//! 3.2; NIST SP 800-131A for the length).

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use serde_json::{Map, Value as Json};

use super::claims::MAX_ID;

/// How a token is signed. The type of a key decides, never a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3).
    Rs256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// The word in a header's `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Reads a header's `alg`, byte for byte: `none` and HMAC stand for nothing, in any spelling.
    pub fn from_jose(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == word)
    }

    pub(super) fn in_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why something is no public key for tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// A private or a symmetric key.
    Private,
    /// Another type, curve, length or use.
    Other(&'static str),
}

/// A public key.
pub struct PublicKey {
    kid: String,
    algorithm: Algorithm,
    jwk: Jwk,
    thumbprint: String,
    prepared: ParsedPublicKey,
}

impl PublicKey {
    /// The id that a token names it by: the set's `kid`, or else the thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SHA-256 over what makes the key (RFC 7638), as base64url.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The key as a member of a JWK set (RFC 7517), with `kid`, `use` and `alg`.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Whether `signature` is this key's for `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.prepared.verify_sig(message, signature).is_ok()
    }

    /// Reads one member of a JWK set.
    pub(super) fn from_jwk(jwk: &Map<String, Json>) -> Result<Self, Unusable> {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        if PRIVATE.into_iter().any(|member| jwk.contains_key(member)) {
            return Err(Unusable::Private);
        }
        let (algorithm, key, prepared) = match (word(jwk, "kty"), word(jwk, "crv")) {
            (Some("OKP"), Some("Ed25519")) => ed25519(jwk)?,
            (Some("EC"), Some("P-256")) => p256(jwk)?,
            (Some("RSA"), _) => rsa(jwk)?,
            _ => return Err(Unusable::Other("not an Ed25519, P-256 or RSA key")),
        };
        let other =
            |member, fits: &dyn Fn(&Json) -> bool| jwk.get(member).is_some_and(|v| !fits(v));
        if other("alg", &|alg| alg == algorithm.as_str()) {
            return Err(Unusable::Other("its `alg` is not one that is accepted for its type"));
        }
        if other("use", &|for_what| for_what == "sig")
            || other("key_ops", &|list| {
                list.as_array().is_some_and(|list| list.iter().any(|op| op == "verify"))
            })
        {
            return Err(Unusable::Other("it is not for signatures"));
        }
        let broken = Unusable::Other("a key that cannot be used");
        let mut public = Jwk::from_decoding_key(&key, Some(algorithm.in_library()))
            .map_err(|_| Unusable::Other("a key that cannot be used"))?;
        let thumbprint = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| broken)?;
        let kid = match jwk.get("kid") {
            None => thumbprint.clone(),
            Some(Json::String(kid)) if !kid.is_empty() && kid.len() <= MAX_ID => kid.clone(),
            Some(_) => return Err(Unusable::Other("its `kid` is not 1 to 255 bytes of text")),
        };
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { kid, algorithm, jwk: public, thumbprint, prepared })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.algorithm, self.thumbprint)
    }
}

type Read = (Algorithm, DecodingKey, ParsedPublicKey);

fn ed25519(jwk: &Map<String, Json>) -> Result<Read, Unusable> {
    let x = bytes(jwk, "x")?;
    let prepared = (x.len() == 32)
        .then(|| ParsedPublicKey::new(&ED25519, &x).ok())
        .flatten()
        .ok_or(Unusable::Other("not an Ed25519 key"))?;
    Ok((Algorithm::EdDsa, DecodingKey::from_ed_der(&x), prepared))
}

/// The point must be on the curve, and given with both coordinates in full.
fn p256(jwk: &Map<String, Json>) -> Result<Read, Unusable> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    let point = [&[4], x.as_slice(), &y].concat();
    let prepared = (x.len() == 32 && y.len() == 32)
        .then(|| ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).ok())
        .flatten()
        .ok_or(Unusable::Other("not a point of P-256"))?;
    Ok((Algorithm::Es256, DecodingKey::from_ec_der(&point), prepared))
}

fn rsa(jwk: &Map<String, Json>) -> Result<Read, Unusable> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let (n, e) = (without_zeros(&n), without_zeros(&e));
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(Unusable::Other("an RSA key of fewer than 2048 bits, or more than 8192"));
    }
    // By way of DER, which the library checks in full: with an exponent of 1 anybody can sign, and
    // with a huge one a signature takes long.
    let prepared = RsaPublicKeyComponents { n, e }
        .as_der()
        .ok()
        .and_then(|der| ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).ok())
        .ok_or(Unusable::Other("not an RSA key that is safe to use"))?;
    Ok((Algorithm::Rs256, DecodingKey::from_rsa_raw_components(n, e), prepared))
}

/// Some issuers write a sign byte. A thumbprint is over the number without it (RFC 7638, 3.1).
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn word<'a>(jwk: &'a Map<String, Json>, member: &str) -> Option<&'a str> {
    jwk.get(member)?.as_str()
}

fn bytes(jwk: &Map<String, Json>, member: &str) -> Result<Vec<u8>, Unusable> {
    let text = word(jwk, member).ok_or(Unusable::Other("a member of the key is missing"))?;
    Base64UrlUnpadded::decode_vec(text)
        .map_err(|_| Unusable::Other("a member of the key is not base64url without padding"))
}
