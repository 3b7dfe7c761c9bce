//! What the tests share: a private home for the program, and waiting for conditions.

pub(crate) mod http;
pub(crate) mod schema;
pub(crate) mod tls;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value as Json;
use tempfile::TempDir;

/// How long a condition may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home directory, a store and a tmpfs directory of one test's own. Nothing of it stays.
pub(crate) struct Sandbox {
    home: TempDir,
    memory: TempDir,
}

/// How a finished command ended.
pub(crate) struct Ended {
    /// The exit code; 128 + n if a signal ended the program itself.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        Self { home: tempfile::tempdir().unwrap(), memory }
    }

    /// The home directory; the store is at its default place below it.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path below the home directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    /// The default place of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path(".local/share/qgis-secrets/store.db")
    }

    /// The default place of the key.
    pub(crate) fn key(&self) -> PathBuf {
        self.path(".local/share/qgis-secrets/store.key")
    }

    /// Where workspaces go.
    pub(crate) fn memory(&self) -> &Path {
        self.memory.path()
    }

    /// Writes a file below the home directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(content.as_ref()).unwrap();
        path
    }

    /// Writes a token, apart from what jobs need. Returns its path.
    pub(crate) fn token(&self, content: &str) -> PathBuf {
        fs::create_dir_all(self.path("tokens")).unwrap();
        self.write("tokens/token", content)
    }

    /// Writes a descriptor: the given members over a minimal one.
    pub(crate) fn job(&self, members: Json) -> PathBuf {
        let mut job = serde_json::json!({
            "version": 1, "id": "job-1", "organization": "org", "project": "survey",
            "user": "ada", "command": ["true"],
        });
        for (key, value) in members.as_object().unwrap() {
            job[key] = value.clone();
        }
        self.write("job.json", job.to_string())
    }

    /// The program with these arguments, in a clean environment.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qgis-secrets"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home())
            .env("LANG", "C.UTF-8")
            .env("XDG_RUNTIME_DIR", self.memory())
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        end(self.command(arguments))
    }

    /// Runs the program with something on standard input.
    pub(crate) fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: impl AsRef<[u8]>,
    ) -> Ended {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A program that refuses its input early closes the pipe.
        drop(stdin.write_all(input.as_ref()));
        drop(stdin);
        finish(child)
    }

    /// Adds an environment variable; `place` is as on the command line: `-P survey`. It isn't masked,
    /// so that a test sees what a job got by letting it print that.
    pub(crate) fn add(&self, place: &str, name: &str, value: &str) {
        let mut arguments = vec!["secret", "add", name, "--not-sensitive"];
        arguments.extend(place.split(' '));
        self.run_with(arguments, value).success();
    }

    /// The same, masked.
    pub(crate) fn add_sensitive(&self, place: &str, name: &str, value: &str) {
        let mut arguments = vec!["secret", "add", name];
        arguments.extend(place.split(' '));
        self.run_with(arguments, value).success();
    }

    /// Adds a service with a user and a password.
    pub(crate) fn add_service(&self, place: &str, name: &str, user: &str, password: &str) {
        let mut arguments = vec!["secret", "add-service", "--service", name];
        arguments.extend(["--db-host", "localhost", "--db-user", user, "--password-stdin"]);
        arguments.extend(place.split(' '));
        self.run_with(arguments, password).success();
    }

    /// Runs a shell command as a job of project `survey`, organization `org`, user `ada`.
    pub(crate) fn shell(&self, script: &str) -> Ended {
        self.run(["exec", "-P", "survey", "-O", "org", "-U", "ada", "--", "sh", "-c", script])
    }

    /// What the script of a job like that prints, past the runner: nothing of it is masked.
    #[track_caller]
    pub(crate) fn printed(&self, script: &str) -> String {
        let file = self.path("printed");
        let ended = self.shell(&format!("{{ {script}\n}} > '{}'", file.display())).success();
        assert_eq!(ended.stdout, "");
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        text
    }

    /// What is left of workspaces: nothing, once no run of this sandbox is going on.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        fs::read_dir(self.memory()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Every test that ends well is also a test of the wipe.
        if !std::thread::panicking() {
            assert_eq!(self.left_behind(), Vec::<PathBuf>::new(), "a run left something behind");
        }
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.fails(0)
    }

    /// Checks the exit code, and shows everything if it is another.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        let Self { code: got, stdout, stderr } = &self;
        assert_eq!(*got, code, "\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// Checks the exit code, the stable word and a part of the message.
    #[track_caller]
    pub(crate) fn error(self, code: i32, kind: &str, message: &str) -> Self {
        let ended = self.fails(code);
        let line = format!("error[{kind}]: ");
        let stderr = &ended.stderr;
        assert!(stderr.contains(&line), "no `{line}` in\n{stderr}");
        assert!(stderr.contains(message), "no `{message}` in\n{stderr}");
        ended
    }
}

/// Runs a command to its end.
pub(crate) fn end(mut command: Command) -> Ended {
    finish(command.spawn().unwrap())
}

/// Waits for a child, reading its output meanwhile.
pub(crate) fn finish(mut child: Child) -> Ended {
    finish_here(&mut child)
}

/// The same for a child that somebody else holds.
pub(crate) fn finish_here(child: &mut Child) -> Ended {
    let mut stderr = child.stderr.take();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = &mut stderr {
            stderr.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut stdout = Vec::new();
    if let Some(out) = &mut child.stdout {
        out.read_to_end(&mut stdout).unwrap();
    }
    let status = child.wait().unwrap();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    Ended { code, stdout, stderr: errors.join().unwrap() }
}

/// Waits until `condition` holds; panics with `what` after a long while.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

/// The runner's inner process, as soon as there is one: the only child of the outer one.
pub(crate) fn inner(outer: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

/// Reads a JSON file; if it is a report, it must be one by the schema.
#[track_caller]
pub(crate) fn json(path: &Path) -> Json {
    let json: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    if json.get("stages_us").is_some() {
        schema::assert_report(&json);
    }
    json
}

/// The lines of the log, each of which must be JSON with what every line has. Other lines begin
/// with a word.
#[track_caller]
pub(crate) fn log_lines(stderr: &str) -> Vec<Json> {
    let lines = stderr.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Json> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for line in &lines {
        for member in ["timestamp", "level", "target", "message"] {
            assert!(line[member].is_string(), "no {member}: {line}");
        }
    }
    lines
}
