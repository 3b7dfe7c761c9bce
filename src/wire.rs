//! What the runner and the secrets service say to each other: `POST /v1/resolve`.
//!
//! ```text
//! request  {"version": 1, "job": {"id": …, "attempt": …}, "organization": …, "project": …,
//!           "user": …, "require": ["pgservice:ninja"]}
//! answer   {"version": 1, "job": …, "organization": …, "project": …, "user": …,
//!           "secrets": [{"id": …, "kind": …, "key": …, "level": …, "owner": …, "assigned_to": …,
//!                        "sensitive": …, "value": …}],
//!           "shadowed": [the same without values]}
//! refusal  {"kind": "stable_word", "detail": …}, as RFC 9457 has it
//! ```
//!
//! Invariants: both sides encode and decode here only; a forgotten `organization` or `user` is no
//! `null`; unknown members are ignored, an unknown version, kind or level is an error; no error
//! repeats what was read, but for a word of a kind; what carries values has no `Serialize`,
//! `Display` or `Clone`.

use serde::{Deserialize, Deserializer, Serialize};

use crate::job::Identity;
use crate::secret::{Id, InvalidId, Kind, Level, Name, Owner, SecretId, Value};

mod answer;
pub mod management;
mod refusal;

pub use refusal::{MAX_REFUSAL, Refusal};

/// The only version so far.
pub const VERSION: u64 = 1;

/// Where a job's secrets are asked for.
pub const RESOLVE: &str = "/v1/resolve";

/// Where a service says that it is there; without a token.
pub const LIVE: &str = "/live";

/// The largest answer, in bytes.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// The largest request, in bytes: `require` is no longer than a descriptor.
pub const MAX_REQUEST: usize = 1024 * 1024;

/// Which job asks, or is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobId {
    /// The orchestrator's id.
    pub id: Id,
    /// From 1.
    pub attempt: u32,
}

/// The request. It can't widen what the job token says; it only has to agree with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The job.
    pub job: JobId,
    /// Who it works for.
    pub identity: Identity,
    /// What the job doesn't start without. It changes no answer: the runner sees what is missing.
    pub require: Vec<Name>,
}

/// A secret of the answer: facts only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its id in the service.
    pub id: SecretId,
    /// Its kind and key.
    pub name: Name,
    /// Whose it is; the level follows from this.
    pub owner: Owner,
    /// Whether its value is masked in output.
    pub sensitive: bool,
}

/// A secret that wins, with its value: UTF-8 text; of a pgservice, the canonical section.
#[derive(Debug)]
pub struct Given {
    /// What it is.
    pub facts: Facts,
    /// Its value.
    pub value: Value,
}

/// The answer: for exactly one identity.
#[derive(Debug)]
pub struct Answer {
    /// The job token's job.
    pub job: JobId,
    /// The job token's identity.
    pub identity: Identity,
    /// What the job gets.
    pub secrets: Vec<Given>,
    /// What that beats.
    pub shadowed: Vec<Facts>,
}

/// A value that JSON can't hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {0} is not UTF-8 text")]
pub struct NotText(pub Name);

/// What is wrong with a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or a member that is missing, doubled or of another type.
    #[error(
        "at line {line}, column {column} it is not JSON, or a member is missing, doubled or of \
         another type"
    )]
    Json {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// It ends too early.
    #[error("it ends in the middle")]
    Truncated,
    /// A later version.
    #[error("its version is {0}, and this program knows version {VERSION}")]
    Version(u64),
    /// A word that only a later version can know.
    #[error("it holds a {member} that this program doesn't know{}", quoted(.word))]
    Word {
        /// `kind` or `level`.
        member: &'static str,
        /// What was read.
        word: String,
    },
    /// An id that can be none.
    #[error("its `{member}`: {why}")]
    Id {
        /// The member.
        member: &'static str,
        /// The rule that it breaks.
        why: InvalidId,
    },
    /// Any other value that the rules refuse.
    #[error("its `{member}` {problem}")]
    Member {
        /// The member.
        member: &'static str,
        /// The rule that it breaks.
        problem: &'static str,
    },
}

impl Malformed {
    /// Whether the other side is newer than this program.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Version(_) | Self::Word { .. })
    }
}

/// A word is shown if it is one: anything else may be a value in a wrong place.
fn quoted(word: &str) -> String {
    let plain = word.len() <= 32 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if plain { format!(": `{word}`") } else { String::new() }
}

#[derive(Serialize)]
struct RequestForm<'a> {
    version: u64,
    job: &'a JobId,
    organization: Option<&'a Id>,
    project: &'a Id,
    user: Option<&'a Id>,
    require: Vec<String>,
}

#[derive(Deserialize)]
struct RawRequest {
    job: RawJob,
    #[serde(deserialize_with = "there")]
    organization: Option<String>,
    project: String,
    #[serde(deserialize_with = "there")]
    user: Option<String>,
    #[serde(default)]
    require: Vec<String>,
}

#[derive(Deserialize)]
struct RawJob {
    id: String,
    attempt: u32,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Request {
    /// The request as JSON.
    pub fn encode(&self) -> String {
        let form = RequestForm {
            version: VERSION,
            job: &self.job,
            organization: self.identity.organization.as_ref(),
            project: &self.identity.project,
            user: self.identity.user.as_ref(),
            require: self.require.iter().map(Name::to_string).collect(),
        };
        // Fails only for a map with keys that are no strings.
        serde_json::to_string(&form).unwrap_or_default()
    }

    /// Reads a request.
    pub fn decode(text: &[u8]) -> Result<Self, Malformed> {
        let raw: RawRequest = versioned(text)?;
        let name = |text: &String| {
            let problem = "holds something else than kind:key";
            text.parse().map_err(|_| Malformed::Member { member: "require", problem })
        };
        Ok(Self {
            job: raw.job.check()?,
            identity: identity(raw.organization, &raw.project, raw.user)?,
            require: raw.require.iter().map(name).collect::<Result<_, _>>()?,
        })
    }
}

impl RawJob {
    fn check(self) -> Result<JobId, Malformed> {
        if self.attempt == 0 {
            let problem = "is 0, and attempts count from 1";
            return Err(Malformed::Member { member: "attempt", problem });
        }
        Ok(JobId { id: id("job.id", &self.id)?, attempt: self.attempt })
    }
}

/// The version first: a later one may have any form.
fn versioned<'t, T: Deserialize<'t>>(text: &'t [u8]) -> Result<T, Malformed> {
    let Versioned { version } = json(text)?;
    if version == VERSION { json(text) } else { Err(Malformed::Version(version)) }
}

fn json<'t, T: Deserialize<'t>>(text: &'t [u8]) -> Result<T, Malformed> {
    // Never its own words: they repeat what was read.
    serde_json::from_slice(text).map_err(|error| {
        if error.is_eof() {
            return Malformed::Truncated;
        }
        Malformed::Json { line: error.line(), column: error.column() }
    })
}

/// `null`, or a text; but it must be there.
fn there<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

fn id(member: &'static str, text: &str) -> Result<Id, Malformed> {
    text.parse().map_err(|why| Malformed::Id { member, why })
}

fn identity(
    organization: Option<String>,
    project: &str,
    user: Option<String>,
) -> Result<Identity, Malformed> {
    Ok(Identity {
        project: id("project", project)?,
        organization: organization.map(|text| id("organization", &text)).transpose()?,
        user: user.map(|text| id("user", &text)).transpose()?,
    })
}

fn name(kind: String, key: String) -> Result<Name, Malformed> {
    let kind: Kind = match kind.parse() {
        Ok(kind) => kind,
        Err(_) => return Err(Malformed::Word { member: "kind", word: kind }),
    };
    if key.is_empty() || key.contains(char::is_control) {
        let problem = "is empty, or holds a control character";
        return Err(Malformed::Member { member: "key", problem });
    }
    Ok(Name { kind, key })
}

fn owner(level: String, owner: &str, user: Option<String>) -> Result<Owner, Malformed> {
    let level: Level = match level.parse() {
        Ok(level) => level,
        Err(_) => return Err(Malformed::Word { member: "level", word: level }),
    };
    let owner = id("owner", owner)?;
    let user = user.map(|text| id("assigned_to", &text)).transpose()?;
    let owner = match level {
        Level::Organization | Level::OrganizationUser => {
            Owner::Organization { organization: owner, user }
        }
        Level::Project | Level::ProjectUser => Owner::Project { project: owner, user },
    };
    if owner.level() == level {
        return Ok(owner);
    }
    let problem = "does not fit `assigned_to`";
    Err(Malformed::Member { member: "level", problem })
}

#[cfg(test)]
mod tests;
