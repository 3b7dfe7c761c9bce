//! One exchange with a known server, without retries: those are the caller's.
//!
//! Invariants: a token goes only to the address that was named: no redirect is followed, and no
//! proxy is used but for HTTPS, through which it only tunnels; an answer is bounded; an error says
//! whether the server can have seen the request.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, StatusCode};

use super::tls::{self, Tls, TlsFault, TlsFileError};
use super::{Endpoint, HttpError, builder, cause, request};
use crate::secret::{Value, ValueBuf};

/// Where a server is, and how it is told from others.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// A socket, instead of the host and the port of the URLs.
    pub socket: Option<&'a Path>,
    /// For `https`.
    pub tls: Tls<'a>,
    /// Whether it is asked by `https`.
    pub secure: bool,
}

/// A server that is asked once or more often.
#[derive(Debug)]
pub struct Peer {
    client: Client,
    /// Whether it is asked by `http` at an address, where a server of TLS may listen.
    plain: bool,
}

/// What a server is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// Where.
    pub url: &'a str,
    /// The bearer token.
    pub token: &'a Value,
    /// The body, if it has one.
    pub json: Option<&'a Value>,
    /// Marks repetitions of the request.
    pub key: Option<&'a str>,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answered {
    /// 200 to 599.
    pub status: StatusCode,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
    /// Its body, for success or not.
    pub body: Value,
}

/// Why there is no peer.
#[derive(Debug, thiserror::Error)]
pub enum NoPeer {
    /// A file that was named.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// Anything else.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// There was no connection: the server has seen nothing.
    #[error("{0}")]
    Unconnected(String),
    /// The other end is not who it should be, or takes this one not for whom it should be. It won't
    /// pass.
    #[error("{0}")]
    Untrusted(TlsFault),
    /// The connection ended before the answer did.
    #[error("{0}")]
    Broken(String),
    /// More than the limit, in bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// A request that can't be made.
    #[error(transparent)]
    Request(#[from] HttpError),
}

impl Peer {
    /// A client for one server. It connects when it is first asked.
    pub fn new(at: At<'_>) -> Result<Self, NoPeer> {
        // Over HTTP/2 an alert of TLS, such as for want of a certificate, arrives as a closed connection.
        let mut builder = builder().http1_only();
        if at.secure {
            builder = at.tls.prepare(builder)?;
        } else {
            // No proxy: it would see what is sent. No roots: to read the system's takes time.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        if let Some(path) = at.socket {
            builder = builder.unix_socket(path);
        }
        let plain = !at.secure && at.socket.is_none();
        let client = builder.build().map_err(|error| match at.tls.unusable(&error) {
            Some(file) => NoPeer::from(file),
            None => HttpError::Setup(cause(&error)).into(),
        })?;
        Ok(Self { client, plain })
    }

    /// Asks whether a server is there; its body is not read.
    pub async fn get(&self, url: &str) -> Result<StatusCode, NoAnswer> {
        let endpoint = Endpoint { url, token: None, deadline: Duration::MAX };
        let request = request(Method::GET, &endpoint)?;
        let answer = self.client.execute(request).await.map_err(|error| self.no_answer(&error))?;
        Ok(answer.status())
    }

    /// Sends JSON with a token, and takes up to `limit` bytes.
    pub async fn post(
        &self,
        url: &str,
        token: &Value,
        json: String,
        limit: usize,
    ) -> Result<Answered, NoAnswer> {
        let endpoint = Endpoint { url, token: Some(token), deadline: Duration::MAX };
        let mut request: Request = request(Method::POST, &endpoint)?;
        let json_type = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json_type);
        *request.body_mut() = Some(json.into());
        self.take(request, limit).await
    }

    /// Asks, and takes up to `limit` bytes.
    pub async fn ask(&self, ask: Ask<'_>, limit: usize) -> Result<Answered, NoAnswer> {
        let Ask { method, url, token, json, key } = ask;
        let endpoint = Endpoint { url, token: Some(token), deadline: Duration::MAX };
        let fault = |what: &str| HttpError::Setup(format!("{what} that HTTP doesn't know"));
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| fault("a method"))?;
        let mut request: Request = request(method, &endpoint)?;
        if let Some(key) = key {
            let key = HeaderValue::from_str(key).map_err(|_| fault("a key"))?;
            request.headers_mut().insert("Idempotency-Key", key);
        }
        if let Some(json) = json {
            let json_type = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json_type);
            // The client's own copy is overwritten when it is freed, as all that is.
            *request.body_mut() = Some(json.expose().to_vec().into());
        }
        self.take(request, limit).await
    }

    async fn take(&self, request: Request, limit: usize) -> Result<Answered, NoAnswer> {
        let fault = |error: reqwest::Error| self.no_answer(&error);
        let mut answer = self.client.execute(request).await.map_err(fault)?;
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        if answer.content_length().is_some_and(|length| length > limit as u64) {
            return Err(NoAnswer::TooLarge(limit));
        }
        let mut body = ValueBuf::new();
        while let Some(chunk) = answer.chunk().await.map_err(fault)? {
            if body.as_slice().len() + chunk.len() > limit {
                return Err(NoAnswer::TooLarge(limit));
            }
            body.push(&chunk);
        }
        Ok(Answered { status, retry_after, body: body.finish() })
    }

    fn no_answer(&self, error: &reqwest::Error) -> NoAnswer {
        if let Some(fault) = tls::fault(error) {
            return NoAnswer::Untrusted(fault);
        }
        if self.plain && is_no_http(error) {
            return NoAnswer::Untrusted(TlsFault::NotHttp);
        }
        let why = cause(error);
        if error.is_connect() { NoAnswer::Unconnected(why) } else { NoAnswer::Broken(why) }
    }
}

/// Whether what came back is no HTTP. A server of TLS says so with an alert of TLS.
fn is_no_http(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_parse();
        }
        cause = error.source();
    }
    false
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    // One that is past says: now.
    Some(date.duration_since(jiff::Timestamp::now()).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("3"), Some(Duration::from_secs(3)));
        assert_eq!(of(" 0 "), Some(Duration::ZERO));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let far = of("Fri, 01 Jan 2100 00:00:00 GMT").unwrap();
        assert!(far > Duration::from_secs(3600), "{far:?}");
        for none in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
