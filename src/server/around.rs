//! What lies around every route, in one place and one order.
//!
//! From the outside inwards: metrics see every answer, security headers are on every answer, a
//! problem becomes a page for who looks at it in a browser, a failure without words becomes a
//! problem, a panic a failure, failed logins are counted, then time and body are bounded, and then
//! comes the route.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::limits::{self, BodyLimits, Limits, Rates};
use super::metrics::{self, Metrics};
use super::{headers, page, problem::Problem};

/// Puts everything around the routes. Routes that are added afterwards have nothing of it.
pub fn around(router: Router, limits: &Limits, rates: Rates, metrics: Metrics) -> Router {
    let body = BodyLimits { bytes: limits.body_bytes, time: limits.body };
    // Each layer lies around those before it.
    router
        .layer(middleware::from_fn_with_state(body, limits::body))
        .layer(middleware::from_fn_with_state(limits.request, limits::time))
        .layer(middleware::from_fn_with_state(rates, limits::failures))
        .layer(middleware::from_fn(panics))
        .layer(middleware::from_fn(problems))
        .layer(middleware::from_fn(page::dressed))
        .layer(middleware::from_fn(headers::secure))
        .layer(middleware::from_fn_with_state(metrics, metrics::requests))
}

/// A panic ends its request and nothing else. What it says is for the log: it may hold anything.
async fn panics(request: Request, next: Next) -> Response {
    let mut answer = pin!(next.run(request));
    let answer = poll_fn(|cx| {
        // The future is not polled again after a panic.
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    match answer.await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a request was ended by a fault of the program (a panic)");
            wordless(StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new())
        }
    }
}

/// Answers that the framework gives by itself say too much (a rejected body is quoted) or nothing.
async fn problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || !is_plain(response.headers()) {
        return response;
    }
    let (parts, _) = response.into_parts();
    wordless(status, parts.headers)
}

fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|media| media.as_bytes().starts_with(b"text/plain"))
}

/// A problem that says what the status says; `headers` such as `Allow` stay.
fn wordless(status: StatusCode, mut headers: HeaderMap) -> Response {
    let (kind, detail) = match status.as_u16() {
        400 | 422 => ("request_invalid", "the request is not what this address takes"),
        401 => ("unauthenticated", "log in, or send a valid token"),
        403 => ("forbidden", "this needs a right that you do not have"),
        404 => ("not_found", "there is nothing at this address"),
        405 => ("method_not_allowed", "this address takes the methods that Allow names"),
        413 => ("body_too_large", "the body is too large"),
        415 => ("media_type", "send the body with the Content-Type that this address takes"),
        500 => ("internal", "the service failed at this request; its log says more"),
        503 => ("unavailable", "the service cannot answer now; try again"),
        400..500 => ("request_refused", "the request was refused"),
        _ => ("failed", "the service could not answer; its log says more"),
    };
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_LENGTH);
    let mut response = Problem::new(status, kind, detail).into_response();
    for (name, value) in &headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}
