//! The job's terminal, as the inner process has it.
//!
//! Invariants: the job is a job of this process's session, as a shell's are: in the foreground of
//! its terminal it reads, in the background a read stops it, and the outer process is asked; what
//! the runner says comes only after its own terminal is as it was.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::{Gid, Pid, fchown, getpgrp};
use tokio::net::UnixStream;

use crate::sys::privileges::Ids;
use crate::sys::spawn::Controlling;
use crate::sys::terminal::{Answer, Line, Word, control, give_to_group, tell};

/// So long the outer process may take to put its terminal back. One that was stopped does nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// The terminal of one job.
#[derive(Debug)]
pub struct Terminal {
    /// Held for as long as the job runs: a terminal that nobody holds has hung up.
    slave: OwnedFd,
    standard: [bool; 3],
    foreground: bool,
    outer: UnixStream,
    started: bool,
    /// Whether the runner's terminal is about to change: what is shown before would look otherwise.
    settling: bool,
    /// Whether the leader was stopped since it last got the terminal.
    stopped: bool,
}

impl Terminal {
    /// Makes it the terminal of this process's session. Returns the other side as well, where what
    /// the job writes comes out.
    pub fn open(line: Line, ids: Option<&Ids>) -> io::Result<(Self, OwnedFd)> {
        let Line { pty, standard, foreground, outer } = line;
        let slave = pty.slave()?;
        control(&slave)?;
        if let Some(Ids { uid, .. }) = ids {
            // A job that can't open /dev/tty still has the descriptors.
            fchown(&slave, Some(*uid), None::<Gid>).unwrap_or_default();
        }
        let outer = UnixStream::from_std(outer)?;
        Ok((
            Self {
                slave,
                standard,
                foreground,
                outer,
                started: false,
                settling: foreground,
                stopped: false,
            },
            pty.try_clone()?,
        ))
    }

    /// In place of descriptor `number`, if that is a terminal.
    pub fn standard(&self, number: usize) -> Option<BorrowedFd<'_>> {
        self.standard[number].then(|| self.slave.as_fd())
    }

    /// For the start of the job.
    pub fn controlling(&self) -> Controlling<'_> {
        Controlling { slave: self.slave.as_fd(), foreground: self.foreground }
    }

    /// Whether what the job writes has to wait.
    pub fn is_settling(&self) -> bool {
        self.settling
    }

    /// The job runs.
    pub fn started(&mut self) {
        self.started = true;
        tell(&self.outer, Word::Started);
    }

    /// The job's leader was stopped by this signal.
    pub fn stopped(&mut self, signal: u8) {
        self.stopped = true;
        let waits = [Signal::SIGTTIN, Signal::SIGTTOU].map(|signal| signal as i32);
        let word = if waits.contains(&signal.into()) && !self.foreground {
            Word::Wanted
        } else {
            Word::Stopped(signal)
        };
        tell(&self.outer, word);
    }

    /// The job has ended.
    pub fn ended(&self) {
        tell(&self.outer, Word::Ended);
    }

    /// What the outer process answers. Can be cancelled without losing anything.
    pub async fn answer(&self) -> Answer {
        loop {
            let mut byte = [0];
            if self.outer.readable().await.is_err() {
                return pending().await;
            }
            match self.outer.try_read(&mut byte) {
                // It has gone, which is heard elsewhere.
                Ok(0) => return pending().await,
                Ok(_) => {
                    if let Some(answer) = Answer::of(byte[0]) {
                        return answer;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return pending().await,
            }
        }
    }

    /// Does what the outer process answered: the job whose leader this is has the terminal, or not.
    pub fn obey(&mut self, answer: Answer, leader: Pid) {
        let (foreground, group) = match answer {
            Answer::Foreground => (true, leader),
            Answer::Background => (false, getpgrp()),
            Answer::Restored => return,
        };
        self.settling = false;
        let stopped = std::mem::take(&mut self.stopped);
        if self.foreground == foreground && !stopped {
            // A shell in there may have given it to a job of its own.
            return;
        }
        self.foreground = foreground;
        let ttou = SigSet::from_iter([Signal::SIGTTOU]);
        let given = ttou.thread_swap_mask(SigmaskHow::SIG_BLOCK).and_then(|before| {
            let given = give_to_group(&self.slave, group);
            before.thread_set_mask().and(given)
        });
        if let Err(errno) = given {
            tracing::warn!(error = errno.desc(), "the job's terminal could not be given");
        }
    }

    /// All is shown: returns when the runner's terminal is as it was.
    pub async fn restore(&self) {
        if !self.started {
            return;
        }
        tell(&self.outer, Word::Shown);
        let restored = async { while self.answer().await != Answer::Restored {} };
        // An outer process that is stopped has put it back before.
        tokio::time::timeout(PATIENCE, restored).await.unwrap_or_default();
    }
}
