//! Signals to the runner: passed on, and an order to end is always obeyed.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Going, HANG, report, run_command, script, until_written};
use crate::support::{Sandbox, end, inner, until};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    sandbox
}

#[test]
fn an_order_to_end_reaches_the_whole_group() {
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
    ] {
        let sandbox = sandbox();
        let child = format!(
            "trap 'echo child >> log; exit 0' {name}; echo ready > log
             while :; do sleep 0.05; done"
        );
        sandbox.write("child", child);
        let leader = format!("trap 'echo leader >> log; exit 7' {name}; sh ./child");
        let going = Going::start(&sandbox, script(&leader));
        let log = sandbox.path("log");
        until_written(&log, "ready");
        going.signal(signal);
        going.end().fails(7);
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log, "ready\nchild\nleader\n", "{signal}");
        let by = signal.as_str();
        let expected = json!({
            "kind": "cancelled", "by": by, "ended_by": "exit code 7", "job_exit_code": 7,
        });
        assert_eq!(report(&sandbox)["outcome"], expected);
    }
}

#[test]
fn a_job_that_ignores_term_is_killed_after_the_grace() {
    let sandbox = sandbox();
    let mut members = script("trap '' TERM; echo ready > log; while :; do sleep 0.05; done");
    members["grace_s"] = json!(0.4);
    let going = Going::start(&sandbox, members);
    until_written(&sandbox.path("log"), "ready");
    let told = Instant::now();
    going.signal(Signal::SIGTERM);
    going.end().fails(137);
    assert!(told.elapsed() >= Duration::from_millis(400), "{:?}", told.elapsed());
    let expected = json!({
        "kind": "cancelled", "by": "SIGTERM", "ended_by": "SIGKILL", "job_exit_code": 137,
    });
    assert_eq!(report(&sandbox)["outcome"], expected);
}

#[test]
fn a_second_order_kills_at_once() {
    let sandbox = sandbox();
    let mut members =
        script("trap 'echo told >> log' TERM INT; echo ready > log; while :; do sleep 0.05; done");
    members["grace_s"] = json!(3600);
    let going = Going::start(&sandbox, members);
    until_written(&sandbox.path("log"), "ready");
    going.signal(Signal::SIGTERM);
    until_written(&sandbox.path("log"), "told");
    // Later than an order that is the same one, told by two.
    std::thread::park_timeout(Duration::from_millis(700));
    let told = Instant::now();
    going.signal(Signal::SIGINT);
    going.end().fails(137);
    assert!(told.elapsed() < HANG);
    // The first order is the cause.
    assert_eq!(report(&sandbox)["outcome"]["by"], "SIGTERM");
    assert_eq!(report(&sandbox)["outcome"]["ended_by"], "SIGKILL");
}

/// systemd tells every process of a unit, timeout(1) its child and then its group, a shell and the
/// kernel the end of a terminal: that is one order, and leaves the job its grace.
#[test]
fn an_order_that_comes_from_two_sides_is_one() {
    let sandbox = sandbox();
    let mut members = script(
        "trap 'echo told >> log; sleep 1; echo ended >> log; exit 5' TERM
         echo ready > log; while :; do sleep 0.05; done",
    );
    members["grace_s"] = json!(3600);
    let going = Going::start(&sandbox, members);
    until_written(&sandbox.path("log"), "ready");
    going.signal(Signal::SIGTERM);
    until_written(&sandbox.path("log"), "told");
    going.signal(Signal::SIGTERM);
    going.signal(Signal::SIGHUP);
    going.end().fails(5);
    assert_eq!(report(&sandbox)["outcome"]["ended_by"], "exit code 5");
}

/// What nohup(1) ignored is not an order to end.
#[test]
fn a_hangup_that_was_ignored_stays_ignored() {
    for level in ["namespace", "process"] {
        let sandbox = sandbox();
        let own = sandbox.command(["exec", "-P", "survey", "--containment", level, "--"]);
        let mut command = std::process::Command::new("env");
        command.arg("--ignore-signal=HUP").arg(own.get_program()).args(own.get_args());
        command.args(["sh", "-c", "echo ready > log; while ! test -e go; do sleep 0.05; done"]);
        command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(sandbox.home()).stdin(Stdio::null());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let runner = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        until_written(&sandbox.path("log"), "ready");
        nix::sys::signal::kill(runner, Signal::SIGHUP).unwrap();
        std::thread::park_timeout(Duration::from_millis(200));
        sandbox.write("go", "");
        crate::support::finish(child).success();
    }
}

#[test]
fn other_signals_are_passed_on_as_they_are() {
    let sandbox = sandbox();
    let going = Going::start(
        &sandbox,
        script(
            "trap 'echo usr1 >> log' USR1; trap 'echo usr2 >> log' USR2
             trap 'echo winch >> log; exit 4' WINCH
             echo ready > log; while :; do sleep 0.05; done",
        ),
    );
    let log = sandbox.path("log");
    until_written(&log, "ready");
    for (signal, word) in
        [(Signal::SIGUSR1, "usr1"), (Signal::SIGUSR2, "usr2"), (Signal::SIGWINCH, "winch")]
    {
        going.signal(signal);
        until_written(&log, word);
    }
    going.end().fails(4);
    assert_eq!(fs::read_to_string(log).unwrap(), "ready\nusr1\nusr2\nwinch\n");
    assert_eq!(report(&sandbox)["outcome"], json!({"kind": "failed", "job_exit_code": 4}));
}

/// An order that comes before the job is started: the exit code, and a report that says so.
#[track_caller]
fn cancelled_before_the_start(sandbox: &Sandbox, going: Going, signal: Signal) {
    let told = Instant::now();
    going.signal(signal);
    let message = format!("the runner received {signal} before the job was started");
    going.end().error(128 + signal as i32, "cancelled", &message);
    assert!(told.elapsed() < HANG);
    let report = report(sandbox);
    assert_eq!(report["outcome"]["kind"], "not_started");
    assert_eq!(report["outcome"]["reason"], "cancelled");
    assert_eq!(report.get("job"), None);
    assert_eq!(sandbox.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_order_during_the_pull_from_an_address_ends_the_run() {
    let sandbox = sandbox();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/job", listener.local_addr().unwrap());
    let report = sandbox.path("report.json");
    let arguments = ["run", "--report", report.to_str().unwrap(), &url];
    let going = Going::spawn(sandbox.command(arguments));
    // It has asked, and gets no answer.
    let (mut connection, _) = listener.accept().unwrap();
    let mut byte = [0];
    connection.read_exact(&mut byte).unwrap();
    cancelled_before_the_start(&sandbox, going, Signal::SIGTERM);
}

/// Whether `/proc/PID/status` says that the runner catches `signal`.
fn catches(going: &Going, signal: Signal) -> bool {
    let Some(inner) = inner(going.pid()) else { return false };
    let status = fs::read_to_string(format!("/proc/{inner}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal as u64 - 1)) != 0
}

#[test]
fn an_order_during_the_pull_from_standard_input_ends_the_run() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = sandbox();
        let report = sandbox.path("report.json");
        let mut command = sandbox.command(["run", "--report", report.to_str().unwrap(), "-"]);
        let mut going = Going::spawn({
            command.stdin(Stdio::piped());
            command
        });
        let open = going.0.stdin.take();
        until("the runner catches signals", || catches(&going, signal));
        cancelled_before_the_start(&sandbox, going, signal);
        drop(open);
    }
}

#[test]
fn an_order_during_the_pull_from_a_pipe_ends_the_run() {
    let sandbox = sandbox();
    let pipe = sandbox.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let report = sandbox.path("report.json");
    let arguments = ["run", "--report", report.to_str().unwrap(), pipe.to_str().unwrap()];
    let going = Going::spawn(sandbox.command(arguments));
    until("the runner catches signals", || catches(&going, Signal::SIGTERM));
    cancelled_before_the_start(&sandbox, going, Signal::SIGTERM);
}

#[test]
fn a_descriptor_through_standard_input_is_run() {
    let sandbox = sandbox();
    let job = fs::read(sandbox.job(script("printf %s \"$API_KEY\""))).unwrap();
    assert_eq!(sandbox.run_with(["run", "-"], job).success().stdout, "value-1");
}

/// A store is not locked for others while a job runs, however long that is.
#[test]
fn secrets_can_be_added_while_a_job_runs() {
    let sandbox = sandbox();
    let going =
        Going::start(&sandbox, script("echo ready > log; while ! test -e go; do sleep 0.05; done"));
    until_written(&sandbox.path("log"), "ready");
    sandbox.add("-P survey", "ANOTHER", "value-2");
    sandbox.run(["key", "rotate"]).success();
    sandbox.write("go", "");
    going.end().success();
    let mut command = run_command(&sandbox, script("printf %s \"$ANOTHER\""), &[]);
    command.stdin(Stdio::null());
    assert_eq!(end(command).success().stdout, "value-2");
}

/// A signal that another thread took would wake nobody who waits for it.
#[test]
fn signals_are_for_the_main_thread() {
    let sandbox = sandbox();
    let text = "echo ready; while ! test -e go; do sleep 0.01; done";
    // A thread reads the descriptor, and stays for a while; another passes the output on.
    let job = File::open(sandbox.job(script(text))).unwrap();
    let mut command = sandbox.command(["run", "-"]);
    command.stdin(job);
    let going = Going::spawn(command);
    let others = || {
        let Some(inner) = inner(going.pid()) else { return Vec::new() };
        let Ok(threads) = fs::read_dir(format!("/proc/{inner}/task")) else { return Vec::new() };
        let threads = threads.flatten().filter(|thread| *thread.file_name() != *inner.to_string());
        let status = threads.map(|thread| fs::read_to_string(thread.path().join("status")));
        status.flatten().collect::<Vec<String>>()
    };
    until("both threads are there", || others().len() == 2);
    for status in others() {
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
        let blocked = u64::from_str_radix(blocked, 16).unwrap();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGTSTP, Signal::SIGCONT] {
            let bit = 1 << (signal as i32 - 1);
            assert_eq!(blocked & bit, bit, "{signal} may reach another thread: {status}");
        }
    }
    sandbox.write("go", "");
    going.end().success();
}
