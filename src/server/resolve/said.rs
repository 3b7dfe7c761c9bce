//! The audit lines of the service: one for each decision about a job, beside the row in the store.
//!
//! Invariants: facts only, in the form of the runner's lines; a token whose signature is not right
//! says nothing that is written down.

use serde::Serialize;
use tracing::Level;

use super::Refused;
use crate::job_token::Claims;
use crate::log::{self, AUDIT};
use crate::precedence::{Candidate, Resolution};
use crate::report::Decision;
use crate::secret::{Kind, Level as SecretLevel};
use crate::server::listen::Peer;
use crate::server::metrics::Resolved;
use crate::wire::JobId;

/// What a line says, besides what every line does.
#[derive(Debug, Serialize)]
struct Line<'a> {
    decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    secrets: Vec<Won<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<log::JobId>,
}

/// A secret that won.
#[derive(Debug, Serialize)]
pub(super) struct Won<'a> {
    kind: Kind,
    key: &'a str,
    level: SecretLevel,
}

/// What won, by kind, key and level.
pub(super) fn won(resolution: &Resolution) -> Vec<Won<'_>> {
    let secrets = resolution.winners().iter().map(|winner| &winner.secret);
    secrets
        .map(|Candidate { name, owner, .. }| Won {
            kind: name.kind,
            key: &name.key,
            level: owner.level(),
        })
        .collect()
}

/// The job of a token gets what won. Written before the first value is opened.
pub(super) fn given(claims: &Claims, job: &JobId, resolution: &Resolution) {
    let line = Line {
        decision: Decision::Given,
        reason: None,
        peer: None,
        token: Some(&claims.id),
        secrets: won(resolution),
        job: Some(who(claims, job)),
    };
    write(Level::INFO, "the job gets its secrets", &line);
}

/// The job of a token gets nothing.
pub(super) fn denied(claims: &Claims, job: &JobId, why: &Refused) {
    write_denial(why, None, Some((claims, job)));
}

/// Somebody who has shown no token that counts gets nothing.
pub(super) fn stranger_denied(peer: Option<&Peer>, why: &Refused) {
    write_denial(why, peer.map(ToString::to_string), None);
}

fn write_denial(why: &Refused, peer: Option<String>, about: Option<(&Claims, &JobId)>) {
    let (decision, message) = match why.outcome() {
        Resolved::Denied => (Decision::Denied, "denied: the job must not have these secrets"),
        _ => (Decision::Failed, "failed: the secrets could not be looked up or opened"),
    };
    let line = Line {
        decision,
        reason: Some(why.kind()),
        peer,
        token: about.map(|(claims, _)| claims.id.as_str()),
        secrets: Vec::new(),
        job: about.map(|(claims, job)| who(claims, job)),
    };
    write(Level::WARN, message, &line);
}

/// The identity is the token's, whatever the request says.
fn who(claims: &Claims, job: &JobId) -> log::JobId {
    let text = |id: &Option<crate::secret::Id>| id.as_ref().map(ToString::to_string);
    log::JobId {
        id: claims.job.to_string(),
        attempt: job.attempt,
        organization: text(&claims.identity.organization),
        project: claims.identity.project.to_string(),
        user: text(&claims.identity.user),
    }
}

fn write(level: Level, message: &str, line: &Line<'_>) {
    let words = match (&line.job, line.reason) {
        (Some(job), Some(reason)) => format!("{message}: {reason}, job {}", job.id),
        (Some(job), None) => format!("{message}: job {}", job.id),
        (None, Some(reason)) => format!("{message}: {reason}"),
        (None, None) => message.to_owned(),
    };
    log::audit(&log::line(level, AUDIT, message, line), level, &words);
}
