//! `POST /v1/resolve`: a job's token goes in, that job's secrets come out.
//!
//! Invariants: the identity is the token's, and nothing in the request can widen it; no body is
//! read before the token is right; metadata is resolved first, and only winners are opened; the use
//! of the token and the decision are on the disk before a value is opened; a winner that can't be
//! opened fails the whole answer.

mod keys;
mod refused;
mod said;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, FromRequest, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use serde_json::json;

use crate::job::Identity;
use crate::job_token::{BadKey, Claims, Verifier};
use crate::membership::Membership;
use crate::precedence::{self, Candidate, Resolution};
use crate::secret::Value;
use crate::server::limits::Rates;
use crate::server::listen::Peer;
use crate::server::metrics::{Metrics, Resolved};
use crate::store::database::Database;
use crate::store::ledger::{self, Entry, Use};
use crate::store::pool::Pool;
use crate::store::secrets::{self, Sealed};
use crate::store::{Keyring, Record, StoreError, registry};
use crate::wire::{self, Answer, Facts, Given, JobId, Malformed, Request};

pub use keys::KeyFile;
pub use refused::Refused;

/// How often one token is answered: a runner that got no answer asks again.
pub const USES: i64 = 3;

/// Values that are opened before others get their turn: some 60 µs each.
const OPENED_AT_ONCE: usize = 16;

/// How often the store is read before a key that is not in its file counts as lost.
const ATTEMPTS: u32 = 5;

/// What the audit calls this.
const ACTION: &str = "resolve";

/// Answers jobs.
#[derive(Debug)]
pub struct Resolver {
    pool: Pool,
    verifier: Verifier,
    keys: KeyFile,
    membership: Membership,
    metrics: Metrics,
}

/// Who asks, as far as the connection tells; both are missing only in tests of single routes.
#[derive(Clone, Copy, Debug, Default)]
struct Asking<'a> {
    peer: Option<&'a Peer>,
    rates: Option<&'a Rates>,
}

impl Asking<'_> {
    /// Whether a peer's failures are too many for each to be a line of the log: whoever knocks
    /// without a token must not be able to fill it.
    fn is_loud(self) -> bool {
        let (Some(peer), Some(rates)) = (self.peer, self.rates) else { return false };
        rates.failed_too_often(peer).is_err()
    }
}

impl Resolver {
    /// A resolver that opens with the keys of one key file.
    pub fn new(
        pool: Pool,
        verifier: Verifier,
        keys: KeyFile,
        membership: Membership,
        metrics: Metrics,
    ) -> Self {
        Self { pool, verifier, keys, membership, metrics }
    }

    /// Whether job tokens can be checked now.
    pub async fn ready(&self) -> Result<(), Refused> {
        Ok(self.verifier.ready(Timestamp::now()).await?)
    }

    /// Reads the files of keys for job tokens again. Files that are not valid change nothing.
    pub fn reload_token_keys(&self) -> Result<(), BadKey> {
        self.verifier.reload()
    }

    /// Refuses a key file that doesn't hold the store's key: of what is added from now on, nothing
    /// could be opened.
    pub async fn check_key(&self) -> Result<(), StoreError> {
        let want = self.pool.read(secrets::recipient).await?;
        let keys = self.keys.for_all(std::iter::once(&want))?;
        if keys.find(&want).is_some() {
            return Ok(());
        }
        let have = keys.current().public().id().clone();
        Err(StoreError::OtherKey { place: self.pool.place().clone(), have, want })
    }

    /// Whose token it is, if it may be used now.
    async fn admit(&self, token: Option<&Value>, asking: Asking<'_>) -> Result<Claims, Refused> {
        let claims = match token {
            Some(token) => {
                self.verifier.verify(token, Timestamp::now()).await.map_err(Refused::from)
            }
            None => Err(Refused::NoToken),
        };
        if let (Err(refused), false) = (&claims, asking.is_loud()) {
            said::stranger_denied(asking.peer, refused);
        }
        let claims = claims?;
        if let Some(rates) = asking.rates {
            let issuer = claims.issuer.as_deref().unwrap_or_default();
            // No subject of the API or the page begins like this.
            rates.request(&format!("job token {} of {issuer}", claims.id))?;
        }
        Ok(claims)
    }

    /// Answers one request, at most [`USES`] times for one token.
    async fn answer(&self, claims: &Claims, body: &[u8]) -> Result<Answer, Refused> {
        let request = Request::decode(body)?;
        let Request { job, identity, .. } = &request;
        let attempt = claims.attempt.is_none_or(|attempt| attempt == job.attempt);
        if (&job.id, identity, attempt) != (&claims.job, &claims.identity, true) {
            return Err(self.deny(claims, job, Refused::Mismatch).await);
        }
        let (found, keys) = match self.found(&claims.identity).await {
            Ok(both) => both,
            Err(refused) => return Err(self.deny(claims, job, refused).await),
        };
        self.record(claims, job, &found.resolution).await?;
        match self.open(&found.sealed, &keys).await {
            Ok(secrets) => {
                let beaten = found.resolution.winners().iter().flat_map(|w| &w.shadowed);
                let shadowed = beaten.map(Facts::from).collect();
                Ok(Answer { job: request.job, identity: request.identity, secrets, shadowed })
            }
            Err(error) => Err(self.deny(claims, job, error.into()).await),
        }
    }

    /// Decides, and reads what won, in one state of the store; with the keys to open that.
    ///
    /// A rotation may end after the store was read and before the keys are: then what was read is
    /// sealed to a key that is gone, and is read again. Afterwards keys that go don't matter. A file
    /// that is without the store's key is what has to be mended, and no value was altered.
    async fn found(&self, identity: &Identity) -> Result<(Found, Arc<Keyring>), Refused> {
        let mut attempt = 1;
        loop {
            let (identity, membership) = (identity.clone(), self.membership);
            let look = move |database: &mut dyn Database| look_up(database, &identity, membership);
            let found = self.pool.read(look).await??;
            let ids = || found.sealed.iter().map(|secret| &secret.record().key_id);
            let keys = self.keys.for_all(ids())?;
            if ids().all(|id| keys.find(id).is_some()) {
                return Ok((found, keys));
            }
            if attempt == ATTEMPTS {
                self.check_key().await?;
                return Ok((found, keys));
            }
            attempt += 1;
        }
    }

    /// Counts the use of the token and writes down what is given, before it is.
    async fn record(
        &self,
        claims: &Claims,
        job: &JobId,
        resolution: &Resolution,
    ) -> Result<(), Refused> {
        let entry = entry(claims, job, json!({"secrets": said::won(resolution)}));
        let exhausted = entry.clone().denied(Refused::UsedUp.kind());
        let (issuer, jti) = (claims.issuer.clone().unwrap_or_default(), claims.id.clone());
        let expires = claims.expires.as_second();
        let count = move |database: &mut dyn Database| {
            let now = Timestamp::now().as_second();
            let used = ledger::use_job_token(database, &issuer, &jti, expires, USES, now)?;
            let entry = if used == Use::Exhausted { &exhausted } else { &entry };
            ledger::record(database, entry)?;
            Ok(used)
        };
        match self.pool.write(count).await? {
            Use::Counted(_) => {
                said::given(claims, job, resolution);
                Ok(())
            }
            Use::Exhausted => {
                said::denied(claims, job, &Refused::UsedUp);
                Err(Refused::UsedUp)
            }
        }
    }

    /// Opens the winners' values.
    async fn open(&self, sealed: &[Sealed], keys: &Keyring) -> Result<Vec<Given>, StoreError> {
        let mut given = Vec::with_capacity(sealed.len());
        for some in sealed.chunks(OPENED_AT_ONCE) {
            for secret in some {
                given.push(Given { facts: secret.record().into(), value: secret.open(keys)? });
            }
            tokio::task::yield_now().await;
        }
        Ok(given)
    }

    /// Writes a denial down; what can't be written down is refused all the same.
    async fn deny(&self, claims: &Claims, job: &JobId, refused: Refused) -> Refused {
        said::denied(claims, job, &refused);
        let entry = entry(claims, job, json!({})).denied(refused.kind());
        let write = move |database: &mut dyn Database| ledger::record(database, &entry);
        match self.pool.write(write).await {
            Ok(_) => refused,
            Err(error) => {
                tracing::error!(%error, kind = refused.kind(), "a denial is not in the audit");
                refused
            }
        }
    }
}

/// What a job gets, still sealed.
#[derive(Debug)]
struct Found {
    resolution: Resolution,
    sealed: Vec<Sealed>,
}

/// The inner result is a decision, the outer one whether the store could be read.
fn look_up(
    database: &mut dyn Database,
    identity: &Identity,
    membership: Membership,
) -> Result<Result<Found, Refused>, StoreError> {
    let owners = match registry::owners_for(database, identity, membership)? {
        Ok(owners) => owners,
        Err(denied) => return Ok(Err(denied.into())),
    };
    let records = secrets::candidates(database, &owners)?;
    let resolution = match precedence::resolve(identity, records.iter().map(Candidate::from)) {
        Ok(resolution) => resolution,
        Err(conflict) => return Ok(Err(conflict.into())),
    };
    let won = |record: &&Record| {
        resolution.get(&record.name).is_some_and(|winner| winner.secret.id == record.id)
    };
    let sealed = records.iter().filter(won).map(|record| secrets::sealed(database, record));
    let sealed = sealed.collect::<Result<_, _>>()?;
    Ok(Ok(Found { resolution, sealed }))
}

/// A row of the audit about a job.
fn entry(claims: &Claims, job: &JobId, mut detail: serde_json::Value) -> Entry {
    let Identity { project, organization, user } = &claims.identity;
    detail["job"] = json!({"id": job.id, "attempt": job.attempt});
    detail["organization"] = json!(organization);
    detail["token"] = json!(claims.id);
    let scope = crate::access::Scope::Project(project.clone());
    let entry = Entry::allowed(&format!("job:{}", claims.job), ACTION).of_scope(&scope);
    let entry = match user {
        Some(user) => entry.of_user(user),
        None => entry,
    };
    entry.with(detail)
}

impl From<&Record> for Facts {
    fn from(record: &Record) -> Self {
        let Record { id, name, owner, sensitive, .. } = record;
        Self { id: id.clone(), name: name.clone(), owner: owner.clone(), sensitive: *sensitive }
    }
}

impl From<&Candidate> for Facts {
    fn from(candidate: &Candidate) -> Self {
        let Candidate { id, name, owner, sensitive } = candidate.clone();
        Self { id, name, owner, sensitive }
    }
}

/// The route.
pub fn router(resolver: Arc<Resolver>) -> Router {
    Router::new().route(wire::RESOLVE, post(resolve)).with_state(resolver)
}

async fn resolve(
    State(resolver): State<Arc<Resolver>>,
    peer: Option<Extension<Peer>>,
    rates: Option<Extension<Rates>>,
    request: axum::extract::Request,
) -> Response {
    let asking = Asking { peer: peer.as_deref(), rates: rates.as_deref() };
    let answered = answered(&resolver, asking, request).await;
    resolver.metrics.resolved(match &answered {
        Ok(_) => Resolved::Answered,
        Err(refused) => refused.outcome(),
    });
    if let Err(refused @ Refused::Store(_)) = &answered {
        resolver.metrics.store_error(refused.kind());
    }
    match answered {
        Ok(json) => {
            let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            // The response's own copy is overwritten when it is freed, as all that is.
            (kind, Bytes::copy_from_slice(json.expose())).into_response()
        }
        Err(refused) => refused.into_response(),
    }
}

/// The token first: of strangers no body is read, for many at once would fill the memory.
async fn answered(
    resolver: &Resolver,
    asking: Asking<'_>,
    request: axum::extract::Request,
) -> Result<Value, Refused> {
    let token = bearer(request.headers());
    let claims = resolver.admit(token.as_ref(), asking).await?;
    // What ends a body too early answers for itself; see `limits::body`.
    let body = Bytes::from_request(request, &()).await.map_err(|_| Malformed::Truncated)?;
    Ok(resolver.answer(&claims, &body).await?.encode()?)
}

/// The token of `Authorization: Bearer …` (RFC 6750, section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<Value> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_first_chunk::<7>()?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| Value::new(token.trim_ascii().to_vec()))
}
