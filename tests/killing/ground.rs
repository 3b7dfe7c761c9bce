//! What all runs of this module stand on: a database server, and a program and a job that every
//! account can execute. It is there as long as a test holds it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use serde::Deserialize;
use tempfile::TempDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

static SHARED: Mutex<Weak<Ground>> = Mutex::new(Weak::new());

pub(super) struct Ground {
    files: TempDir,
    database: Mutex<Database>,
}

struct Database {
    child: Child,
    statements: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    port: u16,
    log: PathBuf,
}

#[derive(Deserialize)]
struct Ready {
    port: u16,
}

impl Ground {
    /// The one that other tests hold, or a new one.
    pub(super) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let ground = Arc::new(Self::new());
            *shared = Arc::downgrade(&ground);
            ground
        })
    }

    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        open(files.path());
        let program = PathBuf::from(env!("CARGO_BIN_EXE_qgis-secrets"));
        let job = Path::new(FIXTURES).join("killed_job.py");
        for (from, name) in [(program, "qgis-secrets"), (job, "job.py")] {
            let copy = files.path().join(name);
            fs::copy(from, &copy).unwrap();
            open(&copy);
        }
        let database = Mutex::new(Database::start(files.path()));
        Self { files, database }
    }

    pub(super) fn program(&self) -> PathBuf {
        fs::canonicalize(self.files.path().join("qgis-secrets")).unwrap()
    }

    pub(super) fn job(&self) -> String {
        self.files.path().join("job.py").to_str().unwrap().to_owned()
    }

    /// Makes a role that comes in with this password, and nothing else. Returns the server's port.
    pub(super) fn role(&self, name: &str, password: &str) -> u16 {
        let mut database = self.database.lock().unwrap();
        database.execute(&format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"));
        database.port
    }
}

impl Database {
    fn start(directory: &Path) -> Self {
        let log = directory.join("log");
        let mut options = fs::OpenOptions::new();
        let errors = options.append(true).create(true).open(&log).unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .arg(Path::new(FIXTURES).join("killed_database.py"))
            .env("TMPDIR", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("/usr/bin/python3 is missing: run `make deps`");
        let statements = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let ready: Ready = serde_json::from_str(&line).expect("PostgreSQL starts");
        Self { child, statements, answers, port: ready.port, log }
    }

    fn execute(&mut self, statement: &str) {
        let asked = writeln!(self.statements.as_mut().unwrap(), "{statement}");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let log = || fs::read_to_string(&self.log).unwrap();
        assert!(asked.is_ok() && line == "\n", "PostgreSQL refuses: {}", log());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // At the end of its input it stops the server and removes its directory.
        drop(self.statements.take());
        drop(self.child.wait());
    }
}
