//! The signals that the runner receives, as events.
//!
//! Invariant: they are caught from before the first secret is in memory to after the wipe, so that
//! none of them ends the runner in between.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{SignalKind, signal};

use super::machine::Order;

/// Orders that come within this time are one. systemd tells every process of a unit, so that it
/// comes from there and through the outer process; timeout(1) tells its child and then its group;
/// the end of a terminal is told by the kernel and by the shell.
const ONE_ORDER: Duration = Duration::from_millis(500);

/// A signal that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The runner is told to end.
    Order(Order),
    /// Passed on as it is; it means nothing to the runner.
    PassOn(Signal),
    /// A child has ended, or stopped.
    Child,
    /// The outer process is gone.
    Abandoned,
}

/// Why a run ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enough {
    /// It was told to.
    Order(Order),
    /// The outer process is gone.
    Abandoned,
}

/// The handlers. They stand until the process ends.
#[derive(Debug)]
pub struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    usr1: tokio::signal::unix::Signal,
    usr2: tokio::signal::unix::Signal,
    winch: tokio::signal::unix::Signal,
    stop: tokio::signal::unix::Signal,
    cont: tokio::signal::unix::Signal,
    /// Ends with the outer process, and then says so once.
    lifeline: Option<Receiver>,
    child: tokio::signal::unix::Signal,
    /// When the last order came that counted.
    ordered: Option<Instant>,
}

impl Signals {
    /// Installs the handlers, and then unblocks the signals: whoever started the runner may have
    /// blocked them, and without SIGCHLD the job's end would go unnoticed. `lifeline` is the
    /// reading end of a pipe that the outer process holds.
    pub fn listen(lifeline: Option<OwnedFd>) -> io::Result<Self> {
        let signals = Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            winch: signal(SignalKind::window_change())?,
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            cont: signal(SignalKind::from_raw(libc::SIGCONT))?,
            lifeline: lifeline.map(Receiver::from_owned_fd).transpose()?,
            child: signal(SignalKind::child())?,
            ordered: None,
        };
        SigSet::all().thread_unblock()?;
        Ok(signals)
    }

    /// The next signal; an order that repeats another is none. Can be cancelled without losing one.
    pub async fn next(&mut self) -> Received {
        loop {
            let received = self.any().await;
            if !matches!(received, Received::Order(_)) {
                return received;
            }
            let now = Instant::now();
            if self.ordered.is_none_or(|before| now.duration_since(before) > ONE_ORDER) {
                self.ordered = Some(now);
                return received;
            }
        }
    }

    async fn any(&mut self) -> Received {
        tokio::select! {
            // In this order: a stop and its end that came at once leave the job running.
            biased;
            _ = self.child.recv() => Received::Child,
            _ = self.term.recv() => Received::Order(Order::Term),
            _ = self.int.recv() => Received::Order(Order::Int),
            _ = self.hup.recv() => Received::Order(Order::Hup),
            _ = self.quit.recv() => Received::Order(Order::Quit),
            _ = self.usr1.recv() => Received::PassOn(Signal::SIGUSR1),
            _ = self.usr2.recv() => Received::PassOn(Signal::SIGUSR2),
            _ = self.winch.recv() => Received::PassOn(Signal::SIGWINCH),
            // Nothing stops an orphaned process group but this one.
            _ = self.stop.recv() => Received::PassOn(Signal::SIGSTOP),
            _ = self.cont.recv() => Received::PassOn(Signal::SIGCONT),
            () = ended(&mut self.lifeline) => Received::Abandoned,
        }
    }

    /// The next reason to end. Can be cancelled without losing one.
    pub async fn enough(&mut self) -> Enough {
        loop {
            match self.next().await {
                Received::Order(order) => return Enough::Order(order),
                Received::Abandoned => return Enough::Abandoned,
                Received::PassOn(_) | Received::Child => {}
            }
        }
    }
}

/// Nothing is ever written to the pipe: it becomes readable when its other end is closed.
async fn ended(lifeline: &mut Option<Receiver>) {
    match lifeline {
        // Without it nobody would notice: an error counts as the end.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
    *lifeline = None;
}

impl From<Order> for Signal {
    fn from(order: Order) -> Self {
        match order {
            Order::Term => Self::SIGTERM,
            Order::Int => Self::SIGINT,
            Order::Hup => Self::SIGHUP,
            Order::Quit => Self::SIGQUIT,
        }
    }
}
