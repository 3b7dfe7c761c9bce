//! The service as a whole: made from the settings, served until it is told to end.
//!
//! Invariants: what can't work is an error before a connection is taken; a process of the role
//! `admin` never reads a private key; the store is closed last, when nobody asks any more.

mod manager;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, post};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::administration::{self, Administration};
use super::api;
use super::limits::{Limits, Rates, rate::Rate};
use super::listen::{ListenError, Listener, Options, serve};
use super::login::{Clock, Fault, Login};
use super::metrics::{self, Metrics, Readiness};
use super::page::{self, Page};
use super::problem::Problem;
use super::recipient::Recipient;
use super::resolve::{self, KeyFile, Resolver};
use super::tls::{Clients, Files, Tls, TlsError};
use crate::error::{Error, Unserved};
use crate::job_token::{Policy, Source, Verifier};
use crate::membership::Membership;
use crate::secret::Value;
use crate::settings::service::{self, Listen, ServiceMembership};
use crate::settings::{InvalidSettings, Settings};
use crate::store::pool::Pool;
use crate::store::secrets;
use crate::wire;

impl From<ListenError> for Error {
    fn from(error: ListenError) -> Self {
        Self::Unserved(error.why(), error.to_string())
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Unserved(error.why(), error.to_string())
    }
}

/// A service that listens, and serves when it is run.
#[derive(Debug)]
pub struct Service {
    listener: Listener,
    tls: Option<Tls>,
    router: Router,
    options: Options,
    pool: Pool,
    orders: Orders,
    resolver: Option<Arc<Resolver>>,
    login: Option<Login>,
    public_url: Option<service::Origin>,
    keep_audit: Option<Duration>,
}

/// What others tell the process to do.
#[derive(Debug)]
struct Orders {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Orders {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the end; meanwhile SIGHUP has files read again.
    async fn end(mut self, files: Reloaded) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.reload.recv() => {
                    manager::reloading();
                    files.reload();
                    manager::ready();
                }
            }
        }
        manager::stopping();
    }
}

/// What is read from its files again without a restart.
#[derive(Debug)]
struct Reloaded {
    tls: Option<Tls>,
    resolver: Option<Arc<Resolver>>,
}

impl Reloaded {
    fn reload(&self) {
        if let Some(Err(error)) = self.tls.as_ref().map(Tls::reload) {
            tracing::error!(%error, "the certificate stays as it was");
        }
        let keys = self.resolver.as_deref().map(Resolver::reload_token_keys);
        if let Some(Err(error)) = keys {
            tracing::error!(%error, "the keys for job tokens stay as they were");
        }
    }
}

impl Service {
    /// Opens the store, reads keys and certificates, and listens.
    pub async fn start(settings: &Settings) -> Result<Self, Error> {
        let orders = Orders::new().map_err(|error| Error::Setup(format!("signals: {error}")))?;
        let readers = std::thread::available_parallelism().map_or(2, usize::from);
        let pool = Pool::open(&settings.store.place, readers)?;
        let started = Self::on(settings, pool.clone(), orders).await;
        if started.is_err() {
            // It would end in the middle of leaving the log.
            pool.close().await;
        }
        started
    }

    async fn on(settings: &Settings, pool: Pool, orders: Orders) -> Result<Self, Error> {
        let asked = &settings.service;
        let limits = limits(&asked.limits);
        let metrics = Metrics::default();
        let store = pool.clone();
        let mut readiness = Readiness::default().with("store", move || {
            let store = store.clone();
            async move { store.read(secrets::recipient).await.map(drop).map_err(|e| e.to_string()) }
        });
        let mut router = Router::new();
        let resolver = match asked.role.resolves() {
            true => Some(Arc::new(resolver(settings, pool.clone(), metrics.clone())?)),
            false => None,
        };
        if let Some(resolver) = &resolver {
            resolver.check_key().await?;
            let (tokens, key) = (Arc::clone(resolver), Arc::clone(resolver));
            readiness = readiness.with("key", move || {
                let key = Arc::clone(&key);
                async move { key.check_key().await.map_err(|error| error.to_string()) }
            });
            readiness = readiness.with("job_tokens", move || {
                let tokens = Arc::clone(&tokens);
                async move { tokens.ready().await.map_err(|error| error.to_string()) }
            });
            router = router.merge(resolve::router(Arc::clone(resolver)));
        }
        if !asked.role.resolves() {
            // Whoever sent a runner here is told so, rather than to look for another address.
            router = router.route(wire::RESOLVE, post(resolves_nothing));
        }
        let administration = match asked.role.is_admin() {
            true => Some(administration(settings, pool.clone())?),
            false => None,
        };
        if let Some(administration) = &administration {
            administration.check_key().await?;
        }
        if administration.is_none() {
            router = router.route("/v1/{*rest}", any(administers_nothing));
        }
        let login = administration.clone().map(|it| login(settings, pool.clone(), it));
        let login = login.transpose()?;
        if let (Some(administration), Some(login)) = (administration, &login) {
            let tls = match &asked.public_url {
                Some(origin) => origin.is_https(),
                None => asked.tls.is_some(),
            };
            let page = Page { administration, tls, idle: asked.sessions.idle };
            router = router
                .merge(api::router(page.administration.clone()))
                .merge(page::router(page, login.clone()));
        }
        let rates = Rates::new(&limits, metrics.clone());
        let router = router.merge(metrics::router(metrics.clone(), readiness, asked.metrics));
        let router = super::around(router, &limits, rates, metrics.clone());
        let mut listener = Listener::bind_with_mode(&asked.listen, asked.socket_mode).await?;
        if let Listen::Tcp(bound) = listener.address()
            && !bound.ip().to_canonical().is_loopback()
            && asked.tls.is_none()
            && asked.trusted_proxies.is_empty()
        {
            // The settings were checked; what systemd opened is known only now.
            let problem = "is a socket that other machines reach: set `tls_certificate_file` and \
                           `tls_key_file`, or name the proxy that does TLS in `trusted_proxies`";
            return Err(InvalidSettings::Value("service.listen", problem).into());
        }
        let tls = asked.tls.as_ref().map(files).map(Tls::read).transpose()?;
        if let Some(tls) = &tls {
            listener = listener.with_tls(tls.clone());
        }
        let proxies = asked.trusted_proxies.iter().copied().collect();
        let options = Options { limits, proxies, metrics };
        let (public_url, keep_audit) = (asked.public_url.clone(), asked.keep_audit);
        Ok(Self {
            listener,
            tls,
            router,
            options,
            pool,
            orders,
            resolver,
            login,
            public_url,
            keep_audit,
        })
    }

    /// Where it listens: with the port that the kernel chose.
    pub fn address(&self) -> &Listen {
        self.listener.address()
    }

    /// Where it listens, as browsers name it: `http://127.0.0.1:8470`.
    pub fn origin(&self) -> String {
        match self.address() {
            Listen::Tcp(address) if self.tls.is_some() => format!("https://{address}"),
            Listen::Tcp(address) => format!("http://{address}"),
            other => other.to_string(),
        }
    }

    /// A link that logs one person in, once, if the settings offer one. It is for the terminal, and
    /// for no log.
    pub async fn one_time_link(&self) -> Result<Option<Value>, Error> {
        match &self.login {
            Some(login) => {
                let public = self.public_url.as_ref().map(ToString::to_string);
                Ok(login.one_time_link(&public.unwrap_or_else(|| self.origin())).await?)
            }
            None => Ok(None),
        }
    }

    /// Serves until SIGTERM or SIGINT; then running requests have the grace period to end.
    pub async fn run(self) {
        let Self {
            listener, tls, router, options, pool, orders, resolver, login, keep_audit, ..
        } = self;
        let mut upkeep = JoinSet::new();
        if let Some(keep) = keep_audit {
            upkeep.spawn(upkeep::forget(pool.clone(), keep));
        }
        // Whoever connects from here on waits in the socket's queue at worst.
        manager::ready();
        serve(listener, router, options, orders.end(Reloaded { tls, resolver })).await;
        drop(login);
        upkeep.shutdown().await;
        pool.close().await;
    }
}

async fn resolves_nothing() -> Problem {
    let detail =
        "this service has the role `admin` and answers no jobs; ask one of the role `resolve`";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// The same for who looks for the management API.
async fn administers_nothing() -> Problem {
    let detail = "this service has the role `resolve` and no management API; ask one of the role \
                  `admin`";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

fn resolver(settings: &Settings, pool: Pool, metrics: Metrics) -> Result<Resolver, Error> {
    let asked = &settings.service.job_tokens;
    let policy = Policy {
        issuer: asked.issuer.clone(),
        audience: asked.audience.clone(),
        leeway: asked.leeway,
        max_lifetime: asked.max_lifetime,
    };
    let files = asked.keys_files.iter().cloned().map(Source::File);
    let address = asked.jwks_url.iter().map(|url| Source::Url(url.to_string()));
    let sources: Vec<Source> = files.chain(address).collect();
    if sources.is_empty() {
        tracing::warn!(
            "no job is answered: there is no key for job tokens; name its file with --job-token-keys, \
             or set `service.job_tokens.keys_files` or `jwks_url`"
        );
    }
    let verifier = Verifier::new(policy, sources)?;
    let keys = KeyFile::read(settings.store.key.clone())?;
    let membership = membership(settings.service.membership);
    Ok(Resolver::new(pool, verifier, keys, membership, metrics))
}

/// What admins can do with a store, as the settings say.
pub(crate) fn administration(settings: &Settings, pool: Pool) -> Result<Administration, Error> {
    let asked = settings.service.membership;
    let (ServiceMembership::Trusted { organization_user }
    | ServiceMembership::Registered { organization_user, .. }) = asked;
    let policy = administration::Policy {
        membership: membership(asked),
        organization_user,
        oldest_libpq: settings.oldest_libpq,
    };
    let files = &settings.store;
    let recipient = match &files.public_key {
        Some(path) => Recipient::public(path.clone())?,
        None if settings.service.role.resolves() => Recipient::private(files.key.clone())?,
        None => {
            return Err(Error::Usage(
                "the role `admin` seals to a public key and reads no private one: name the public \
                 key's file with --public-key or `store.public_key` (`qgis-secrets key public` \
                 prints it)"
                    .into(),
            ));
        }
    };
    Ok(Administration::new(pool, recipient, policy))
}

fn login(settings: &Settings, pool: Pool, by: Administration) -> Result<Login, Error> {
    Ok(Login::new(settings.service.clone(), pool, by, Clock::system())?)
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Unserved(Unserved::Login, fault.to_string())
    }
}

fn membership(asked: ServiceMembership) -> Membership {
    match asked {
        ServiceMembership::Trusted { .. } => Membership::Trusted,
        ServiceMembership::Registered { non_member, .. } => Membership::Registered { non_member },
    }
}

fn limits(asked: &service::ServiceLimits) -> Limits {
    let standard = Limits::default();
    Limits {
        connections: asked.connections,
        connections_per_peer: standard.connections_per_peer.min(asked.connections),
        body_bytes: asked.body_bytes,
        request: asked.request,
        grace: asked.grace,
        requests: Rate {
            burst: asked.requests_per_second.saturating_mul(4),
            every: Duration::from_secs(1) / asked.requests_per_second,
        },
        failures: Rate {
            every: Duration::from_mins(1) / asked.failures_per_minute,
            ..standard.failures
        },
        ..standard
    }
}

fn files(asked: &service::ServiceTls) -> Files {
    let clients = asked.clients.as_ref();
    Files {
        chain: asked.certificate.clone(),
        key: asked.key.clone(),
        clients: clients.map(|c| Clients { roots: c.ca.clone(), required: c.required }),
    }
}
