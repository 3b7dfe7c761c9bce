//! How long a connection may do nothing useful.
//!
//! hyper has one timer for the head of an HTTP/1 request, which runs while a connection is idle as
//! well, and none for an HTTP/2 connection. These are for both, and for answers that nobody takes.
//!
//! Invariant: a connection always has a deadline, and no byte that a client sends moves it; only a
//! request that begins, or that gets on, does.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::server::limits::Limits;

/// From the order to close to the end: for a last answer to get out.
const CLOSING: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Requests that began and whose answers are not taken yet.
    running: u32,
    /// Whether there was a request.
    used: bool,
    http2: bool,
    /// When a request began, got on or ended; before the first one, when the connection opened.
    since: Instant,
    /// HTTP/1: when the first byte came of a head that isn't complete.
    head: Option<Instant>,
    /// When it was told to close.
    closing: Option<Instant>,
}

impl State {
    fn new(now: Instant) -> Self {
        Self { running: 0, used: false, http2: false, since: now, head: None, closing: None }
    }

    /// When it has taken too long.
    fn deadline(&self, limits: &Limits) -> Instant {
        if self.running > 0 {
            return self.since + limits.request + limits.answer;
        }
        if let Some(closing) = self.closing {
            return closing.max(self.since) + CLOSING;
        }
        match self.head {
            _ if !self.used => self.since + limits.head,
            Some(head) => head + limits.head,
            None => self.since + limits.idle,
        }
    }

    fn begin(&mut self, http2: bool, now: Instant) {
        self.running += 1;
        self.used = true;
        self.http2 = http2;
        self.since = now;
        self.head = None;
    }

    fn end(&mut self, now: Instant) {
        self.running -= 1;
        self.since = now;
    }

    /// Bytes came. Only the first one of a head counts.
    fn read(&mut self, now: Instant) {
        if self.running == 0 && !self.http2 {
            self.head.get_or_insert(now);
        }
    }

    /// Whether an end is owed to the other side, rather than a closed door: nothing is half said.
    fn is_idle(&self) -> bool {
        self.used && self.running == 0 && self.head.is_none() && self.closing.is_none()
    }
}

/// A connection's state, shared by its socket, its requests and its watcher.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Mutex<State>>);

impl Watch {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new(Instant::now()))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        self.state().deadline(limits)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state().is_idle()
    }

    pub(super) fn closing(&self) {
        self.state().closing.get_or_insert_with(Instant::now);
    }

    /// A request began; it runs for as long as what is returned lives.
    pub(super) fn begin(&self, http2: bool) -> Running {
        self.state().begin(http2, Instant::now());
        Running(self.clone())
    }

    fn read(&self) {
        self.state().read(Instant::now());
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Running(Watch);

impl Running {
    fn got_on(&self) {
        self.0.state().since = Instant::now();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().end(Instant::now());
    }
}

/// An answer's body, which keeps its request running until it is taken.
pub(super) struct Answer {
    body: Body,
    running: Running,
}

impl Answer {
    pub(super) fn new(body: Body, running: Running) -> Self {
        running.got_on();
        Self { body, running }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.running.got_on();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose incoming bytes are noticed.
pub(super) struct Watched<S> {
    socket: S,
    watch: Watch,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, watch: Watch) -> Self {
        Self { socket, watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.watch.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_deadline() {
        let limits = Limits {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            request: Duration::from_secs(30),
            answer: Duration::from_secs(5),
            ..Limits::default()
        };
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let new = State::new(zero);
        let used = State { used: true, since: at(100), ..new };
        let table = [
            ("opened", new, 10, false),
            // One byte every nine seconds buys no time.
            ("opened, a byte", State { head: Some(at(9)), ..new }, 10, false),
            ("running", State { running: 1, ..used }, 135, false),
            (
                "running, told to close",
                State { running: 1, closing: Some(at(0)), ..used },
                135,
                false,
            ),
            ("idle", used, 160, true),
            ("a head begins", State { head: Some(at(159)), ..used }, 169, false),
            ("idle, told to close", State { closing: Some(at(110)), ..used }, 112, false),
            ("ended after it was told", State { closing: Some(at(90)), ..used }, 102, false),
            ("opened, told to close", State { closing: Some(at(3)), ..new }, 5, false),
        ];
        for (name, state, deadline, idle) in table {
            assert_eq!(state.deadline(&limits), at(deadline), "{name}");
            assert_eq!(state.is_idle(), idle, "{name}");
        }
    }

    #[test]
    fn bytes_do_not_move_a_deadline() {
        let limits = Limits::default();
        let zero = Instant::now();
        let later = zero + Duration::from_secs(5);
        for (http2, expected) in [(false, limits.head), (true, limits.idle)] {
            let mut state = State::new(zero);
            state.begin(http2, zero);
            state.end(zero);
            state.read(zero);
            assert_eq!(state.deadline(&limits), zero + expected);
            state.read(later);
            assert_eq!(state.deadline(&limits), zero + expected);
            state.begin(http2, later);
            assert_eq!(state.deadline(&limits), later + limits.request + limits.answer);
        }
    }
}
