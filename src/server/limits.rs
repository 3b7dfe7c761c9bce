//! What a client may use: bytes, time, and how often.
//!
//! Invariants: a request whose length is not known from the start is refused, and with it every
//! disagreement between `Transfer-Encoding` and `Content-Length`; a body is read only as far as its
//! limit, and only until its deadline; an answer that a limit gives is a problem with its own word.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;

use super::listen::Peer;
use super::metrics::{Limited, Metrics};
use super::problem::Problem;

pub mod rate;

use rate::{Buckets, Rate};

/// The service's limits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at the same time; more wait in the kernel's queue.
    pub connections: usize,
    /// Of these, with one address (IPv6: one /64); more are closed. Trusted proxies have no such
    /// limit.
    pub connections_per_peer: usize,
    /// A TLS handshake.
    pub handshake: Duration,
    /// A request's head: from the first byte, and from the opening of a connection, to the last.
    pub head: Duration,
    /// All of a request's head, in bytes; at least 8,192.
    pub head_bytes: usize,
    /// A request's body: from the head's end.
    pub body: Duration,
    /// A request's body, in bytes.
    pub body_bytes: u64,
    /// A request: from its head's end to the answer's head.
    pub request: Duration,
    /// A part of an answer, to be taken by the client.
    pub answer: Duration,
    /// A connection without a request, after its first one.
    pub idle: Duration,
    /// HTTP/2: requests at the same time on a connection.
    pub streams: u32,
    /// Running requests, when the service ends.
    pub grace: Duration,
    /// Failures to authenticate, by the peer's address.
    pub failures: Rate,
    /// Requests, by who sends them.
    pub requests: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 256,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            body: Duration::from_secs(20),
            body_bytes: 1024 * 1024,
            request: Duration::from_secs(30),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            streams: 100,
            grace: Duration::from_secs(30),
            failures: Rate { burst: 20, every: Duration::from_secs(3) },
            requests: Rate { burst: 600, every: Duration::from_millis(10) },
        }
    }
}

/// The rates of all clients.
#[derive(Clone, Debug)]
pub struct Rates(Arc<Both>);

#[derive(Debug)]
struct Both {
    failures: Buckets,
    requests: Buckets,
    metrics: Metrics,
}

impl Rates {
    /// Nobody has done anything yet.
    pub fn new(limits: &Limits, metrics: Metrics) -> Self {
        let failures = Buckets::new(limits.failures);
        Self(Arc::new(Both { failures, requests: Buckets::new(limits.requests), metrics }))
    }

    /// Counts a request of a subject: whom a token or a session belongs to, once that is known.
    pub fn request(&self, subject: &str) -> Result<(), Refused> {
        self.0.requests.take(&subject, Instant::now()).map_err(|wait| {
            self.0.metrics.limited(Limited::Subject);
            Refused(wait)
        })
    }

    /// Whether a peer failed too often. Whoever brings valid credentials is never asked this: a
    /// hostile job shares its address with the runners of other jobs, and must not lock them out.
    pub fn failed_too_often(&self, peer: &Peer) -> Result<(), Refused> {
        self.0.failures.look(&peer.key(), Instant::now()).map_err(Refused)
    }

    fn failure(&self, peer: &Peer) -> Result<(), Refused> {
        self.0.failures.take(&peer.key(), Instant::now()).map_err(|wait| {
            self.0.metrics.limited(Limited::Peer);
            Refused(wait)
        })
    }
}

/// Too often; again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub Duration);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        // Whole seconds, rounded up: RFC 9110 section 10.2.3.
        let seconds = self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0);
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests; wait as long as Retry-After says",
        );
        ([(RETRY_AFTER, HeaderValue::from(seconds.max(1)))], problem).into_response()
    }
}

/// Makes [`Rates`] an extension of the request, and counts answers that say 401: beyond the rate
/// of failures they become 429.
pub async fn failures(State(rates): State<Rates>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    request.extensions_mut().insert(rates.clone());
    let response = next.run(request).await;
    match peer {
        Some(peer) if response.status() == StatusCode::UNAUTHORIZED => match rates.failure(&peer) {
            Ok(()) => response,
            Err(refused) => refused.into_response(),
        },
        _ => response,
    }
}

/// Ends a request that takes too long. What it was doing is dropped at its next `await`.
pub async fn time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "the request took too long and was stopped; try again",
        )
        .into_response(),
    }
}

/// A body's limits.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// In bytes.
    pub bytes: u64,
    /// From the head's end.
    pub time: Duration,
}

/// Bounds a request's body in size and time, and refuses heads that two readers read differently.
pub async fn body(State(limits): State<BodyLimits>, request: Request, next: Next) -> Response {
    // RFC 9112, section 3.2: a proxy may have gone by the other one.
    if request.headers().get_all(HOST).iter().count() > 1 {
        let detail = "the request names more than one host; send one `Host`";
        return closing(Problem::new(StatusCode::BAD_REQUEST, "request_invalid", detail));
    }
    if request.headers().contains_key(TRANSFER_ENCODING) {
        return closing(Problem::new(
            StatusCode::LENGTH_REQUIRED,
            "length_required",
            "bodies of unknown length (Transfer-Encoding) are not taken; send a Content-Length",
        ));
    }
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|n: u64| n > limits.bytes) {
        return closing(Fault::TooLarge.problem(limits));
    }
    let fault = Arc::new(AtomicU8::new(0));
    let request = request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        let over = Box::pin(tokio::time::sleep(limits.time));
        Body::new(Bounded { body, left: limits.bytes, over, fault: Arc::clone(&fault) })
    });
    let response = next.run(request).await;
    match Fault::read(&fault) {
        Some(fault) if !response.status().is_success() => closing(fault.problem(limits)),
        _ => response,
    }
}

/// What comes after a body that isn't read is not looked for.
fn closing(problem: Problem) -> Response {
    ([(CONNECTION, HeaderValue::from_static("close"))], problem).into_response()
}

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Fault {
    #[error("the body is too large")]
    TooLarge = 1,
    #[error("the body came too slowly")]
    TooSlow = 2,
}

impl Fault {
    fn read(cell: &AtomicU8) -> Option<Self> {
        match cell.load(Ordering::Relaxed) {
            1 => Some(Self::TooLarge),
            2 => Some(Self::TooSlow),
            _ => None,
        }
    }

    fn problem(self, limits: BodyLimits) -> Problem {
        match self {
            Self::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is larger than {} bytes", limits.bytes),
            ),
            Self::TooSlow => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                format!("the body was not there within {:?}", limits.time),
            ),
        }
    }
}

/// A body with an end in size and time.
struct Bounded {
    body: Body,
    left: u64,
    over: Pin<Box<Sleep>>,
    fault: Arc<AtomicU8>,
}

impl Bounded {
    fn end(&self, fault: Fault) -> axum::Error {
        self.fault.store(fault as u8, Ordering::Relaxed);
        axum::Error::new(fault)
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(self.end(Fault::TooSlow))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(self.end(Fault::TooLarge)))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
