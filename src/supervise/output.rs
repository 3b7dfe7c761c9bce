//! The job's output on its way through the runner: masked, passed on, and counted.
//!
//! Invariants: nothing is passed on that the masker has not seen, unless that is asked for; the job
//! is held up as long as the reader doesn't read, and memory stays as it is; a reader that has gone
//! ends the stream for the job as well; a stream ends with the job, whoever still holds its other
//! end. What the runner inherited stays as it is, for others share it; only a pipe that is full may
//! grow.

use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, poll_fn};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{pipe2, read, write};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::redact::{Masker, Stream};

/// How much of a stream's end is kept, in bytes.
pub const TAIL: usize = 4096;

/// What a pipe should hold, in bytes: pipe(7) lets an ordinary user have no more.
const CAPACITY: usize = 1 << 20;

/// A person who types waits this long for an echo that might be the beginning of a value.
const ECHO_MS: u16 = 25;

/// So often the hits are counted, should a reader hold the stream up for ever.
const COUNT: Duration = Duration::from_millis(50);

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
            self.channels[index].start(&self.masker);
            if self.channels.iter().all(|channel| !matches!(channel.state, State::Silent(_))) {
                pending::<()>().await;
            }
        }
    }

    /// The job and its tree are gone: what is still on its way is passed on, and then no more.
    pub fn job_ended(&mut self) {
        for channel in &mut self.channels {
            if let State::Silent(from) = &channel.state {
                let mut readable = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
                let some = poll(&mut readable, PollTimeout::ZERO).is_ok()
                    && readable[0].revents().is_some_and(|r| r.contains(PollFlags::POLLIN));
                if some {
                    channel.start(&self.masker);
                } else {
                    channel.facts().whole = true;
                    channel.state = State::Over;
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
        let mut pump = Pump {
            from,
            target: self.target,
            way: self.way,
            hears,
            left: None,
            stream: masker.stream(),
            much: false,
            facts: Arc::clone(&self.facts),
            counted: None,
        };
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

/// A stream's thread.
struct Pump {
    from: OwnedFd,
    target: Target,
    way: Way,
    /// Ends with the job.
    hears: PipeReader,
    /// After the job's end: how much can still be on its way. Who holds the other end outside the
    /// job's tree could write for ever.
    left: Option<usize>,
    stream: Stream,
    /// Whether there was once more than could be read.
    much: bool,
    facts: Arc<Mutex<Facts>>,
    counted: Option<Instant>,
}

/// Whether a stream goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Over,
    Broken,
}

impl Pump {
    /// Returns whether everything was passed on.
    fn run(&mut self) -> bool {
        let mut whole = true;
        loop {
            let next = match self.read() {
                Ok(0) | Err(Errno::EIO) => Next::Over,
                Ok(count) => self.pass(count, &mut whole),
                Err(Errno::EINTR) => Next::GoOn,
                Err(Errno::EAGAIN) if self.left.is_some() => Next::Over,
                Err(Errno::EAGAIN) => self.wait(&mut whole),
                Err(_) => Next::Broken,
            };
            match next {
                Next::GoOn => {}
                Next::Over => break,
                Next::Broken => {
                    self.count();
                    return false;
                }
            }
        }
        let (target, unmasked) = (self.target, self.unmasked());
        let rest = self.stream.end();
        lock(&self.facts).add_tail(rest);
        whole &= unmasked || put(target, rest).is_ok();
        self.count();
        lock(&self.facts).whole = whole;
        true
    }

    fn read(&mut self) -> Result<usize, Errno> {
        let space = self.stream.space();
        let most = self.left.map_or(space.len(), |left| left.min(space.len()));
        let count = read(&self.from, &mut space[..most])?;
        if count == space.len() && !self.much {
            // So that the reader has something to do while more is masked.
            self.much = true;
            enlarge(self.target.descriptor());
        }
        self.left = self.left.map(|left| left - count);
        Ok(count)
    }

    fn pass(&mut self, count: usize, whole: &mut bool) -> Next {
        lock(&self.facts).bytes += count as u64;
        if self.counted.is_none_or(|counted| counted.elapsed() > COUNT) {
            self.count();
        }
        let unmasked = self.unmasked();
        let raw = if unmasked { put(self.target, &self.stream.space()[..count]) } else { Ok(()) };
        let masked = self.stream.filled(count);
        lock(&self.facts).add_tail(masked);
        let put = if unmasked { raw } else { put(self.target, masked) };
        self.judge(put, whole)
    }

    /// What a failed write means: the job has to hear of it, as it would without the runner. Only
    /// a log that can't be written (a full disk) stops no job.
    fn judge(&self, put: Result<(), Errno>, whole: &mut bool) -> Next {
        match put {
            Ok(()) => Next::GoOn,
            Err(Errno::EPIPE) => Next::Broken,
            Err(_) if self.target == Target::Stderr || self.way != Way::Pipe => {
                *whole = false;
                Next::GoOn
            }
            Err(_) => Next::Broken,
        }
    }

    /// Waits for more, the job's end, or the reader's.
    fn wait(&mut self, whole: &mut bool) -> Next {
        let watches = self.way == Way::Pipe;
        let echo = !watches && self.stream.releases(1);
        let to = self.target.descriptor();
        let mut events = [
            PollFd::new(self.from.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.hears.as_fd(), PollFlags::empty()),
            PollFd::new(to, PollFlags::empty()),
        ];
        let events = if watches { &mut events[..] } else { &mut events[..2] };
        let limit = if echo { PollTimeout::from(ECHO_MS) } else { PollTimeout::NONE };
        let came = poll(events, limit);
        let flags = |index: usize| events.get(index).and_then(PollFd::revents);
        if flags(1).is_some_and(|flags| !flags.is_empty()) {
            // The job may have made its pipe larger.
            let held = fcntl(&self.from, FcntlArg::F_GETPIPE_SZ).unwrap_or(0);
            self.left = Some(usize::try_from(held).unwrap_or(0).max(CAPACITY));
        }
        // No reader is left: an error of a pipe, a hang-up of a socket. A job that writes nothing
        // more would notice nothing; this one will.
        if flags(2).is_some_and(|flags| !flags.is_empty()) {
            return Next::Broken;
        }
        if echo && came == Ok(0) {
            let (target, unmasked) = (self.target, self.unmasked());
            let released = self.stream.release(1);
            lock(&self.facts).add_tail(released);
            let put = if unmasked { Ok(()) } else { put(target, released) };
            return self.judge(put, whole);
        }
        Next::GoOn
    }

    /// Nothing is passed on any more. The job has to notice at a pipe, whose end is closed; a
    /// terminal is emptied until the job ends.
    fn discard(&mut self) {
        if self.way == Way::Pipe {
            return;
        }
        let mut buffer = Zeroizing::new([0; 4096]);
        loop {
            match read(&self.from, &mut buffer[..]) {
                Ok(0) => return,
                // The job is over; who still writes is none of it.
                Ok(_) | Err(Errno::EAGAIN) if self.left.is_some() => return,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if self.wait(&mut false) == Next::Broken {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn count(&mut self) {
        let hits = self.stream.hits();
        let hits = hits.into_iter().filter(|(_, count)| *count > 0);
        lock(&self.facts).hits = hits.map(|(name, count)| (name.to_owned(), count)).collect();
        self.counted = Some(Instant::now());
    }

    fn unmasked(&self) -> bool {
        self.way == Way::Terminal { unmasked: true }
    }
}

/// Makes a pipe as large as it may be: a user's pipes have a limit together. What is no pipe stays
/// as it is.
fn enlarge(pipe: impl AsFd) {
    let size = i32::try_from(CAPACITY).unwrap_or(i32::MAX);
    fcntl(pipe, FcntlArg::F_SETPIPE_SZ(size)).unwrap_or_default();
}

fn lock(facts: &Mutex<Facts>) -> MutexGuard<'_, Facts> {
    facts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes all of it, however long that takes. Whoever shares the descriptor may have made it one
/// that doesn't block.
fn put(target: Target, mut bytes: &[u8]) -> Result<(), Errno> {
    let to = target.descriptor();
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
