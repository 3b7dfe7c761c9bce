//! A job's run: what it gets, how it ends, what is told of it.

mod audit;
mod environment;
mod feedback;
mod logs;
mod outcome;
mod output;
mod posted;
mod process;
mod report;
mod signals;
mod tree;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use crate::support::{Ended, Sandbox, end, finish_here, until};

/// A `run` of a descriptor with these members, a report to `report.json`, and more options.
fn run_command(sandbox: &Sandbox, members: Json, options: &[&str]) -> Command {
    let job = sandbox.job(members);
    let mut arguments: Vec<OsString> = vec!["run".into(), "--report".into()];
    arguments.push(sandbox.path("report.json").into());
    arguments.extend(options.iter().map(OsString::from));
    arguments.push(job.into());
    sandbox.command(arguments)
}

fn run(sandbox: &Sandbox, members: Json) -> Ended {
    end(run_command(sandbox, members, &[]))
}

/// A run with a settings file.
fn run_with_settings(sandbox: &Sandbox, settings: &str, members: Json) -> Ended {
    let settings = sandbox.write("settings.toml", settings);
    end(run_command(sandbox, members, &["--settings", settings.to_str().unwrap()]))
}

/// The members of a descriptor that runs a shell script.
pub(crate) fn script(text: &str) -> Json {
    json!({"command": ["sh", "-c", text]})
}

/// The report of the last run.
fn report(sandbox: &Sandbox) -> Json {
    crate::support::json(&sandbox.path("report.json"))
}

/// Longer than any limit in these tests, on a busy machine too: only a hang takes so long.
pub(crate) const HANG: Duration = Duration::from_secs(30);

/// A run that is going on.
pub(crate) struct Going(pub(crate) Child);

impl Going {
    fn start(sandbox: &Sandbox, members: Json) -> Self {
        Self::spawn(run_command(sandbox, members, &[]))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the end. A run that hangs is killed, for it would hang the tests as well.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let started = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            if started.elapsed() > HANG {
                panic!("the run does not end");
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        finish_here(&mut self.0)
    }
}

impl Drop for Going {
    /// A test that fails leaves no run behind. What has been waited for gets no signal.
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until a file holds `text`.
#[track_caller]
pub(crate) fn until_written(path: &Path, text: &str) {
    let what = format!("{} holds `{text}`", path.display());
    until(&what, || std::fs::read_to_string(path).is_ok_and(|content| content.contains(text)));
}

#[test]
fn a_job_gets_its_variables() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    let ended = sandbox.shell("printf %s \"$API_KEY\"").success();
    assert_eq!(ended.stdout, "value-1");
    let ended = run(&sandbox, json!({"command": ["printenv", "API_KEY"]})).success();
    assert_eq!(ended.stdout, "value-1\n");
}
