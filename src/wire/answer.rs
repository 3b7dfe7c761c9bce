//! The answer, as JSON and back.
//!
//! Invariant: a value goes from the text into a [`Value`] and back without a copy that is not
//! overwritten.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Answer, Facts, Given, JobId, Malformed, NotText, RawJob, VERSION};
use super::{identity, name, owner, there, versioned};
use crate::secret::{Id, Kind, Level, SecretId, Value, ValueBuf};

/// The longest id of a secret, in bytes.
const MAX_SECRET_ID: usize = 255;

#[derive(Serialize)]
struct FactsForm<'a> {
    id: &'a SecretId,
    kind: Kind,
    key: &'a str,
    level: Level,
    owner: &'a Id,
    assigned_to: Option<&'a Id>,
    sensitive: bool,
}

/// What stands before the lists.
#[derive(Serialize)]
struct HeadForm<'a> {
    version: u64,
    job: &'a JobId,
    organization: Option<&'a Id>,
    project: &'a Id,
    user: Option<&'a Id>,
}

#[derive(Deserialize)]
struct RawAnswer {
    job: RawJob,
    #[serde(deserialize_with = "there")]
    organization: Option<String>,
    project: String,
    #[serde(deserialize_with = "there")]
    user: Option<String>,
    secrets: Vec<RawSecret>,
    shadowed: Vec<RawSecret>,
}

#[derive(Deserialize)]
struct RawSecret {
    id: String,
    kind: String,
    key: String,
    level: String,
    owner: String,
    #[serde(deserialize_with = "there")]
    assigned_to: Option<String>,
    sensitive: bool,
    value: Option<RawValue>,
}

/// A text that becomes a value.
struct RawValue(Value);

impl<'d> Deserialize<'d> for RawValue {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = RawValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawValue, E> {
                let mut value = ValueBuf::new();
                value.push(text.as_bytes());
                Ok(RawValue(value.finish()))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Answer {
    /// The answer as JSON.
    pub fn encode(&self) -> Result<Value, NotText> {
        let Self { job, identity, secrets, shadowed } = self;
        let mut text = ValueBuf::new();
        let head = HeadForm {
            version: VERSION,
            job,
            organization: identity.organization.as_ref(),
            project: &identity.project,
            user: identity.user.as_ref(),
        };
        push_open(&mut text, &head);
        text.push(b",\"secrets\":[");
        for (index, Given { facts, value }) in secrets.iter().enumerate() {
            let value = str::from_utf8(value.expose()).map_err(|_| NotText(facts.name.clone()))?;
            if index > 0 {
                text.push(b",");
            }
            push_open(&mut text, &FactsForm::from(facts));
            text.push(b",\"value\":");
            push_json(&mut text, value);
            text.push(b"}");
        }
        text.push(b"],\"shadowed\":[");
        for (index, facts) in shadowed.iter().enumerate() {
            if index > 0 {
                text.push(b",");
            }
            push_json(&mut text, &FactsForm::from(facts));
        }
        text.push(b"]}");
        Ok(text.finish())
    }

    /// Reads an answer.
    pub fn decode(text: &[u8]) -> Result<Self, Malformed> {
        let raw: RawAnswer = versioned(text)?;
        let given = |raw: RawSecret| match raw.check()? {
            (facts, Some(value)) => Ok(Given { facts, value }),
            (_, None) => Err(fault("secrets", "hold one without a value")),
        };
        let beaten = |raw: RawSecret| match raw.check()? {
            (facts, None) => Ok(facts),
            (_, Some(_)) => Err(fault("shadowed", "hold one with a value")),
        };
        Ok(Self {
            job: raw.job.check()?,
            identity: identity(raw.organization, &raw.project, raw.user)?,
            secrets: raw.secrets.into_iter().map(given).collect::<Result<_, _>>()?,
            shadowed: raw.shadowed.into_iter().map(beaten).collect::<Result<_, _>>()?,
        })
    }
}

impl RawSecret {
    fn check(self) -> Result<(Facts, Option<Value>), Malformed> {
        if self.id.len() > MAX_SECRET_ID || !self.id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fault("id", "is longer than 255 bytes, or no visible ASCII"));
        }
        let facts = Facts {
            id: SecretId::from(self.id),
            name: name(self.kind, self.key)?,
            owner: owner(self.level, &self.owner, self.assigned_to)?,
            sensitive: self.sensitive,
        };
        Ok((facts, self.value.map(|RawValue(value)| value)))
    }
}

impl<'a> From<&'a Facts> for FactsForm<'a> {
    fn from(Facts { id, name, owner, sensitive }: &'a Facts) -> Self {
        Self {
            id,
            kind: name.kind,
            key: &name.key,
            level: owner.level(),
            owner: owner.id(),
            assigned_to: owner.user(),
            sensitive: *sensitive,
        }
    }
}

fn fault(member: &'static str, problem: &'static str) -> Malformed {
    Malformed::Member { member, problem }
}

/// An object without its last brace, so that members can follow.
fn push_open(text: &mut ValueBuf, object: &impl Serialize) {
    // Fails only for a map with keys that are no strings.
    let json = serde_json::to_string(object).unwrap_or_default();
    text.push(json.strip_suffix('}').unwrap_or_default().as_bytes());
}

fn push_json(text: &mut ValueBuf, value: &(impl Serialize + ?Sized)) {
    // As above; memory doesn't refuse.
    serde_json::to_writer(text, value).unwrap_or_default();
}
