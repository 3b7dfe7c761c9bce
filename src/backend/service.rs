//! A secrets service, asked over HTTPS with a job token.
//!
//! Invariants: the answer is used only if it is for exactly this job; facts and values come
//! together, and values stay values until winners are revealed; a service that is down, slow or
//! wrong is an error, never a shorter list; the token is read once, is sent to named addresses
//! only, and is in no error.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep, timeout};

use super::{Backend, BackendError, Revealed};
use crate::environment;
use crate::http::{self, At, Named, NoAnswer, Peer, Tls};
use crate::job::{Identity, Job};
use crate::precedence::{Candidate, Winner};
use crate::redact::Sensitive;
use crate::secret::{Id, Kind, Level, Name, Value};
use crate::settings::{self, Address};
use crate::wire::{self, Answer, Facts, Given, JobId, Refusal, Request};

mod attempts;
mod exchange;
mod fault;

use attempts::{Attempts, Failed, Next};
use exchange::{Fault, attempt};
pub use fault::ServiceError;

/// What one attempt gets at least, where the deadline leaves it: with less of a share, a service
/// that is slow for a moment would be asked three times for nothing.
const SHARE: Duration = Duration::from_secs(5);

/// The service backend.
#[derive(Debug)]
pub struct Service {
    addresses: Vec<Address>,
    authorities: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    deadline: Duration,
    token_file: Option<PathBuf>,
    token: Option<Value>,
    answer: Option<Answer>,
}

impl Service {
    /// A backend as the settings say; `token` came by environment.
    pub fn new(settings: &settings::Service, token: Option<Value>) -> Self {
        let certificate = settings.certificate.as_ref();
        Self {
            addresses: settings.addresses.clone(),
            authorities: settings.ca_file.clone(),
            certificate: certificate.map(|files| (files.file.clone(), files.key.clone())),
            deadline: settings.deadline,
            token_file: settings.token_file.clone(),
            token,
            answer: None,
        }
    }

    /// Asks each replica whether it is there, without the token: in their order, what is wrong.
    pub async fn look(&self) -> Vec<(String, Result<(), ServiceError>)> {
        let mut found = Vec::new();
        for address in &self.addresses {
            found.push((address.to_string(), self.look_at(address).await));
        }
        found
    }

    async fn look_at(&self, address: &Address) -> Result<(), ServiceError> {
        let peer = self.peer(address)?;
        let at = || address.to_string();
        let url = address.url(wire::LIVE);
        let at_this = at();
        let asked = http::told_when_slow(&at_this, peer.get(&url));
        let unavailable =
            |last| Err(ServiceError::Unavailable { at: at(), deadline: self.deadline, last });
        match timeout(self.deadline, asked).await {
            Err(_) => unavailable("no answer".into()),
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) if status.is_server_error() => unavailable(status.to_string()),
            Ok(Ok(status)) => {
                let (status, refusal) = (status.as_u16(), Refusal::default());
                Err(ServiceError::Refused { at: at(), status, refusal })
            }
            Ok(Err(NoAnswer::Untrusted(fault))) => Err(ServiceError::Untrusted { at: at(), fault }),
            Ok(Err(error)) => unavailable(error.to_string()),
        }
    }

    /// Reads the token, once.
    fn read_token(&mut self) -> Result<(), ServiceError> {
        let token = match (self.token.take(), &self.token_file) {
            (Some(given), _) => http::given_token(&given).ok_or(ServiceError::TokenContent)?,
            (None, Some(file)) => http::read_token(file)?,
            (None, None) => return Err(ServiceError::NoToken),
        };
        self.token = Some(token);
        Ok(())
    }

    fn peer(&self, address: &Address) -> Result<Peer, ServiceError> {
        let certificate = self.certificate.as_ref();
        let tls = Tls {
            authorities: self.authorities.as_deref(),
            certificate: certificate.map(|(file, key)| (file.as_path(), key.as_path())),
            named: Named::BySettings,
        };
        let secure = address.url("").starts_with("https:");
        Ok(Peer::new(At { socket: address.socket(), tls, secure })?)
    }

    async fn ask(&mut self, job: &Job) -> Result<Answer, ServiceError> {
        self.read_token()?;
        let Some(token) = &self.token else { return Err(ServiceError::NoToken) };
        let asked = Request {
            job: JobId { id: job.id.clone(), attempt: job.attempt },
            identity: job.identity.clone(),
            require: job.require.clone(),
        };
        let json = asked.encode();
        let mut peers: Vec<Option<Peer>> = self.addresses.iter().map(|_| None).collect();
        let end = Instant::now() + self.deadline;
        let share = (self.deadline / attempts::MAX_SEEN).max(SHARE);
        let mut attempts = Attempts::new(peers.len(), delays());
        loop {
            let address = &self.addresses[attempts.at()];
            // When it is needed: to read the system's authorities takes time.
            let peer = match &mut peers[attempts.at()] {
                Some(peer) => peer,
                empty => empty.insert(self.peer(address)?),
            };
            let left = end.saturating_duration_since(Instant::now());
            let attempt = attempt(address, peer, token, json.clone());
            let fault = match timeout(share.min(left), attempt).await {
                Ok(Ok(answer)) => {
                    return match other(&asked, &answer) {
                        None => Ok(answer),
                        Some(what) => Err(ServiceError::Another { at: address.to_string(), what }),
                    };
                }
                Ok(Err(fault)) => fault,
                Err(_) => {
                    Fault { failed: Failed::Seen(None), words: "no answer".into(), error: None }
                }
            };
            let left = end.saturating_duration_since(Instant::now());
            let next = attempts.after(fault.failed, left);
            let (at, last) = (address.to_string(), fault.words);
            match (next, fault.error, fault.failed) {
                (Next::Again(after), ..) => {
                    tracing::warn!(at, last, ?after, "the secrets service is asked again");
                    sleep(after).await;
                }
                (Next::Settled, Some(error), _) => return Err(error),
                (Next::Enough, ..) => {
                    return Err(ServiceError::GivenUp { at, seen: attempts.seen(), last });
                }
                (Next::TooLate, _, Failed::Seen(Some(wait))) if wait >= left => {
                    return Err(ServiceError::AskedToWait { at, wait, last });
                }
                (Next::Settled | Next::TooLate, ..) => {
                    let deadline = self.deadline;
                    return Err(ServiceError::Unavailable { at, deadline, last });
                }
            }
        }
    }
}

impl Backend for Service {
    fn name(&self) -> &'static str {
        "service"
    }

    async fn candidates(&mut self, job: &Job) -> Result<Vec<Candidate>, BackendError> {
        let answer = match self.answer.take() {
            // Asked before, for the same: the token is not used again.
            Some(answer)
                if (&answer.job.id, answer.job.attempt) == (&job.id, job.attempt)
                    && answer.identity == job.identity =>
            {
                answer
            }
            _ => {
                let waited_for = self.addresses.first().map(Address::to_string);
                http::told_when_slow(&waited_for.unwrap_or_default(), self.ask(job)).await?
            }
        };
        let given = answer.secrets.iter().map(|given| &given.facts);
        let candidates = given.chain(&answer.shadowed).map(Candidate::from).collect();
        self.answer = Some(answer);
        Ok(candidates)
    }

    async fn reveal(&mut self, winners: &[Winner]) -> Result<Vec<Revealed>, BackendError> {
        let secrets = self.answer.take().map(|answer| answer.secrets).unwrap_or_default();
        let mut values: HashMap<(Name, Level), Value> = secrets
            .into_iter()
            .map(|Given { facts, value }| ((facts.name, facts.owner.level()), value))
            .collect();
        let reveal = |Winner { secret, .. }: &Winner| {
            let name = secret.name.clone();
            let value = values
                .remove(&(name.clone(), secret.level()))
                .ok_or_else(|| ServiceError::Valueless(name.clone()))?;
            if name.kind == Kind::Envvar {
                environment::check(&name.key, &value)
                    .map_err(|why| ServiceError::Value(name.clone(), why))?;
            }
            Ok(Revealed { name, sensitive: secret.sensitive, value })
        };
        winners.iter().map(reveal).collect()
    }

    fn into_sensitive(self) -> Vec<Sensitive> {
        let own = |value| Sensitive { name: "runner:service_token".into(), value };
        self.token.map(own).into_iter().collect()
    }
}

impl From<&Facts> for Candidate {
    fn from(Facts { id, name, owner, sensitive }: &Facts) -> Self {
        Self { id: id.clone(), name: name.clone(), owner: owner.clone(), sensitive: *sensitive }
    }
}

/// Between 0.2 and 5 seconds, growing, with jitter, without an end.
fn delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}

/// What the answer disagrees in with the request.
fn other(asked: &Request, answer: &Answer) -> Option<&'static str> {
    let Identity { project, organization, user } = &asked.identity;
    let same =
        |what, asked: Option<&Id>, answered: Option<&Id>| (asked != answered).then_some(what);
    (asked.job != answer.job)
        .then_some("job")
        .or(same("project", Some(project), Some(&answer.identity.project)))
        .or(same("organization", organization.as_ref(), answer.identity.organization.as_ref()))
        .or(same("user", user.as_ref(), answer.identity.user.as_ref()))
}
