//! The outer process while the inner one lives.
//!
//! Invariants: it does nothing but wait for signals, and for what is typed on a terminal, so it wakes
//! up for nothing else; what it is told, the inner process is told; it ends after the inner process.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::unistd::{Pid, getpid};

use super::terminal::Keeper;
use crate::sys::terminal::Pair;
use crate::sys::tree::{Exit, hear_of_children, is_ignored, is_pending, reap_any};

/// Signals that are passed on. They are blocked before the inner process is made, so that none is
/// lost before it listens: one that came while it is blocked waits.
pub const PASSED_ON: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// The first process of a PID namespace.
const FIRST: Pid = Pid::from_raw(1);

/// How the inner process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// By itself, or by a signal.
    pub exit: Exit,
}

impl Guarded {
    /// What the outer process ends with, to mirror it.
    pub fn exit_code(self) -> u8 {
        // Codes of Linux have eight bits; the mask only says so to the compiler.
        u8::try_from(self.exit.code() & 0xff).unwrap_or(u8::MAX)
    }

    /// Whether it was killed, or crashed: it could not clean up.
    pub fn by_signal(self) -> bool {
        matches!(self.exit, Exit::Signal(_))
    }
}

/// Blocks what [`guard`] waits for.
pub fn block() -> Result<(), Errno> {
    hear_of_children()?;
    signals().thread_block()
}

/// Not a hang-up that nohup(1) ignored: blocked, it would arrive all the same.
fn signals() -> SigSet {
    let ignored = |signal: &Signal| *signal == Signal::SIGHUP && is_ignored(*signal);
    let passed_on = PASSED_ON.into_iter().filter(|signal| !ignored(signal));
    passed_on.chain([Signal::SIGCHLD]).collect()
}

/// Waits for the end of `inner`, and passes on what comes meanwhile. `told` is what was passed on
/// to one before it, and is extended. A terminal is as it was when this returns.
pub fn guard(
    inner: Pid,
    told: &mut Vec<Signal>,
    terminal: Option<&mut Pair>,
) -> Result<Guarded, Errno> {
    for signal in &*told {
        pass_on(inner, *signal);
    }
    let signals = signals();
    let mut keeper = terminal.map(|pair| Keeper::new(pair, &signals)).transpose()?;
    loop {
        // Every child: as PID 1 of a container, and as a subreaper, it gets those of others.
        while let Some((pid, exit)) = reap_any() {
            if pid == inner {
                return Ok(Guarded { exit });
            }
        }
        let received = match &mut keeper {
            None => signals.wait(),
            Some(keeper) => keeper.wait(),
        };
        match received {
            Ok(Signal::SIGCHLD) | Err(Errno::EINTR) => {}
            Ok(signal) if keeper.as_mut().is_some_and(|keeper| keeper.takes(signal)) => {}
            Ok(signal) => {
                told.push(signal);
                pass_on(inner, signal);
                let stops_after_job = keeper.as_ref().is_some_and(Keeper::is_running);
                // The job stops, and whoever pressed Ctrl-Z gets the terminal back. Without a shell
                // that could continue the runner, the kernel doesn't stop it: the job goes on. But
                // who sends this to the first process of a container, which can't be stopped, means
                // the job.
                let stops = signal == Signal::SIGTSTP && !stops_after_job;
                if stops && !stop(signal)? && getpid() != FIRST {
                    told.push(Signal::SIGCONT);
                    pass_on(inner, Signal::SIGCONT);
                }
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// Stops the calling process by `signal`, which is blocked, as SIGCONT is. Says whether that stopped
/// it: not if its process group is an orphan, nor if it is the first of a PID namespace.
pub(super) fn stop(signal: Signal) -> Result<bool, Errno> {
    raise(signal)?;
    SigSet::from_iter([signal]).thread_swap_mask(SigmaskHow::SIG_UNBLOCK)?.thread_set_mask()?;
    // What continued it waits.
    Ok(is_pending(Signal::SIGCONT))
}

/// It isn't reaped yet, so the number is still its own.
fn pass_on(inner: Pid, signal: Signal) {
    if let Err(errno) = kill(inner, signal) {
        tracing::warn!(%signal, error = errno.desc(), "a signal could not be passed on");
    }
}
