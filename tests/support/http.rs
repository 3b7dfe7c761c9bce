//! An HTTP server for tests: answers by a script, remembers what it was asked.
//!
//! One request a connection, on a free port of 127.0.0.1, with TLS or without, or on a socket. The last
//! answer of the script is given again to whoever comes after it. Dropping the server closes what is still open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// An address at which nobody listens: ephemeral ports never are that low.
pub(crate) const NOBODY: &str = "http://127.0.0.1:1/job";

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status and a body.
    Status(u16, Vec<u8>),
    /// A status, a header and a body.
    Headed(u16, &'static str, Vec<u8>),
    /// A redirect to this address.
    Redirect(String),
    /// Nothing, as long as the client waits.
    Silence,
    /// A body of `x` without an end.
    Endless,
    /// A header that announces this many bytes, a few of them, and the end of the connection.
    Announced(u64),
}

/// What a client sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A running server.
pub(crate) struct Server {
    at: At,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// Where it listens.
#[derive(Clone)]
enum At {
    Tcp(SocketAddr, bool),
    Unix(PathBuf),
}

#[derive(Default)]
struct Shared {
    script: Vec<Answer>,
    tls: Option<Arc<ServerConfig>>,
    over: AtomicBool,
    requests: Mutex<Vec<Request>>,
    open: Mutex<Vec<Connection>>,
}

/// A connection, as far as it takes to end it.
enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn end(&self) {
        // Fails for those that the client has closed.
        drop(match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        });
    }
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Answer {
    /// Success with this body.
    pub(crate) fn fine(body: impl Into<Vec<u8>>) -> Self {
        Self::Status(200, body.into())
    }

    /// A status with an empty body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }
}

impl Server {
    /// A server that gives these answers, one after the other.
    pub(crate) fn new(script: impl Into<Vec<Answer>>) -> Self {
        Self::tcp(script.into(), None)
    }

    /// The same with TLS.
    pub(crate) fn secure(script: impl Into<Vec<Answer>>, tls: ServerConfig) -> Self {
        Self::tcp(script.into(), Some(Arc::new(tls)))
    }

    /// The same on a socket.
    pub(crate) fn unix(script: impl Into<Vec<Answer>>, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = Arc::new(Shared { script: script.into(), ..Shared::default() });
        let accepting = Some(std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let connections = listener.incoming().map(|stream| stream.map(Connection::Unix));
                accept(connections, &shared);
            }
        }));
        Self { at: At::Unix(path.into()), shared, accepting }
    }

    fn tcp(script: Vec<Answer>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = At::Tcp(listener.local_addr().unwrap(), tls.is_some());
        let shared = Arc::new(Shared { script, tls, ..Shared::default() });
        let accepting = Some(std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let connections = listener.incoming().map(|stream| stream.map(Connection::Tcp));
                accept(connections, &shared);
            }
        }));
        Self { at, shared, accepting }
    }

    /// The address of a path, which is empty or begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        match &self.at {
            At::Tcp(address, false) => format!("http://{address}{path}"),
            At::Tcp(address, true) => format!("https://{address}{path}"),
            At::Unix(socket) => format!("unix:{}", socket.display()),
        }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn authority(&self) -> String {
        self.url("").split_once("//").unwrap().1.to_owned()
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        match &self.at {
            At::Tcp(address, _) => drop(TcpStream::connect(address)),
            At::Unix(socket) => drop(UnixStream::connect(socket)),
        }
        for connection in self.shared.open.lock().unwrap().drain(..) {
            connection.end();
        }
        drop(self.accepting.take().map(JoinHandle::join));
    }
}

fn accept(connections: impl Iterator<Item = std::io::Result<Connection>>, shared: &Arc<Shared>) {
    let mut serving = Vec::new();
    for connection in connections {
        if shared.over.load(Ordering::SeqCst) {
            break;
        }
        let Ok(connection) = connection else { continue };
        let other = match &connection {
            Connection::Tcp(stream) => Connection::Tcp(stream.try_clone().unwrap()),
            Connection::Unix(stream) => Connection::Unix(stream.try_clone().unwrap()),
        };
        shared.open.lock().unwrap().push(other);
        let shared = Arc::clone(shared);
        serving.push(std::thread::spawn(move || {
            // A client that goes away is no concern of the server's.
            drop(match (&connection, &shared.tls) {
                (Connection::Tcp(stream), Some(tls)) => {
                    let tls = ServerConnection::new(Arc::clone(tls)).unwrap();
                    let mut stream = StreamOwned::new(tls, stream);
                    let served = serve(&mut stream, &shared);
                    stream.conn.send_close_notify();
                    drop(stream.flush());
                    served
                }
                (Connection::Tcp(stream), None) => serve(stream, &shared),
                (Connection::Unix(stream), _) => serve(stream, &shared),
            });
            connection.end();
        }));
    }
    // Those that still wait for a client were shut down, or are so now.
    for connection in shared.open.lock().unwrap().drain(..) {
        connection.end();
    }
    for thread in serving {
        drop(thread.join());
    }
}

fn serve(stream: impl Read + Write, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    if !reader.fill_buf()?.first().is_some_and(u8::is_ascii_uppercase) {
        // TLS, for instance.
        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        return reader.get_mut().write_all(answer);
    }
    let request = read(&mut reader)?;
    let answer = {
        let mut requests = shared.requests.lock().unwrap();
        requests.push(request);
        let last = shared.script.len() - 1;
        shared.script[(requests.len() - 1).min(last)].clone()
    };
    let whole = |status: u16, header: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\nConnection: close\r\n{header}Content-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let stream = reader.get_mut();
    match answer {
        Answer::Status(status, body) => stream.write_all(&whole(status, "", &body))?,
        Answer::Headed(status, header, body) => {
            stream.write_all(&whole(status, &format!("{header}\r\n"), &body))?;
        }
        Answer::Redirect(to) => {
            stream.write_all(&whole(302, &format!("Location: {to}\r\n"), b""))?;
        }
        Answer::Silence => return reader.read_to_end(&mut Vec::new()).map(drop),
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
        Answer::Announced(length) => write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{{\"version\""
        )?,
    }
    stream.flush()
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let line = next()?;
    let mut headers = Vec::new();
    loop {
        let header = next()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { line, headers, body: Vec::new() };
    let length = request.header("Content-Length").and_then(|length| length.parse().ok());
    request.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut request.body)?;
    Ok(request)
}
