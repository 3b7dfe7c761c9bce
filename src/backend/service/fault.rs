//! What can go wrong with a secrets service, in words that say what to do.
//!
//! Invariant: no error holds a value, a token, or text of the service's in which the token was not
//! masked.

use std::time::Duration;

use crate::environment::Refused;
use crate::http::{Named, NoPeer, TlsFault, TokenError};
use crate::secret::Name;
use crate::settings::JOB_TOKEN;
use crate::wire::{MAX_ANSWER, Malformed, Refusal};

/// Why a service gave no secrets.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// None was given.
    #[error(
        "the secrets service needs a job token: name its file with --job-token-file or \
         `backend.service.token_file`, or put it into {JOB_TOKEN}"
    )]
    NoToken,
    /// Its file.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The variable's text is none.
    #[error("{JOB_TOKEN} must hold one token: visible ASCII characters, without blanks")]
    TokenContent,
    /// The client.
    #[error(transparent)]
    Client(#[from] NoPeer),
    /// The service says no to this token, or to this job.
    #[error("the secrets service at {at} refuses this job ({}); {}", answered(*.status, .refusal), denied(*.status))]
    Denied {
        /// The replica.
        at: String,
        /// 401, 403 or 409.
        status: u16,
        /// Its own words.
        refusal: Refusal,
    },
    /// It answers, but not with secrets, and would not do so later.
    #[error("the secrets service at {at} gives no answer to this request ({}); {}", answered(*.status, .refusal), refused(*.status))]
    Refused {
        /// The replica.
        at: String,
        /// Any status that is final.
        status: u16,
        /// Its own words.
        refusal: Refusal,
    },
    /// Down, slow or broken.
    #[error("the secrets service gave no answer within {deadline:?}; last, {at}: {last}")]
    Unavailable {
        /// The replica that was asked last.
        at: String,
        /// For all attempts.
        deadline: Duration,
        /// What went wrong with that.
        last: String,
    },
    /// Asked as often as the token allows.
    #[error(
        "the secrets service failed {seen} times, and a job token is good for no more requests; \
         last, {at}: {last}"
    )]
    GivenUp {
        /// The replica that was asked last.
        at: String,
        /// How many requests it may have seen.
        seen: u32,
        /// What went wrong with that.
        last: String,
    },
    /// It asks for more patience than there is.
    #[error(
        "the secrets service at {at} asks to wait {wait:?} (last: {last}), which is longer than \
         `backend.service.deadline_s` leaves"
    )]
    AskedToWait {
        /// The replica.
        at: String,
        /// How long.
        wait: Duration,
        /// The status.
        last: String,
    },
    /// The other end can't be trusted, or doesn't trust this one.
    #[error("{at} can't be taken for the secrets service: {fault}{}; no secret came from it", .fault.remedy(Named::BySettings))]
    Untrusted {
        /// The replica.
        at: String,
        /// What is wrong.
        fault: TlsFault,
    },
    /// Not what it should be.
    #[error("the answer of the secrets service at {at} can't be used: {why}")]
    Malformed {
        /// The replica.
        at: String,
        /// What is wrong.
        why: Malformed,
    },
    /// Without an end.
    #[error("the answer of the secrets service at {at} is larger than {MAX_ANSWER} bytes")]
    TooLarge {
        /// The replica.
        at: String,
    },
    /// Somebody else's.
    #[error(
        "the secrets service at {at} answered for another {what} than this job's; none of its \
         secrets is used. The descriptor and the job token must name the same job, organization, \
         project and user"
    )]
    Another {
        /// The replica.
        at: String,
        /// `job`, `organization`, `project` or `user`.
        what: &'static str,
    },
    /// A winner that came without a value.
    #[error(
        "the secrets service sent no value for {0}, which wins; it and the runner disagree about \
         precedence: bring both to the same version"
    )]
    Valueless(Name),
    /// A value that its kind doesn't allow.
    #[error("the secrets service sent {0}, which is not valid: {1}")]
    Value(Name, #[source] Refused),
}

fn answered(status: u16, Refusal { kind, detail }: &Refusal) -> String {
    let mut text = status.to_string();
    if !kind.is_empty() {
        text.push_str(&format!(" {kind}"));
    }
    if !detail.is_empty() {
        text.push_str(&format!(": {detail}"));
    }
    text
}

fn denied(status: u16) -> &'static str {
    match status {
        401 => "the job token is not valid there: it may have expired, or be for another service",
        409 => "a job token is good for three requests: issue another one",
        _ => {
            "the descriptor and the job token must name the same job, organization, project and \
             user"
        }
    }
}

fn refused(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed: give the final address",
        404 | 405 => "check the address: no secrets service answers jobs there",
        421 => "the request came to the wrong server: check the address and the proxies before it",
        _ => "check that the service and the runner are of the same version",
    }
}
