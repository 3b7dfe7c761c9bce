//! Follows a run, all its processes, from system call to system call, up to a chosen one.
//!
//! Nobody here asks for `PTRACE_O_EXITKILL`: what outlives its killed parent is what is looked
//! for. A tracer is a thread; when it ends, the kernel lets all go that it still held.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Up to the exec of the job's leader.
    StartUp,
    /// The job runs.
    Running,
    /// From the leader's end to the runner's.
    Wipe,
}

/// Which process of a run: the number of the fork that made it, at each generation. The outermost
/// has none.
pub(super) type Ancestry = Vec<usize>;

/// The end of a system call: of this process, in this phase, so many of its calls are over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Boundary {
    pub(super) phase: Phase,
    pub(super) process: Ancestry,
    pub(super) calls: usize,
}

/// The processes of a run while they are followed.
#[derive(Debug)]
pub(super) struct Trace<'a> {
    program: &'a Path,
    /// Whether the job was told to end.
    ending: &'a AtomicBool,
    processes: BTreeMap<Pid, Process>,
    /// The process of each thread.
    threads: BTreeMap<Pid, Pid>,
    /// Threads that stopped before the fork that made them was told.
    early: BTreeSet<Pid>,
    outer: Pid,
    /// The job's leader, once it has executed its program.
    leader: Option<(Pid, Ancestry)>,
    /// How the outermost process ended, if it was seen here.
    status: Option<WaitStatus>,
}

#[derive(Debug, Default)]
struct Process {
    ancestry: Ancestry,
    forks: usize,
    calls: BTreeMap<Phase, usize>,
}

/// What the tracer is asked at each point.
#[derive(Debug)]
pub(super) enum Point<'a> {
    /// A system call of the thread is over; it stands still.
    Boundary(&'a Boundary, Pid),
    /// A process was made, in the call that ends at this boundary.
    Made(&'a Boundary),
    /// The leader has executed its program; it is let go, the others still run.
    LeaderExecuted,
}

/// Whether to follow a run any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Stop,
}

impl<'a> Trace<'a> {
    /// Seizes a process that does not run yet; [`Self::follow`] is to be called by this thread.
    pub(super) fn seize(outer: Pid, program: &'a Path, ending: &'a AtomicBool) -> Self {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE;
        ptrace::seize(outer, options).unwrap();
        Self {
            program,
            ending,
            processes: BTreeMap::new(),
            threads: BTreeMap::new(),
            early: BTreeSet::new(),
            outer,
            leader: None,
            status: None,
        }
    }

    /// Follows up to where `at` says to stop, or to the end of all.
    pub(super) fn follow(&mut self, mut at: impl FnMut(&Self, Point<'_>) -> Next) {
        loop {
            // Only what this thread traces: other tests have children of their own.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let next = match waitpid(Pid::from_raw(-1), Some(flags)) {
                Err(Errno::ECHILD) => return,
                Err(Errno::EINTR) => Next::GoOn,
                Err(errno) => panic!("waiting for a traced process: {errno}"),
                Ok(status) => self.on(status, &mut at),
            };
            if next == Next::Stop {
                return;
            }
        }
    }

    /// Who lives.
    pub(super) fn living(&self) -> impl Iterator<Item = &Ancestry> {
        self.processes.values().map(|process| &process.ancestry)
    }

    /// The process id of the process, if it lives.
    pub(super) fn pid(&self, ancestry: &[usize]) -> Option<Pid> {
        let found = self.processes.iter().find(|(_, process)| process.ancestry == ancestry);
        found.map(|(pid, _)| *pid)
    }

    /// The outermost process.
    pub(super) fn outer(&self) -> Pid {
        self.outer
    }

    /// All that are followed.
    pub(super) fn pids(&self) -> Vec<Pid> {
        self.processes.keys().copied().collect()
    }

    /// The job's leader.
    pub(super) fn leader(&self) -> Option<&(Pid, Ancestry)> {
        self.leader.as_ref()
    }

    /// The exit code of the outermost process, if it ended under our eyes: then it is reaped.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self.status? {
            WaitStatus::Exited(_, code) => Some(code),
            WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
            _ => None,
        }
    }

    fn phase(&self) -> Phase {
        match (&self.leader, self.ending.load(Ordering::SeqCst)) {
            (None, _) => Phase::StartUp,
            (Some(_), false) => Phase::Running,
            (Some(_), true) => Phase::Wipe,
        }
    }

    fn on(&mut self, status: WaitStatus, at: &mut impl FnMut(&Self, Point<'_>) -> Next) -> Next {
        match status {
            WaitStatus::PtraceSyscall(thread) => {
                if let Some(boundary) = self.boundary(thread)
                    && at(self, Point::Boundary(&boundary, thread)) == Next::Stop
                {
                    return Next::Stop;
                }
                go_on(thread, None);
            }
            WaitStatus::PtraceEvent(thread, _, libc::PTRACE_EVENT_EXEC) => {
                return self.executed(thread, at);
            }
            WaitStatus::PtraceEvent(thread, _, libc::PTRACE_EVENT_STOP) => {
                if self.processes.is_empty() || self.threads.contains_key(&thread) {
                    go_on(thread, None);
                } else {
                    self.early.insert(thread);
                }
            }
            WaitStatus::PtraceEvent(thread, _, _) => {
                if let Ok(new) = ptrace::getevent(thread)
                    && let Some(boundary) =
                        self.made(thread, Pid::from_raw(new.try_into().unwrap()))
                    && at(self, Point::Made(&boundary)) == Next::Stop
                {
                    return Next::Stop;
                }
                go_on(thread, None);
            }
            WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
            WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, _, _) => {
                self.threads.remove(&thread);
                self.processes.remove(&thread);
                if thread == self.outer {
                    self.status = Some(status);
                }
            }
            other => panic!("a traced process: {other:?}"),
        }
        Next::GoOn
    }

    /// A process or a thread more; says where, if it is a process.
    fn made(&mut self, by: Pid, new: Pid) -> Option<Boundary> {
        let phase = self.phase();
        // The shell that becomes the program has no business here.
        let parent = self.threads.get(&by).copied()?;
        let mut boundary = None;
        let group = group(new).unwrap_or(new);
        self.threads.insert(new, group);
        if group == new {
            let parent = self.processes.get_mut(&parent).unwrap();
            parent.forks += 1;
            let calls = 1 + parent.calls.get(&phase).copied().unwrap_or_default();
            boundary = Some(Boundary { phase, process: parent.ancestry.clone(), calls });
            let mut ancestry = parent.ancestry.clone();
            ancestry.push(parent.forks);
            self.processes.insert(new, Process { ancestry, ..Process::default() });
        }
        if self.early.remove(&new) {
            go_on(new, None);
        }
        boundary
    }

    fn executed(&mut self, pid: Pid, at: &mut impl FnMut(&Self, Point<'_>) -> Next) -> Next {
        // A process that was just killed has no program.
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        if program == self.program {
            if pid == self.outer {
                self.processes.insert(pid, Process::default());
                self.threads.insert(pid, pid);
            }
            go_on(pid, None);
            return Next::GoOn;
        }
        let Some(process) = self.processes.get(&pid) else {
            // The shell, or setpriv.
            resume(pid);
            return Next::GoOn;
        };
        if self.leader.is_none() {
            self.leader = Some((pid, process.ancestry.clone()));
        }
        self.threads.remove(&pid);
        self.processes.remove(&pid);
        // Unless it is gone already. What it starts is the job's, and is not followed.
        ptrace::detach(pid, None).unwrap_or_default();
        at(self, Point::LeaderExecuted)
    }

    /// Counts, if a call has ended and not begun.
    fn boundary(&mut self, thread: Pid) -> Option<Boundary> {
        const PTRACE_SYSCALL_INFO_EXIT: u8 = 2;
        let phase = self.phase();
        let pid = self.threads.get(&thread)?;
        let process = self.processes.get_mut(pid)?;
        let info = ptrace::syscall_info(thread).ok()?;
        if info.op != PTRACE_SYSCALL_INFO_EXIT {
            return None;
        }
        let calls = process.calls.entry(phase).or_default();
        *calls += 1;
        Some(Boundary { phase, process: process.ancestry.clone(), calls: *calls })
    }
}

/// To the next stop. ESRCH: it was killed meanwhile, and its end is told next.
fn go_on(thread: Pid, signal: Option<Signal>) {
    match ptrace::syscall(thread, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("resuming {thread}: {errno}"),
    }
}

/// To the next event; system calls are not one.
fn resume(thread: Pid) {
    match ptrace::cont(thread, None) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("resuming {thread}: {errno}"),
    }
}

/// The thread group: the process id.
fn group(thread: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

/// A crash, as a wild jump is one: by the kernel's own signal, which ends process 1 of a namespace
/// too. The thread stands still; says whether it crashes when it goes on.
pub(super) fn crash(thread: Pid) -> bool {
    let Ok(mut registers) = ptrace::getregs(thread) else { return false };
    #[cfg(target_arch = "x86_64")]
    {
        registers.rip = 0;
        // No system call is to be made again.
        registers.orig_rax = u64::MAX;
    }
    #[cfg(target_arch = "aarch64")]
    {
        registers.pc = 0;
    }
    ptrace::setregs(thread, registers).is_ok()
}

/// The same to one that nobody follows.
pub(super) fn crash_at_work(pid: Pid) -> bool {
    if ptrace::seize(pid, Options::empty()).is_err() || ptrace::interrupt(pid).is_err() {
        return false;
    }
    match waitpid(pid, Some(WaitPidFlag::__WALL)) {
        Ok(WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..)) => {
            crash(pid) && ptrace::detach(pid, None).is_ok()
        }
        _ => false,
    }
}
