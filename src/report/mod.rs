//! The value-free record of a run.
//!
//! Invariant: no type in here can hold a secret's value; everything in here may be shown.

pub mod audit;
pub mod delivery;
pub mod kept;
pub mod outcome;
pub mod summary;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use audit::{Audit, Decision, Unaudited};
pub use delivery::{Messenger, Undelivered, write};
pub use outcome::Outcome;

use crate::containment::{Level as ContainmentLevel, Receipt};
use crate::job::Job;
use crate::log;
use crate::precedence::{Resolution, Winner};
use crate::secret::{Kind, Level, Name};
use crate::supervise::{Streamed, Streams};

/// The version of the report's form.
pub const VERSION: u32 = 1;

/// A word that is one of a few.
pub type Word = Cow<'static, str>;

/// The report of a run, without values: of its start, or of its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// 1.
    #[cfg_attr(test, schemars(range(min = 1, max = 1)))]
    pub version: u32,
    /// What happened: `started` or `ended`.
    #[cfg_attr(test, schemars(extend("enum" = ["started", "ended"])))]
    pub event: Word,
    /// `qgis-secrets` and its version.
    pub program: Word,
    /// The job; absent where the descriptor could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobFacts>,
    /// Which backend was asked.
    pub backend: Word,
    /// What kept the run apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
    /// The secrets that the job got, or would have got had it started; ordered by kind and key.
    pub secrets: Vec<SecretFacts>,
    /// Required secrets that nobody defined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The runner's own exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// When it began: RFC 3339, UTC.
    pub started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How long each stage took, in microseconds: `contain`, `pull`, `resolve`, `materialise`,
    /// `supervise`, `wipe`, as far as the run came.
    pub stages_us: BTreeMap<Word, u64>,
    /// The largest resident set of any of the job's processes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// What the job wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// How often each secret was masked in what the job wrote, by its name; absent: never.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, u64>,
    /// The proof that nothing remains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wipe: Option<Receipt>,
}

/// What the job wrote. On a terminal both are one stream, which stands under `stdout`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Output {
    /// Its standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<StreamFacts>,
    /// Its standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<StreamFacts>,
}

/// One stream of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamFacts {
    /// How many bytes the job wrote.
    pub bytes: u64,
    /// Whether all of it was passed on: not so if nobody read it, or it could not be written.
    pub whole: bool,
    /// Its last 4 KiB, masked.
    pub tail: String,
}

/// A job, without its arguments and variables, which may hold anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JobFacts {
    /// The orchestrator's id.
    pub id: String,
    /// From 1.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub attempt: u32,
    /// `null` for a personal project.
    pub organization: Option<String>,
    /// The project's id.
    pub project: String,
    /// `null` for a system job.
    pub user: Option<String>,
    /// Names for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// W3C Trace Context of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The program, without its arguments.
    pub program: String,
}

/// What kept the run apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Containment {
    /// The level that was in force.
    pub level: ContainmentLevel,
    /// Why it is no stronger one, each in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// `memory` or `disk`: where the service file was.
    #[cfg_attr(test, schemars(extend("enum" = ["memory", "disk"])))]
    pub workspace: Word,
    /// Whether that memory is never swapped out.
    pub never_swapped: bool,
    /// The uid that the job ran as.
    pub uid: u32,
    /// Whether Landlock held it besides.
    pub landlock: bool,
}

/// A secret of the job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SecretFacts {
    /// What it becomes.
    pub kind: Kind,
    /// The variable's name, or the section's.
    pub key: String,
    /// The level that won.
    pub level: Level,
    /// Its id in the backend.
    pub id: String,
    /// Whether it is masked.
    pub sensitive: bool,
    /// What it shadowed, the strongest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadowed: Vec<Shadowed>,
}

/// A secret that a more specific one beat.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shadowed {
    /// The level that lost.
    pub level: Level,
    /// Its id in the backend.
    pub id: String,
}

impl Report {
    /// An empty report of a run that begins now.
    pub fn begin(backend: &'static str) -> Self {
        Self {
            version: VERSION,
            event: "started".into(),
            program: concat!("qgis-secrets ", env!("CARGO_PKG_VERSION")).into(),
            job: None,
            backend: backend.into(),
            containment: None,
            secrets: Vec::new(),
            missing: Vec::new(),
            outcome: None,
            exit_code: None,
            started_at: now(),
            ended_at: None,
            stages_us: BTreeMap::new(),
            peak_memory_bytes: None,
            output: None,
            masked: BTreeMap::new(),
            wipe: None,
        }
    }

    /// Records what job it is; the log's lines say so from now on.
    pub fn job(&mut self, job: &Job) {
        let text = |id: &crate::secret::Id| id.as_str().to_owned();
        self.job = Some(JobFacts {
            id: text(&job.id),
            attempt: job.attempt,
            organization: job.identity.organization.as_ref().map(text),
            project: text(&job.identity.project),
            user: job.identity.user.as_ref().map(text),
            labels: job.labels.clone(),
            traceparent: job.traceparent.clone(),
            program: job.command.first().cloned().unwrap_or_default(),
        });
        self.log_about();
    }

    /// Shows the job's program, which may be any word, without the values that are known now.
    pub fn mask_program(&mut self) {
        if let Some(job) = &mut self.job {
            job.program = log::masked(&job.program).into_owned();
        }
    }

    /// From now on the log's lines are about this job, if it is known.
    pub fn log_about(&self) {
        if let Some(job) = &self.job {
            log::about(job.into());
        }
    }

    /// Records which secrets it gets.
    pub fn resolution(&mut self, resolution: &Resolution) {
        self.secrets = resolution.winners().iter().map(SecretFacts::from).collect();
    }

    /// Records what was missing.
    pub fn missing(&mut self, missing: &[Name]) {
        self.missing = missing.iter().map(Name::to_string).collect();
    }

    /// Records what it wrote.
    pub fn streams(&mut self, Streams { stdout, stderr }: Streams) {
        let mut facts = |streamed: Option<Streamed>| {
            let Streamed { bytes, whole, hits, tail } = streamed?;
            for (name, count) in hits {
                *self.masked.entry(name).or_default() += count;
            }
            Some(StreamFacts { bytes, whole, tail })
        };
        self.output = Some(Output { stdout: facts(stdout), stderr: facts(stderr) });
    }

    /// Records the end.
    pub fn end(&mut self, outcome: Outcome, exit_code: u8) {
        self.event = "ended".into();
        self.outcome = Some(outcome);
        self.exit_code = Some(exit_code);
        self.ended_at = Some(now());
    }

    /// Marks every attempt to deliver this event: `id/attempt/event`.
    pub fn idempotency_key(&self) -> Option<String> {
        let job = self.job.as_ref()?;
        Some(format!("{}/{}/{}", job.id, job.attempt, self.event))
    }
}

impl From<&JobFacts> for log::About {
    fn from(job: &JobFacts) -> Self {
        Self {
            job: log::JobId {
                id: job.id.clone(),
                attempt: job.attempt,
                organization: job.organization.clone(),
                project: job.project.clone(),
                user: job.user.clone(),
            },
            labels: job.labels.clone(),
            traceparent: job.traceparent.clone(),
        }
    }
}

impl From<&Winner> for SecretFacts {
    fn from(Winner { secret, shadowed }: &Winner) -> Self {
        Self {
            kind: secret.name.kind,
            key: secret.name.key.clone(),
            level: secret.level(),
            id: secret.id.to_string(),
            sensitive: secret.sensitive,
            shadowed: shadowed
                .iter()
                .map(|loser| Shadowed { level: loser.level(), id: loser.id.to_string() })
                .collect(),
        }
    }
}

fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
