//! Pages that say why there is no other.
//!
//! Invariant: what is said is from a fixed set of sentences, or from a [`Refusal`], which holds no
//! value; nothing of the request is repeated.

use std::borrow::Cow;
use std::fmt;

use askama::Template;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::layout::Chrome;
use crate::server::administration::Refusal;
use crate::server::problem::{self, Problem};

/// Why there is no other page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    kind: Cow<'static, str>,
    detail: Cow<'static, str>,
}

impl Failure {
    /// A status, a stable word, and sentences with what to do.
    pub(super) fn new(
        status: StatusCode,
        kind: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, kind: kind.into(), detail: detail.into() }
    }

    /// Something that a visitor can do nothing about; the log has more.
    pub(super) fn internal(why: &dyn fmt::Display) -> Self {
        tracing::error!(%why, "a page could not be made");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong in the service. Try again; if it stays, its operator finds the \
             reason in the log.",
        )
    }

    /// Whether it is [`Failure::not_found`].
    pub(super) fn is_not_found(&self) -> bool {
        *self == Self::not_found()
    }

    /// There is nothing here, or nothing that the visitor may see.
    pub(super) fn not_found() -> Self {
        Refusal::NOT_FOUND.into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(logged(&refusal), refusal.kind(), sentence(&refusal.to_string()))
    }
}

/// The status of a refusal. What the service is to blame for goes into its log, with its cause.
pub(super) fn logged(refusal: &Refusal) -> StatusCode {
    let status =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(error = ?refusal, "a request from the page failed");
    }
    status
}

/// An error as a sentence: it begins with a capital letter and ends with a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[derive(Template)]
#[template(path = "failure.html", config = "src/server/page/askama.toml")]
struct View<'a> {
    chrome: Chrome,
    heading: &'static str,
    detail: &'a str,
    status: u16,
    kind: &'a str,
}

/// What a status is called.
pub(super) fn heading(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "You are not logged in",
        403 => "You may not do this",
        404 => "There is nothing here",
        405 => "This can't be done here",
        409 => "Somebody was faster",
        413 => "This is too long",
        429 => "Too many requests",
        503 => "Not available at the moment",
        500.. => "Something went wrong",
        _ => "This can't be done",
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let heading = heading(self.status);
        let chrome = Chrome { title: heading.to_owned(), wrong: true, ..Chrome::default() };
        let (status, detail, kind) = (self.status.as_u16(), &*self.detail, &*self.kind);
        match (View { chrome, heading, detail, status, kind }).render() {
            Ok(text) => {
                let headers = [(CACHE_CONTROL, "no-store")];
                (self.status, headers, Html(text)).into_response()
            }
            Err(_) => {
                Problem::new(self.status, "internal", "the page could not be made").into_response()
            }
        }
    }
}

/// The longest problem that is read again to be shown as a page.
const PROBLEM: usize = 16 * 1024;

/// What a problem of another part says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The stable word.
    pub(super) kind: String,
    detail: String,
    /// When to try again, in seconds.
    wait: Option<u64>,
}

impl Said {
    /// What to do, for a person in front of a browser, which sends a form once more when the page
    /// that came instead is loaded again.
    pub(super) fn sentence(&self) -> String {
        let again = match self.wait {
            Some(1) => "Wait a second".to_owned(),
            Some(seconds) => format!("Wait {seconds} seconds"),
            None => "Wait a little".to_owned(),
        };
        match self.kind.as_str() {
            "rate_limited" => format!(
                "Too many requests came from you in a short time, so this one was not looked at. \
                 {again}, then load this page again: what you sent is then sent once more."
            ),
            "body_too_large" => "What was sent is longer than the service takes at once, so nothing \
                                 was saved. Go back and send less: several services of a long text, \
                                 for example, in two parts."
                .to_owned(),
            "body_too_slow" => "What you sent did not arrive in time, so nothing was saved. Load this \
                                page again: it is then sent once more."
                .to_owned(),
            "timeout" => "The service took too long and stopped. If you were saving something, look \
                          whether it is there before you try again."
                .to_owned(),
            _ => sentence(&self.detail),
        }
    }
}

/// Takes a problem of another part out of its answer; any other answer comes back.
pub(super) async fn said(response: Response) -> Result<(Parts, Said), Response> {
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(problem::MEDIA_TYPE.as_bytes()));
    if !is_problem {
        return Err(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, PROBLEM).await.unwrap_or_default();
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let word = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    let wait = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((parts, Said { kind: word("kind"), detail: word("detail"), wait }))
}

/// What else was said stays: `Retry-After`, cookies.
pub(super) fn with_headers(mut shown: Response, headers: &HeaderMap) -> Response {
    for (name, value) in headers {
        let of_body = [CONTENT_TYPE, CONTENT_LENGTH].contains(name);
        if !of_body && !shown.headers().contains_key(name) {
            shown.headers_mut().append(name, value.clone());
        }
    }
    shown
}

/// Shows the problems of other parts (limits, an unknown address) as pages, to who asks for a page.
/// Programs, and everybody at the addresses of the API, get them as they are.
pub(in crate::server) async fn dressed(request: Request, next: Next) -> Response {
    let page = wants_page(&request);
    let response = next.run(request).await;
    if !page {
        return response;
    }
    match said(response).await {
        Ok((parts, said)) => {
            let failure = Failure::new(parts.status, said.kind.clone(), said.sentence());
            with_headers(failure.into_response(), &parts.headers)
        }
        Err(response) => response,
    }
}

/// The addresses that are for programs, whatever they take.
const PROGRAMS: [&str; 4] = ["/v1/", "/live", "/ready", "/metrics"];

/// Whether a person looks at the answer.
pub(super) fn wants_page(request: &Request) -> bool {
    let names = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/html"));
    matches!(*request.method(), Method::GET | Method::POST)
        && request.headers().get(ACCEPT).is_some_and(names)
        && !PROGRAMS.iter().any(|path| request.uri().path().starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        assert_eq!(sentence("there is no such secret"), "There is no such secret.");
        assert_eq!(sentence("ärger?"), "Ärger?");
        assert_eq!(sentence(""), ".");
    }
}
