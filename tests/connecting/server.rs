//! A private PostgreSQL server with TLS. It listens on 127.0.0.1, wants passwords there, and lets
//! its administrator in through a socket in its own directory.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use super::CANARY;
use crate::support::until;

/// A running server. Dropping it stops it and removes all that it wrote.
pub(crate) struct Server {
    home: TempDir,
    programs: PathBuf,
    process: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let programs = programs();
        if geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            succeed(Command::new("chown").arg("postgres:postgres").arg(home.path()), "");
        }
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let data = home.path().join("data");
        succeed(
            as_account(programs.join("initdb"))
                .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth-local=peer"])
                .args(["--auth-host=scram-sha-256", "-D"])
                .arg(&data),
            "",
        );
        // Everybody but its owner is kept away from the key by the directory.
        succeed(
            as_account("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
                .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
                .args(["-addext", "subjectAltName=DNS:localhost"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .arg("-keyout")
                .arg(data.join("server.key"))
                .arg("-out")
                .arg(data.join("server.crt")),
            "",
        );
        // Another program may take a free port before the server does.
        for _ in 0..3 {
            let port = free_port();
            let mut command = as_account(programs.join("postgres"));
            command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
            let socket = format!("unix_socket_directories={}", home.path().display());
            for setting in [
                "listen_addresses=127.0.0.1",
                &socket,
                "ssl=on",
                "password_encryption=scram-sha-256",
                // Shared memory in the data directory.
                "dynamic_shared_memory_type=mmap",
                "fsync=off",
                "full_page_writes=off",
            ] {
                command.args(["-c", setting]);
            }
            let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let mut ready = false;
            until("PostgreSQL is ready", || {
                let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
                ready = state.lines().nth(7).is_some_and(|line| line.trim() == "ready");
                ready || process.try_wait().unwrap().is_some()
            });
            if ready {
                return Self { home, programs, process, port };
            }
        }
        panic!("PostgreSQL does not start");
    }

    /// Runs SQL as the administrator; the rows, unaligned.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut command = as_account(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-h"]);
        command.arg(self.home.path()).args(["-p", &self.port.to_string()]);
        succeed(&mut command, sql)
    }

    /// The certificate that it shows, which signs itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.home.path().join("data/server.crt")
    }

    /// The directory of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().into()
    }

    /// The text of a service: the usual settings, with these instead.
    pub(super) fn service(&self, name: &str, user: &str, settings: &[(&str, &str)]) -> String {
        let port = self.port.to_string();
        let usual = [
            ("host", "127.0.0.1"),
            ("port", port.as_str()),
            ("dbname", "gis"),
            ("user", user),
            ("password", CANARY),
        ];
        let kept = usual.iter().filter(|(key, _)| settings.iter().all(|(other, _)| key != other));
        let lines = kept.chain(settings).map(|(key, value)| format!("{key}={value}\n"));
        format!("[{name}]\n{}", lines.collect::<String>())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // "Fast": connections are ended. setpriv became the server, so this is its number.
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap_or_default();
        drop(self.process.wait());
    }
}

/// A port of 127.0.0.1 at which nobody listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The directory of the newest server that is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("no PostgreSQL: run `make deps`");
    let newest = versions
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| {
            let version = bin.parent().and_then(|path| path.file_name()?.to_str());
            version.and_then(|name| name.parse::<f32>().ok()).map_or(0, |version| version as u32)
        });
    newest.expect("no PostgreSQL server: run `make deps`")
}

/// A program that runs as the account of the server, and ends with the thread of the test.
fn as_account(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=INT");
    if geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(program).current_dir("/").stdin(Stdio::null());
    command.env("LC_ALL", "C.UTF-8");
    command
}

#[track_caller]
fn succeed(command: &mut Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // What is read and what is written here is less than a pipe holds.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}
