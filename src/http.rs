//! The only HTTP client: fetches a descriptor, delivers a report, asks a service.
//!
//! Invariants: nothing of it is built before it is needed; one deadline bounds all attempts, and
//! one limit the answer; only what may pass is tried again (connection errors, 429, 5xx); no
//! redirect is followed, for the token would go with it; an error holds no token and no body.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Request, Response, StatusCode, Url};

use crate::secret::{Value, ValueBuf};

mod form;
mod peer;
mod tls;

pub use form::{Form, post_form};
pub use peer::{Answered, Ask, At, NoAnswer, NoPeer, Peer};
pub use tls::{Named, Tls, TlsFault, TlsFileError, fault as tls_fault};

/// The largest token file, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// To the first byte of one attempt's connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Whoever waits longer than this is told for what.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a request had no success.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not an `http` or `https` URL.
    #[error("not a URL that begins with http:// or https://")]
    Url,
    /// A user name or password in the URL, which logs would show.
    #[error("the URL holds a user name or a password; use a token file")]
    Credentials,
    /// A token that no header can carry.
    #[error("the token holds characters that an HTTP header can't")]
    Token,
    /// No answer in time, after as many attempts as fitted.
    #[error("{url}: no success within {deadline:?}; last: {last}")]
    Deadline {
        /// Without query and fragment.
        url: String,
        /// The whole time.
        deadline: Duration,
        /// The last attempt's fault.
        last: String,
    },
    /// An answer that says no.
    #[error("{url}: the server answered {status}{}", hint(*status))]
    Status {
        /// Without query and fragment.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// More than the limit.
    #[error("{url}: the answer is larger than {limit} bytes (`job.max_bytes`)")]
    TooLarge {
        /// Without query and fragment.
        url: String,
        /// In bytes.
        limit: usize,
    },
    /// The connection failed.
    #[error("{url}: {why}")]
    Connection {
        /// Without query and fragment.
        url: String,
        /// What failed.
        why: String,
    },
    /// The client could not be made.
    #[error("the HTTP client could not be set up: {0}")]
    Setup(String),
}

/// Why a token file has no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not there, or not readable.
    #[error("the token file {} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, #[source] io::Error),
    /// Something else is in it.
    #[error(
        "the token file {} must hold one token: visible ASCII characters, without blanks",
        .0.display()
    )]
    Content(PathBuf),
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; check the token",
        StatusCode::NOT_FOUND => "; check the address",
        status if status.is_redirection() => "; redirects are not followed, give the final address",
        _ => "",
    }
}

/// Where to, with what token, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// An `http` or `https` URL.
    pub url: &'a str,
    /// The bearer token.
    pub token: Option<&'a Value>,
    /// For all attempts together.
    pub deadline: Duration,
}

/// Reads a bearer token from its file; blanks and line ends around it are no part of it.
pub fn read_token(path: &Path) -> Result<Value, TokenError> {
    let fault = |error| TokenError::Unreadable(path.into(), error);
    let text = File::open(path).and_then(|file| ValueBuf::read(file, MAX_TOKEN)).map_err(fault)?;
    let text = text.ok_or_else(|| fault(io::Error::other("larger than 64 KiB")))?;
    token(text.as_slice()).ok_or_else(|| TokenError::Content(path.into()))
}

/// The token that came as a value; `None` if it is none.
pub fn given_token(value: &Value) -> Option<Value> {
    token(value.expose())
}

fn token(text: &[u8]) -> Option<Value> {
    let text = text.trim_ascii();
    if text.is_empty() || text.len() > MAX_TOKEN || !text.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let mut token = ValueBuf::new();
    token.push(text);
    Some(token.finish())
}

/// Fetches up to `limit` bytes.
pub async fn get(endpoint: Endpoint<'_>, limit: usize) -> Result<Value, HttpError> {
    get_dated(endpoint, limit).await.map(|(body, _)| body)
}

/// Fetches up to `limit` bytes, and for how long they count as fresh, if the answer says so (RFC
/// 9111, section 5.2.2: `max-age`; zero for `no-store` and `no-cache`).
pub async fn get_dated(
    endpoint: Endpoint<'_>,
    limit: usize,
) -> Result<(Value, Option<Duration>), HttpError> {
    let request = request(Method::GET, &endpoint)?;
    let attempt = async |client: &Client, request: Request, url: &str| {
        let mut response = send(client, request, url).await?;
        let max_age = max_age(response.headers());
        let mut body = ValueBuf::new();
        let large = || HttpError::TooLarge { url: url.into(), limit };
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(large());
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| connection(url, &error))? {
            if body.as_slice().len() + chunk.len() > limit {
                return Err(large());
            }
            body.push(&chunk);
        }
        Ok((body.finish(), max_age))
    };
    retried(endpoint, request, attempt).await
}

/// Delivers JSON. The same `key` marks every attempt, so that the receiver can tell a repetition.
pub async fn post(endpoint: Endpoint<'_>, key: &str, json: String) -> Result<(), HttpError> {
    let mut request = request(Method::POST, &endpoint)?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("Idempotency-Key", HeaderValue::from_str(key).map_err(|_| HttpError::Token)?);
    *request.body_mut() = Some(json.into());
    let attempt = async |client: &Client, request: Request, url: &str| {
        send(client, request, url).await.map(drop)
    };
    retried(endpoint, request, attempt).await
}

/// Whether nobody between can read or change what is exchanged with `url`: TLS, or this machine.
pub fn is_confidential(url: &str) -> Result<bool, HttpError> {
    let url = checked(url)?;
    let here = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    Ok(url.scheme() == "https" || here)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let words = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut age = None;
    for word in words.flat_map(|line| line.split(',')) {
        let word = word.trim().to_ascii_lowercase();
        if matches!(word.as_str(), "no-store" | "no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = word.strip_prefix("max-age=") {
            age = seconds.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    age
}

fn checked(url: &str) -> Result<Url, HttpError> {
    let url = Url::parse(url).map_err(|_| HttpError::Url)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(HttpError::Url);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpError::Credentials);
    }
    Ok(url)
}

fn request(method: Method, endpoint: &Endpoint<'_>) -> Result<Request, HttpError> {
    let mut request = Request::new(method, checked(endpoint.url)?);
    if let Some(token) = endpoint.token {
        let mut header = ValueBuf::new();
        header.push(b"Bearer ");
        header.push(token.expose());
        let mut header =
            HeaderValue::from_bytes(header.as_slice()).map_err(|_| HttpError::Token)?;
        header.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    Ok(request)
}

/// What every client has.
fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!("qgis-secrets/", env!("CARGO_PKG_VERSION")))
}

async fn retried<T>(
    endpoint: Endpoint<'_>,
    request: Request,
    attempt: impl AsyncFn(&Client, Request, &str) -> Result<T, HttpError>,
) -> Result<T, HttpError> {
    let url = &named(request.url());
    let client = &builder().build().map_err(|error| HttpError::Setup(error.to_string()))?;
    let mut last = "no answer".to_owned();
    let tries = async || match request.try_clone() {
        Some(request) => attempt(client, request, url).await,
        None => Err(HttpError::Setup("a request that can't be repeated".into())),
    };
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times();
    let all = tries.retry(backoff).when(may_pass).notify(|error, after| {
        tracing::warn!(%error, ?after, "trying again");
        last = match error {
            HttpError::Status { status, .. } => status.to_string(),
            HttpError::Connection { why, .. } => why.clone(),
            other => other.to_string(),
        };
    });
    let all = tokio::time::timeout(endpoint.deadline, all);
    match told_when_slow(url, all).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::Deadline { url: url.clone(), deadline: endpoint.deadline, last }),
    }
}

/// Says so when it takes more than a second, for somebody may be watching.
pub async fn told_when_slow<T>(url: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => tracing::warn!(url, "waiting for an answer"),
    }
    work.await
}

async fn send(client: &Client, request: Request, url: &str) -> Result<Response, HttpError> {
    let response = client.execute(request).await.map_err(|error| connection(url, &error))?;
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else {
        Err(HttpError::Status { url: url.into(), status })
    }
}

fn may_pass(error: &HttpError) -> bool {
    match error {
        HttpError::Connection { .. } => true,
        HttpError::Status { status, .. } => {
            *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
        }
        _ => false,
    }
}

/// A query may hold a token; a person needs host and path.
fn named(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

fn connection(url: &str, error: &reqwest::Error) -> HttpError {
    let why = match tls::fault(error) {
        Some(fault) => fault.to_string(),
        None => cause(error),
    };
    HttpError::Connection { url: url.into(), why }
}

/// The innermost cause says most: "connection refused", "connection closed".
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        if inner.to_string() == "dns error" {
            return "the address of the host's name cannot be found".to_owned();
        }
        cause = inner;
    }
    cause.to_string()
}
