//! A token's text: three parts, two JSON objects, nothing else (JWS compact serialization, RFC
//! 7515, section 7.1).
//!
//! Invariants: one text has one reading, for base64url is canonical, no member of an object stands
//! twice, and nothing follows; what a header can ask for beyond an algorithm and a key's id is
//! refused rather than ignored.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

use super::claims::{Claims, Policy};
use super::public_key::Algorithm;
use super::refused::{Refused, Shown};
use crate::secret::Value;

/// The longest token, in bytes.
pub const MAX_LEN: usize = 8 * 1024;

/// Header members that bring keys or addresses of keys, or change how the rest is read.
///
/// RFC 8725, sections 3.10 and 3.5; `crit` (RFC 7515, section 4.1.11) names extensions, and none
/// is known here; `b64` is RFC 7797's, `enc` and `zip` are RFC 7516's.
const NOT_ACCEPTED: [(&str, &str); 8] = [
    ("crit", "its header has `crit`, and no extension is known here"),
    ("jwk", "its header brings a key (`jwk`); keys come from the service's own sources"),
    ("jku", "its header names where keys are (`jku`); they come from the service's own sources"),
    ("x5c", "its header brings a certificate (`x5c`); keys come from the service's own sources"),
    ("x5u", "its header names where keys are (`x5u`); they come from the service's own sources"),
    ("b64", "its header has `b64`, and the payload must be base64url"),
    ("enc", "it is encrypted; it must be signed"),
    ("zip", "it is compressed"),
];

/// A token that was read, but whose signature and claims nobody has checked.
#[derive(Debug)]
pub struct Unverified {
    header: Map<String, Json>,
    claims: Map<String, Json>,
}

impl Unverified {
    /// Reads a token to look at it.
    pub fn read(token: &Value) -> Result<Self, Refused> {
        let Parts { header, claims, .. } = Parts::split(token.expose())?;
        Ok(Self { header, claims })
    }

    /// The header's members.
    pub fn header(&self) -> &Map<String, Json> {
        &self.header
    }

    /// The claims, known ones and others.
    pub fn claims(&self) -> &Map<String, Json> {
        &self.claims
    }

    /// The first audience that it names.
    pub fn audience(&self) -> Option<&str> {
        let audience = self.claims.get("aud")?;
        audience.as_str().or_else(|| audience.as_array()?.first()?.as_str())
    }

    /// What [`Verifier::verify`](super::Verifier::verify) would say if the signature were right.
    pub fn judge(&self, policy: &Policy, now: Timestamp) -> Result<Claims, Refused> {
        Signer::of(&self.header)?;
        Claims::check(&self.claims, policy, now)
    }
}

/// A token's parts.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) header: Map<String, Json>,
    pub(super) claims: Map<String, Json>,
    /// What is signed: header and claims as they stand in the token.
    pub(super) message: &'a [u8],
    /// base64url.
    pub(super) signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a [u8]) -> Result<Self, Refused> {
        if token.len() > MAX_LEN {
            return Err(Refused::Malformed("it is longer than 8192 bytes"));
        }
        Self::split_any(token)
    }

    /// The same, for a token whose length somebody else bounds.
    pub(super) fn split_any(token: &'a [u8]) -> Result<Self, Refused> {
        let three = "it is not three parts of base64url with dots between";
        let text = str::from_utf8(token).map_err(|_| Refused::Malformed(three))?;
        let (message, signature) = text.rsplit_once('.').ok_or(Refused::Malformed(three))?;
        let (header, claims) = message.split_once('.').ok_or(Refused::Malformed(three))?;
        if claims.contains('.') {
            return Err(Refused::Malformed(three));
        }
        Ok(Self {
            header: object(header)?,
            claims: object(claims)?,
            message: message.as_bytes(),
            signature,
        })
    }
}

/// What a header says about the signature.
#[derive(Debug)]
pub(super) struct Signer<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<&'a str>,
}

impl<'a> Signer<'a> {
    pub(super) fn of(header: &'a Map<String, Json>) -> Result<Self, Refused> {
        let word = header
            .get("alg")
            .and_then(Json::as_str)
            .ok_or(Refused::Malformed("its header has no `alg`"))?;
        let algorithm = Algorithm::from_jose(word).ok_or(Refused::Algorithm(Shown::new(word)))?;
        for (member, why) in NOT_ACCEPTED {
            if header.contains_key(member) {
                return Err(Refused::Malformed(why));
            }
        }
        match header.get("typ") {
            None => {}
            Some(Json::String(word)) if is_jwt(word) => {}
            Some(_) => {
                return Err(Refused::Malformed("its header's `typ` is not `JWT`"));
            }
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Json::String(kid)) => Some(kid.as_str()),
            Some(_) => return Err(Refused::Malformed("its header's `kid` is not a string")),
        };
        Ok(Self { algorithm, kid })
    }
}

/// Media types compare without case, and `application/` may be left out (RFC 7515, 4.1.9).
fn is_jwt(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.strip_prefix("application/").unwrap_or(&word) == "jwt"
}

fn object(part: &str) -> Result<Map<String, Json>, Refused> {
    let bytes = Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| Refused::Malformed("a part is not base64url without padding"))?;
    let Unique(members) = serde_json::from_slice(&bytes).map_err(|error| {
        Refused::Malformed(match error.classify() {
            serde_json::error::Category::Data => {
                "a part is not a JSON object, or one of its members stands twice"
            }
            _ => "a part is not JSON",
        })
    })?;
    Ok(members)
}

/// An object in which no member stands twice (RFC 7519, section 4, leaves that to the reader: two
/// readers could see two tokens).
struct Unique(Map<String, Json>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Map<String, Json>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Json>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member stands twice"));
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Self)
    }
}
