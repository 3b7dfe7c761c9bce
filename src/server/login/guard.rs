//! What stands before every route that a browser reaches.
//!
//! Invariants: a request that changes something and shows a session's cookie has been sent by a
//! page of this service, and holds the session's own mark; no body is read for a cookie that is no
//! session's; a request with an `Authorization` header is judged by that alone; without a public address only a loopback host is answered.

use std::fmt;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::Login;
use super::cookie::Cookie;
use super::site::{Foreign, is_safe, same_origin};
use super::ticket::Ticket;
use crate::server::problem::Problem;

/// The field of a form that holds the session's mark: [`Person::csrf`](super::Person::csrf).
pub const CSRF_FIELD: &str = "csrf";

/// The header that holds it, where there is no form.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// The longest form of nobody's that is read, in bytes: more than both editors send.
const MAX_UNSENT: usize = 128 * 1024;

/// How many of them are read at once.
pub(super) const STRANGERS: usize = 32;

/// What a session's mark is derived for.
const PURPOSE: &str = "form";

/// The mark that each form of a session holds. It opens nothing: the ticket doesn't follow from it.
pub(super) fn mark(ticket: &Ticket) -> String {
    ticket.derive(PURPOSE, b"")
}

/// Whether this is the mark of that ticket.
pub(super) fn is_mark(ticket: &Ticket, text: &str) -> bool {
    ticket.derived(PURPOSE, b"", text)
}

/// A form that was not taken, beside the answer that says why: in the answer's extensions, for the
/// page to give it back. Only a page of this service can have sent it.
#[derive(Clone)]
pub struct Unsent {
    /// As it came.
    pub body: Bytes,
    /// The mark that it needs; none where another would not help.
    pub csrf: Option<String>,
}

impl Login {
    /// Reads what nobody's form holds, to give it back: not a long one, and not many at once, for
    /// whoever connects can send them.
    pub async fn unsent(&self, body: Body) -> Option<Unsent> {
        let _reading = self.0.strangers.try_acquire().ok()?;
        let body = to_bytes(body, MAX_UNSENT.min(self.0.body_bytes)).await.ok()?;
        Some(Unsent { body, csrf: None })
    }
}

impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsent(…)")
    }
}

/// A request that the guard let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guarded;

/// A request whose cookie was no session's, and whose form was not looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sessionless;

impl IntoResponse for Foreign {
    fn into_response(self) -> Response {
        match self {
            Self::Host => Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host_unknown",
                "the service is not reached under this name; open it at its own address \
                 (`service.public_url`, or 127.0.0.1)",
            ),
            Self::Origin => Problem::new(
                StatusCode::FORBIDDEN,
                "origin_foreign",
                "the request was not sent by a page of this service; open the page again and \
                 repeat it there",
            ),
        }
        .into_response()
    }
}

fn unmarked() -> Response {
    Problem::new(
        StatusCode::FORBIDDEN,
        "csrf_invalid",
        "the form is not of this session; open the page again and repeat it there",
    )
    .into_response()
}

/// Goes around everything that a browser reaches (`axum::middleware::from_fn_with_state`).
pub async fn guard(State(login): State<Login>, request: Request, next: Next) -> Response {
    match checked(&login, request).await {
        Ok(mut request) => {
            request.extensions_mut().insert(Guarded);
            next.run(request).await
        }
        Err(response) => response,
    }
}

async fn checked(login: &Login, mut request: Request) -> Result<Request, Response> {
    let site = &login.0.site;
    let origin = site.origin(request.uri(), request.headers());
    let origin = origin.map_err(Foreign::into_response)?.into_owned();
    if request.headers().contains_key(AUTHORIZATION) {
        // Two ways to say who one is: the page of another site can add one of them alone.
        request.headers_mut().remove(COOKIE);
        return Ok(request);
    }
    if is_safe(request.method()) {
        return Ok(request);
    }
    same_origin(&origin, request.headers()).map_err(Foreign::into_response)?;
    let Some(ticket) = Cookie::Session.read(request.headers(), site.is_tls()) else {
        return Ok(request);
    };
    if let Some(sent) = request.headers().get(CSRF_HEADER) {
        return match sent.to_str().is_ok_and(|sent| is_mark(&ticket, sent)) {
            true => Ok(request),
            false => Err(unmarked()),
        };
    }
    if !is_form(request.headers()) {
        return Err(unmarked());
    }
    if let Ok(None) = login.session(&ticket).await {
        // Nobody's, or not any more: there is nothing to protect, and so nothing to read for.
        request.extensions_mut().insert(Sessionless);
        return Ok(request);
    }
    // The outer limits bound it in time, and mostly in size as well.
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, login.0.body_bytes).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the form is too large")
            .into_response()
    })?;
    let field = form_urlencoded::parse(&body).find(|(name, _)| name == CSRF_FIELD);
    if field.is_some_and(|(_, sent)| is_mark(&ticket, &sent)) {
        return Ok(Request::from_parts(parts, Body::from(body)));
    }
    let mut refused = unmarked();
    refused.extensions_mut().insert(Unsent { body, csrf: Some(mark(&ticket)) });
    Err(refused)
}

fn is_form(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
