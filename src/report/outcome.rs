//! How a job ended, in a form that programs decide by.

use std::borrow::Cow;

use nix::libc;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::Word;
use crate::supervise::feedback::Complaint;
use crate::supervise::{Cause, Ending};
use crate::sys::tree::Exit;

/// How a job ended. `kind` is stable; `message` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// It exited with 0, and its feedback, if it promised one, holds no error.
    Succeeded,
    /// It exited with another code, or its feedback says so.
    Failed {
        /// The job's own.
        job_exit_code: i32,
        /// What its feedback says against it.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A signal ended it that didn't come through the runner.
    Signalled {
        /// The signal's name.
        signal: String,
        /// The signal's number.
        number: i32,
    },
    /// The kernel ended it, for want of memory.
    OutOfMemory {
        /// 128 + n: it was a signal.
        job_exit_code: i32,
    },
    /// Its time was over.
    TimedOut {
        /// How it then ended.
        ended_by: String,
    },
    /// The runner was told to end it.
    Cancelled {
        /// By what signal.
        by: String,
        /// How it then ended.
        ended_by: String,
        /// 128 + n where a signal ended it.
        job_exit_code: i32,
    },
    /// It never ran.
    NotStarted {
        /// Why, in a stable word.
        reason: Word,
        /// Why, for people.
        message: String,
    },
}

impl Outcome {
    /// The outcome of a job that ran. `feedback` matters only for a job that exited with 0,
    /// `out_of_memory` only for one that was killed without the runner's doing.
    pub fn of(ending: Ending, feedback: Result<(), Complaint>, out_of_memory: bool) -> Self {
        let Ending { exit, cause } = ending;
        match (cause, exit) {
            (Some(Cause::TimedOut), _) => Self::TimedOut { ended_by: words(exit) },
            (Some(Cause::Abandoned), _) => Self::Cancelled {
                by: "the end of the outer process".into(),
                ended_by: words(exit),
                job_exit_code: exit.code(),
            },
            (Some(Cause::Cancelled(order)), _) => Self::Cancelled {
                by: signal_name(Signal::from(order) as i32),
                ended_by: words(exit),
                job_exit_code: exit.code(),
            },
            (None, Exit::Signal(libc::SIGKILL)) if out_of_memory => {
                Self::OutOfMemory { job_exit_code: exit.code() }
            }
            (None, Exit::Signal(number)) => Self::Signalled { signal: signal_name(number), number },
            (None, Exit::Code(0)) => match feedback {
                Ok(()) => Self::Succeeded,
                Err(complaint) => {
                    Self::Failed { job_exit_code: 0, message: Some(complaint.to_string()) }
                }
            },
            (None, Exit::Code(job_exit_code)) => Self::Failed { job_exit_code, message: None },
        }
    }
}

impl Outcome {
    /// `kind`, as it stands in a report.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Signalled { .. } => "signalled",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::TimedOut { .. } => "timed_out",
            Self::Cancelled { .. } => "cancelled",
            Self::NotStarted { .. } => "not_started",
        }
    }

    /// Why it never ran, in a stable word.
    pub fn reason(&self) -> Option<&Word> {
        match self {
            Self::NotStarted { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// What it says to people.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Failed { message, .. } => message.as_deref(),
            Self::NotStarted { message, .. } => Some(message),
            _ => None,
        }
    }

    /// With its message, which repeats words of the job, as `mask` shows it.
    #[must_use]
    pub fn masked(mut self, mask: impl for<'t> Fn(&'t str) -> Cow<'t, str>) -> Self {
        if let Self::Failed { message: Some(message), .. } | Self::NotStarted { message, .. } =
            &mut self
        {
            *message = mask(message).into_owned();
        }
        self
    }

    /// The outcome of a job that the kernel ended with the runner's inner process.
    pub fn killed(number: i32) -> Self {
        Self::Signalled { signal: signal_name(number), number }
    }
}

fn words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(number) => signal_name(number),
    }
}

/// `SIGTERM` for 15.
pub fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |s| s.as_str().to_owned())
}
