//! The signals that the runner receives, as events.
//!
//! Invariant: they are caught from before the first secret is in memory to after the wipe, so that
//! none of them ends the runner in between.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::machine::Order;

/// A signal that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The runner is told to end.
    Order(Order),
    /// Passed on as it is; it means nothing to the runner.
    PassOn(Signal),
    /// A child has ended, or stopped.
    Child,
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
    child: tokio::signal::unix::Signal,
}

impl Signals {
    /// Installs the handlers, and then unblocks the signals: whoever started the runner may have
    /// blocked them, and without SIGCHLD the job's end would go unnoticed.
    pub fn listen() -> io::Result<Self> {
        let signals = Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            winch: signal(SignalKind::window_change())?,
            child: signal(SignalKind::child())?,
        };
        SigSet::all().thread_unblock()?;
        Ok(signals)
    }

    /// The next signal. Can be cancelled without losing one.
    pub async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.child.recv() => Received::Child,
            _ = self.term.recv() => Received::Order(Order::Term),
            _ = self.int.recv() => Received::Order(Order::Int),
            _ = self.hup.recv() => Received::Order(Order::Hup),
            _ = self.quit.recv() => Received::Order(Order::Quit),
            _ = self.usr1.recv() => Received::PassOn(Signal::SIGUSR1),
            _ = self.usr2.recv() => Received::PassOn(Signal::SIGUSR2),
            _ = self.winch.recv() => Received::PassOn(Signal::SIGWINCH),
        }
    }

    /// The next order to end. Can be cancelled without losing one.
    pub async fn order(&mut self) -> Order {
        loop {
            if let Received::Order(order) = self.next().await {
                return order;
            }
        }
    }
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
