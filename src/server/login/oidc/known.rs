//! What is known of a provider: its description and its keys.
//!
//! Invariants: one fetch at a time, and none so soon after one that failed, so that an outage makes
//! nobody wait in line; a fetch that fails takes nothing away for a day; the keys are those at the
//! address that the description names.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::apart;
use super::metadata::{self, Metadata};
use crate::http::{self, Endpoint};
use crate::job_token::{Policy, Refused, Source, Verifier};
use crate::server::login::fault::Fault;
use crate::settings::service::HttpUrl;

/// The largest description, in bytes.
const MAX_DOCUMENT: usize = 256 * 1024;

/// For all attempts of one fetch: somebody waits for it.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a description counts as fresh, in seconds.
const FRESH: i64 = 3600;

/// How long it is used while the provider doesn't answer.
const USABLE: i64 = 24 * 3600;

/// From a fetch that failed to the next, in seconds: with a description that can be used, and
/// without.
const INTERVALS: (i64, i64) = (30, 5);

/// Facts of one fetch.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) metadata: Metadata,
    pub(super) verifier: Verifier,
    fetched: i64,
}

#[derive(Debug)]
struct Failed {
    at: i64,
    fault: Fault,
}

/// The facts, as far as they were fetched.
#[derive(Debug)]
pub(super) struct Known {
    issuer: HttpUrl,
    facts: RwLock<Option<Arc<Facts>>>,
    /// The last fetch that failed since the last that didn't. Who holds it fetches.
    failed: Mutex<Option<Failed>>,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(issuer: HttpUrl) -> Self {
        Self { issuer, facts: RwLock::default(), failed: Mutex::default() }
    }

    /// What was fetched last, if something was.
    pub(super) fn now(&self) -> Option<Arc<Facts>> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The facts; fetches them if they are missing or old.
    pub(super) async fn get(&self, now: Timestamp) -> Result<Arc<Facts>, Fault> {
        let second = now.as_second();
        if let Some(facts) = self.within(second, FRESH) {
            return Ok(facts);
        }
        let mut failed = self.failed.lock().await;
        if let Some(facts) = self.within(second, FRESH) {
            return Ok(facts);
        }
        let usable = self.within(second, USABLE);
        let interval = if usable.is_some() { INTERVALS.0 } else { INTERVALS.1 };
        if let Some(Failed { at, fault }) = &*failed
            && (*at..*at + interval).contains(&second)
        {
            return usable.ok_or_else(|| again(fault));
        }
        match self.fetch(second).await {
            Ok(facts) => {
                *failed = None;
                let kept = &mut *self.facts.write().unwrap_or_else(PoisonError::into_inner);
                *kept = Some(Arc::clone(&facts));
                Ok(facts)
            }
            Err(fault) => {
                tracing::warn!(%fault, "the login provider's description cannot be fetched");
                let told = again(&fault);
                *failed = Some(Failed { at: second, fault });
                usable.ok_or(told)
            }
        }
    }

    fn within(&self, now: i64, age: i64) -> Option<Arc<Facts>> {
        self.now().filter(|facts| (facts.fetched..facts.fetched + age).contains(&now))
    }

    async fn fetch(&self, now: i64) -> Result<Arc<Facts>, Fault> {
        let url = metadata::address(&self.issuer);
        let fetched = apart(async move || {
            let endpoint = Endpoint { url: &url, token: None, deadline: DEADLINE };
            http::get(endpoint, MAX_DOCUMENT).await
        });
        let document = fetched.await??;
        let metadata = Metadata::read(document.expose(), &self.issuer).map_err(Fault::Metadata)?;
        // Its policy is for job tokens, and is not asked: an ID token has rules of its own.
        let source = Source::Url(metadata.keys.as_str().to_owned());
        let verifier = Verifier::new(Policy::new("openid"), [source])
            .map_err(|_| Fault::Metadata("the address of its keys cannot be used"))?;
        Ok(Arc::new(Facts { metadata, verifier, fetched: now }))
    }
}

/// The same fault for somebody else.
fn again(fault: &Fault) -> Fault {
    match fault {
        Fault::Metadata(why) => Fault::Metadata(why),
        Fault::Unavailable(why) => Fault::Unavailable(why.clone()),
        other => Fault::Unavailable(other.to_string()),
    }
}

/// Why a token's signature doesn't count.
pub(super) fn unsigned(refused: Refused) -> Fault {
    match refused {
        Refused::KeysUnavailable(why) => Fault::Unavailable(why),
        Refused::Malformed(why) => Fault::Token(why),
        Refused::Algorithm(_) | Refused::OtherAlgorithm { .. } => {
            Fault::Token("it is not signed with RS256, ES256 or EdDSA, as its key is for")
        }
        Refused::KeyUnknown(_) | Refused::KeyUnnamed(_) => {
            Fault::Token("it is signed with a key that the provider doesn't publish")
        }
        _ => Fault::Token("its signature is wrong"),
    }
}
