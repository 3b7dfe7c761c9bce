//! Why a job gets nothing from the service.

use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};

use crate::error;
use crate::job_token;
use crate::membership;
use crate::precedence::Conflict;
use crate::server::limits;
use crate::server::metrics::Resolved;
use crate::server::problem::Problem;
use crate::store::StoreError;
use crate::wire::{Malformed, NotText};

/// Why there is no answer. Holds no token and no value.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No `Authorization: Bearer …`, or several.
    #[error("there is no job token; send it as `Authorization: Bearer …`")]
    NoToken,
    /// The token.
    #[error(transparent)]
    Token(#[from] job_token::Refused),
    /// It asks too often.
    #[error("too many requests with this job token")]
    TooOften(limits::Refused),
    /// It was answered as often as it may be.
    #[error(
        "this job token was answered {} times, which is all that one is good for; the orchestrator \
         has to issue another",
        super::USES
    )]
    UsedUp,
    /// The request.
    #[error("the request is not one that this service reads: {0}")]
    Request(#[from] Malformed),
    /// The request is for another job than the token.
    #[error(
        "the job's descriptor and its token disagree about the job, its organization, project or \
         user; the token decides, so the orchestrator has to issue one for this job"
    )]
    Mismatch,
    /// What is registered.
    #[error(transparent)]
    Membership(#[from] membership::Denied),
    /// The store holds what it can't.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The store, or a value that doesn't open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value that was stored by another program.
    #[error(transparent)]
    NotText(#[from] NotText),
}

impl Refused {
    /// The stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoToken => "token_missing",
            Self::Token(refused) => refused.kind(),
            Self::TooOften(_) => "rate_limited",
            Self::UsedUp => "token_used_up",
            Self::Request(malformed) if malformed.is_newer() => "request_newer",
            Self::Request(_) => "request_invalid",
            Self::Mismatch => "identity_mismatch",
            Self::Membership(denied) => denied.kind(),
            Self::Conflict(_) => "secrets_ambiguous",
            Self::Store(error) => error::store(error).0,
            Self::NotText(_) => "secret_damaged",
        }
    }

    /// What the metrics and the audit call it.
    pub(super) fn outcome(&self) -> Resolved {
        match self.status().as_u16() {
            500 => Resolved::Refused,
            503 => Resolved::Unavailable,
            _ => Resolved::Denied,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Token(job_token::Refused::KeysUnavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoToken | Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::UsedUp => StatusCode::CONFLICT,
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Mismatch | Self::Membership(_) => StatusCode::FORBIDDEN,
            // Somebody has to look at it: to ask again would not help.
            Self::Conflict(_)
            | Self::NotText(_)
            | Self::Store(StoreError::Sealed { .. } | StoreError::Altered { .. }) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<limits::Refused> for Refused {
    fn from(refused: limits::Refused) -> Self {
        Self::TooOften(refused)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        if let Self::TooOften(refused) = self {
            return refused.into_response();
        }
        let (status, kind) = (self.status(), self.kind());
        let detail = match &self {
            // Paths and hosts of this installation are for its log.
            Self::Store(error @ (StoreError::Sealed { .. } | StoreError::Gone(_))) => {
                error.to_string()
            }
            Self::Store(error) => {
                tracing::error!(%error, kind, "a job could not be answered");
                "the service's store could not be read or written; its log says why".to_owned()
            }
            _ => self.to_string(),
        };
        let problem = Problem::new(status, kind, detail);
        match status {
            StatusCode::UNAUTHORIZED => ([(WWW_AUTHENTICATE, "Bearer")], problem).into_response(),
            StatusCode::SERVICE_UNAVAILABLE => ([(RETRY_AFTER, "1")], problem).into_response(),
            _ => problem.into_response(),
        }
    }
}
