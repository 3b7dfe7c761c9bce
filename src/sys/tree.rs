//! The tree of processes below the runner: who is in it, and how it ends.
//!
//! Invariant: the runner is a subreaper, or the first process of a PID namespace, so a process of
//! the job that loses its parent becomes the runner's child, however it tried to get away; ending
//! the children until there are none ends them all.

#![expect(unsafe_code, reason = "waitid and sigtimedwait, which nix has too narrow or not at all")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::errno;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, getpid, getppid};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

/// How long killed processes may take to go: one that hangs in the kernel cannot be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The runner's hold on the processes of one job.
#[derive(Debug)]
pub struct Tree {
    /// Children from before the job, which are not ours to end: `sh -c 'Xvfb & exec …'`.
    strangers: BTreeSet<Pid>,
    /// Whether the calling process is the first one of a namespace that holds nothing but the job.
    namespace: bool,
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

impl Exit {
    /// The shell's convention: the code itself, or 128 + n for a signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => 128 + number,
        }
    }
}

impl Tree {
    /// Makes the calling process the subreaper of all that it will start.
    ///
    /// `ENOENT` where there is no `/proc`, `ESRCH` where it is another PID namespace's.
    pub fn adopt() -> Result<Self, Errno> {
        // Otherwise nobody could be found at the end, or somebody else.
        let errno = |error: io::Error| errno::of_io(&error);
        if !own_proc().map_err(errno)? {
            return Err(Errno::ESRCH);
        }
        let strangers = children("self").map_err(errno)?.into_iter().collect();
        prctl::set_child_subreaper(true)?;
        Ok(Self { strangers, namespace: false })
    }

    /// The tree of the calling process, which is the first one of a PID namespace of its own.
    ///
    /// `ESRCH` if it is not: all that can be signalled is killed at the end.
    pub fn of_namespace() -> Result<Self, Errno> {
        if getpid() != Pid::from_raw(1) || getppid() != Pid::from_raw(0) {
            return Err(Errno::ESRCH);
        }
        Ok(Self { strangers: BTreeSet::new(), namespace: true })
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
        if self.namespace {
            return end_namespace(leader);
        }
        self.end_children(Some(leader))
    }

    /// The same for a process that knows no leader: what is left to it when the other half of the
    /// runner is gone.
    pub fn end_orphans(&self) -> Ended {
        self.end_children(None)
    }

    fn end_children(&self, leader: Option<Pid>) -> Ended {
        // Who is there now; those that they start meanwhile are found below.
        let mut killed = self.survivors(leader);
        if let Some(leader) = leader {
            // The group first, in one step. ESRCH: nobody but the unreaped leader.
            let group = Pid::from_raw(-leader.as_raw());
            let _ = kill(group, Signal::SIGKILL);
            reap_ended(leader);
        }
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
    fn survivors(&self, leader: Option<Pid>) -> BTreeSet<Pid> {
        let mut found = BTreeSet::new();
        let mut parents = vec!["self".to_owned()];
        while let Some(parent) = parents.pop() {
            // One that ends meanwhile is none.
            for pid in children(&parent).unwrap_or_default() {
                if Some(pid) != leader && !self.strangers.contains(&pid) && lives(pid) {
                    found.insert(pid);
                    parents.push(pid.to_string());
                }
            }
        }
        found
    }
}

/// Kills every process that has the variable `mark` (`NAME=value`) in its environment and is in the
/// caller's PID and mount namespaces, but the caller: a run whose runner is dead. Repeats until there
/// is none. `owner`: a user whose processes they must be; root's may have changed theirs.
pub fn end_marked(mark: &[u8], owner: u32) -> Ended {
    let started = Instant::now();
    let mut killed = BTreeSet::new();
    loop {
        let marked = marked(mark, owner);
        let left = u32::try_from(marked.len()).unwrap_or(u32::MAX);
        if left == 0 || started.elapsed() > PATIENCE {
            return Ended { killed: u32::try_from(killed.len()).unwrap_or(u32::MAX), left };
        }
        for (pid, process) in marked {
            // By its descriptor: a number could by now be another's.
            if pidfd_send_signal(&process, rustix::process::Signal::KILL).is_ok() {
                killed.insert(pid);
            }
            let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            let limit = PollTimeout::try_from(PATIENCE.saturating_sub(started.elapsed()));
            // Whether it has ended shows in the next round.
            let _ = poll(&mut ended, limit.unwrap_or(PollTimeout::MAX));
        }
    }
}

fn marked(mark: &[u8], owner: u32) -> Vec<(Pid, OwnedFd)> {
    let namespace = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let own = ["pid", "mnt"].map(|kind| namespace("self", kind));
    let (Ok(true), Ok(entries)) = (own_proc(), fs::read_dir("/proc")) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let pid = Pid::from_raw(name.parse().ok()?);
            if pid == getpid() {
                return None;
            }
            let number = rustix::process::Pid::from_raw(pid.as_raw())?;
            let process = pidfd_open(number, PidfdFlags::empty()).ok()?;
            // Of the process that the descriptor is of, or of none: read after it was opened.
            let environment = fs::read(format!("/proc/{name}/environ")).ok()?;
            let is_marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark);
            let is_near = ["pid", "mnt"].map(|kind| namespace(name, kind)) == own;
            let is_owned = owner == 0 || user(pid) == Some(owner);
            (is_marked && is_near && is_owned && lives(pid)).then_some((pid, process))
        })
        .collect()
}

/// Kills everything in the namespace but the caller, its first process, and reaps it: kill(2), -1.
fn end_namespace(leader: Pid) -> Ended {
    reap_ended(leader);
    // What had ended by itself, by somebody's SIGKILL too, is no survivor.
    while let Look::Ended(pid, _) = look() {
        reap_ended(pid);
    }
    // ESRCH: there is nobody.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    let mut killed = 0;
    let started = Instant::now();
    loop {
        match look() {
            Look::Ended(pid, exit) => {
                killed += u32::from(exit == Exit::Signal(libc::SIGKILL));
                reap_ended(pid);
            }
            Look::Nobody => return Ended { killed, left: 0 },
            // One hangs in the kernel. It holds nothing: the namespace's end waits for it.
            Look::Running if started.elapsed() > PATIENCE => return Ended { killed, left: 1 },
            Look::Running => await_child(PATIENCE.saturating_sub(started.elapsed())),
        }
    }
}

/// Waits until a child has ended, for `limit` at most. SIGCHLD has a handler here, which ends the
/// wait as well.
fn await_child(limit: Duration) {
    let limit = TimeSpec::from_duration(limit);
    let child = SigSet::from_iter([Signal::SIGCHLD]);
    // SAFETY: both structures live for the call; no information is asked for. Blocked, a signal
    // that came before the wait is still there; unblocked again below.
    unsafe {
        let mut before = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, child.as_ref(), &raw mut before);
        if look() == Look::Running {
            libc::sigtimedwait(child.as_ref(), std::ptr::null_mut(), limit.as_ref());
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
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

/// Makes the end of a child be told. Whoever started this program may have had SIGCHLD ignored: then
/// the kernel reaps children by itself, and nobody hears of it, signal(7).
pub fn hear_of_children() -> Result<(), Errno> {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map(drop)
}

/// Whether whoever started this program had `signal` ignored, and nobody has changed that.
pub fn is_ignored(signal: Signal) -> bool {
    // SAFETY: no action is given; the kernel fills the structure, whose zeros are valid.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal as libc::c_int, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Whether a blocked `signal` has come: sigpending(2).
pub fn is_pending(signal: Signal) -> bool {
    // SAFETY: the kernel fills the set, whose zeros are valid.
    unsafe {
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending) == 0
            && libc::sigismember(&raw const pending, signal as libc::c_int) == 1
    }
}

/// The signal that stopped the child `pid`, once for each time that it was stopped.
pub fn stopped(pid: Pid) -> Option<u8> {
    let number = libc::id_t::try_from(pid.as_raw()).ok()?;
    // SAFETY: as in `look`; the flags ask for stopped children only. Its end stays unreaped.
    let (result, stopped, status) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WSTOPPED | libc::WNOHANG;
        let result = libc::waitid(libc::P_PID, number, &raw mut info, flags);
        (result, info.si_pid(), info.si_status())
    };
    (result == 0 && stopped == pid.as_raw()).then(|| u8::try_from(status).ok()).flatten()
}

/// Reaps one child that has ended, whoever it is. Doesn't wait.
pub fn reap_any() -> Option<(Pid, Exit)> {
    match look() {
        Look::Ended(pid, exit) => {
            reap_ended(pid);
            Some((pid, exit))
        }
        Look::Running | Look::Nobody => None,
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
    let number = rustix::process::Pid::from_raw(pid.as_raw());
    let Some(Ok(descriptor)) = number.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        // Before Linux 5.3: the kill above is not to be survived, so this ends.
        return true;
    };
    let mut readable = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut readable, limit), Ok(1))
}

/// Whether the numbers in `/proc` are those of the caller's PID namespace.
fn own_proc() -> io::Result<bool> {
    Ok(fs::read_link("/proc/self")?.as_os_str() == getpid().to_string().as_str())
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

/// Who a process runs as: the line `Uid:` of proc_pid_status(5), for the owner of the directory is
/// root where the process is closed to others.
fn user(pid: Pid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether a process is there and no zombie: the state in `/proc/PID/stat` follows the name, which
/// is in parentheses.
fn lives(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}
