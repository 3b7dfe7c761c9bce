//! The management API of a secrets service, asked with an API token.
//!
//! Invariants: the token goes to the one address that was named, over HTTPS, or to this machine; it
//! is in no error, and masked in the service's own words; only what may be done twice is asked
//! again, and each repetition of one request has the same key.

use std::path::PathBuf;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use crate::http::{
    self, Answered, Ask, At, Named, NoAnswer, NoPeer, Peer, Tls, TlsFault, TokenError,
};
use crate::redact::{Masker, Sensitive};
use crate::secret::{Value, ValueBuf};
use crate::settings::{API_TOKEN, Address, InvalidAddress};
use crate::wire::management::segment;
use crate::wire::{MAX_REFUSAL, Refusal};

mod body;

pub use body::Body;

/// The largest answer, in bytes: 500 rows of the audit with a thousand names each.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why a service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address.
    #[error("the address of the secrets service (--server) {0}")]
    Address(#[from] InvalidAddress),
    /// None was given.
    #[error(
        "the secrets service needs an API token: name its file with --token-file, or put it into \
         {API_TOKEN}"
    )]
    NoToken,
    /// Its file.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The variable's text is none.
    #[error("{API_TOKEN} must hold one token: visible ASCII characters, without blanks")]
    TokenContent,
    /// The client.
    #[error(transparent)]
    Setup(#[from] NoPeer),
    /// This token may not.
    #[error("the secrets service at {at} does not allow this ({})", said(*.status, .refusal))]
    Denied {
        /// Where.
        at: String,
        /// 401 or 403.
        status: u16,
        /// Its own words.
        refusal: Refusal,
    },
    /// It understood, and refuses.
    #[error("the secrets service at {at} refuses this ({})", said(*.status, .refusal))]
    Refused {
        /// Where.
        at: String,
        /// Any other status below 500.
        status: u16,
        /// Its own words.
        refusal: Refusal,
    },
    /// What answers has no management API.
    #[error(
        "no management API answers at {at} (404): check the address; a service whose role is \
         `resolve` has none"
    )]
    NoApi {
        /// Where.
        at: String,
    },
    /// Down, slow or broken.
    #[error("the secrets service at {at} did not do this; last: {last}{}", doubt(*.in_doubt))]
    Unavailable {
        /// Where.
        at: String,
        /// What went wrong with the last attempt.
        last: String,
        /// Whether it may have done it all the same.
        in_doubt: bool,
    },
    /// The other end can't be trusted.
    #[error(
        "{at} can't be taken for the secrets service: {fault}{}",
        .fault.remedy(Named::ByOptions)
    )]
    Untrusted {
        /// Where.
        at: String,
        /// What is wrong.
        fault: TlsFault,
    },
    /// Not what it should be.
    #[error(
        "the answer of the secrets service at {at} can't be used; check the address, and bring \
         both to the same version"
    )]
    Malformed {
        /// Where.
        at: String,
    },
}

fn said(status: u16, Refusal { kind, detail }: &Refusal) -> String {
    match (kind.as_str(), detail.as_str()) {
        ("", "") => status.to_string(),
        (kind, "") => format!("{status} {kind}"),
        ("", detail) => format!("{status}: {detail}"),
        (kind, detail) => format!("{status} {kind}: {detail}"),
    }
}

fn doubt(in_doubt: bool) -> &'static str {
    if in_doubt { "; it may have done it all the same: look before you repeat it" } else { "" }
}

/// Where the service is, and who asks.
#[derive(Debug)]
pub struct Server {
    address: Address,
    peer: Peer,
    token: Value,
    deadline: Duration,
}

impl Server {
    /// A service at `address` (an https URL, one of this machine, or `unix:/path`). The token is
    /// `given`, by environment, or in a file. The deadline bounds all attempts of one request.
    pub fn new(
        address: &str,
        tls: Tls<'_>,
        token_file: Option<&PathBuf>,
        given: Option<Value>,
        deadline: Duration,
    ) -> Result<Self, ClientError> {
        let address: Address = address.parse()?;
        let token = match (token_file, given) {
            (Some(file), _) => http::read_token(file)?,
            (None, Some(given)) => http::given_token(&given).ok_or(ClientError::TokenContent)?,
            (None, None) => return Err(ClientError::NoToken),
        };
        let secure = address.url("").starts_with("https:");
        let peer = Peer::new(At { socket: address.socket(), tls, secure })?;
        Ok(Self { address, peer, token, deadline })
    }

    /// Asks for something.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(&self.exchange("GET", path, None, true).await?)
    }

    /// Removes something.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(&self.exchange("DELETE", path, None, false).await?)
    }

    /// Makes something; each attempt has the same key.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Body,
    ) -> Result<T, ClientError> {
        self.read(&self.exchange("POST", path, Some(&body.finish()), true).await?)
    }

    /// Makes something whose value is in the answer, and is kept by nobody: what may have been made
    /// is not made again.
    pub async fn post_for_value(&self, path: &str, body: Body) -> Result<Value, ClientError> {
        self.exchange("POST", path, Some(&body.finish()), false).await
    }

    /// All parts of a list; `next` says where the following one begins.
    pub async fn all<P: DeserializeOwned>(
        &self,
        path: &str,
        next: impl Fn(&P) -> Option<String>,
        mut take: impl FnMut(P) -> bool,
    ) -> Result<(), ClientError> {
        let and = if path.contains('?') { '&' } else { '?' };
        let mut asked = format!("{path}{and}limit=500");
        loop {
            let part: P = self.get(&asked).await?;
            let next = next(&part);
            if !take(part) {
                return Ok(());
            }
            let Some(next) = next else { return Ok(()) };
            asked = format!("{path}{and}limit=500&after={}", segment(&next));
        }
    }

    /// Decodes an answer.
    pub fn read<T: DeserializeOwned>(&self, answer: &Value) -> Result<T, ClientError> {
        serde_json::from_slice(answer.expose())
            .map_err(|_| ClientError::Malformed { at: self.address.to_string() })
    }

    /// `again`: whether what the service may have done already can be asked once more.
    async fn exchange(
        &self,
        method: &'static str,
        path: &str,
        json: Option<&Value>,
        again: bool,
    ) -> Result<Value, ClientError> {
        let key = uuid::Uuid::now_v7().to_string();
        let key = (method == "POST" && again).then_some(key.as_str());
        let url = self.address.url(path);
        let at = self.address.to_string();
        let ask = Ask { method, url: &url, token: &self.token, json, key };
        let end = Instant::now() + self.deadline;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
            .build();
        let mut in_doubt = false;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let asked = timeout(left, self.peer.ask(ask, MAX_ANSWER));
            let (last, unsure, wait) = match http::told_when_slow(&at, asked).await {
                Err(_) => ("no answer".to_owned(), true, None),
                Ok(Ok(answered)) => match self.judge(answered) {
                    Judged::Answer(answer) => return Ok(answer),
                    Judged::Final(ClientError::Refused { status: 404, .. })
                        if !self.has_api(end).await =>
                    {
                        return Err(ClientError::NoApi { at });
                    }
                    Judged::Final(error) => return Err(error),
                    Judged::Never(last) => {
                        let in_doubt = in_doubt && method != "GET";
                        return Err(ClientError::Unavailable { at, last, in_doubt });
                    }
                    Judged::Later { last, unsure, wait } => (last, unsure, wait),
                },
                Ok(Err(NoAnswer::Unconnected(why))) => (why, false, None),
                Ok(Err(NoAnswer::Broken(why))) => (why, true, None),
                Ok(Err(NoAnswer::Untrusted(fault))) => {
                    return Err(ClientError::Untrusted { at, fault });
                }
                Ok(Err(NoAnswer::TooLarge(_))) => return Err(ClientError::Malformed { at }),
                Ok(Err(NoAnswer::Request(error))) => {
                    return Err(ClientError::Setup(error.into()));
                }
            };
            // What was removed can't be removed again: a second answer would say that it isn't there.
            // A token that was made has another beside it then, which nobody knows.
            in_doubt |= unsure;
            let delay = delays.next().unwrap_or_default().max(wait.unwrap_or_default());
            let left = end.saturating_duration_since(Instant::now());
            if unsure && !again || delay >= left {
                let in_doubt = in_doubt && method != "GET";
                return Err(ClientError::Unavailable { at, last, in_doubt });
            }
            tracing::warn!(at, last, ?delay, "the secrets service is asked again");
            sleep(delay).await;
        }
    }

    /// Whether the management API is there at all: what isn't there and what must not be seen are
    /// answered with the same words, but for this token itself. In doubt it is.
    async fn has_api(&self, end: Instant) -> bool {
        let url = self.address.url("/v1/whoami");
        let ask = Ask { method: "GET", url: &url, token: &self.token, json: None, key: None };
        let left = end.saturating_duration_since(Instant::now());
        let asked = timeout(left, self.peer.ask(ask, MAX_REFUSAL)).await;
        !matches!(asked, Ok(Ok(answered)) if answered.status.as_u16() == 404)
    }

    fn judge(&self, answered: Answered) -> Judged {
        let Answered { status, retry_after, body } = answered;
        if status.is_success() {
            return Judged::Answer(body);
        }
        if status.as_u16() == 429 {
            return Judged::Later { last: status.to_string(), unsure: false, wait: retry_after };
        }
        let refusal = self.refusal(&body);
        let (at, status) = (self.address.to_string(), status.as_u16());
        match status {
            500 if nothing_done(&refusal) => Judged::Never(said(status, &refusal)),
            500..=599 => Judged::Later {
                last: said(status, &refusal),
                unsure: !nothing_done(&refusal),
                wait: retry_after,
            },
            401 | 403 => Judged::Final(ClientError::Denied { at, status, refusal }),
            _ => Judged::Final(ClientError::Refused { at, status, refusal }),
        }
    }

    /// The service's own words.
    fn refusal(&self, body: &Value) -> Refusal {
        if body.len() > MAX_REFUSAL {
            return Refusal::default();
        }
        let mut copy = ValueBuf::new();
        copy.push(self.token.expose());
        let masker = Masker::new(vec![Sensitive { name: String::new(), value: copy.finish() }]);
        Refusal::decode(body.expose(), |text| masker.text(text).into_owned())
    }
}

/// Whether the service itself says that the store, or its key, kept it from doing anything. Of what
/// a proxy says, and of a commit that nobody saw the end of, this isn't known.
fn nothing_done(Refusal { kind, .. }: &Refusal) -> bool {
    (kind.starts_with("store_") || kind.starts_with("key_")) && kind != "store_commit_unknown"
}

/// What an answer means.
enum Judged {
    Answer(Value),
    Final(ClientError),
    /// Trying again doesn't help, and nothing was done.
    Never(String),
    /// Later perhaps, after this time; `unsure`: whether it may have been done.
    Later {
        last: String,
        unsure: bool,
        wait: Option<Duration>,
    },
}
