//! A stream's thread: reads what the job wrote, masks it, and writes it.
//!
//! Invariants: what the masker has not seen is written only where that is asked for; the job hears
//! of a reader that has gone as it would without the runner; who writes after the job's end is read
//! no further than what can have been on its way.

use std::io::PipeReader;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use zeroize::Zeroizing;

use super::{Channel, Facts, Target, Way};
use crate::redact::Stream;

/// What a pipe should hold, in bytes: pipe(7) lets an ordinary user have no more.
const CAPACITY: usize = 1 << 20;

/// A person who types waits this long for an echo that might be the beginning of a value.
const ECHO_MS: u16 = 25;

/// So often the hits are counted, should a reader hold the stream up for ever.
const COUNT: Duration = Duration::from_millis(50);

/// A stream's thread.
pub(super) struct Pump {
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
    /// From the runner's end of a channel. `hears` ends with the job.
    pub(super) fn new(channel: &Channel, from: OwnedFd, hears: PipeReader, stream: Stream) -> Self {
        Self {
            from,
            target: channel.target,
            way: channel.way,
            hears,
            left: None,
            stream,
            much: false,
            facts: Arc::clone(&channel.facts),
            counted: None,
        }
    }

    /// Returns whether everything was passed on.
    pub(super) fn run(&mut self) -> bool {
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
    pub(super) fn discard(&mut self) {
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
pub(super) fn enlarge(pipe: impl AsFd) {
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
