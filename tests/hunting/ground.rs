//! A sandbox full of canaries, the runs on it, and all that a run leaves where somebody can look.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Value as Json, json};

use super::canaries::{Canary, Flock, KEY, QUOTES, SPECIAL, TOKEN};
use super::{Evidence, Hunter};
use crate::support::http::{Answer, Server};
use crate::support::{Ended, Sandbox, end};

pub(super) const LEAKING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/leaking.py");

/// What the job of project `survey`, organization `org`, user `ada` gets, and how it looks.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("HUNT_USER", "-P survey -U ada", TOKEN),
    ("HUNT_PROJECT", "-P survey", SPECIAL),
    ("HUNT_MEMBER", "-O org -U ada", QUOTES),
    ("HUNT_ORG", "-O org", TOKEN),
    ("HUNT_KEY", "-P survey", KEY),
];

/// What it doesn't get: shadowed, or somebody else's.
const OTHERS: &[(&str, &str)] = &[
    ("HUNT_USER", "-P survey"),
    ("HUNT_USER", "-O org -U ada"),
    ("HUNT_USER", "-O org"),
    ("HUNT_PROJECT", "-O org"),
    ("HUNT_OTHER", "-P garden"),
    ("HUNT_OTHER", "-P garden -U ada"),
    ("HUNT_OTHER", "-P survey -U bob"),
    ("HUNT_OTHER", "-O club"),
    ("HUNT_OTHER", "-O club -U ada"),
    ("HUNT_OTHER", "-O org -U bob"),
];

/// The names under which the job's own values are counted when they are masked.
pub(super) const COUNTED: &[&str] = &[
    "env:AWS_JOB_SECRET",
    "env:TASK_SECRET",
    "envvar:HUNT_KEY",
    "envvar:HUNT_MEMBER",
    "envvar:HUNT_ORG",
    "envvar:HUNT_PROJECT",
    "envvar:HUNT_USER",
    "pgservice:ninja",
];

pub(super) struct Ground {
    pub(super) sandbox: Sandbox,
    pub(super) server: Server,
    flock: Flock,
    task: Canary,
    passed: Canary,
    kept: Canary,
    /// What the test itself has written with canaries in it.
    own: Vec<PathBuf>,
    since: SystemTime,
}

impl Ground {
    /// A ground whose secrets are masked, and whose reports get these answers.
    pub(super) fn new(answers: &[u16]) -> Self {
        Self::with(answers, true)
    }

    /// The same, but nothing is masked unless `sensitive`.
    pub(super) fn with(answers: &[u16], sensitive: bool) -> Self {
        let since = SystemTime::now();
        let sandbox = Sandbox::new();
        let mut flock = Flock::new();
        let add = |place: &str, name: &str, canary: &Canary| {
            if sensitive {
                sandbox.add_sensitive(place, name, &canary.value);
            } else {
                sandbox.add(place, name, &canary.value);
            }
        };
        for (name, place, pattern) in VARIABLES {
            add(place, name, &flock.canary(name, pattern));
        }
        for (name, place) in OTHERS {
            add(place, name, &flock.canary(&format!("{name} of {place}"), TOKEN));
        }
        for place in ["-P survey -U ada", "-P survey", "-O org", "-P garden"] {
            let password = flock.canary(&format!("password of {place}"), QUOTES).value;
            let other = flock.canary(&format!("sslpassword of {place}"), SPECIAL).value;
            let section = format!(
                "[ninja]\nhost=127.0.0.1\nport=1\ndbname=gis\nuser=ada_role\n\
                 password={password}\nsslpassword={other}\n"
            );
            let mut words = vec!["secret", "add-service", "--from-file", "-"];
            words.extend(place.split(' '));
            sandbox.run_with(words, section).success();
        }
        let report_token = sandbox.token(&flock.canary("report token", TOKEN).value);
        let job_token = sandbox.write("tokens/job", flock.canary("job token", TOKEN).value);
        let answers: Vec<Answer> = answers.iter().map(|status| Answer::status(*status)).collect();
        let server = Server::new(answers);
        fs::create_dir(sandbox.path("audit")).unwrap();
        sandbox.write("termination-log", "");
        let own = vec![report_token, job_token, sandbox.path("job.json")];
        let settings = format!(
            "environment.pass = ['PATH', 'HOME', 'LANG', 'QT_*', 'CPL_*', 'PORT', 'AWS_JOB_SECRET']
[job]\ntoken_file = '{1}'\ndeadline_s = 1
[report]\nurl = '{2}'\ntoken_file = '{0}'\ndeadline_s = 2\ntermination_log = '{3}'
[audit]\nfile = '{4}'\n",
            own[0].display(),
            own[1].display(),
            server.url("/reports"),
            sandbox.path("termination-log").display(),
            sandbox.path("audit/audit.jsonl").display(),
        );
        sandbox.write("settings.toml", settings);
        let task = flock.canary("TASK_SECRET", SPECIAL);
        let passed = flock.canary("AWS_JOB_SECRET", TOKEN);
        let kept = flock.canary("AZURE_CLIENT_SECRET", TOKEN);
        Self { sandbox, server, flock, task, passed, kept, own, since }
    }

    pub(super) fn hunter(&self) -> Hunter {
        self.flock.hunter()
    }

    /// One more canary, for a purpose of the test's own.
    pub(super) fn canary(&mut self, name: &str, pattern: &str) -> String {
        self.flock.canary(name, pattern).value
    }

    /// The program, in an environment that holds two credentials.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let settings = ["--settings", "settings.toml", "--log", "trace"];
        let mut command = self.sandbox.command(settings.iter().chain(words));
        command.env("AWS_JOB_SECRET", &self.passed.value);
        command.env("AZURE_CLIENT_SECRET", &self.kept.value);
        command.env("RUST_BACKTRACE", "full").env("QT_QPA_PLATFORM", "offscreen");
        command.env("CPL_DEBUG", "ON");
        command
    }

    /// The descriptor of a job, with these members over those of a job that is given everything.
    pub(super) fn describe(&self, members: &Json) {
        let mut job = json!({
            "env": {"TASK_SECRET": self.task.value},
            "mask_env": ["TASK_SECRET", "AWS_JOB_SECRET"],
            "timeout_s": 60, "grace_s": 1,
        });
        for (name, value) in members.as_object().unwrap() {
            job[name] = value.clone();
        }
        self.sandbox.job(job);
    }

    /// A run of `leaking.py MODE`, or of the members' own command.
    pub(super) fn run_command(&self, mode: &str, members: &Json, options: &[&str]) -> Command {
        let mut job = json!({"command": ["/usr/bin/python3", LEAKING, mode]});
        for (name, value) in members.as_object().unwrap() {
            job[name] = value.clone();
        }
        self.describe(&job);
        let words = ["run", "--report", "report.json"];
        self.command(&[&words[..], options, &["job.json"]].concat())
    }

    pub(super) fn run(&self, mode: &str, members: &Json, options: &[&str]) -> Ended {
        end(self.run_command(mode, members, options))
    }

    pub(super) fn report(&self) -> Json {
        crate::support::json(&self.sandbox.path("report.json"))
    }

    /// All that somebody can look at.
    pub(super) fn evidence(&self, ended: &Ended) -> Vec<Evidence> {
        let mut found = vec![
            Evidence::new("standard output", ended.stdout.as_bytes()),
            Evidence::new("standard error", ended.stderr.as_bytes()),
        ];
        for request in self.server.requests() {
            found.push(Evidence::new(format!("request {}", request.line), request.line));
            found.push(Evidence::new("POSTed report", request.body));
        }
        self.files(self.sandbox.home(), true, &mut found);
        self.files(self.sandbox.memory(), true, &mut found);
        for place in ["/tmp", "/var/tmp", "/dev/shm", "/run", "/var/crash"] {
            self.files(Path::new(place), false, &mut found);
        }
        found
    }

    /// The files of a directory; of a foreign one, those that changed since.
    fn files(&self, directory: &Path, all: bool, found: &mut Vec<Evidence>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            // Others come and go.
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            let own = [self.sandbox.home(), self.sandbox.memory()].contains(&&*path);
            if self.own.contains(&path) || own && !all {
                continue;
            }
            let place = path.display().to_string();
            if all {
                found.push(Evidence::new(
                    format!("the name of {place}"),
                    path.as_os_str().as_bytes(),
                ));
            }
            if about.is_dir() {
                self.files(&path, all, found);
            } else if about.is_file()
                && (all || about.modified().is_ok_and(|time| time >= self.since))
                && about.len() < 20_000_000
                && let Ok(bytes) = fs::read(&path)
                // Of a foreign file as it is only: it may be large, and is another test's.
                && (all || memchr::memmem::find(&bytes, self.hunter().flock.as_bytes()).is_some())
            {
                found.push(Evidence::new(place, bytes));
            }
        }
    }

    /// Searches everything. Finds nothing.
    #[track_caller]
    pub(super) fn is_clean(&self, what: &str, ended: &Ended) {
        let found = self.hunter().hunt(&self.evidence(ended));
        assert!(
            found.is_empty(),
            "{what}: {found:#?}\n--- stdout\n{:.6000}\n--- stderr\n{:.6000}",
            ended.stdout,
            ended.stderr
        );
    }
}
