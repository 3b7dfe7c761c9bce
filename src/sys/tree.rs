//! The tree of processes below the runner: who is in it, and how it ends.
//!
//! Invariant: the runner is a subreaper, so a process of the job that loses its parent becomes the
//! runner's child, however it tried to get away; ending the children until there are none ends
//! them all.

#![expect(unsafe_code, reason = "pidfd_open, which nix has no function for")]

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// How long killed processes may take to go: one that hangs in the kernel cannot be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The runner's hold on the processes of one job.
#[derive(Debug)]
pub struct Tree {
    /// Children from before the job, which are not ours to end: `sh -c 'Xvfb & exec …'`.
    strangers: BTreeSet<Pid>,
}

/// What became of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Processes that had to be killed after the leader's end.
    pub killed: u32,
    /// Processes that are still there.
    pub left: u32,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Tree {
    /// Makes the calling process the subreaper of all that it will start.
    pub fn adopt() -> Result<Self, Errno> {
        prctl::set_child_subreaper(true)?;
        Ok(Self { strangers: children().into_iter().collect() })
    }

    /// Reaps every child that has ended but `leader`. Returns how the leader ended, if it did; it
    /// stays unreaped, so that its group's number can't be given to anyone else.
    pub fn reap(&self, leader: Pid) -> Option<Exit> {
        loop {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            match waitid(Id::All, flags) {
                Ok(WaitStatus::Exited(pid, code)) if pid == leader => {
                    return Some(Exit::Code(code));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == leader => {
                    return Some(Exit::Signal(signal as i32));
                }
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                    // Ended already: this cannot block.
                    let _ = waitpid(pid, None);
                }
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// Kills and reaps all that is left below the runner, the leader included.
    pub fn end(&self, leader: Pid) -> Ended {
        // The group first, in one step. ESRCH: nobody but the unreaped leader.
        let group = Pid::from_raw(-leader.as_raw());
        let _ = kill(group, Signal::SIGKILL);
        let _ = waitpid(leader, None);
        let mut seen = BTreeSet::new();
        let started = Instant::now();
        loop {
            let left: Vec<Pid> =
                children().into_iter().filter(|pid| !self.strangers.contains(pid)).collect();
            if left.is_empty() || started.elapsed() > PATIENCE {
                let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                return Ended { killed: count(seen.len()), left: count(left.len()) };
            }
            for pid in left {
                // Counted once, though it may take a while to go. ESRCH cannot happen: nobody
                // but us reaps it.
                if kill(pid, Signal::SIGKILL).is_ok() {
                    seen.insert(pid);
                }
                if await_end(pid, PATIENCE.saturating_sub(started.elapsed())) {
                    let _ = waitpid(pid, None);
                }
            }
        }
    }
}

/// Waits until the child `pid` has ended, for `limit` at most; says whether it has.
fn await_end(pid: Pid, limit: Duration) -> bool {
    // SAFETY: numbers only.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let Ok(descriptor) = RawFd::try_from(descriptor) else { return false };
    if descriptor == -1 {
        // Before Linux 5.3: the kill above is not to be survived, so this ends.
        return true;
    }
    // SAFETY: the kernel just made it for us; nobody else knows the number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut readable = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut readable, limit), Ok(1))
}

/// The children of the calling process, whatever thread started them: proc_pid_task(5).
fn children() -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .map(Pid::from_raw)
                .collect::<Vec<_>>()
        })
        .collect()
}
