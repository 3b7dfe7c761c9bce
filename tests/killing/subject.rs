//! A run that is to be killed: its sandbox, its secrets, its job, and what remains of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::json;

use super::ground::Ground;
use super::plan::{Account, Level};
use super::processes::{self, Marks};
use super::search::{Canary, Search};
use super::tracer::{Next, Point, Trace};
use crate::support::{Ended, Sandbox, end, finish};

/// The ordinary account, when the tests run as root.
const NOBODY: u32 = 65534;

/// Longer than any run takes, on a busy machine too: only a hang takes so long.
const HANG: Duration = Duration::from_secs(30);

/// One run and all that is its own.
pub(super) struct Subject {
    pub(super) sandbox: Sandbox,
    ground: Arc<Ground>,
    account: Account,
    level: Level,
    canaries: [Canary; 2],
    marks: Mutex<Marks>,
    search: Search,
    /// Whether the job was told to end.
    ending: AtomicBool,
    /// Whether nothing remained when it was last looked.
    clean: AtomicBool,
}

/// A run that goes on.
pub(super) struct Going {
    child: Child,
    output: Vec<JoinHandle<String>>,
    /// Whether a tracer reaps it.
    traced: bool,
    /// Known when the tracer has reaped it.
    code: Option<i32>,
}

/// What is left of a run.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) files: Vec<String>,
    pub(super) processes: Vec<String>,
}

impl Subject {
    pub(super) fn new(ground: &Arc<Ground>, account: Account, level: Level) -> Self {
        let sandbox = Sandbox::new();
        if account == Account::Ordinary {
            for directory in [sandbox.home(), sandbox.memory()] {
                chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let canaries = [Canary::new(), Canary::new()];
        let search = Search::new(&canaries, sandbox.home().to_owned());
        let marks = Marks::new([sandbox.home().to_owned(), sandbox.memory().to_owned()]);
        let subject = Self {
            sandbox,
            ground: Arc::clone(ground),
            account,
            level,
            canaries,
            marks: Mutex::new(marks),
            search,
            ending: AtomicBool::new(false),
            clean: AtomicBool::new(false),
        };
        subject.fill();
        subject
    }

    fn fill(&self) {
        let [variable, password] = &self.canaries;
        let role = format!("r_{}", uuid::Uuid::now_v7().simple());
        let port = self.ground.role(&role, &password.0).to_string();
        self.give("secret add CANARY -P survey", &variable.0);
        let service = format!(
            "secret add-service --service kill --db-host 127.0.0.1 --db-port {port} \
             --db-name postgres --db-user {role} --password-stdin -P survey"
        );
        self.give(&service, &password.0);
    }

    /// Runs a command that reads a secret: it goes through a pipe only.
    fn give(&self, arguments: &str, value: &str) {
        let mut command = self.command(&arguments.split(' ').collect::<Vec<_>>());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        finish(child).success();
    }

    /// The program as the account runs it, at the level.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let program = self.ground.program();
        let plain = self.sandbox.command(arguments);
        let mut command = match self.account {
            Account::Own => Command::new(program),
            Account::Ordinary => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
                command.args(["--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.args(arguments).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("QGIS_SECRETS_CONTAINMENT", self.level.word());
        command.current_dir(self.sandbox.home());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The run: of a descriptor, or by `exec`.
    pub(super) fn run(&self, described: bool, options: &[&str]) -> Command {
        let script = self.ground.job();
        let mut job = vec!["/usr/bin/python3", "-ISB", &script];
        if self.level != Level::Process {
            job.push("hoard");
        }
        let descriptor;
        let mut arguments;
        if described {
            descriptor = self.sandbox.job(json!({"command": job}));
            arguments = vec!["run"];
            arguments.extend(options);
            arguments.push(descriptor.to_str().unwrap());
        } else {
            arguments = vec!["exec", "-P", "survey", "-O", "org", "-U", "ada"];
            arguments.extend(options);
            arguments.push("--");
            arguments.extend(job);
        }
        self.command(&arguments)
    }

    /// Whether the job stands: all its processes and connections are there.
    pub(super) fn is_ready(&self) -> bool {
        self.sandbox.path("ready").exists()
    }

    /// Tells the job to end.
    pub(super) fn end_job(&self) {
        // In this order: whatever follows from the file is the wipe.
        self.ending.store(true, Ordering::SeqCst);
        self.sandbox.write("end", "");
    }

    /// Remembers processes of the run while it is whole.
    pub(super) fn mark(&self, pids: impl IntoIterator<Item = Pid>) {
        let mut marks = self.marks.lock().unwrap();
        pids.into_iter().for_each(|pid| marks.add(pid));
    }

    /// Whether a process is one that was seen while the run was whole.
    pub(super) fn is_own(&self, pid: Pid) -> bool {
        self.marks.lock().unwrap().knows(pid)
    }

    /// Starts a run and follows it by system calls up to where `at` says to stop; the job is told
    /// to end as soon as it stands. When this returns, nobody is held any more.
    pub(super) fn follow(
        &self,
        command: &Command,
        at: impl FnMut(&Trace<'_>, Point<'_>) -> Next + Send,
    ) -> Going {
        // A shell waits until it is traced, and then becomes the program. A core is welcome: there
        // should be none.
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c unlimited; read -r go; exec \"$@\"", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        shell.current_dir(command.get_current_dir().unwrap());
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut going = Going::start(shell);
        going.traced = true;
        let mut stdin = going.child.stdin.take().unwrap();
        let (pid, program) = (going.pid(), self.ground.program());
        self.mark([pid]);
        std::thread::scope(|scope| {
            let tracer = scope.spawn(move || {
                let mut trace = Trace::seize(pid, &program, &self.ending);
                stdin.write_all(b"go\n").unwrap();
                drop(stdin);
                trace.follow(at);
                trace.exit_code()
            });
            let started = Instant::now();
            while !tracer.is_finished() {
                if self.is_ready() && !self.ending.load(Ordering::SeqCst) {
                    self.end_job();
                }
                if started.elapsed() > HANG {
                    self.clear();
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            going.code = tracer.join().unwrap();
        });
        going
    }

    /// Looks once.
    pub(super) fn remains(&self) -> Remains {
        let all = processes::all();
        let marks = self.marks.lock().unwrap();
        let own = marks.own(&all);
        let mut files = self.search.find(&all, &own);
        // Without a value in it, too.
        files.extend(self.sandbox.left_behind().iter().map(|left| left.display().to_string()));
        let remains = Remains { files, processes: own.iter().map(ToString::to_string).collect() };
        self.clean.store(remains.is_clean(), Ordering::SeqCst);
        remains
    }

    /// Looks until nothing remains, up to an instant. Returns what remained at last, and when the
    /// last look began.
    pub(super) fn until_clean(&self, limit: Instant) -> (Remains, Instant) {
        loop {
            let now = Instant::now();
            // What costs less first; the whole search has the last word.
            let busy = !self.marks.lock().unwrap().own(&processes::all()).is_empty();
            if !busy || now > limit {
                let remains = self.remains();
                if remains.is_clean() || now > limit {
                    return (remains, now);
                }
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Takes away what a run left, so that the next is not charged with it.
    pub(super) fn clear(&self) {
        let started = Instant::now();
        let marks = self.marks.lock().unwrap();
        loop {
            let all = processes::all();
            let own = marks.own(&all);
            if own.is_empty() || started.elapsed() > Duration::from_secs(10) {
                break;
            }
            own.iter().for_each(|process| processes::end(process));
        }
        for found in self.search.find(&processes::all(), &[]) {
            if let Some(segment) = found.strip_prefix("shm:") {
                end(quiet("ipcrm", &["--shmem-id", segment]));
            } else if found.starts_with("/dev/shm/") {
                drop(fs::remove_file(found));
            }
        }
        for left in self.sandbox.left_behind() {
            let directory = left.is_dir();
            drop(if directory { fs::remove_dir_all(left) } else { fs::remove_file(left) });
        }
    }

    /// The store still works.
    pub(super) fn store_works(&self) -> Result<(), String> {
        let list = end(self.command(&["secret", "list"]));
        let whole = list.code == 0 && list.stdout.contains("envvar:CANARY");
        if whole { Ok(()) } else { Err(format!("`secret list` says {}", list.stderr)) }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if !self.clean.load(Ordering::SeqCst) {
            self.clear();
        }
    }
}

fn quiet(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Going {
    pub(super) fn start(mut command: Command) -> Self {
        fn drain(mut source: impl Read + Send + 'static) -> JoinHandle<String> {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                source.read_to_end(&mut text).unwrap();
                String::from_utf8_lossy(&text).into_owned()
            })
        }
        let mut child = command.spawn().unwrap();
        let output = vec![drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap())];
        Self { child, output, traced: false, code: None }
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Whether the outermost process has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.code.is_some() || self.child.try_wait().unwrap().is_some()
    }

    /// The end of a run whose processes are all gone: anything else is an error.
    pub(super) fn finish(mut self) -> Result<Ended, String> {
        let started = Instant::now();
        while !(self.has_ended() && self.output.iter().all(JoinHandle::is_finished)) {
            if started.elapsed() > HANG {
                return Err("somebody whom nobody found holds its output open".into());
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let code = self.code.unwrap_or_else(|| {
            let status = self.child.wait().unwrap();
            status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
        });
        let mut texts = self.output.drain(..).map(|thread| thread.join().unwrap());
        let (stdout, stderr) = (texts.next().unwrap(), texts.next().unwrap());
        drop(texts);
        Ok(Ended { code, stdout, stderr })
    }
}

impl Drop for Going {
    /// A test that fails leaves no run behind. Whom a tracer reaps may be a stranger by now; its
    /// subject ends what is left.
    fn drop(&mut self) {
        if !self.traced {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Remains {
    pub(super) fn is_clean(&self) -> bool {
        self.files.is_empty() && self.processes.is_empty()
    }
}
