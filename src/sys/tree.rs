//! The tree of processes below the runner: who is in it, and how it ends.
//!
//! Invariant: the runner is a subreaper, so a process of the job that loses its parent becomes the
//! runner's child, however it tried to get away; ending the children until there are none ends
//! them all.

#![expect(unsafe_code, reason = "pidfd_open and waitid, which nix doesn't have or has too narrow")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
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
        Ok(Self { strangers: children("self").unwrap_or_default().into_iter().collect() })
    }

    /// Reaps every child that has ended but `leader`. Returns how the leader ended, if it did; it
    /// stays unreaped, so that its group's number can't be given to anyone else.
    pub fn reap(&self, leader: Pid) -> Option<Exit> {
        loop {
            match look() {
                Look::Ended(pid, exit) if pid == leader => return Some(exit),
                Look::Ended(pid, _) => reap_ended(pid),
                Look::Running | Look::Nobody => return None,
            }
        }
    }

    /// Kills and reaps all that is left below the runner, the leader included.
    pub fn end(&self, leader: Pid) -> Ended {
        // Who is there now; those that they start meanwhile are found below.
        let mut killed = self.survivors(leader);
        // The group first, in one step. ESRCH: nobody but the unreaped leader.
        let group = Pid::from_raw(-leader.as_raw());
        let _ = kill(group, Signal::SIGKILL);
        reap_ended(leader);
        let started = Instant::now();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        loop {
            // What has ended by itself is no survivor.
            while let Look::Ended(pid, _) = look() {
                reap_ended(pid);
            }
            let Ok(children) = children("self") else {
                // Without /proc nobody can be found; the kernel still says whether there is one.
                let left = u32::from(look() != Look::Nobody);
                return Ended { killed: count(killed.len()), left };
            };
            let left: Vec<Pid> =
                children.into_iter().filter(|pid| !self.strangers.contains(pid)).collect();
            if left.is_empty() || started.elapsed() > PATIENCE {
                return Ended { killed: count(killed.len()), left: count(left.len()) };
            }
            for pid in left {
                // Counted once, though it may take a while to go. ESRCH cannot happen: nobody
                // but us reaps it.
                if kill(pid, Signal::SIGKILL).is_ok() {
                    killed.insert(pid);
                }
                if await_end(pid, PATIENCE.saturating_sub(started.elapsed())) {
                    reap_ended(pid);
                }
            }
        }
    }

    /// What lives below the runner, but for strangers: a leader that has ended has no children
    /// any more, they are the runner's.
    fn survivors(&self, leader: Pid) -> BTreeSet<Pid> {
        let mut found = BTreeSet::new();
        let mut parents = vec!["self".to_owned()];
        while let Some(parent) = parents.pop() {
            // One that ends meanwhile is none.
            for pid in children(&parent).unwrap_or_default() {
                if pid != leader && !self.strangers.contains(&pid) && lives(pid) {
                    found.insert(pid);
                    parents.push(pid.to_string());
                }
            }
        }
        found
    }
}

/// What there is among the children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// This one has ended, and waits to be reaped.
    Ended(Pid, Exit),
    /// There are some, and none has ended.
    Running,
    /// There are none.
    Nobody,
}

/// Looks for a child that has ended, without reaping it and without waiting.
///
/// Not by nix: its `waitid` takes a child that a real-time signal ended for an error.
fn look() -> Look {
    loop {
        // SAFETY: the kernel fills the structure, whose zeros are valid; the flags ask for ended
        // children only, so that the fields read below are those that are set.
        let (result, pid, code, status) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let result = libc::waitid(libc::P_ALL, 0, &raw mut info, flags);
            (result, info.si_pid(), info.si_code, info.si_status())
        };
        return match (result, pid) {
            (-1, _) if Errno::last() == Errno::EINTR => continue,
            (-1, _) => Look::Nobody,
            (_, 0) => Look::Running,
            (_, pid) if code == libc::CLD_EXITED => {
                Look::Ended(Pid::from_raw(pid), Exit::Code(status))
            }
            (_, pid) => Look::Ended(Pid::from_raw(pid), Exit::Signal(status)),
        };
    }
}

/// Reaps a child that has ended or was killed.
fn reap_ended(pid: Pid) {
    // SAFETY: a null status is allowed. By libc for the same reason as in `look`.
    while unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), 0) } == -1
        && Errno::last() == Errno::EINTR
    {}
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

/// The children of a process (a number, or `self`), whatever thread started them:
/// proc_pid_task(5).
fn children(process: &str) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let list = fs::read_to_string(task?.path().join("children"))?;
        let pids = list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
        children.extend(pids.map(Pid::from_raw));
    }
    Ok(children)
}

/// Whether a process is there and no zombie: the state in `/proc/PID/stat` follows the name, which
/// is in parentheses.
fn lives(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}
