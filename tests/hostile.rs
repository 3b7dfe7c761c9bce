//! The hostile job: each attack in each level, as root, as root with `--run-as`, and as an
//! ordinary user. What holds is asserted, and so is what does not.
//!
//! The levels are `namespace` (N), `namespace-shared-proc` (S) and `process` (P); `uid 0` is a job
//! that root runs without `run_as`.
//!
//! | attack | N | S | P | why |
//! |---|---|---|---|---|
//! | signals to its runners, SIGIO by a file, -1 | holds | holds | holds | A Landlock domain (version 6) keeps signals inside the job; a PID namespace has no number for others. |
//! | limits of its runners by prlimit | holds | holds | holds | A seccomp filter: nothing else in the kernel asks. |
//! | reads key, store, token, settings | holds | holds | holds | Covers in N and S, Landlock in P, and the modes with `run_as`. |
//! | the same after a replacement by rename | holds | holds | holds | The directory is hidden, not the file. |
//! | lists and destroys those files | holds | holds | not as the same account | Landlock denies reading only: a replaced or removed store is the job's harm to later runs. |
//! | a second mount of the directory | no | no | not as the same account | A cover is on one path, and a rule of Landlock's grants what lies at the second one. |
//! | a service of the same account outside | no | no | no | Whoever answers on a socket reads files for the job, as `systemd --user` does: `run_as` helps. |
//! | memory, environment, descriptors of runners | holds | holds | holds | They are not dumpable; uid 0 sees the numbers of their descriptors, not what they are. |
//! | the same of a stranger of the same account | holds | holds | holds | N has no number for it; elsewhere Landlock, which shows the numbers of its descriptors. |
//! | descriptors that it inherits | holds | holds | holds | 0 to 2 only. |
//! | opens by handle | holds | holds | holds | No `CAP_DAC_READ_SEARCH`; in a user namespace of the job's own the covers are locked mounts. |
//! | kernel files for writing | holds | holds | not for uid 0 | Read-only mounts in N and S; in P uid 0 owns them: `run_as`. |
//! | a new cgroup mount in a user namespace | not for uid 0 | not for uid 0 | holds | The kernel allows it, and uid 0 owns the files: it can stop its own cgroup, its runner included. |
//! | unmounts covers, pivot_root, setns | holds | holds | holds | No capability; in a user namespace the mounts are locked. |
//! | System V and POSIX objects, /dev/shm | holds | holds | no | Without an IPC namespace what the job makes there is its own, and stays. |
//! | kernel keyrings | holds | holds | holds | A seccomp filter. |
//! | cores | holds | holds | holds | RLIMIT_CORE 1 can't be raised, and no mapping would be dumped. |
//! | privileges by setuid or file capabilities | holds | holds | holds | no_new_privs. uid 0 keeps eight capabilities, and can become any user. |
//! | tampers with its workspace | holds | holds | told | In P a service file that was moved or linked is emptied, and the receipt says that something is left. |
//! | a directory planted for the sweep | holds | holds | holds | The sweep ends who has its service file in that very directory, and empties no file of another owner. |
//! | hides processes | holds | holds | holds | A PID namespace, or a subreaper that ends its children until there are none. |
//! | the same, both runners killed | holds | holds | no | The sweep knows a process by its environment only, which the job can empty. |

mod asking;
mod changing;
mod hiding;
mod killing;
mod leaving;
mod reading;
mod workspace;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::unistd::geteuid;
use serde_json::Value as Json;

use crate::support::{Ended, Sandbox, schema};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hostile");
const PYTHON: [&str; 2] = ["/usr/bin/python3", "-BSsE"];
/// `nobody`.
const UID: u32 = 65534;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Namespace,
    SharedProc,
    Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Root,
    /// Root, with `--run-as nobody`.
    RunAs,
    User,
}

use Level::{Namespace, Process, SharedProc};
use Who::{Root, RunAs, User};

impl Level {
    fn word(self) -> &'static str {
        match self {
            Namespace => "namespace",
            SharedProc => "namespace-shared-proc",
            Process => "process",
        }
    }
}

/// A sandbox in which one hostile job after the other can run.
struct Jail {
    sandbox: Sandbox,
    level: Level,
    who: Who,
}

/// What a job told, and what became of the run.
struct Said {
    place: String,
    lines: BTreeMap<String, Vec<String>>,
    ended: Ended,
    report: Json,
}

/// Every level, for everybody that the suite can be.
fn jails() -> Vec<Jail> {
    let users: &[Who] = match (geteuid().is_root(), reachable()) {
        (true, true) => &[Root, RunAs, User],
        (true, false) => {
            skipped("others can't reach the program, so no ordinary user runs it");
            &[Root, RunAs]
        }
        (false, _) => {
            skipped("only root can be root");
            &[User]
        }
    };
    let levels = [Namespace, SharedProc, Process];
    let places = levels.into_iter().flat_map(|level| users.iter().map(move |who| (level, *who)));
    places.map(|(level, who)| Jail::new(level, who)).collect()
}

fn reachable() -> bool {
    static REACHABLE: OnceLock<bool> = OnceLock::new();
    *REACHABLE.get_or_init(|| {
        let mut command = as_user(env!("CARGO_BIN_EXE_qgis-secrets"));
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Says what this environment doesn't let a test try.
#[expect(clippy::print_stdout, reason = "a test that tried less says so in its output")]
fn skipped(why: &str) {
    println!("skipped: {why}");
}

fn as_user(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={UID}"), &format!("--regid={UID}")]);
    command.args(["--clear-groups", program]);
    command
}

impl Jail {
    fn new(level: Level, who: Who) -> Self {
        let sandbox = Sandbox::new();
        sandbox.token("canary-token");
        for directory in ["work", "conf", "bin"] {
            fs::create_dir(sandbox.path(directory)).unwrap();
        }
        let token = sandbox.path("tokens/token");
        let settings = format!("# canary-settings\n[job]\ntoken_file = \"{}\"\n", token.display());
        sandbox.write("conf/settings.toml", settings);
        for script in fs::read_dir(FIXTURES).unwrap() {
            let script = script.unwrap();
            if script.path().is_file() {
                let copy = sandbox.path("work").join(script.file_name());
                fs::copy(script.path(), copy).unwrap();
            }
        }
        sandbox.add("-P survey", "API_KEY", "canary-value");
        sandbox.add_service("-P survey", "ninja", "ada", "canary-password");
        let jail = Self { sandbox, level, who };
        // Others may pass, as through any home, and look at nothing.
        for directory in [jail.sandbox.home(), jail.sandbox.memory()] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o711)).unwrap();
        }
        match who {
            Root => {}
            RunAs => give(&jail.work()),
            User if geteuid().is_root() => {
                give(jail.sandbox.home());
                give(jail.sandbox.memory());
            }
            User => {}
        }
        jail
    }

    fn work(&self) -> PathBuf {
        self.sandbox.path("work")
    }

    /// Whether the job runs as the account that can read the key.
    fn same_account(&self) -> bool {
        self.who != RunAs
    }

    fn uid_0(&self) -> bool {
        self.who == Root
    }

    /// Whether the job is in namespaces.
    fn apart(&self) -> bool {
        self.level != Process
    }

    /// A program as whoever runs jobs here.
    fn own<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.as_runner(self.sandbox.command(arguments))
    }

    fn as_runner(&self, own: Command) -> Command {
        if self.who != User || !geteuid().is_root() {
            return own;
        }
        let mut command = as_user(own.get_program().to_str().unwrap());
        command.args(own.get_args()).env_clear();
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.sandbox.home());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A run of a script, which gets the level, whose job it is, the home, and what is given.
    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let settings = self.sandbox.path("conf/settings.toml");
        let report = self.sandbox.path("report.json");
        let home = self.sandbox.home().to_str().unwrap();
        let mut all = vec!["--settings", settings.to_str().unwrap(), "exec", "--report"];
        all.extend([report.to_str().unwrap(), "--containment", self.level.word()]);
        if self.who == RunAs {
            all.extend(["--run-as", "nobody"]);
        }
        all.extend(["-P", "survey", "--timeout", "60", "--grace", "1", "--"]);
        all.extend(PYTHON);
        let who = format!("{:?}", self.who);
        all.extend([script, self.level.word(), &who, home]);
        all.extend(arguments);
        let mut command = self.own(all);
        command.current_dir(self.work());
        command
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Said {
        // Of the run before.
        fs::remove_file(self.sandbox.path("report.json")).unwrap_or_default();
        self.said(crate::support::end(self.command(script, arguments)))
    }

    fn said(&self, ended: Ended) -> Said {
        let place = format!("{:?} {:?}", self.level, self.who);
        let mut lines = BTreeMap::<_, Vec<_>>::new();
        for (name, result) in ended.stdout.lines().filter_map(|line| line.split_once('=')) {
            lines.entry(name.to_owned()).or_default().push(result.to_owned());
        }
        let report = fs::read(self.sandbox.path("report.json")).ok();
        let report = report.map(|text| schema::report(&text));
        Said { place, lines, ended, report: report.unwrap_or_default() }
    }
}

/// Gives a directory and all in it to the ordinary user.
fn give(path: &Path) {
    chown(path, Some(UID), Some(UID)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

impl Said {
    /// The run ended by itself, was wiped and reported, and the script came to its end.
    #[track_caller]
    fn cleanly(self) -> Self {
        self.show(self.ended.code == 0, "ended with 0");
        self.show(self.report["outcome"]["kind"] == "succeeded", "succeeded");
        self.show(self.report["wipe"]["verified"] == true, "is wiped");
        self
    }

    /// Everything that was told under a name; something must have been.
    #[track_caller]
    fn all(&self, name: &str) -> &[String] {
        self.lines.get(name).map_or_else(
            || {
                self.show(false, &format!("told of `{name}`"));
                &[][..]
            },
            Vec::as_slice,
        )
    }

    /// An attack was refused, by whatever error, each time.
    #[track_caller]
    fn refused(&self, name: &str) {
        let refused = |result: &String| result.starts_with('E');
        self.show(self.all(name).iter().all(refused), &format!("refused `{name}`"));
    }

    /// An attack worked: a documented fact.
    #[track_caller]
    fn done(&self, name: &str) {
        self.is(name, "done");
    }

    #[track_caller]
    fn is_done_if(&self, name: &str, expected: bool) {
        if expected { self.done(name) } else { self.refused(name) }
    }

    #[track_caller]
    fn is(&self, name: &str, expected: &str) {
        let all = self.all(name).iter().all(|result| result == expected);
        self.show(all, &format!("told `{name}={expected}`"));
    }

    /// What was told under a name that begins so.
    fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    #[track_caller]
    fn show(&self, holds: bool, what: &str) {
        let Self { place, ended: Ended { code, stdout, stderr }, report, .. } = self;
        assert!(holds, "{place}: not {what}; code {code}\n{stdout}\n{stderr}\n{report:#}");
    }
}
