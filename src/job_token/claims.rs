//! What a token says, and whether it counts now. Pure.
//!
//! Invariants: every claim is checked by the same rule as the same member of a descriptor; unknown
//! claims are ignored (RFC 7519, section 4); a claim that is there must have its type, null
//! included.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::refused::Refused;
use crate::job::Identity;
use crate::secret::Id;

/// The longest token id (`jti`), in bytes.
pub const MAX_ID: usize = 255;

/// What tokens must be like.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The only issuer; with `None` any, or none: whoever has a trusted key issues.
    pub issuer: Option<String>,
    /// What this service is called in `aud`.
    pub audience: String,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// How long a token may still be valid: a stolen one is of use until then.
    pub max_lifetime: Duration,
}

impl Policy {
    /// Any issuer, clocks 30 s apart, tokens of at most 24 h.
    pub fn new(audience: impl Into<String>) -> Self {
        Self {
            issuer: None,
            audience: audience.into(),
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(24 * 3600),
        }
    }
}

/// What a token says. Facts, no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `jti`: this token among all of its issuer; 1 to 255 visible ASCII characters.
    pub id: String,
    /// `iss`: who issued it.
    pub issuer: Option<String>,
    /// `aud`: whom it is for; at least one.
    pub audience: Vec<String>,
    /// `exp`: the end of its time.
    pub expires: Timestamp,
    /// `nbf`: the beginning.
    pub not_before: Option<Timestamp>,
    /// `iat`: when it was issued.
    pub issued: Option<Timestamp>,
    /// `job`: the descriptor's `id`.
    pub job: Id,
    /// `attempt`: the descriptor's; `None` for any.
    pub attempt: Option<u32>,
    /// `project`, `organization` and `user`.
    pub identity: Identity,
}

impl Claims {
    /// Checks claims whose signature was right: their form first, then time, then who and whom for.
    pub(super) fn check(
        claims: &Map<String, Json>,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Self, Refused> {
        let read = Self::read(claims)?;
        let (now, leeway) = (now.as_nanosecond(), nanoseconds(policy.leeway));
        // "on or after which the JWT MUST NOT be accepted" (RFC 7519, section 4.1.4)
        if now >= read.expires.as_nanosecond() + leeway {
            return Err(Refused::Expired(read.expires));
        }
        for start in [read.not_before, read.issued].into_iter().flatten() {
            if now + leeway < start.as_nanosecond() {
                return Err(Refused::NotYetValid(start));
            }
        }
        if read.expires.as_nanosecond() - now > nanoseconds(policy.max_lifetime) + leeway {
            return Err(Refused::Lifetime(policy.max_lifetime.as_secs()));
        }
        if !read.audience.contains(&policy.audience) {
            return Err(Refused::Audience(policy.audience.clone()));
        }
        match &policy.issuer {
            Some(issuer) if read.issuer.as_ref() != Some(issuer) => {
                Err(Refused::Issuer(issuer.clone()))
            }
            _ => Ok(read),
        }
    }

    fn read(claims: &Map<String, Json>) -> Result<Self, Refused> {
        let id = required(claims, "jti").and_then(|jti| string("jti", jti))?;
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refused::claim("jti", "must be 1 to 255 visible ASCII characters"));
        }
        let time = |name| claims.get(name).map(|date| numeric_date(name, date)).transpose();
        Ok(Self {
            id: id.to_owned(),
            issuer: claims.get("iss").map(|iss| string("iss", iss)).transpose()?.map(str::to_owned),
            audience: audience(required(claims, "aud")?)?,
            expires: numeric_date("exp", required(claims, "exp")?)?,
            not_before: time("nbf")?,
            issued: time("iat")?,
            job: required(claims, "job").and_then(|job| parsed_id("job", job))?,
            attempt: claims.get("attempt").map(attempt).transpose()?,
            identity: Identity {
                project: required(claims, "project").and_then(|id| parsed_id("project", id))?,
                organization: id_or_null(claims, "organization")?,
                user: id_or_null(claims, "user")?,
            },
        })
    }

    /// The members of a token's second part. Times are whole seconds.
    pub(super) fn members(&self) -> Json {
        let mut claims = json!({
            "jti": self.id,
            "exp": self.expires.as_second(),
            "job": self.job,
            "project": self.identity.project,
            "organization": self.identity.organization,
            "user": self.identity.user,
        });
        claims["aud"] = match self.audience.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
        let times = [("nbf", self.not_before), ("iat", self.issued)];
        for (name, time) in times.into_iter().filter_map(|(name, time)| Some((name, time?))) {
            claims[name] = json!(time.as_second());
        }
        if let Some(issuer) = &self.issuer {
            claims["iss"] = json!(issuer);
        }
        if let Some(attempt) = self.attempt {
            claims["attempt"] = json!(attempt);
        }
        claims
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 4)
}

fn required<'a>(claims: &'a Map<String, Json>, name: &'static str) -> Result<&'a Json, Refused> {
    claims.get(name).ok_or_else(|| Refused::claim(name, "is missing"))
}

fn string<'a>(name: &'static str, value: &'a Json) -> Result<&'a str, Refused> {
    value.as_str().ok_or_else(|| Refused::claim(name, "must be a string"))
}

fn parsed_id(name: &'static str, value: &Json) -> Result<Id, Refused> {
    string(name, value)?.parse().map_err(|why| Refused::claim(name, format!("is no id: {why}")))
}

/// Null says that there is none; leaving it out says nothing, and is refused.
fn id_or_null(claims: &Map<String, Json>, name: &'static str) -> Result<Option<Id>, Refused> {
    match claims.get(name) {
        None => Err(Refused::claim(name, "is missing (null says that there is none)")),
        Some(Json::Null) => Ok(None),
        Some(value) => parsed_id(name, value).map(Some),
    }
}

/// A string or an array of strings (RFC 7519, section 4.1.3).
fn audience(value: &Json) -> Result<Vec<String>, Refused> {
    let wrong = || Refused::claim("aud", "must be a string or an array of strings");
    match value {
        Json::String(one) => Ok(vec![one.clone()]),
        Json::Array(several) => {
            several.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

fn attempt(value: &Json) -> Result<u32, Refused> {
    value
        .as_u64()
        .and_then(|attempt| u32::try_from(attempt).ok())
        .filter(|attempt| *attempt > 0)
        .ok_or_else(|| Refused::claim("attempt", "must be a whole number from 1"))
}

/// Seconds since 1970, fractions allowed (RFC 7519, section 2). Beyond what a calendar can hold,
/// the last moment, or the first.
fn numeric_date(name: &'static str, value: &Json) -> Result<Timestamp, Refused> {
    let Json::Number(number) = value else {
        return Err(Refused::claim(name, "must be a number of seconds since 1970"));
    };
    if let Some(seconds) = number.as_i64() {
        let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        return Ok(Timestamp::from_second(seconds).unwrap_or(end));
    }
    let seconds = number.as_f64().unwrap_or(f64::INFINITY);
    let end = if seconds < 0.0 { Timestamp::MIN } else { Timestamp::MAX };
    // `as` saturates, and beyond 2^63 s there is no calendar anyway.
    let nanoseconds = (seconds * 1e9) as i128;
    Ok(Timestamp::from_nanosecond(nanoseconds).unwrap_or(end))
}
