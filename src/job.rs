//! The job descriptor: JSON in, a checked [`Job`] out.
//!
//! Invariants: a [`Job`] cannot be invalid; a forgotten key never means fewer secrets
//! (`organization` and `user` must be there, `null` or not); unknown and repeated keys are
//! refused; an error says where in the text the fault is and never repeats a value of it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::secret::{Id, InvalidId, Name, Owner};
use crate::task::{InvalidParams, Template};

mod descriptor;

use descriptor::Descriptor;

/// The only version of the descriptor so far.
pub const VERSION: u32 = 1;

/// The longest `timeout_s` and `grace_s`: one year.
const MAX_SECONDS: u64 = 366 * 24 * 3600;

/// Who a job works for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The project that the job works on.
    pub project: Id,
    /// The organization that the project belongs to; `None` for a personal project.
    pub organization: Option<Id>,
    /// The person that the job runs for; `None` for a system job.
    pub user: Option<Id>,
}

impl Identity {
    /// Whose secrets this job may get, the weakest level first. Everything else is never loaded.
    pub fn owners(&self) -> Vec<Owner> {
        let organization = |user| {
            let organization = self.organization.clone()?;
            Some(Owner::Organization { organization, user })
        };
        let project = |user| Owner::Project { project: self.project.clone(), user };
        let mut owners = Vec::with_capacity(4);
        owners.extend(organization(None));
        owners.extend(self.user.clone().and_then(|user| organization(Some(user))));
        owners.push(project(None));
        owners.extend(self.user.clone().map(|user| project(Some(user))));
        owners
    }

    /// The levels that were looked at and those that could not be, in words for an error.
    pub fn looked_at(&self) -> String {
        let owners: Vec<String> = self
            .owners()
            .iter()
            .rev()
            .map(|owner| format!("{} ({owner})", owner.level()))
            .collect();
        let mut text = format!("looked at: {}", owners.join("; "));
        if self.organization.is_none() {
            text.push_str("; no organization level: `organization` is null");
        }
        if self.user.is_none() {
            text.push_str("; no user-assigned level: `user` is null");
        }
        text
    }
}

/// Which job a descriptor is for, and whom it works for: what a job token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The orchestrator's id of the job.
    pub id: Id,
    /// Which try of it this is, from 1.
    pub attempt: u32,
    /// Who it works for.
    pub identity: Identity,
}

impl Subject {
    /// Reads a descriptor by the same rules as [`Job::parse`], but for those that depend on the
    /// settings of where it will run.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJob> {
        Self::of(&known_version(text)?)
    }

    fn of(raw: &Descriptor) -> Result<Self, InvalidJob> {
        let id = |key, text: &str| text.parse().map_err(|why| InvalidJob::Id { key, why });
        if raw.attempt == 0 {
            return Err(InvalidJob::Value { key: "attempt", problem: "attempts count from 1" });
        }
        Ok(Self {
            id: id("id", &raw.id)?,
            attempt: raw.attempt,
            identity: Identity {
                project: id("project", &raw.project)?,
                organization: raw
                    .organization
                    .as_deref()
                    .map(|o| id("organization", o))
                    .transpose()?,
                user: raw.user.as_deref().map(|u| id("user", u)).transpose()?,
            },
        })
    }
}

/// A checked description of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The orchestrator's id of the job.
    pub id: Id,
    /// Which try of it this is, from 1.
    pub attempt: u32,
    /// Who it works for.
    pub identity: Identity,
    /// Names for people; they decide nothing.
    pub labels: BTreeMap<String, String>,
    /// W3C Trace Context of the caller.
    pub traceparent: Option<String>,
    /// Program and arguments; never empty, never given to a shell.
    pub command: Vec<String>,
    /// Variables of the descriptor. No secrets: they come from a backend.
    pub env: BTreeMap<String, String>,
    /// Names of variables that are no secrets of the backend, and whose values are masked all the
    /// same: of `env`, or of the runner's environment.
    pub mask_env: Vec<String>,
    /// Where the job starts; the runner's own directory when `None`.
    pub working_dir: Option<PathBuf>,
    /// After this long the job is ended.
    pub timeout: Option<Duration>,
    /// How long a job that was told to end may take before it is killed.
    pub grace: Duration,
    /// Secrets without which the job must not start.
    pub require: Vec<Name>,
    /// Where the job writes how it went; absolute.
    pub feedback: Option<PathBuf>,
}

/// What the operator's settings say about descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Whether a descriptor may bring its own `command`.
    pub free_commands: bool,
    /// The command templates by task name.
    pub tasks: &'a BTreeMap<String, Template>,
    /// For descriptors without `timeout_s`.
    pub timeout: Option<Duration>,
    /// For descriptors without `grace_s`.
    pub grace: Duration,
}

/// A job that the command line describes, without a descriptor.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its id; `None`: a new one.
    pub id: Option<Id>,
    /// Who it works for.
    pub identity: Identity,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Instead of the settings'.
    pub timeout: Option<Duration>,
    /// Instead of the settings'.
    pub grace: Option<Duration>,
    /// Secrets without which it must not start.
    pub require: Vec<Name>,
}

/// What is wrong with a descriptor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJob {
    /// The bytes are not UTF-8, or not JSON. The text itself is never repeated.
    #[error("not valid JSON at line {line}, column {column}: {problem}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// A sentence of ours.
        problem: &'static str,
    },
    /// A key is missing, unknown, repeated or of the wrong type.
    #[error("line {line}, column {column}{}: {problem}", at(path))]
    Shape {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// The keys that lead there; empty for the document itself, or when they are no plain names.
        path: String,
        /// What was expected.
        problem: String,
    },
    /// A later version than this program knows.
    #[error("`version` is {0}, and this program knows version 1; update the one that is older")]
    Version(u64),
    /// An id that cannot be one.
    #[error("`{key}`: {why}")]
    Id {
        /// The descriptor's key.
        key: &'static str,
        /// The rule it breaks.
        why: InvalidId,
    },
    /// Any other value that the rules refuse.
    #[error("`{key}`: {problem}")]
    Value {
        /// The descriptor's key.
        key: &'static str,
        /// The rule it breaks.
        problem: &'static str,
    },
    /// Neither `command` nor `task`, or both.
    #[error("give either `command` or `task`{0}")]
    Command(&'static str),
    /// The settings allow templates only.
    #[error("the settings don't allow `command`; use one of their tasks: {0}")]
    FreeCommand(String),
    /// No such template.
    #[error("the settings have no task `{task}`; they have: {known}")]
    UnknownTask {
        /// The name asked for.
        task: String,
        /// The names there are.
        known: String,
    },
    /// The parameters don't fit the template.
    #[error("task `{task}`: {why}")]
    Params {
        /// The task's name.
        task: String,
        /// The rule they break.
        why: InvalidParams,
    },
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(", at `{path}`") }
}

impl Job {
    /// Reads a descriptor and checks it against the policy.
    pub fn parse(text: &[u8], policy: Policy<'_>) -> Result<Self, InvalidJob> {
        Self::check(known_version(text)?, policy)
    }

    /// A job from the command line, by the same rules; its id is new.
    pub fn from_invocation(invocation: Invocation, policy: Policy<'_>) -> Result<Self, InvalidJob> {
        let Invocation { id, identity, command: words, timeout, grace, require } = invocation;
        let id = match id {
            Some(id) => id,
            None => format!("exec-{}", uuid::Uuid::now_v7())
                .parse()
                .map_err(|why| InvalidJob::Id { key: "id", why })?,
        };
        Ok(Self {
            id,
            attempt: 1,
            identity,
            labels: BTreeMap::new(),
            traceparent: None,
            command: command(Some(words), None, None, policy)?,
            env: BTreeMap::new(),
            mask_env: Vec::new(),
            working_dir: None,
            timeout: timeout.or(policy.timeout),
            grace: grace.unwrap_or(policy.grace),
            require,
            feedback: None,
        })
    }

    fn check(raw: Descriptor, policy: Policy<'_>) -> Result<Self, InvalidJob> {
        let value = |key, problem| Err::<Self, _>(InvalidJob::Value { key, problem });

        let Subject { id, attempt, identity } = Subject::of(&raw)?;
        let command = command(raw.command, raw.task, raw.params, policy)?;
        if raw.traceparent.as_deref().is_some_and(|text| !is_traceparent(text)) {
            return value("traceparent", "not a W3C traceparent (00-<32 hex>-<16 hex>-<2 hex>)");
        }
        for (name, text) in &raw.env.0 {
            if name.is_empty() || name.contains(['=', '\0']) {
                return value("env", "a variable's name cannot be empty or hold `=` or NUL");
            }
            if text.contains('\0') {
                return value("env", "a variable's value cannot hold NUL");
            }
        }
        let require =
            raw.require.iter().map(|text| text.parse()).collect::<Result<Vec<Name>, _>>().map_err(
                |_| InvalidJob::Value {
                    key: "require",
                    problem: "write each as envvar:NAME or pgservice:NAME",
                },
            )?;

        Ok(Self {
            id,
            attempt,
            identity,
            labels: raw.labels.0,
            traceparent: raw.traceparent,
            command,
            env: raw.env.0,
            mask_env: raw.mask_env,
            working_dir: raw.working_dir.map(|dir| path("working_dir", &dir)).transpose()?,
            timeout: match raw.timeout_s {
                Some(limit) => Some(seconds("timeout_s", limit)?),
                None => policy.timeout,
            },
            grace: raw.grace_s.map_or(Ok(policy.grace), |grace| seconds("grace_s", grace))?,
            require,
            feedback: raw.feedback.map(|file| path("feedback", &file)).transpose()?,
        })
    }
}

fn known_version(text: &[u8]) -> Result<Descriptor, InvalidJob> {
    let raw = descriptor::parse(text)?;
    if raw.version != u64::from(VERSION) {
        return Err(InvalidJob::Version(raw.version));
    }
    Ok(raw)
}

fn command(
    command: Option<Vec<String>>,
    task: Option<String>,
    params: Option<descriptor::UniqueMap>,
    policy: Policy<'_>,
) -> Result<Vec<String>, InvalidJob> {
    let known = || {
        let names: Vec<&str> = policy.tasks.keys().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    match (command, task) {
        (Some(command), None) => {
            if params.is_some() {
                return Err(InvalidJob::Command("; `params` goes with `task`"));
            }
            if !policy.free_commands {
                return Err(InvalidJob::FreeCommand(known()));
            }
            let problem = match command.first() {
                None => "is empty; give a program and its arguments",
                Some(program) if program.is_empty() => "the program's name is empty",
                Some(_) if command.iter().any(|word| word.contains('\0')) => "holds a NUL byte",
                Some(_) => return Ok(command),
            };
            Err(InvalidJob::Value { key: "command", problem })
        }
        (None, Some(task)) => {
            let template = policy
                .tasks
                .get(&task)
                .ok_or_else(|| InvalidJob::UnknownTask { task: task.clone(), known: known() })?;
            template
                .expand(&params.unwrap_or_default().0)
                .map_err(|why| InvalidJob::Params { task, why })
        }
        (None, None) => Err(InvalidJob::Command("")),
        (Some(_), Some(_)) => Err(InvalidJob::Command(", not both")),
    }
}

fn path(key: &'static str, text: &str) -> Result<PathBuf, InvalidJob> {
    let path = Path::new(text);
    let problem = if text.contains('\0') {
        "holds a NUL byte"
    } else if !path.is_absolute() {
        "must be an absolute path"
    } else if path.components().any(|part| part == Component::ParentDir) {
        "must not hold `..`"
    } else {
        return Ok(path.to_owned());
    };
    Err(InvalidJob::Value { key, problem })
}

fn seconds(key: &'static str, seconds: f64) -> Result<Duration, InvalidJob> {
    // `as` is exact here: the constant is far below 2^53.
    if !(0.0..=MAX_SECONDS as f64).contains(&seconds) {
        return Err(InvalidJob::Value { key, problem: "give seconds, from 0 to one year" });
    }
    if key == "timeout_s" && seconds == 0.0 {
        return Err(InvalidJob::Value { key, problem: "a timeout of 0 would end every job" });
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// W3C Trace Context, section 3.2: version, trace id, parent id, flags in lower-case hex.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, len| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    matches!(parts.as_slice(), [version, trace, parent, flags]
        if hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2))
}

/// Seconds may be written as `600` or `0.5`.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
