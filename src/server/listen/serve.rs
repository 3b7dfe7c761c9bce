//! Takes connections and serves them until it is told to end.
//!
//! HTTP/1.1 and HTTP/2 (by ALPN, or by the client's preface) are hyper's. Of its bounds these are
//! relied upon as they are: HTTP/1 has at most 100 header lines; a stream that a client opens and
//! resets at once (CVE-2023-44487) is counted, and with more than 20 of them waiting, or 1,024
//! resets by our own side, the connection is closed; CONTINUATION frames (VU#421644) are bounded by
//! the largest head; 1 MiB of bodies is in flight on a connection, and 400 KiB of answers on a
//! stream.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use hyper::Version;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tower::ServiceExt;

use super::crowd::{Crowd, Place};
use super::watch::{Answer, Watch, Watched};
use super::{Listener, Peer, Proxies, Socket, Stream};
use crate::server::limits::Limits;
use crate::server::metrics::Metrics;
use crate::server::tls::Tls;

/// When a connection could not be taken for want of something, it is tried again after this.
const PAUSE: Duration = Duration::from_millis(100);

/// Descriptors that are kept for the rest: the store, the log, files of keys.
const RESERVE: usize = 64;

/// How connections are served.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What a client may use.
    pub limits: Limits,
    /// Who may say where a request comes from.
    pub proxies: Proxies,
    /// Counts connections.
    pub metrics: Metrics,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Connections that were cut off when the grace period was over.
    pub cut_off: usize,
}

struct Shared {
    options: Options,
    router: Router,
    tls: Option<Tls>,
    http: Builder<TokioExecutor>,
}

/// Serves until `shutdown` is there. Then no connection is taken, idle ones are closed, and running
/// requests have the grace period to end. The routes should have [`crate::server::around`] them.
pub async fn serve(
    mut listener: Listener,
    router: Router,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Served {
    let slots = Arc::new(Semaphore::new(fitting(options.limits.connections)));
    let grace = options.limits.grace;
    let http = http(&options.limits);
    let shared = Arc::new(Shared { router, tls: listener.tls.take(), http, options });
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let crowd = Crowd::new(shared.options.limits.connections_per_peer);
    let proxies = shared.options.proxies.clone();
    let mut door = Door { listener, slots, crowd, proxies, shut: false };
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => fault(ended),
            (stream, socket, place) = door.next() => {
                let serving = connection(stream, socket, Arc::clone(&shared), stopping.clone());
                let open = shared.options.metrics.connection();
                connections.spawn(async move {
                    serving.await;
                    drop((open, place));
                });
            }
        }
    }
    drop(door);
    stop.send_replace(true);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            fault(ended);
        }
    };
    let ended = timeout(grace, all).await;
    let cut_off = connections.len();
    if ended.is_err() {
        tracing::warn!(connections = cut_off, "requests were cut off at the grace period's end");
        connections.shutdown().await;
    }
    Served { cut_off }
}

fn fault(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection was ended by a fault of the program (a panic)");
    }
}

/// As many connections as there are descriptors for.
fn fitting(wanted: usize) -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let possible = usize::try_from(soft).unwrap_or(usize::MAX).saturating_sub(RESERVE).max(1);
    if possible < wanted {
        tracing::warn!(
            wanted,
            possible,
            "fewer connections than wanted: raise the limit of open files"
        );
    }
    wanted.min(possible).min(Semaphore::MAX_PERMITS)
}

struct Door {
    listener: Listener,
    slots: Arc<Semaphore>,
    crowd: Crowd,
    proxies: Proxies,
    /// Whether the last try failed: only a change is logged.
    shut: bool,
}

impl Door {
    /// The next connection. It may be dropped at any `await`: nothing is lost.
    async fn next(&mut self) -> (Stream, Socket, (OwnedSemaphorePermit, Option<Place>)) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
                // Nobody closes it.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, socket)) => {
                    if std::mem::take(&mut self.shut) {
                        tracing::info!("connections are taken again");
                    }
                    // Behind a proxy, and at a Unix socket, one peer is many clients.
                    let counted = !self.proxies.trust(socket) && matches!(socket, Socket::Tcp(_));
                    let place = self.crowd.enter(socket.key());
                    if counted && place.is_none() {
                        continue;
                    }
                    return (stream, socket, (slot, place));
                }
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.shut, true) {
                        tracing::warn!(%error, "no connection can be taken now");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Faults of the one connection that would have come: accept(2) passes on what happened to it.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::Interrupted
            | Kind::NotConnected
            | Kind::TimedOut
    )
}

fn http(limits: &Limits) -> Builder<TokioExecutor> {
    // hyper panics below its own minimum.
    let head = limits.head_bytes.max(8192);
    let mut http = Builder::new(TokioExecutor::new());
    // The head's time is watched from outside: see `watch`.
    http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(head);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX));
    http
}

async fn connection(
    stream: Stream,
    socket: Socket,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut peer = Peer { socket, forwarded: None, tls: shared.tls.is_some(), certificate: None };
    let stream = match &shared.tls {
        None => stream,
        Some(tls) => {
            let handshake = timeout(shared.options.limits.handshake, tls.accept(stream));
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            let Ok(Ok(stream)) = shaken else {
                // Who knocks is a scanner more often than a client: counted, not logged.
                shared.options.metrics.handshake_failed();
                return;
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let own = certificates.and_then(<[_]>::first);
            peer.certificate = own.map(|own| Arc::new(own.clone().into_owned()));
            Box::new(stream)
        }
    };
    http_connection(stream, peer, &shared, stopping).await;
}

async fn http_connection(
    stream: Stream,
    peer: Peer,
    shared: &Shared,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = &shared.options.limits;
    let watch = Watch::new();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let running = watch.begin(request.version() == Version::HTTP_2);
        let mut request = request.map(Body::new);
        let mut peer = peer.clone();
        peer.forwarded = forwarded(&shared.options.proxies, peer.socket, request.headers());
        request.extensions_mut().insert(peer);
        let answer = shared.router.clone().oneshot(request);
        async move {
            let response = answer.await?;
            Ok::<_, Infallible>(response.map(|body| Answer::new(body, running)))
        }
    });
    let stream = TokioIo::new(Watched::new(stream, watch.clone()));
    let mut http = pin!(shared.http.serve_connection(stream, service));
    let mut stop = pin!(async {
        // An error says that the service is gone: an end as well.
        drop(stopping.wait_for(|stop| *stop).await);
    });
    let mut stopped = false;
    let mut timer = pin!(sleep_until(watch.deadline(limits)));
    poll_fn(|cx| {
        if !stopped && stop.as_mut().poll(cx).is_ready() {
            stopped = true;
            watch.closing();
            http.as_mut().graceful_shutdown();
        }
        // hyper's errors are about this client: it went, or what it sent was no HTTP.
        if http.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let deadline = watch.deadline(limits);
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if !watch.is_idle() {
                return Poll::Ready(());
            }
            watch.closing();
            http.as_mut().graceful_shutdown();
            if http.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
    })
    .await;
}

fn forwarded(proxies: &Proxies, socket: Socket, headers: &HeaderMap) -> Option<std::net::IpAddr> {
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        // What is no text can't be an address either.
        .map(|line| line.to_str().unwrap_or("?"))
        .collect();
    proxies.client(socket, lines.into_iter())
}
