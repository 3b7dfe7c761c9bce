//! The job's process: finds its program, starts it, and gathers events until it is over.
//!
//! Invariants: what the leader leaves running is killed before [`run`] returns; the leader is
//! reaped last, so that no signal of ours can reach a stranger; what the job wrote comes out masked.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::machine::{Action, Ending, Event, Machine};
use super::output::{Output, Streams, Target};
use super::signals::{Received, Signals};
use super::terminal::Terminal;
use crate::environment::Environment;
use crate::redact::Masker;
use crate::sys::errno::of_io;
use crate::sys::oom::OomWatch;
use crate::sys::spawn::{Confinement, Failure, Program, Step, spawn};
use crate::sys::terminal::{Answer, Line};
use crate::sys::tree::{Ended, Exit, Tree, stopped};

/// `execvp(3)` without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What to run, and for how long.
#[derive(Debug)]
pub struct Command {
    /// Program and arguments; not empty.
    pub words: Vec<String>,
    /// The finished environment.
    pub environment: Environment,
    /// Where to start.
    pub working_dir: Option<PathBuf>,
    /// After this long the job is told to end.
    pub timeout: Option<Duration>,
    /// From that to the kill.
    pub grace: Duration,
    /// What holds the job.
    pub confinement: Confinement,
    /// Whether this process is the first one of a PID namespace that holds nothing but the job.
    pub namespace: bool,
    /// In place of the runner's standard output, unmasked.
    pub stdout: Option<File>,
    /// The job's terminal, if the runner has one.
    pub terminal: Option<Line>,
    /// Whether the terminal shows values. What goes elsewhere is masked all the same.
    pub unmasked: bool,
    /// What its output must not show.
    pub masker: Arc<Masker>,
}

/// How it went.
#[derive(Debug)]
pub struct Finished {
    /// The leader's end, and its cause.
    pub ending: Ending,
    /// What the leader left behind.
    pub tree: Ended,
    /// Whether the kernel killed the leader for want of memory.
    pub out_of_memory: bool,
    /// The largest resident set of any of the job's processes, in bytes: getrusage(2).
    pub peak_memory: Option<u64>,
}

/// What a job that has ended wrote, on its way to whoever reads it.
#[derive(Debug)]
pub struct Rest {
    output: Output,
    terminal: Option<Terminal>,
    /// How long its reader may take.
    limit: Option<Duration>,
}

impl Rest {
    /// Waits until it has been read: until the job is told to end, and no longer than the grace
    /// period if it was told before. Then the runner's terminal is as it was.
    pub async fn finish(self, signals: &mut Signals) -> Streams {
        let streams = self.output.finish(self.limit, signals.enough()).await;
        if let Some(terminal) = &self.terminal {
            terminal.restore().await;
        }
        streams
    }
}

/// Why the job did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// No such program: exit code 127, as a shell's.
    #[error("the command `{0}` was not found{1}")]
    NotFound(String, &'static str),
    /// A program that cannot be executed: exit code 126, as a shell's.
    #[error("the command `{0}` cannot be executed: {1}")]
    NotExecutable(String, &'static str),
    /// The working directory.
    #[error("the working directory {} cannot be entered: {}", .0.display(), .1)]
    WorkingDir(PathBuf, &'static str),
    /// Arguments and environment together are too long for the kernel.
    #[error(
        "an argument (131,071 bytes), or arguments and environment together, are longer than the \
         kernel takes; pass long text in a file"
    )]
    TooLong,
    /// What the job was to see of the file system.
    #[error("the job's view of the file system could not be made: {0}")]
    View(&'static str),
    /// The account, or its capabilities.
    #[error(
        "the job could not be made to run as its account, without privileges: {0}; a runner that \
         is root needs CAP_SETPCAP, and CAP_SETUID, CAP_SETGID and CAP_CHOWN for `containment.run_as`"
    )]
    Privileges(&'static str),
    /// Anything else: no memory, too many processes.
    #[error("the job's process could not be started: {0}")]
    System(&'static str),
}

/// Runs a command to its end. `signals` were caught since before the secrets were read. What it
/// wrote may still be on its way.
pub async fn run(command: Command, signals: &mut Signals) -> Result<(Finished, Rest), StartError> {
    let Command { timeout, grace, namespace, .. } = command;
    let tree = if namespace { Tree::of_namespace() } else { Tree::adopt() };
    let tree = tree.map_err(|errno| StartError::System(errno.desc()))?;
    // The values were copied into the job by exec; ours are gone when this returns, as is the
    // hold on the mounts.
    let (leader, mut ways) = start(command)?;
    // While the job runs: finding the counter takes a while.
    let oom = OomWatch::begin();
    let ending = watch(&tree, leader, timeout, grace, (signals, &mut ways)).await;
    let out_of_memory = ending.exit == Exit::Signal(libc::SIGKILL) && oom.killed_since();
    let ended = tree.end(leader);
    let Ways { mut output, terminal } = ways;
    output.job_ended();
    if let Some(terminal) = &terminal {
        terminal.ended();
    }
    let rest = Rest { output, terminal, limit: ending.cause.map(|_| grace) };
    let peak_memory = getrusage(UsageWho::RUSAGE_CHILDREN)
        .ok()
        .and_then(|usage| u64::try_from(usage.max_rss()).ok())
        .map(|kib| kib * 1024);
    Ok((Finished { ending, tree: ended, out_of_memory, peak_memory }, rest))
}

async fn watch(
    tree: &Tree,
    leader: Pid,
    timeout: Option<Duration>,
    grace: Duration,
    (signals, Ways { output, terminal }): (&mut Signals, &mut Ways),
) -> Ending {
    let mut machine = Machine::default();
    let started = Instant::now();
    let timeout_at = timeout.map(|timeout| started + timeout);
    let mut grace_at = None;
    loop {
        let event = tokio::select! {
            received = signals.next() => match received {
                Received::Child => {
                    if let Some(terminal) = terminal
                        && let Some(signal) = stopped(leader)
                    {
                        terminal.stopped(signal);
                    }
                    tree.reap(leader).map(Event::LeaderEnded)
                }
                Received::Order(order) => Some(Event::Order(order)),
                Received::Abandoned => Some(Event::Abandoned),
                Received::PassOn(signal) => {
                    // On a terminal it can be stopped as by a shell, and may see to that itself.
                    let stop = terminal.is_some() && signal == Signal::SIGSTOP;
                    to_group(leader, if stop { Signal::SIGTSTP } else { signal });
                    None
                }
            },
            answer = answer(terminal) => {
                if let Some(terminal) = terminal {
                    terminal.obey(answer, leader);
                }
                to_group(leader, Signal::SIGCONT);
                None
            }
            () = output.flow(), if !terminal.as_ref().is_some_and(Terminal::is_settling) => None,
            () = at(timeout_at), if machine == Machine::Running => Some(Event::Timeout),
            () = at(grace_at), if matches!(machine, Machine::Ending(_)) => Some(Event::GraceOver),
        };
        match event.and_then(|event| machine.on(event)) {
            None => {}
            Some(Action::PassOn(order)) => {
                to_group(leader, order.into());
                // A job that was stopped would not notice.
                to_group(leader, Signal::SIGCONT);
                grace_at = Some(Instant::now() + grace);
            }
            Some(Action::Kill) => to_group(leader, Signal::SIGKILL),
            Some(Action::Finish(ending)) => return ending,
        }
    }
}

async fn answer(terminal: &Option<Terminal>) -> Answer {
    match terminal {
        Some(terminal) => terminal.answer().await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// The leader is not reaped yet, so its group is still its own.
fn to_group(leader: Pid, signal: Signal) {
    if let Err(errno) = kill(Pid::from_raw(-leader.as_raw()), signal) {
        tracing::warn!(%signal, error = errno.desc(), "a signal could not be passed on");
    }
}

/// The ways of what the job writes and reads.
struct Ways {
    output: Output,
    terminal: Option<Terminal>,
}

impl Ways {
    /// Returns the job's ends as well, where they are no terminal.
    fn open(
        line: Option<Line>,
        stdout: Option<File>,
        output: Output,
        (unmasked, confinement): (bool, &Confinement),
    ) -> io::Result<(Self, [Option<OwnedFd>; 2])> {
        let mut ways = Self { output, terminal: None };
        if let Some(line) = line {
            let target = if line.standard[1] { Target::Stdout } else { Target::Stderr };
            let (terminal, shown) = Terminal::open(line, confinement.ids.as_ref())?;
            ways.output.terminal(target, shown, unmasked)?;
            ways.terminal = Some(terminal);
        }
        let ways_terminal = ways.terminal.as_ref();
        let is_terminal = [1, 2].map(|n| ways_terminal.is_some_and(|t| t.standard(n).is_some()));
        let stdout = match stdout {
            Some(file) => Some(file.into()),
            None if is_terminal[0] => None,
            None => Some(ways.output.pipe(Target::Stdout)?),
        };
        let stderr = if is_terminal[1] { None } else { Some(ways.output.pipe(Target::Stderr)?) };
        Ok((ways, [stdout, stderr]))
    }

    fn standard<'a>(&'a self, ends: &'a [Option<OwnedFd>; 2]) -> [Option<BorrowedFd<'a>>; 3] {
        let terminal = |number| self.terminal.as_ref().and_then(|t| t.standard(number));
        let [stdout, stderr] = ends.each_ref().map(|end| end.as_ref().map(AsFd::as_fd));
        [terminal(0), stdout.or_else(|| terminal(1)), stderr.or_else(|| terminal(2))]
    }
}

fn start(command: Command) -> Result<(Pid, Ways), StartError> {
    let Command { words, environment, working_dir, confinement, stdout, .. } = command;
    let output = Output::new(command.masker);
    let (mut ways, ends) =
        Ways::open(command.terminal, stdout, output, (command.unmasked, &confinement))
            .map_err(|error| StartError::System(of_io(&error).desc()))?;
    let name = words.first().map_or("", String::as_str);
    let nul = |_| StartError::System("an argument holds a NUL byte");
    let arguments = words
        .iter()
        .map(|word| CString::new(word.as_str()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(nul)?;
    let candidates = candidates(name, &environment)
        .into_iter()
        .map(|path| CString::new(path.into_os_string().as_bytes()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(nul)?;
    // One that has gone, or can't be reached from the root, has no path.
    let standing = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let directory = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(nul);
    let chosen = working_dir.as_deref().map(directory).transpose()?;
    let stands = directory(&standing)?;
    let strings: Vec<&CStr> = environment
        .strings()
        .map(|string| CStr::from_bytes_with_nul(string.expose()))
        .collect::<Result<_, _>>()
        .map_err(|_| StartError::System("a variable holds a NUL byte"))?;
    let program = Program {
        candidates: &candidates,
        arguments: &arguments,
        environment: &strings,
        working_dir: chosen.as_deref(),
        standing: &stands,
        confinement: &confinement,
        standard: ways.standard(&ends),
        terminal: ways.terminal.as_ref().map(Terminal::controlling),
    };
    let leader = spawn(&program).map_err(|failure| {
        // What is there and was not found lacks its interpreter; what is not there was not
        // forbidden, whatever directory of the PATH is.
        let base = working_dir.as_deref().unwrap_or(Path::new(""));
        let there =
            candidates.iter().any(|path| base.join(OsStr::from_bytes(path.as_bytes())).exists());
        explain(failure, name, there, working_dir.unwrap_or(standing))
    })?;
    if let Some(terminal) = &mut ways.terminal {
        terminal.started();
    }
    Ok((leader, ways))
}

/// Where the program may be: the `PATH` that counts is the job's own.
fn candidates(name: &str, environment: &Environment) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![name.into()];
    }
    let path = environment.plain("PATH").unwrap_or_else(|| OsStr::new(DEFAULT_PATH).to_owned());
    std::env::split_paths(&path)
        // An empty entry means the current directory to execvp; a sidecar doesn't run what
        // happens to lie there.
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(name))
        .collect()
}

fn explain(failure: Failure, name: &str, there: bool, working_dir: PathBuf) -> StartError {
    let Failure { step, errno } = failure;
    let why = errno.desc();
    match (step, errno) {
        (Step::Exec, Errno::ENOENT | Errno::ENOTDIR) => {
            let hint = if there {
                ": its file is there, but the interpreter that it names is not"
            } else if name.contains('/') {
                ""
            } else {
                " in the job's PATH"
            };
            StartError::NotFound(name.into(), hint)
        }
        (Step::Exec, Errno::E2BIG) => StartError::TooLong,
        (Step::Exec, Errno::ENOEXEC) => StartError::NotExecutable(
            name.into(),
            "not a program of this machine, and no script that begins with #!",
        ),
        (Step::Exec, Errno::EACCES) if !there && !name.contains('/') => StartError::NotFound(
            name.into(),
            " in the job's PATH, of which a directory isn't permitted",
        ),
        (Step::Exec, Errno::EACCES) => {
            StartError::NotExecutable(name.into(), "it, or a directory on the way, isn't permitted")
        }
        (Step::Exec, _) => StartError::NotExecutable(name.into(), why),
        (Step::WorkingDir, _) => StartError::WorkingDir(working_dir, why),
        (Step::View, _) => StartError::View(why),
        (Step::Privileges, _) => StartError::Privileges(why),
        (Step::Fork | Step::Prepare, _) => StartError::System(why),
    }
}
