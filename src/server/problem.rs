//! What a client gets instead of an answer: problem details (RFC 9457).
//!
//! Invariants: a problem has a stable word, `kind`, that programs may rely on; its detail says
//! what to do next, and holds nothing of the request's body and no secret value.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The media type of problem details, RFC 9457 section 3.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error as a client sees it.
///
/// ```json
/// {"type": "about:blank", "title": "Forbidden", "status": 403,
///  "detail": "…", "kind": "identity_mismatch"}
/// ```
///
/// Another header, such as `Retry-After`, goes beside it: `([(RETRY_AFTER, "3")], problem)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// The stable word, in `snake_case`.
    pub kind: &'static str,
    /// The status's own phrase: RFC 9457 section 4.2.1 wants no other beside `about:blank`.
    pub title: &'static str,
    /// What happened, and what to do next; for people.
    pub detail: Cow<'static, str>,
}

impl Problem {
    /// A problem whose title is the status's phrase.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status, kind, title, detail: detail.into() }
    }
}

#[derive(Serialize)]
struct Members<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    kind: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let members = Members {
            r#type: "about:blank",
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            kind: self.kind,
        };
        let mut response = (self.status, Json(members)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_is_what_the_rfc_says() {
        let problem = Problem::new(StatusCode::FORBIDDEN, "identity_mismatch", "ask \"ada\"");
        let response = problem.into_response();
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let members: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Forbidden", "status": 403,
            "detail": "ask \"ada\"", "kind": "identity_mismatch",
        });
        assert_eq!(members, expected);
    }
}
