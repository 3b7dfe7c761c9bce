//! Why a request is not answered: a problem, with the fields that are to blame.
//!
//! Invariant: what the store or the machine says of itself is for the log, not for clients.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::server::administration::Refusal;
use crate::server::limits;
use crate::server::problem::{MEDIA_TYPE, Problem};
use crate::server::submission::{At, Fault};

/// What stands where something is wrong.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct FieldError {
    /// The member, or the parameter; empty: the whole.
    pub(super) field: String,
    /// The line of a text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(nullable = false))]
    pub(super) line: Option<usize>,
    /// What is wrong, and what to do.
    pub(super) message: String,
}

/// Problem details (RFC 9457), with what is wrong field by field.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[cfg_attr(test, schema(as = Problem))]
pub(super) struct Members<'a> {
    /// Always `about:blank`: `kind` says more.
    r#type: &'static str,
    /// The status's own phrase.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened, and what to do next; for people.
    detail: &'a str,
    /// The stable word, for programs.
    kind: &'static str,
    /// What is wrong, field by field.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[cfg_attr(test, schema(required = false))]
    errors: &'a [FieldError],
}

/// Why a request is not answered.
#[derive(Debug)]
pub(super) enum Refused {
    /// A problem, and the fields that are to blame.
    Problem(Problem, Vec<FieldError>),
    /// Too often.
    Rate(limits::Refused),
}

impl Refused {
    /// There is no token.
    pub(super) fn no_token() -> Self {
        let detail = "send an API token as `Authorization: Bearer …`";
        Self::Problem(Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail), Vec::new())
    }

    /// The request's form: a parameter, a header, or a member of the body.
    pub(super) fn form(field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), line: None, message: message.into() };
        Self::fields(StatusCode::BAD_REQUEST, "request_invalid", vec![error])
    }

    /// The request's body has another type.
    pub(super) fn media_type() -> Self {
        let detail = "send the body as `Content-Type: application/json`";
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", detail);
        Self::Problem(problem, Vec::new())
    }

    /// What was sent is understood, and is not right. `prefix` stands before a field's name.
    pub(super) fn faults(faults: Vec<Fault>, prefix: &str) -> Self {
        let errors = faults.into_iter().map(|Fault { at, text }| {
            let (field, line) = match at {
                At::Whole => (String::new(), None),
                At::Field("name") => ("key".to_owned(), None),
                At::Field(name) => (format!("{prefix}{name}"), None),
                At::Extra(index) => (format!("{prefix}extra[{index}]"), None),
                At::Line(line) => ("text".to_owned(), Some(line)),
            };
            FieldError { field, line, message: text }
        });
        Self::fields(StatusCode::UNPROCESSABLE_ENTITY, "invalid", errors.collect())
    }

    /// The same for one field.
    pub(super) fn invalid(field: &str, message: &str) -> Self {
        let error = FieldError { field: field.to_owned(), line: None, message: message.to_owned() };
        Self::fields(StatusCode::UNPROCESSABLE_ENTITY, "invalid", vec![error])
    }

    fn fields(status: StatusCode, kind: &'static str, errors: Vec<FieldError>) -> Self {
        let said =
            errors.iter().map(|FieldError { field, line, message }| match (&**field, line) {
                ("", _) => message.clone(),
                (field, Some(line)) => format!("{field}, line {line}: {message}"),
                (field, None) => format!("{field}: {message}"),
            });
        let detail: Vec<String> = said.take(10).collect();
        Self::Problem(Problem::new(status, kind, detail.join("; ")), errors)
    }
}

impl From<limits::Refused> for Refused {
    fn from(refused: limits::Refused) -> Self {
        Self::Rate(refused)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Refusal::Store(error) = &refusal {
            tracing::error!(%error, kind = error.kind(), "a request of the API failed");
        }
        let errors = refusal.field().map(|field| FieldError {
            field: field.to_owned(),
            line: None,
            message: refusal.to_string(),
        });
        let detail: Cow<'static, str> = refusal.to_string().into();
        Self::Problem(Problem::new(status, refusal.kind(), detail), errors.into_iter().collect())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (problem, errors) = match self {
            Self::Problem(problem, errors) => (problem, errors),
            Self::Rate(refused) => return refused.into_response(),
        };
        let members = Members {
            r#type: "about:blank",
            title: problem.title,
            status: problem.status.as_u16(),
            detail: &problem.detail,
            kind: problem.kind,
            errors: &errors,
        };
        let mut response = (problem.status, Json(members)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match problem.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
