//! One attempt: the request, and what its answer means.
//!
//! Invariant: the service's own words are masked before they are anything else.

use super::attempts::Failed;
use super::fault::ServiceError;
use crate::http::{Answered, NoAnswer, Peer};
use crate::redact::{Masker, Sensitive};
use crate::secret::{Value, ValueBuf};
use crate::settings::Address;
use crate::wire::{self, Answer, Refusal};

/// A failed attempt.
pub(super) struct Fault {
    /// For the decision what comes next.
    pub(super) failed: Failed,
    /// In words, for one that is tried again.
    pub(super) words: String,
    /// For one that isn't.
    pub(super) error: Option<ServiceError>,
}

/// Asks one replica, once.
pub(super) async fn attempt(
    address: &Address,
    peer: &Peer,
    token: &Value,
    json: String,
) -> Result<Answer, Fault> {
    let at = || address.to_string();
    let url = address.url(wire::RESOLVE);
    match peer.post(&url, token, json, wire::MAX_ANSWER).await {
        Ok(Answered { status, body, .. }) if status.as_u16() == 200 => {
            let malformed = |why| settled(ServiceError::Malformed { at: at(), why });
            Answer::decode(body.expose()).map_err(malformed)
        }
        Ok(answered) => Err(refusal(at(), answered, token)),
        Err(error) => {
            let words = error.to_string();
            Err(match error {
                NoAnswer::Unconnected(_) => {
                    Fault { failed: Failed::Unconnected, words, error: None }
                }
                NoAnswer::Untrusted(fault) => {
                    let error = Some(ServiceError::Untrusted { at: at(), fault });
                    Fault { failed: Failed::Untrusted, words, error }
                }
                NoAnswer::Broken(_) => Fault { failed: Failed::Seen(None), words, error: None },
                NoAnswer::TooLarge(_) => settled(ServiceError::TooLarge { at: at() }),
                NoAnswer::Request(error) => settled(ServiceError::Client(error.into())),
            })
        }
    }
}

fn refusal(at: String, answered: Answered, token: &Value) -> Fault {
    let Answered { status, retry_after, body } = answered;
    let refusal = if body.len() <= wire::MAX_REFUSAL {
        // A copy, for as long as this takes.
        let mut copy = ValueBuf::new();
        copy.push(token.expose());
        let masker = Masker::new(vec![Sensitive { name: String::new(), value: copy.finish() }]);
        Refusal::decode(body.expose(), |text| masker.text(text).into_owned())
    } else {
        Refusal::default()
    };
    let mut words = status.to_string();
    if !refusal.kind.is_empty() {
        words.push_str(&format!(", {}", refusal.kind));
    }
    let status = status.as_u16();
    match status {
        429 | 500..=599 => Fault { failed: Failed::Seen(retry_after), words, error: None },
        401 | 403 | 409 => settled(ServiceError::Denied { at, status, refusal }),
        _ => settled(ServiceError::Refused { at, status, refusal }),
    }
}

fn settled(error: ServiceError) -> Fault {
    Fault { failed: Failed::Final, words: String::new(), error: Some(error) }
}
