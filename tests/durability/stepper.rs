//! Runs a command from system call to system call, to kill it between two of them.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// A command that stands still. Dropping it kills it, wherever it stands.
pub(crate) struct Stepper {
    child: Child,
    pid: Pid,
}

impl Stepper {
    /// Starts a command, up to its first instruction.
    pub(crate) fn start(command: &Command, input: &str) -> Self {
        // A shell waits until it is traced, and then becomes the program.
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r go; exec \"$@\"", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.current_dir(command.get_current_dir().unwrap());
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = shell.spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(pid, options).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("go\n{input}").as_bytes()).unwrap();
        drop(stdin);
        let program = std::fs::canonicalize(command.get_program()).unwrap();
        let executes = || std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        loop {
            match waitpid(pid, None).unwrap() {
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) if executes() == program => {
                    break;
                }
                // The shell's own: `spawn` returns while it is still under way.
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => {
                    ptrace::cont(pid, None).unwrap();
                }
                WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).unwrap(),
                other => panic!("the shell: {other:?}"),
            }
        }
        Self { child, pid }
    }

    /// Goes on to the end of the next system call; says whether the command still lives.
    pub(crate) fn step(&mut self) -> bool {
        // Into the call, and out of it.
        self.stop() && self.stop()
    }

    fn stop(&mut self) -> bool {
        let mut signal = None;
        loop {
            ptrace::syscall(self.pid, signal).unwrap();
            match waitpid(self.pid, None).unwrap() {
                WaitStatus::PtraceSyscall(_) => return true,
                WaitStatus::Stopped(_, other) => signal = Some(other),
                WaitStatus::Exited(_, code) => {
                    assert_eq!(code, 0, "the command failed");
                    return false;
                }
                other => panic!("the command: {other:?}"),
            }
        }
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        // It may have ended, and been reaped, by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
