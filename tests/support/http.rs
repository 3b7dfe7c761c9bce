//! An HTTP server for tests: answers by a script, remembers what it was asked.
//!
//! One request a connection, on a free port of 127.0.0.1. The last answer of the script is given
//! again to whoever comes after it. Dropping the server closes what is still open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// An address at which nobody listens: ephemeral ports never are that low.
pub(crate) const NOBODY: &str = "http://127.0.0.1:1/job";

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status and a body.
    Status(u16, Vec<u8>),
    /// Success with this body and this `Cache-Control`.
    Cached(&'static str, Vec<u8>),
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
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    script: Vec<Answer>,
    over: AtomicBool,
    requests: Mutex<Vec<Request>>,
    open: Mutex<Vec<TcpStream>>,
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { script: script.into(), ..Shared::default() });
        let accepting = Some(std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        }));
        Self { address, shared, accepting }
    }

    /// The address of a path, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `127.0.0.1:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
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
        drop(TcpStream::connect(self.address));
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // Fails for those that the client has closed.
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(self.accepting.take().map(JoinHandle::join));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut serving = Vec::new();
    for stream in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        shared.open.lock().unwrap().push(stream.try_clone().unwrap());
        let shared = Arc::clone(shared);
        serving.push(std::thread::spawn(move || {
            // A client that goes away is no concern of the server's.
            drop(serve(&stream, &shared));
            drop(stream.shutdown(Shutdown::Both));
        }));
    }
    // Those that still wait for a client were shut down, or are so now.
    for stream in shared.open.lock().unwrap().drain(..) {
        drop(stream.shutdown(Shutdown::Both));
    }
    for thread in serving {
        drop(thread.join());
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    if !reader.fill_buf()?.first().is_some_and(u8::is_ascii_uppercase) {
        // TLS, for instance.
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    }
    let request = read(&mut reader)?;
    let answer = {
        let mut requests = shared.requests.lock().unwrap();
        requests.push(request);
        let last = shared.script.len() - 1;
        shared.script[(requests.len() - 1).min(last)].clone()
    };
    match answer {
        Answer::Status(status, body) => {
            write!(
                stream,
                "HTTP/1.1 {status} Scripted\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )?;
            stream.write_all(&body)
        }
        Answer::Cached(control, body) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: {control}\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            )?;
            stream.write_all(&body)
        }
        Answer::Redirect(to) => write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ),
        Answer::Silence => reader.read_to_end(&mut Vec::new()).map(drop),
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
        Answer::Announced(length) => write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{{\"version\""
        ),
    }
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
