//! What the service tells of itself to those who watch over it: counts, and whether it is well.
//!
//! Invariants: labels come from fixed sets (route templates, words of the program), never from what
//! a client sent, so that no client can make a series; no label holds an id or a key.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::problem::Problem;
use crate::settings::service::MetricsFor;

mod process;
mod readiness;
mod visible;

pub use readiness::Readiness;

/// Seconds. The budget of a resolution is 20 ms.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The media type of the text format, OpenMetrics 1.0.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics of one service; a copy counts into the same.
#[derive(Clone)]
pub struct Metrics(Arc<All>);

struct All {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    connections: Gauge,
    handshakes: Counter,
    resolves: Family<ResolveLabels, Counter>,
    limited: Family<LimitedLabels, Counter>,
    store_errors: Family<StoreLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DurationLabels {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResolveLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitedLabels {
    by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StoreLabels {
    kind: &'static str,
}

/// How a resolution ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Resolved {
    /// Secrets were given.
    Answered,
    /// The token, or what was asked for beside it, was refused.
    Denied,
    /// In doubt nothing was given: two candidates, or a value that does not open.
    Refused,
    /// The store could not be asked.
    Unavailable,
}

impl Resolved {
    fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Which rate was exceeded.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Limited {
    /// Failures to authenticate, of one address.
    Peer,
    /// Requests of one subject.
    Subject,
}

impl Limited {
    fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Subject => "subject",
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let own = registry.sub_registry_with_prefix("qgis_secrets");
        let requests = Family::default();
        own.register("http_requests", "Requests answered", Family::clone(&requests));
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let durations = Family::new_with_constructor(histogram);
        own.register_with_unit(
            "http_request_duration",
            "From a request's head to the answer's",
            Unit::Seconds,
            Family::clone(&durations),
        );
        let connections = Gauge::default();
        own.register("connections", "Connections open", Gauge::clone(&connections));
        let handshakes = Counter::default();
        own.register("tls_failures", "TLS handshakes without success", Counter::clone(&handshakes));
        let resolves = Family::default();
        own.register("resolves", "Resolutions, by how they ended", Family::clone(&resolves));
        let limited = Family::default();
        own.register("rate_limited", "Requests answered with 429", Family::clone(&limited));
        let store_errors = Family::default();
        own.register(
            "store_errors",
            "Jobs without an answer for an error of the store, by its word",
            Family::clone(&store_errors),
        );
        Self(Arc::new(All {
            registry,
            requests,
            durations,
            connections,
            handshakes,
            resolves,
            limited,
            store_errors,
        }))
    }

    /// Counts a resolution.
    pub fn resolved(&self, outcome: Resolved) {
        self.0.resolves.get_or_create(&ResolveLabels { outcome: outcome.word() }).inc();
    }

    /// Counts a job without an answer, by the stable word of the store's error,
    /// [`crate::error::Error::kind`].
    pub fn store_error(&self, kind: &'static str) {
        self.0.store_errors.get_or_create(&StoreLabels { kind }).inc();
    }

    pub(super) fn limited(&self, by: Limited) {
        self.0.limited.get_or_create(&LimitedLabels { by: by.word() }).inc();
    }

    pub(super) fn handshake_failed(&self) {
        self.0.handshakes.inc();
    }

    /// Counts a connection for as long as what is returned lives.
    pub(super) fn connection(&self) -> Open {
        self.0.connections.inc();
        Open(self.0.connections.clone())
    }

    /// Everything in the text format.
    fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts every request.
pub async fn requests(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method(request.method());
    let response = next.run(request).await;
    let seconds = began.elapsed().as_secs_f64();
    let all = &metrics.0;
    all.durations.get_or_create(&DurationLabels { route: route.clone() }).observe(seconds);
    let labels = RequestLabels { route, method, status: class(response.status()) };
    all.requests.get_or_create(&labels).inc();
    response
}

/// A client may invent methods.
fn method(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 7] = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("other", |(_, word)| *word)
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// `/live` and `/ready`, for everybody: probes come from other machines, and learn one word. And
/// `/metrics`, for whom the settings say.
pub fn router(metrics: Metrics, readiness: Readiness, to: MetricsFor) -> Router {
    let only = axum::middleware::from_fn_with_state(to, visible::only);
    Router::new()
        .route("/metrics", get(text).with_state(metrics).layer(only))
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready).with_state(Arc::new(readiness)))
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    let failing = readiness.failing().await;
    if failing.is_empty() {
        return "ready\n".into_response();
    }
    let detail = format!("not ready: {}; the log says why", failing.join(", "));
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).into_response()
}

async fn text(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
