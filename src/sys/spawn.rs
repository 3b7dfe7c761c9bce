//! Starts the job's program.
//!
//! Invariants: the program starts as the leader of a process group of its own, and of a session
//! where it has no terminal; with default signal dispositions and an empty mask, descriptors 0 to 2
//! only, no way to gain privileges, no core dump, no kernel keyring, no hold on other processes'
//! limits, and a kill at the death of the thread that started it; "could not start" is never
//! confused with "started and failed".

#![expect(unsafe_code, reason = "fork, and system calls between fork and exec")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid, pipe2};

use super::landlock;
use super::privileges::{self, Ids};
use super::seccomp::Filter;
use super::view::{self, Change};

/// What to start.
pub struct Program<'a> {
    /// Where the program may be, in the order in which to try: one path, or one for each `PATH`
    /// entry.
    pub candidates: &'a [CString],
    /// The arguments, the program's name first.
    pub arguments: &'a [CString],
    /// The environment: `NAME=value` strings.
    pub environment: &'a [&'a CStr],
    /// The directory to start in; `None`: where the runner stands.
    pub working_dir: Option<&'a CStr>,
    /// Where the runner stands. In a view of its own the program gets there by this path: it would
    /// stand in what its view hides otherwise, and find its way from there.
    pub standing: &'a CStr,
    /// What holds the program.
    pub confinement: &'a Confinement,
    /// In place of the runner's descriptors 0, 1 and 2.
    pub standard: [Option<BorrowedFd<'a>>; 3],
    /// Its terminal, if the runner's session has one.
    pub terminal: Option<Controlling<'a>>,
}

/// The terminal of the runner's session, in which the program is a job as a shell's are.
#[derive(Clone, Copy, Debug)]
pub struct Controlling<'a> {
    /// The terminal.
    pub slave: BorrowedFd<'a>,
    /// Whether the program has it from its first instruction.
    pub foreground: bool,
}

/// What holds a program, besides what holds every program that is started here.
#[derive(Debug, Default)]
pub struct Confinement {
    /// How the file system looks to it; `None`: as it does to the runner.
    pub view: Option<Vec<Change>>,
    /// The account that it runs as; `None`: the runner's.
    pub ids: Option<Ids>,
    /// A ruleset of Landlock.
    pub landlock: Option<OwnedFd>,
    /// The descriptor that says that the runner lives: a copy in a process that is no runner would
    /// say so for a dead one.
    pub sign_of_life: Option<RawFd>,
}

/// What failed on the way to the program's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// No process could be made.
    Fork = 0,
    /// Session, limits or privileges could not be set.
    Prepare = 1,
    /// The working directory could not be entered.
    WorkingDir = 2,
    /// The program could not be executed.
    Exec = 3,
    /// The file system could not be changed for it.
    View = 4,
    /// Capabilities could not be taken away, or the account not be changed.
    Privileges = 5,
}

/// Why the program did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub step: Step,
    /// The kernel's word.
    pub errno: Errno,
}

/// Starts `program`; returns the leader's process id once it has been executed.
pub fn spawn(program: &Program<'_>) -> Result<Pid, Failure> {
    let at_fork = |errno| Failure { step: Step::Fork, errno };
    // All memory is made ready before the fork: afterwards another thread could hold the
    // allocator's lock.
    let candidates: Vec<*const c_char> = program.candidates.iter().map(|c| c.as_ptr()).collect();
    let arguments = null_terminated(program.arguments.iter().map(CString::as_c_str));
    let environment = null_terminated(program.environment.iter().copied());
    let image = Image {
        candidates: &candidates,
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        working_dir: program.working_dir.map_or(ptr::null(), CStr::as_ptr),
        standing: program.standing.as_ptr(),
        parent: getpid().as_raw(),
        confinement: program.confinement,
        filter: Filter::for_jobs(),
        standard: program.standard.map(|fd| fd.map(|fd| fd.as_raw_fd())),
        terminal: program.terminal,
    };
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(at_fork)?;
    // SAFETY: the child calls `become_program` only, which makes async-signal-safe calls and
    // never returns.
    match unsafe { fork() }.map_err(at_fork)? {
        ForkResult::Child => {
            // SAFETY: the pointers in `image` lead into vectors and C strings that are alive in
            // this copy of the memory, each list with a null at its end.
            unsafe { become_program(&image, writer.as_raw_fd()) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            match verdict(reader) {
                None => Ok(child),
                Some(failure) => {
                    // It has only `_exit` before it; reaped here, nobody else knows of it.
                    while waitpid(child, None) == Err(Errno::EINTR) {}
                    Err(failure)
                }
            }
        }
    }
}

/// The child's word: nothing when exec closed the pipe, a step and an errno otherwise.
fn verdict(reader: OwnedFd) -> Option<Failure> {
    let mut message = [0; 5];
    File::from(reader).read_exact(&mut message).ok()?;
    let [step, errno @ ..] = message;
    let step = match step {
        1 => Step::Prepare,
        2 => Step::WorkingDir,
        3 => Step::Exec,
        4 => Step::View,
        5 => Step::Privileges,
        _ => Step::Fork,
    };
    Some(Failure { step, errno: Errno::from_raw(i32::from_ne_bytes(errno)) })
}

fn null_terminated<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    strings.map(CStr::as_ptr).chain([ptr::null()]).collect()
}

/// What the child needs, as plain pointers.
struct Image<'a> {
    candidates: &'a [*const c_char],
    arguments: *const *const c_char,
    environment: *const *const c_char,
    working_dir: *const c_char,
    standing: *const c_char,
    parent: libc::pid_t,
    confinement: &'a Confinement,
    filter: Filter,
    standard: [Option<RawFd>; 3],
    terminal: Option<Controlling<'a>>,
}

/// Turns the forked child into the program, or says why not and exits.
///
/// # Safety
///
/// In the child of a fork; the pointers of `image` are valid, its lists end in null.
unsafe fn become_program(image: &Image<'_>, errors: RawFd) -> ! {
    // SAFETY: the caller's promise is passed on; every call is async-signal-safe, and the buffer
    // is on the stack.
    unsafe {
        let step = match prepare(image) {
            Err(step) => step,
            Ok(()) => {
                execute(image);
                Step::Exec
            }
        };
        let mut message = [0; 5];
        message[0] = step as u8;
        message[1..].copy_from_slice(&Errno::last_raw().to_ne_bytes());
        // Nobody is left to hear of a failed write; the parent then sees the exit code.
        libc::write(errors, message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}

/// # Safety
///
/// As for [`become_program`].
unsafe fn prepare(image: &Image<'_>) -> Result<(), Step> {
    let check = |result: c_int| if result == -1 { Err(Step::Prepare) } else { Ok(()) };
    // SAFETY: plain system calls; the structures are initialised before they are passed.
    unsafe {
        if let Some(descriptor) = image.confinement.sign_of_life {
            libc::close(descriptor);
        }
        match image.terminal {
            None => check(libc::setsid())?,
            // Another session would have no terminal, and a group whose parent isn't in its session
            // isn't stopped by one.
            Some(_) => check(libc::setpgid(0, 0))?,
        }
        for signal in 1..=libc::SIGRTMAX() {
            // KILL, STOP and libc's own signals refuse; that is as it should be.
            libc::signal(signal, libc::SIG_DFL);
        }
        if let Some(Controlling { slave, foreground: true }) = image.terminal {
            // A group in the background is stopped by SIGTTOU here.
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            check(libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut()))?;
            check(libc::tcsetpgrp(slave.as_raw_fd(), libc::getpid()))?;
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()))?;
        for (number, own) in image.standard.into_iter().enumerate() {
            if let (Some(own), Ok(number)) = (own, c_int::try_from(number)) {
                check(libc::dup2(own, number))?;
            }
        }
        let Confinement { view, ids, landlock, .. } = image.confinement;
        if let Some(changes) = view {
            failing(Step::View, view::enter(changes))?;
            // As the runner, who has come there before.
            if image.working_dir.is_null() && libc::chdir(image.standing) == -1 {
                return Err(Step::WorkingDir);
            }
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        // A core handler behind a pipe ignores a limit of 0, but is skipped at 1: core(5).
        let core = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        check(libc::setrlimit(libc::RLIMIT_CORE, &raw const core))?;
        keep_standard_descriptors();
        if let Some(ids) = ids {
            privileges::give_pipes(ids);
        }
        failing(Step::Privileges, privileges::lower(ids.as_ref()))?;
        // After the mounts and the account: a domain allows no mount.
        if let Some(ruleset) = landlock {
            failing(Step::Prepare, landlock::restrict_self(ruleset.as_fd()))?;
        }
        failing(Step::Prepare, image.filter.install())?;
        // After the account: its change takes it away.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        if libc::getppid() != image.parent {
            // The runner died before the line above could tell us.
            libc::_exit(127);
        }
        if !image.working_dir.is_null() && libc::chdir(image.working_dir) == -1 {
            return Err(Step::WorkingDir);
        }
        Ok(())
    }
}

/// Leaves the error in errno, where the caller looks for it.
fn failing(step: Step, result: Result<(), Errno>) -> Result<(), Step> {
    result.map_err(|errno| {
        errno.set();
        step
    })
}

/// Everything above 2 closes when the program is executed, whoever opened it.
///
/// # Safety
///
/// In the child of a fork.
unsafe fn keep_standard_descriptors() {
    // SAFETY: numbers only; a descriptor that isn't open gives EBADF.
    unsafe {
        // Linux 5.11; the flag leaves them open until exec, for the error pipe is among them.
        let flag = libc::CLOSE_RANGE_CLOEXEC;
        if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flag) == -1 {
            let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            for descriptor in 3..c_int::try_from(limit.rlim_cur.min(65_536)).unwrap_or(65_536) {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

/// Tries the candidates as `execvp` does: a path that isn't there leads to the next, and "not
/// permitted" is remembered, for it says more than "not there".
///
/// # Safety
///
/// As for [`become_program`]. Returns with errno set.
unsafe fn execute(image: &Image<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut denied = false;
        for candidate in image.candidates {
            libc::execve(*candidate, image.arguments, image.environment);
            match Errno::last() {
                Errno::EACCES => denied = true,
                Errno::ENOENT | Errno::ENOTDIR => {}
                _ => return,
            }
        }
        if denied {
            Errno::EACCES.set();
        }
    }
}
