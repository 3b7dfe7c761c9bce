//! The runner's terminal while the job has one like it: what is typed goes there.
//!
//! Invariants: the terminal is read and changed only while the runner is in its foreground, and put
//! back before the runner stops, ends, or says something; what was typed after the job's end is
//! left for whoever reads next.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use zeroize::{Zeroize, Zeroizing};

use super::guard::stop;
use crate::sys::terminal::{Answer, Pair, Standing, Word};

/// What the outer process does besides waiting for signals.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    pair: &'a mut Pair,
    signals: SignalFd,
    state: State,
    /// Whether the job waits for what is typed, or has it from its start.
    wanted: bool,
    /// What was typed and not yet taken. Passwords are typed.
    typed: Zeroizing<[u8; 1024]>,
    waiting: usize,
}

/// How far the job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Early,
    Background,
    Foreground,
    Ended,
}

impl<'a> Keeper<'a> {
    /// `signals` are blocked.
    pub(super) fn new(pair: &'a mut Pair, signals: &SigSet) -> Result<Self, Errno> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(signals, flags)?;
        let (state, wanted, typed) = (State::Early, pair.foreground, Zeroizing::new([0; 1024]));
        Ok(Self { pair, signals, state, wanted, typed, waiting: 0 })
    }

    /// Waits for a signal, and serves the terminal meanwhile.
    pub(super) fn wait(&mut self) -> Result<Signal, Errno> {
        loop {
            let types = self.state == State::Foreground;
            let input =
                if types && self.waiting == 0 { PollFlags::POLLIN } else { PollFlags::empty() };
            let output = if self.waiting > 0 { PollFlags::POLLOUT } else { PollFlags::empty() };
            let mut events = [
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.pair.inner(), PollFlags::POLLIN),
                PollFd::new(self.pair.real.as_fd(), input),
                PollFd::new(self.pair.pty.as_fd(), output),
            ];
            // A terminal that hung up would be ready for ever.
            let count = if types { 4 } else { 2 };
            poll(&mut events[..count], PollTimeout::NONE)?;
            let ready = |index: usize| events[index].any() == Some(true) && index < count;
            let (signal, word, typed, room) = (ready(0), ready(1), ready(2), ready(3));
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
            let hung_up = types && events[2].revents().is_some_and(|now| now.intersects(gone));
            if word {
                match self.pair.hear() {
                    Some(word) => self.on(word),
                    // The inner process has gone; its end comes as a signal.
                    None => self.state = State::Ended,
                }
            }
            if signal && let Some(info) = self.signals.read_signal()? {
                let number = i32::try_from(info.ssi_signo).unwrap_or_default();
                return Signal::try_from(number);
            }
            if room && self.waiting > 0 {
                self.pass_on();
            }
            if hung_up && self.state == State::Foreground {
                // A signal says so as well.
                self.state = State::Background;
            } else if typed && self.state == State::Foreground && self.waiting == 0 {
                self.read();
            }
        }
    }

    /// Whether a signal is the terminal's business only.
    pub(super) fn takes(&mut self, signal: Signal) -> bool {
        match signal {
            Signal::SIGWINCH => self.pair.pty.resize(&self.pair.real),
            Signal::SIGCONT if self.is_running() => self.resume(),
            _ => return false,
        }
        true
    }

    /// Whether the job runs: it is told to stop, and when it has, so does the runner.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Background | State::Foreground)
    }

    fn on(&mut self, word: Word) {
        match word {
            Word::Started => {
                self.state = State::Background;
                if self.wanted {
                    self.resume();
                }
            }
            Word::Wanted => {
                self.wanted = true;
                match self.pair.real.standing() {
                    // As the kernel does with one that reads there.
                    Standing::Background if self.stop(Signal::SIGTTIN) => {}
                    // Nobody could bring it to the foreground: it waits for ever.
                    Standing::Background => self.pair.say(Answer::Foreground),
                    Standing::Foreground | Standing::Elsewhere => self.forward(),
                }
            }
            Word::Stopped(number) => {
                let signal = Signal::try_from(i32::from(number)).unwrap_or(Signal::SIGSTOP);
                if !self.stop(signal) {
                    self.resume();
                }
            }
            Word::Ended => {
                self.state = State::Ended;
                self.forget();
                self.pair.real.stop_typing();
            }
            Word::Shown => {
                self.pair.real.restore();
                self.pair.say(Answer::Restored);
            }
        }
    }

    /// Stops as the job was stopped; says whether it did. Whoever started the runner gets the
    /// terminal back as it was.
    fn stop(&mut self, signal: Signal) -> bool {
        self.pair.real.restore();
        if self.is_running() {
            self.state = State::Background;
        }
        // An orphan isn't stopped by a terminal's signals: nobody would continue it.
        stop(signal).unwrap_or(false)
    }

    /// Goes on, with the terminal if it may be had.
    fn resume(&mut self) {
        match self.pair.real.standing() {
            Standing::Foreground | Standing::Elsewhere if self.wanted => self.forward(),
            _ => {
                self.state = State::Background;
                self.pair.say(Answer::Background);
            }
        }
    }

    fn forward(&mut self) {
        if let Err(errno) = self.pair.real.raw() {
            tracing::warn!(error = errno.desc(), "the terminal can't be read");
            // The job's output doesn't wait for it.
            self.pair.say(Answer::Foreground);
            return;
        }
        self.pair.pty.resize(&self.pair.real);
        self.state = State::Foreground;
        self.pair.say(Answer::Foreground);
    }

    fn read(&mut self) {
        if self.pair.real.standing() == Standing::Background {
            self.state = State::Background;
            return;
        }
        match self.pair.real.read(&mut self.typed[..]) {
            Ok(count) => self.waiting = count,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.state = State::Background,
        }
        self.pass_on();
    }

    /// What the job doesn't take now waits; meanwhile nothing more is read.
    fn pass_on(&mut self) {
        match self.pair.pty.write(&self.typed[..self.waiting]) {
            Ok(count) => {
                self.typed.copy_within(count..self.waiting, 0);
                self.waiting -= count;
                if self.waiting == 0 {
                    self.forget();
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.forget(),
        }
    }

    fn forget(&mut self) {
        self.typed.zeroize();
        self.waiting = 0;
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        self.pair.real.restore();
    }
}
