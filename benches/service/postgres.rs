//! A private PostgreSQL server, reached by a socket in its own directory. What it commits is on the
//! disk, as in production.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use qgis_secrets::settings::{Place, Postgres};
use tempfile::TempDir;

/// A server that runs.
pub(super) struct Cluster {
    home: TempDir,
    process: Child,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            let owner = ["chown", "postgres:postgres"];
            assert!(
                Command::new(owner[0]).arg(owner[1]).arg(home.path()).status().unwrap().success()
            );
        }
        let data = home.path().join("data");
        let mut make = account("initdb");
        // Only the directory's owner and root get at the socket.
        make.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]);
        assert!(make.arg(&data).stdout(Stdio::null()).status().unwrap().success());
        let socket = format!("unix_socket_directories={}", home.path().display());
        let mut serve = account("postgres");
        serve.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c", &socket]);
        let process = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let cluster = Self { home, process };
        let until = Instant::now() + Duration::from_secs(60);
        let ready = || {
            let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            state.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        };
        while !ready() {
            assert!(Instant::now() < until, "PostgreSQL does not start");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        cluster
    }

    /// How to reach it, in libpq's form.
    pub(super) fn connection(&self) -> String {
        format!("host={} port=5432 dbname=postgres user=postgres", self.home.path().display())
    }

    pub(super) fn place(&self) -> Place {
        let settings = Postgres::parse(&self.connection(), None, None, None).unwrap();
        Place::Postgres(Box::new(settings))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        // "Fast": connections are ended. setpriv became the server, so this is its number.
        kill(pid, Signal::SIGINT).unwrap_or_default();
        drop(self.process.wait());
    }
}

/// A program of PostgreSQL, as an account that it accepts.
fn account(program: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("no PostgreSQL: run `make deps`");
    let mut paths: Vec<PathBuf> = versions
        .map(|entry| entry.unwrap().path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    let mut command = Command::new("setpriv");
    if geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(paths.pop().expect("no PostgreSQL: run `make deps`"));
    command.current_dir("/").stdin(Stdio::null());
    command
}
