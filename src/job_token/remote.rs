//! A JWK set at an address (RFC 7517, section 5), kept and fetched again.
//!
//! Invariants: one fetch at a time, and it goes on when the token that asked for it is not waited
//! for any more; a fetch that fails takes nothing away, one that succeeds replaces everything, so
//! that a key that was taken out of the set is refused from then on.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

use super::freshness::{Need, Step, Times, bounded};
use super::key_set::{KeySet, MAX_SET, NotASet, Unasked};
use super::refused::BadKey;
use crate::http::{self, Endpoint, HttpError};

/// For all attempts of one fetch: somebody waits for it.
const DEADLINE: Duration = Duration::from_secs(5);

/// The keys at one address.
#[derive(Debug)]
pub(super) struct Remote {
    url: String,
    state: RwLock<State>,
    gate: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    keys: Arc<KeySet>,
    times: Times,
    fault: String,
    fetches: u64,
}

impl Remote {
    /// Fetches nothing yet.
    pub(super) fn new(url: String) -> Result<Self, BadKey> {
        if !http::is_confidential(&url).map_err(BadKey::Address)? {
            return Err(BadKey::Plain);
        }
        let gate = Arc::new(Mutex::new(()));
        Ok(Self { url, state: RwLock::default(), gate })
    }

    /// The keys, or why there are none that may be used.
    pub(super) async fn keys(
        self: &Arc<Self>,
        now: Timestamp,
        need: Need,
    ) -> Result<Arc<KeySet>, String> {
        let (step, fetches) = self.read(|state| (state.times.step(now, need), state.fetches));
        match step {
            Step::Use | Step::GiveUp => {}
            Step::FetchBehind => {
                if let Ok(gate) = Arc::clone(&self.gate).try_lock_owned() {
                    drop(self.fetch_apart(now, gate));
                }
            }
            Step::FetchFirst => {
                let gate = Arc::clone(&self.gate).lock_owned().await;
                // Somebody else may have fetched while this one waited.
                if self.read(|state| state.fetches) == fetches {
                    // Fails only if the runtime ends.
                    self.fetch_apart(now, gate).await.unwrap_or_default();
                }
            }
        }
        self.read(|state| match state.times.usable(now) {
            true => Ok(Arc::clone(&state.keys)),
            false => Err(state.fault.clone()),
        })
    }

    /// On a thread of its own: making a client reads the host's certificates.
    fn fetch_apart(self: &Arc<Self>, now: Timestamp, gate: OwnedMutexGuard<()>) -> JoinHandle<()> {
        let this = Arc::clone(self);
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            runtime.block_on(this.fetch(now));
            drop(gate);
        })
    }

    async fn fetch(&self, now: Timestamp) {
        let endpoint = Endpoint { url: &self.url, token: None, deadline: DEADLINE };
        let fetched = match http::get_dated(endpoint, MAX_SET).await {
            Ok((body, max_age)) => match KeySet::from_json(body.expose(), Unasked::PassOver) {
                Ok(keys) => Ok((keys, max_age)),
                // Strict sets alone name a private key so; here it was passed over.
                Err(NotASet::Private) => Err("the set holds a private key".to_owned()),
                Err(NotASet::Other(why)) => Err(format!("{}: {why}", self.url)),
            },
            Err(HttpError::TooLarge { url, limit }) => {
                Err(format!("{url}: more than {limit} bytes are no key set"))
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(fault) = &fetched {
            tracing::warn!(fault, "the keys for job tokens cannot be fetched");
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.fetches += 1;
        state.times.attempted = Some(now);
        match fetched {
            Ok((keys, max_age)) => {
                state.keys = Arc::new(keys);
                state.times.fetched = Some(now);
                state.times.max_age = bounded(max_age);
            }
            Err(fault) => state.fault = fault,
        }
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        // A panic while the lock was held left whole values behind: they are assigned one by one.
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}
