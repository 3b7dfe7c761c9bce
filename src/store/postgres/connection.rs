//! One connection: made, used from any thread, ended.
//!
//! Invariants: nothing waits for ever, neither for a connection nor for an answer; a connection that
//! went silent in the middle of something is never used again; a password is read when it is needed,
//! and nothing keeps it.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use nix::sys::signal::SigSet;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, Error};

use super::fault::{Fault, When};
use super::tls::{self, MakeTls};
use crate::settings::{Host, Postgres, Tls};
use crate::store::database::Place;
use crate::store::{KeyError, StoreError, keys};

/// How long the server may work on one statement.
const STATEMENT: &str = "30s";

/// How long it keeps a transaction in which nothing happens.
const IDLE: &str = "60s";

/// How long to wait for an answer: longer than the server works on one.
const ANSWER: Duration = Duration::from_secs(45);

/// How long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection, and what drives it.
pub(super) struct Connection {
    /// `None` only while it is dropped.
    inner: Option<Inner>,
}

struct Inner {
    runtime: Runtime,
    client: Client,
    driver: JoinHandle<Result<(), Error>>,
    silent: bool,
}

impl Connection {
    /// Connects to the first of the servers that can be used, and makes the session ours.
    pub(super) fn open(place: &Place, settings: &Postgres) -> Result<Self, StoreError> {
        let inner = outside(|| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| StoreError::Database(place.clone(), error.into()))?;
            let (client, driver) = runtime.block_on(connect(place, settings))?;
            Ok::<_, StoreError>(Inner { runtime, client, driver, silent: false })
        })?;
        Ok(Self { inner: Some(inner) })
    }

    /// Whether it can't be used any more.
    pub(super) fn is_broken(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.silent || inner.client.is_closed())
    }

    /// Does something with it.
    pub(super) fn run<T: Send>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error> + Send,
    ) -> Result<T, Fault> {
        let Some(Inner { runtime, client, driver, silent }) = &mut self.inner else {
            return Err(Fault::Silent);
        };
        outside(|| {
            runtime.block_on(async {
                match timeout(ANSWER, work(client)).await {
                    Ok(Ok(result)) => Ok(result),
                    // Why it was closed, the driver knows.
                    Ok(Err(error)) if error.is_closed() && !driver.is_finished() => {
                        match timeout(GOODBYE, &mut *driver).await {
                            Ok(Ok(Err(reason))) => Err(Fault::Answer(reason)),
                            _ => Err(Fault::Answer(error)),
                        }
                    }
                    Ok(Err(error)) => Err(Fault::Answer(error)),
                    Err(_) => {
                        *silent = true;
                        Err(Fault::Silent)
                    }
                }
            })
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(Inner { runtime, client, driver, silent }) = self.inner.take() else { return };
        outside(move || {
            drop(client);
            if !silent && !driver.is_finished() {
                drop(runtime.block_on(async { timeout(GOODBYE, driver).await }));
            }
            runtime.shutdown_background();
        });
    }
}

/// A thread that is driven by a runtime must not drive another.
fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if Handle::try_current().is_err() {
        return work();
    }
    thread::scope(|scope| {
        let apart = scope.spawn(|| {
            // Signals are for the thread that waits for them.
            SigSet::all().thread_block().unwrap_or_default();
            work()
        });
        apart.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

type Connected = (Client, JoinHandle<Result<(), Error>>);

async fn connect(place: &Place, settings: &Postgres) -> Result<Connected, StoreError> {
    let mut config = Config::new();
    config
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name("qgis-secrets")
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .tcp_user_timeout(ANSWER);
    if settings.writable {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if let Some(path) = &settings.password_file {
        let unusable =
            |why: String| StoreError::File("store.postgres_password_file", path.clone(), why);
        let text = keys::read_private(path).map_err(|error| match error {
            KeyError::Missing(_) => unusable("is not there".into()),
            KeyError::Io(_, error) => unusable(format!("cannot be read: {error}")),
            KeyError::Content(_, _, problem) => unusable(problem.into()),
            // Says what to do.
            error => error.into(),
        })?;
        config.password(text.trim_end_matches(['\r', '\n']));
    }
    let tls = tls::connector(place, settings)?;
    let mut last = None;
    for host in &settings.hosts {
        match one_host(place, settings, config.clone(), host, tls.clone()).await {
            Ok(connected) => return Ok(connected),
            // Another server would say the same.
            Err(error @ StoreError::Login(..)) => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| StoreError::Fault(place.clone())))
}

/// Every address of a host in turn.
async fn one_host(
    place: &Place,
    settings: &Postgres,
    mut config: Config,
    host: &Host,
    tls: MakeTls,
) -> Result<Connected, StoreError> {
    let unreachable = |why: String| StoreError::Unreachable(place.clone(), why);
    config.host(&host.name).port(host.port).ssl_mode(match settings.tls {
        _ if host.is_local() => SslMode::Disable,
        Tls::Never => SslMode::Disable,
        Tls::IfOffered => SslMode::Prefer,
        Tls::Always => SslMode::Require,
    });
    let addresses = if host.is_local() {
        vec![None]
    } else {
        let found = timeout(settings.connect_timeout, addresses(&host.name)).await;
        let found = found.unwrap_or_else(|_| Err("no answer in time".into()));
        let found = found.map_err(|why| unreachable(format!("{}: {why}", host.name)))?;
        found.into_iter().map(Some).collect()
    };
    let mut last = unreachable(format!("{} has no address", host.name));
    for address in addresses {
        let mut config = config.clone();
        address.map(|address| config.hostaddr(address));
        let attempt = session(&config, settings, tls.clone());
        last = match timeout(settings.connect_timeout, attempt).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => Fault::Answer(error).translate(place, When::Connecting),
            Err(_) => {
                let seconds = settings.connect_timeout.as_secs();
                unreachable(format!("{} did not answer within {seconds} s", host.name))
            }
        };
        if matches!(last, StoreError::Login(..)) {
            break;
        }
    }
    Err(last)
}

/// By DNS and /etc/hosts. Not by libc: a static program crashes where that loads modules.
async fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let resolver = resolver.map_err(|error| error.to_string())?;
    let found = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
    Ok(found.iter().collect())
}

async fn session(config: &Config, settings: &Postgres, tls: MakeTls) -> Result<Connected, Error> {
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(connection);
    // The schema's name has no character that would need quotes. `pg_temp` last, or a temporary
    // table could stand before ours. A machine that vanished is noticed within a minute, for what its
    // connection holds keeps others away. A role may have commits switched off that wait for the
    // disk.
    let schema = &settings.schema;
    client
        .batch_execute(&format!(
            "SET search_path = \"{schema}\", pg_temp;
             SET statement_timeout = '{STATEMENT}';
             SET idle_in_transaction_session_timeout = '{IDLE}';
             SET tcp_keepalives_idle = 30;
             SET tcp_keepalives_interval = 10;
             SET tcp_keepalives_count = 3;
             SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') = 'off';"
        ))
        .await?;
    Ok((client, driver))
}
