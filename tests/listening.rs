//! The service's listener against clients that are slow, many, hostile or wrong.

mod connections;
mod ending;
mod http2;
mod local;
mod requests;
mod slow;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper::body::Frame;
use qgis_secrets::server::around;
use qgis_secrets::server::limits::{Limits, Rates};
use qgis_secrets::server::listen::{Listener, Options, Peer, Proxies, Served, serve};
use qgis_secrets::server::metrics::{Metrics, Readiness, router};
use qgis_secrets::server::tls::Tls;
use qgis_secrets::settings::service::{Listen, MetricsFor};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

/// How long a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What handlers and the test share.
struct Stage {
    /// Requests that reached a handler.
    reached: AtomicUsize,
    /// `/gate` passes by taking a permit.
    gate: Semaphore,
}

impl Stage {
    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

/// How a service is started.
#[derive(Default)]
struct Setup {
    limits: Limits,
    proxies: Proxies,
    address: Option<Listen>,
    tls: Option<Tls>,
}

/// A service inside of the test's process.
struct Service {
    runtime: Runtime,
    address: Listen,
    stage: Arc<Stage>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Served>>,
}

impl Service {
    fn new(limits: Limits) -> Self {
        Self::start(Setup { limits, ..Setup::default() })
    }

    fn start(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let wanted = setup.address.unwrap_or("127.0.0.1:0".parse().unwrap());
        let mut listener = runtime.block_on(Listener::bind(&wanted)).unwrap();
        if let Some(tls) = setup.tls {
            listener = listener.with_tls(tls);
        }
        let address = listener.address().clone();
        let stage = Arc::new(Stage { reached: AtomicUsize::new(0), gate: Semaphore::new(0) });
        let metrics = Metrics::new();
        let rates = Rates::new(&setup.limits, metrics.clone());
        let routes = routes(Arc::clone(&stage)).merge(router(
            metrics.clone(),
            Readiness::default(),
            MetricsFor::default(),
        ));
        let app = around(routes, &setup.limits, rates, metrics.clone());
        let (stop, stopped) = oneshot::channel();
        let options = Options { limits: setup.limits, proxies: setup.proxies, metrics };
        let shutdown = async {
            drop(stopped.await);
        };
        let serving = runtime.spawn(serve(listener, app, options, shutdown));
        Self { runtime, address, stage, stop: Some(stop), serving: Some(serving) }
    }

    fn address(&self) -> SocketAddr {
        match &self.address {
            Listen::Tcp(address) => *address,
            other => panic!("{other}"),
        }
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address())
    }

    fn open(&self) -> Client {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream }
    }

    /// One request on a connection of its own.
    fn get(&self, path: &str) -> Answer {
        let mut client = self.open();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.answer()
    }

    /// A metric's value.
    fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    }

    fn begin_to_end(&mut self) {
        drop(self.stop.take());
    }

    fn end(mut self) -> Served {
        self.begin_to_end();
        let serving = self.serving.take().unwrap();
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, serving).await })
            .unwrap()
            .unwrap()
    }
}

/// A connection, byte by byte.
struct Client {
    stream: TcpStream,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// An answer with a Content-Length.
    fn answer(&mut self) -> Answer {
        answer(&mut self.stream)
    }

    /// Everything until the service closes; a reset is an end as well.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return rest,
                Ok(n) => rest.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return rest,
                Err(error) => panic!("still open: {error}"),
            }
        }
    }

    /// Sends a byte again and again, slowly, until the service closes.
    fn drip(&mut self, byte: u8) {
        let begin = Instant::now();
        let mut buffer = [0; 4096];
        self.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while begin.elapsed() < PATIENCE {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if self.stream.write_all(&[byte]).is_err() {
                return;
            }
        }
        panic!("a connection that drips stays open");
    }
}

fn answer(stream: &mut impl Read) -> Answer {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: String::new() };
    let length = answer.header("content-length").unwrap_or("0").parse().unwrap();
    stream.take(length).read_to_string(&mut answer.body).unwrap();
    assert_eq!(answer.body.len() as u64, length);
    answer
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(has, _)| has.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The problem's stable word.
    fn kind(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        assert!(problem["detail"].as_str().unwrap().len() > 10);
        problem["kind"].as_str().unwrap().to_owned()
    }
}

/// Waits for a condition.
fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// So many bytes, which nothing says beforehand.
struct Unannounced(usize);

impl HttpBody for Unannounced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = self.0.min(100);
        self.0 -= length;
        Poll::Ready((length > 0).then(|| Ok(Frame::data(vec![b'x'; length].into()))))
    }
}

fn routes(stage: Arc<Stage>) -> Router {
    async fn hello(State(stage): State<Arc<Stage>>) -> &'static str {
        stage.reached.fetch_add(1, Ordering::SeqCst);
        "hello"
    }
    async fn length(State(stage): State<Arc<Stage>>, body: Bytes) -> String {
        stage.reached.fetch_add(1, Ordering::SeqCst);
        body.len().to_string()
    }
    async fn gate(State(stage): State<Arc<Stage>>) -> &'static str {
        stage.reached.fetch_add(1, Ordering::SeqCst);
        stage.gate.acquire().await.unwrap().forget();
        "passed"
    }
    async fn panicking() -> &'static str {
        if true {
            panic!("a test's own panic");
        }
        ""
    }
    async fn number(Json(number): Json<u8>) -> String {
        number.to_string()
    }
    async fn peer(Extension(peer): Extension<Peer>) -> String {
        format!("{peer} certificate: {}", peer.certificate.is_some())
    }
    async fn subject(Extension(rates): Extension<Rates>) -> Response {
        match rates.request("ada") {
            Ok(()) => "fine".into_response(),
            Err(refused) => refused.into_response(),
        }
    }
    Router::new()
        .route("/hello", get(hello))
        .route("/length", post(length))
        .route("/gate", get(gate))
        .route("/panic", get(panicking))
        .route("/number", post(number))
        .route("/peer", get(peer))
        .route("/subject", get(subject))
        .route("/denied", get(async || StatusCode::UNAUTHORIZED))
        .route("/much", get(async || "x".repeat(64 << 20)))
        .route("/endless", get(async || Body::new(Unannounced(usize::MAX))))
        .with_state(stage)
}
