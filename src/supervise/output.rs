//! The job's output on its way through the runner: masked, passed on, and counted.
//!
//! Invariants: nothing is passed on that the masker has not seen, unless that is asked for; the job
//! is held up as long as the reader doesn't read, and memory stays as it is; a reader that has gone
//! ends the stream for the job as well; a stream ends with the job, whoever still holds its other
//! end. What the runner inherited stays as it is, for others share it; only a pipe that is full may
//! grow.

use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, poll_fn};
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::pipe2;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use crate::redact::Masker;

mod pump;

use pump::{Pump, enlarge};

/// How much of a stream's end is kept, in bytes.
pub const TAIL: usize = 4096;

/// What became of one stream. Nothing in it is a value: the tail is masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streamed {
    /// How many bytes came from the job.
    pub bytes: u64,
    /// Whether all of them were passed on.
    pub whole: bool,
    /// How often a secret was masked, by its name.
    pub hits: BTreeMap<String, u64>,
    /// The last [`TAIL`] bytes as they were passed on, masked; what is no UTF-8 is replaced.
    pub tail: String,
}

/// What became of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard output; on a terminal, both. `None` where it went elsewhere.
    pub stdout: Option<Streamed>,
    /// Standard error.
    pub stderr: Option<Streamed>,
}

/// Which of the runner's own descriptors a stream goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// What a stream comes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Pipe,
    /// A pseudo-terminal; `unmasked` if the person before it wants to see values.
    Terminal {
        unmasked: bool,
    },
}

/// The streams of one job.
#[derive(Debug)]
pub struct Output {
    masker: Arc<Masker>,
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct Channel {
    target: Target,
    way: Way,
    state: State,
    facts: Arc<Mutex<Facts>>,
}

#[derive(Debug)]
enum State {
    /// Nothing has come yet: no thread is needed.
    Silent(Receiver),
    /// A thread passes on. It hears that the job has ended when `job` is dropped, and drops the
    /// other end of `ended` when it has ended itself.
    Flowing { job: Option<PipeWriter>, ended: oneshot::Receiver<()> },
    /// Everything has been passed on, or can't be.
    Over,
}

/// What is known of a stream while it flows.
#[derive(Debug, Default)]
struct Facts {
    bytes: u64,
    whole: bool,
    hits: BTreeMap<String, u64>,
    tail: VecDeque<u8>,
}

impl Output {
    /// No stream yet.
    pub fn new(masker: Arc<Masker>) -> Self {
        Self { masker, channels: Vec::new() }
    }

    /// A pipe to `target`; returns the job's end. The runner's own doesn't block, the job's does.
    pub fn pipe(&mut self, target: Target) -> io::Result<OwnedFd> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        self.add(target, Way::Pipe, reader)?;
        Ok(writer)
    }

    /// The runner's side of a pseudo-terminal, which doesn't block.
    pub fn terminal(&mut self, target: Target, master: OwnedFd, unmasked: bool) -> io::Result<()> {
        self.add(target, Way::Terminal { unmasked }, master)
    }

    fn add(&mut self, target: Target, way: Way, from: OwnedFd) -> io::Result<()> {
        let state = State::Silent(Receiver::from_owned_fd_unchecked(from)?);
        let facts = Arc::default();
        self.channels.push(Channel { target, way, state, facts });
        Ok(())
    }

    /// Starts to pass a stream on as soon as its first byte comes. Never ends; can be cancelled.
    pub async fn flow(&mut self) {
        loop {
            let ready = poll_fn(|context| {
                let silent = self.channels.iter().enumerate().find(|(_, channel)| {
                    let State::Silent(from) = &channel.state else { return false };
                    from.poll_read_ready(context).is_ready()
                });
                silent.map_or(Poll::Pending, |(index, _)| Poll::Ready(index))
            });
            let index = ready.await;
            let channel = &mut self.channels[index];
            // One that the job has closed without a word needs no thread.
            if channel.readiness() == PollFlags::POLLHUP {
                channel.end();
            } else {
                channel.start(&self.masker);
            }
            if self.channels.iter().all(|channel| !matches!(channel.state, State::Silent(_))) {
                pending::<()>().await;
            }
        }
    }

    /// The job and its tree are gone: what is still on its way is passed on, and then no more.
    pub fn job_ended(&mut self) {
        for channel in &mut self.channels {
            if matches!(channel.state, State::Silent(_)) {
                if channel.readiness().contains(PollFlags::POLLIN) {
                    channel.start(&self.masker);
                } else {
                    channel.end();
                }
            }
            if let State::Flowing { job, .. } = &mut channel.state {
                drop(job.take());
            }
        }
    }

    /// Waits until everything is passed on, for `limit` at most, or until it is `enough`. Streams
    /// that are not over then are abandoned: their threads end with the process.
    pub async fn finish<E>(
        mut self,
        limit: Option<Duration>,
        enough: impl Future<Output = E>,
    ) -> Streams {
        self.job_ended();
        let mut enough = pin!(enough);
        let limit = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => pending().await,
            }
        };
        let mut limit = pin!(limit);
        for channel in &mut self.channels {
            if let State::Flowing { ended, .. } = &mut channel.state {
                tokio::select! {
                    biased;
                    // An error says that the thread is gone: it is over as well.
                    _ = ended => channel.state = State::Over,
                    _ = &mut enough => break,
                    () = &mut limit => break,
                }
            }
        }
        self.streams()
    }

    fn streams(&self) -> Streams {
        let mut streams = Streams::default();
        for channel in &self.channels {
            if matches!(channel.state, State::Flowing { .. }) {
                tracing::warn!(
                    stream = channel.target.word(),
                    "the job's output was not passed on whole: nobody reads it"
                );
            }
            let streamed = Some(channel.facts().streamed());
            match channel.target {
                Target::Stdout => streams.stdout = streamed,
                Target::Stderr => streams.stderr = streamed,
            }
        }
        streams
    }
}

impl Channel {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to read from a stream that is silent, and whether it has hung up.
    fn readiness(&self) -> PollFlags {
        let State::Silent(from) = &self.state else { return PollFlags::empty() };
        let mut polled = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        // An error says nothing; the thread will hear of it.
        poll(&mut polled, PollTimeout::ZERO).unwrap_or_default();
        polled[0].revents().unwrap_or(PollFlags::empty())
    }

    /// Nothing has come, and nothing will.
    fn end(&mut self) {
        self.facts().whole = true;
        self.state = State::Over;
    }

    /// Starts the thread. Without one the stream ends here, for the job as well.
    fn start(&mut self, masker: &Arc<Masker>) {
        let State::Silent(from) = std::mem::replace(&mut self.state, State::Over) else { return };
        let started = from.into_nonblocking_fd().and_then(|from| self.try_start(from, masker));
        match started {
            Ok(flowing) => self.state = flowing,
            Err(error) => tracing::error!(%error, "the job's output cannot be passed on"),
        }
    }

    fn try_start(&self, from: OwnedFd, masker: &Arc<Masker>) -> io::Result<State> {
        let (hears, job) = io::pipe()?;
        let (tells, ended) = oneshot::channel();
        if self.way == Way::Pipe {
            enlarge(&from);
        }
        let mut pump = Pump::new(self, from, hears, masker.stream());
        let work = move || {
            // A panic must neither pass on what it left unmasked, nor stop the job.
            if !catch_unwind(AssertUnwindSafe(|| pump.run())).unwrap_or(false) {
                pump.discard();
            }
            drop(pump);
            drop(tells);
        };
        // The runner's signals are for its main thread, which waits for them.
        let mut before = SigSet::empty();
        before.clone_from(&SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?);
        let thread = std::thread::Builder::new().name("output".into()).stack_size(STACK);
        let started = thread.spawn(work);
        before.thread_set_mask()?;
        started.map(drop)?;
        Ok(State::Flowing { job: Some(job), ended })
    }
}

/// Of a thread that passes on, in bytes: the large buffer is elsewhere.
const STACK: usize = 256 << 10;

impl Target {
    fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn descriptor(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
        }
    }
}

impl Facts {
    fn add_tail(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(TAIL)..];
        let surplus = (self.tail.len() + last.len()).saturating_sub(TAIL);
        self.tail.drain(..surplus);
        self.tail.extend(last);
    }

    fn streamed(&self) -> Streamed {
        let (Self { bytes, whole, hits, tail }, mut text) = (self, Vec::new());
        text.extend(tail);
        // What was cut off a character at the front.
        if *bytes > TAIL as u64 {
            let cut = text.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
            text.drain(..cut);
        }
        let tail = String::from_utf8_lossy(&text).into_owned();
        Streamed { bytes: *bytes, whole: *whole, hits: hits.clone(), tail }
    }
}

#[cfg(test)]
mod tests;
