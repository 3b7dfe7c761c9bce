//! The whole service: `qgis-secrets serve` as processes, asked by real runners and by hand.
//!
//! - `administering`: the commands that ask a service's API, over TLS and over a socket
//! - `ending`: what is running when a service is told to end
//! - `jobs`: what a job's token gets, how often, and what it doesn't
//! - `manager`: what a service manager such as systemd is told
//! - `members`: what changes for jobs when the orchestrator registers something else
//! - `place`: where a service listens, and whether it is ready
//! - `power`: a service that is killed while many change the store
//! - `quiet`: no value in anything that a service writes
//! - `replicas`: two services on one PostgreSQL database
//! - `rights`: services whose roles in the database have the documented rights
//! - `roles`: the sides apart, and that only one of them can open anything
//! - `rotation`: a new key while everybody goes on
//! - `token_keys`: public keys for job tokens in files that change
//! - `upkeep`: what a service does without being asked
//! - `wire`: TLS, mutual TLS, and a certificate that is renewed

mod administering;
mod ending;
mod jobs;
mod manager;
mod members;
mod place;
mod power;
mod quiet;
mod replicas;
mod rights;
mod roles;
mod rotation;
mod token_keys;
mod upkeep;
mod wire;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use crate::job_tokens::{Forger, jwks};
use crate::support::{Ended, Sandbox, end};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store, the orchestrator's key, and settings for services.
struct Ground {
    sandbox: Sandbox,
    orchestrator: Forger,
}

/// A service that runs.
struct Process {
    child: Child,
    /// `127.0.0.1:PORT`, or a socket's path.
    address: String,
    tls: bool,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// What a service answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn with(&self, status: u16) -> Json {
        assert_eq!(self.status, status, "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that it is a problem with this status and word.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) {
        assert_eq!(self.with(status)["kind"], kind, "{self:?}");
    }
}

impl Ground {
    /// Settings that trust the orchestrator, and more.
    fn new(more: &str) -> Self {
        let ground = Self { sandbox: Sandbox::new(), orchestrator: Forger::ed25519("o") };
        ground.sandbox.write("orchestrator.jwks", jwks(&[&ground.orchestrator]));
        ground.settings(more);
        ground
    }

    fn settings(&self, more: &str) {
        let keys = self.sandbox.path("orchestrator.jwks").display().to_string();
        let text = format!(
            "{more}\n[service.job_tokens]\nkeys_files = ['{keys}']\n\
             [service.limits]\nrequests_per_second = 10000\nfailures_per_minute = 1000000\n"
        );
        self.sandbox.write("serve.toml", text);
    }

    /// Five secrets at four levels for ada's jobs, one that is beaten, and a stranger's.
    fn fill(&self) {
        let sandbox = &self.sandbox;
        sandbox.add("-O org", "EVERYWHERE", "of-the-organization");
        sandbox.add("-O org", "BEATEN", "never-seen-beaten-value");
        sandbox.add("-P survey", "BEATEN", "of-the-project");
        sandbox.add("-P survey -U ada", "OWN", "of-ada-alone");
        sandbox.add_service("-P survey", "ninja", "role-9", "password-of-ninja");
        sandbox.add_sensitive("-P survey", "HIDDEN", "hidden-value-1");
        sandbox.add("-P survey -U eve", "OWN", "of-eve-alone");
        sandbox.add("-P other", "FOREIGN", "of-another-project");
    }

    fn serve(&self, more: &[&str]) -> Process {
        Process::start(self.serving(more))
    }

    fn serving(&self, more: &[&str]) -> Command {
        let file = self.sandbox.path("serve.toml").display().to_string();
        let words = ["serve", "--settings", &file, "--listen", "127.0.0.1:0"];
        self.sandbox.command(words.into_iter().chain(more.iter().copied()))
    }

    /// A new token for the job of [`Sandbox::job`], with the given claims over it.
    fn token(&self, claims: Json) -> String {
        token(&self.orchestrator, claims)
    }

    /// A command line on the store itself, with the service's settings.
    fn here(&self, command: &str) -> Ended {
        let file = self.sandbox.path("serve.toml").display().to_string();
        let words = ["--settings", &file].into_iter().chain(command.split(' '));
        self.sandbox.run(words)
    }

    /// A new API token for everything.
    fn operator(&self) -> String {
        self.here("api-token create test --operator").success().stdout.trim().to_owned()
    }

    /// Rows of the audit, the oldest first.
    fn audit(&self) -> Vec<Json> {
        let rows = self.here("audit export").success().stdout;
        let mut rows: Vec<Json> =
            rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        rows.sort_by_key(|row| row["id"].to_string());
        rows
    }
}

/// A token for the job of [`Sandbox::job`], with the given claims over it.
fn token(forger: &Forger, claims: Json) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let mut all = json!({
        "aud": "qgis-secrets", "exp": Timestamp::now().as_second() + 600,
        "jti": format!("jti-{number}"), "job": "job-1", "organization": "org",
        "project": "survey", "user": "ada",
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    forger.claiming(all)
}

/// The body of a request for the job of [`Sandbox::job`], with the given members over it.
fn request(members: Json) -> Json {
    let mut request = json!({
        "version": 1, "job": {"id": "job-1", "attempt": 1}, "organization": "org",
        "project": "survey", "user": "ada", "require": [],
    });
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let (receiver, log, reader) = listen(&mut child);
        let Ok(url) = receiver.recv_timeout(PATIENCE) else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not listen: {}", log.lock().unwrap());
        };
        let tls = url.starts_with("https://");
        let address = url.split_once("://").map_or(url.as_str(), |(_, address)| address);
        let address = address.to_owned();
        Self { child, address, tls, log, reader: Some(reader) }
    }

    fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Asks it to end, which it does with success; all that it said of itself.
    #[track_caller]
    fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        assert!(status.success(), "{status:?}: {}", self.log());
        self.log()
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it said of itself so far.
    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn send(&self, method: &str, path: &str, authorization: &str, body: Option<&Json>) -> Answer {
        self.try_send(method, path, authorization, body).unwrap()
    }

    /// Sends a request; `None` if the service is gone before it answers.
    fn try_send(
        &self,
        method: &str,
        path: &str,
        authorization: &str,
        body: Option<&Json>,
    ) -> Option<Answer> {
        let body = body.map(Json::to_string).unwrap_or_default();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        if !authorization.is_empty() {
            head.push_str(&format!("Authorization: Bearer {authorization}\r\n"));
        }
        if !body.is_empty() {
            let length = body.len();
            head.push_str("Content-Type: application/json\r\n");
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    fn resolve(&self, token: &str, members: Json) -> Answer {
        self.send("POST", "/v1/resolve", token, Some(&request(members)))
    }

    /// Adds an environment variable to the project `survey`.
    fn add(&self, operator: &str, key: &str, value: &str) -> Option<Answer> {
        let body = json!({"kind": "envvar", "key": key, "value": value});
        self.try_send("POST", "/v1/projects/survey/secrets", operator, Some(&body))
    }

    /// Runs a job with a token, in a sandbox of its own; `services` are asked in turn.
    fn run(services: &[&Self], worker: &Sandbox, token: &str, members: Json) -> Ended {
        worker.token(token);
        let job = worker.job(members).display().to_string();
        let urls: Vec<String> = services.iter().map(|service| service.url()).collect();
        let mut words = vec!["run", "--job-token-file", "tokens/token"];
        words.extend(urls.iter().flat_map(|url| ["--service", url.as_str()]));
        words.push(&job);
        end(worker.command(words))
    }
}

impl Drop for Process {
    /// A test that fails leaves no service behind. What has been waited for gets no signal.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads what the service says; where it listens comes through the channel.
fn listen(child: &mut Child) -> (Receiver<String>, Arc<Mutex<String>>, JoinHandle<()>) {
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let log = Arc::new(Mutex::new(String::new()));
    let (sender, receiver) = channel();
    let lines = Arc::clone(&log);
    let reader = std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            lines.lock().unwrap().push_str(&format!("{line}\n"));
            if let Some((_, address)) = line.split_once("listening at ") {
                drop(sender.send(address.trim().to_owned()));
            }
        }
    });
    (receiver, log, reader)
}
