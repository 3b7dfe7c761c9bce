//! What the job writes, on its way through the runner to whoever reads it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use super::{Going, report, run, run_command, script};
use crate::support::{Sandbox, end, inner, until};

/// More than all pipes on the way hold.
const MUCH: usize = 64 << 20;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "value-1");
    sandbox
}

/// A job in Python.
fn python(text: &str) -> Json {
    json!({"command": ["/usr/bin/python3", "-c", text]})
}

/// The resident memory of a process, in bytes.
fn memory(pid: Pid) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn number(path: &Path) -> usize {
    fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Waits until a number in a file stays as it is.
fn until_it_stands(path: &Path) -> usize {
    let mut last = (0, Instant::now());
    until("the job is held up", || {
        let now = number(path);
        if now != last.0 || now == 0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(500)
    });
    last.0
}

/// Writes `MUCH` bytes to standard output, and how many it has written to the file `written`.
fn much() -> String {
    format!(
        "import os
block = b'0123456789abcdef' * 4096
for i in range({MUCH} // len(block)):
    rest = block
    while rest:
        rest = rest[os.write(1, rest):]
    with open('written.new', 'w') as file:
        file.write(str((i + 1) * len(block)))
    os.rename('written.new', 'written')"
    )
}

#[test]
fn both_streams_arrive_byte_for_byte() {
    let sandbox = sandbox();
    let mut bytes = Vec::new();
    File::open("/dev/urandom").unwrap().take(3_000_000).read_to_end(&mut bytes).unwrap();
    sandbox.write("data", &bytes);
    // In pieces of all sizes, to both at once.
    let text = "cat data & dd if=data bs=777 status=none >&2; wait";
    let mut command = run_command(&sandbox, script(text), &[]);
    let file = |name: &str| File::create_new(sandbox.path(name)).unwrap();
    command.stdout(file("stdout")).stderr(file("stderr"));
    end(command).success();
    assert!(fs::read(sandbox.path("stdout")).unwrap() == bytes, "standard output is not the same");
    // The runner warns where a job is root's.
    let stderr = fs::read(sandbox.path("stderr")).unwrap();
    assert!(stderr.ends_with(&bytes), "standard error is not the same");
    let output = &report(&sandbox)["output"];
    for stream in ["stdout", "stderr"] {
        assert_eq!(output[stream]["bytes"], bytes.len(), "{stream}");
        assert_eq!(output[stream]["whole"], true, "{stream}");
        // A character that was cut at the front is left away.
        let last = &bytes[bytes.len() - 4096..];
        let cut = last.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
        assert_eq!(output[stream]["tail"], *String::from_utf8_lossy(&last[cut..]), "{stream}");
    }
}

#[test]
fn values_are_masked_on_both_streams_and_counted() {
    let sandbox = sandbox();
    let text = "printf 'a val'; sleep 0.1; printf 'ue-1 b'; echo \"$API_KEY\" >&2; printf val";
    let options = ["--log", "off"];
    let ended = end(run_command(&sandbox, script(text), &options)).success();
    assert_eq!((&*ended.stdout, &*ended.stderr), ("a *** bval", "***\n"));
    let report = report(&sandbox);
    assert_eq!(report["masked"], json!({"envvar:API_KEY": 2}));
    assert_eq!(report["output"]["stdout"]["tail"], "a *** bval");
    assert_eq!(report["output"]["stderr"]["tail"], "***\n");
}

#[test]
fn the_report_holds_the_end_of_it() {
    let sandbox = sandbox();
    let text = "i=0; while [ $i -lt 2000 ]; do echo \"ä line $i\"; i=$((i+1)); done; echo e >&2";
    run(&sandbox, script(text)).success();
    let output = &report(&sandbox)["output"];
    assert_eq!(output["stderr"], json!({"bytes": 2, "whole": true, "tail": "e\n"}));
    let tail = output["stdout"]["tail"].as_str().unwrap();
    assert!(tail.ends_with("ä line 1998\nä line 1999\n"), "{tail}");
    assert!((4090..=4096).contains(&tail.len()) && !tail.contains('\u{fffd}'), "{tail}");
    run(&sandbox, json!({"command": ["true"]})).success();
    let nothing = json!({"bytes": 0, "whole": true, "tail": ""});
    assert_eq!(report(&sandbox)["output"], json!({"stdout": nothing, "stderr": nothing}));
}

/// A reader that doesn't read holds up the job, and takes no memory.
#[test]
fn a_slow_reader_holds_up_the_job() {
    let sandbox = sandbox();
    let mut going = Going::spawn(run_command(&sandbox, python(&much()), &[]));
    let written = sandbox.path("written");
    let stands = until_it_stands(&written);
    assert!(stands < 4 << 20, "{stands} bytes were taken");
    let before = memory(inner(going.pid()).unwrap());
    let mut stdout = going.0.stdout.take().unwrap();
    stdout.by_ref().take(16 << 20).read_to_end(&mut Vec::new()).unwrap();
    until_it_stands(&written);
    let after = memory(inner(going.pid()).unwrap());
    assert!(after < before + (2 << 20), "{before} bytes became {after}");
    let mut rest = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            count => rest += count,
        }
    }
    assert_eq!(rest, MUCH - (16 << 20));
    going.end().success();
}

#[test]
fn a_stream_that_is_held_up_holds_up_no_other() {
    let sandbox = sandbox();
    let text = format!("{}\n", much()).replace("import os\n", "import os\nos.write(2, b'first')\n");
    let text = text + "os.write(2, b'second')";
    let mut going = Going::spawn(run_command(&sandbox, python(&text), &["--log", "off"]));
    until_it_stands(&sandbox.path("written"));
    let mut stderr = going.0.stderr.take().unwrap();
    let mut first = [0; 5];
    stderr.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    let mut stdout = going.0.stdout.take().unwrap();
    assert_eq!(std::io::copy(&mut stdout, &mut std::io::sink()).unwrap(), MUCH as u64);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second");
    going.end().success();
}

#[test]
fn a_prompt_comes_at_once() {
    let sandbox = sandbox();
    let text = "printf 'name? '; read name; printf 'place? ' >&2; read place; echo $name $place";
    let mut command = run_command(&sandbox, script(text), &["--log", "off"]);
    let mut going = Going::spawn({
        command.stdin(Stdio::piped());
        command
    });
    let (mut stdin, mut stdout) = (going.0.stdin.take().unwrap(), going.0.stdout.take().unwrap());
    let mut stderr = going.0.stderr.take().unwrap();
    let mut asked = [0; 6];
    stdout.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"name? ");
    stdin.write_all(b"Ada\n").unwrap();
    let mut asked = [0; 7];
    stderr.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"place? ");
    stdin.write_all(b"Bern\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "Ada Bern\n");
    going.end().success();
}

/// `| head -1`
#[test]
fn a_reader_that_goes_ends_a_job_that_writes() {
    for level in ["namespace", "process"] {
        for text in ["exec yes", "echo y; while echo again; do sleep 0.01; done"] {
            let sandbox = sandbox();
            let options = ["--containment", level];
            let mut going = Going::spawn(run_command(&sandbox, script(text), &options));
            let mut line = [0; 2];
            let mut stdout = going.0.stdout.take().unwrap();
            stdout.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"y\n");
            drop(stdout);
            // As a shell says it: 128 + SIGPIPE.
            going.end().fails(141);
            let report = report(&sandbox);
            assert_eq!(report["outcome"]["signal"], "SIGPIPE", "{level}, {text}: {report:#}");
            assert_eq!(report["output"]["stdout"]["whole"], false, "{level}, {text}: {report:#}");
        }
    }
}

/// A socket hangs up where a pipe has an error. The job that writes nothing more can notice it.
#[test]
fn a_reader_at_a_socket_that_goes_is_noticed() {
    let sandbox = sandbox();
    let text = "import os, select
os.write(1, b'y')
gone = select.poll()
gone.register(1, 0)
print(gone.poll(30_000) != [], file=open('noticed', 'w'))";
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let mut command = run_command(&sandbox, python(text), &[]);
    command.stdout(OwnedFd::from(writer));
    let going = Going::spawn(command);
    reader.read_exact(&mut [0]).unwrap();
    drop(reader);
    going.end().success();
    assert_eq!(fs::read_to_string(sandbox.path("noticed")).unwrap(), "True\n");
    assert_eq!(report(&sandbox)["output"]["stdout"]["whole"], false);
}

/// A full disk: what is lost of a result must be noticed, what is lost of a log stops no job.
#[test]
fn what_cannot_be_written_is_told() {
    let sandbox = sandbox();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut command = run_command(&sandbox, json!({"command": ["yes"]}), &[]);
    command.stdout(full());
    end(command).fails(141);
    assert_eq!(report(&sandbox)["output"]["stdout"]["whole"], false);
    let text = "i=0; while [ $i -lt 100 ]; do echo $i >&2; i=$((i+1)); done; exit 3";
    let mut command = run_command(&sandbox, script(text), &[]);
    command.stderr(full());
    end(command).fails(3);
    let stderr = &report(&sandbox)["output"]["stderr"];
    assert_eq!((&stderr["whole"], &stderr["bytes"]), (&json!(false), &json!(290)), "{stderr:#}");
}

/// A process outside that is sent the job's standard output, and keeps it.
struct Holder {
    process: Child,
    stdin: Option<ChildStdin>,
}

impl Holder {
    fn start(sandbox: &Sandbox, then: &str) -> Self {
        let text = format!(
            "import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind('holder')
listener.listen()
_, (held, *_), *_ = socket.recv_fds(listener.accept()[0], 1, 1)
open('held', 'w').close()
{then}
sys.stdin.read()"
        );
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", &text]).current_dir(sandbox.home()).stdin(Stdio::piped());
        let mut process = command.spawn().unwrap();
        until("it listens", || sandbox.path("holder").exists());
        let stdin = process.stdin.take();
        Self { process, stdin }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn a_stranger_that_holds_the_stream_keeps_no_run() {
    for level in ["namespace", "process"] {
        for then in ["pass", "while True: os.write(held, b'x' * 1000); time.sleep(0.001)"] {
            let sandbox = sandbox();
            let holder = Holder::start(&sandbox, then);
            let text = "import os, socket, time
os.write(1, b'before')
with socket.socket(socket.AF_UNIX) as sender:
    sender.connect('holder')
    socket.send_fds(sender, [b'x'], [1])
while not os.path.exists('held'):
    time.sleep(0.01)
os.write(1, b'after')";
            let options = ["--containment", level];
            let mut going = Going::spawn(run_command(&sandbox, python(text), &options));
            let ended = if then == "pass" {
                let ended = going.end().success();
                assert_eq!(ended.stdout, "beforeafter", "{level}");
                ended
            } else {
                // What it writes has to be read.
                crate::support::finish_here(&mut going.0).success()
            };
            assert!(ended.stdout.starts_with("before"), "{level}");
            assert!(ended.stdout.contains("after"), "{level}");
            drop(holder);
        }
    }
}

/// Writes as much as it can while no reader reads, and ends.
const UNREAD: &str = "import os, fcntl, select
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
count = 0
while select.select([], [1], [], 0.5)[1]:
    count += os.write(1, b'x' * 4096)
open('count', 'w').write(str(count))";

fn unread(sandbox: &Sandbox, members: Json, options: &[&str]) -> Going {
    let mut job = python(UNREAD);
    for (key, value) in members.as_object().unwrap() {
        job[key] = value.clone();
    }
    Going::spawn(run_command(sandbox, job, options))
}

#[test]
fn the_wipe_waits_for_no_reader() {
    let sandbox = sandbox();
    let mut going = unread(&sandbox, json!({}), &["--containment", "process"]);
    until("the job has run", || sandbox.path("count").exists());
    until("everything is wiped", || sandbox.left_behind().is_empty());
    let count = number(&sandbox.path("count"));
    // More than the reader's own pipe holds: the runner waits.
    assert!(count > 70_000, "{count}");
    assert!(going.0.try_wait().unwrap().is_none(), "it didn't wait");
    assert!(!sandbox.path("report.json").exists());
    let mut text = String::new();
    going.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.len(), count);
    going.end().success();
    let report = report(&sandbox);
    assert_eq!(report["wipe"]["verified"], true);
    assert_eq!(report["output"]["stdout"]["whole"], true);
}

#[test]
fn an_order_ends_the_wait_for_a_reader() {
    for level in ["namespace", "process"] {
        let sandbox = sandbox();
        let going = unread(&sandbox, json!({}), &["--containment", level]);
        let pid = inner(going.pid());
        until("the job has run", || sandbox.path("count").exists());
        let pid = pid.or_else(|| inner(going.pid())).unwrap();
        until("the tree is gone", || inner(pid).is_none());
        going.signal(Signal::SIGTERM);
        let ended = going.end();
        let report = report(&sandbox);
        // The order may have come while the job was still there.
        if report["outcome"]["kind"] == "succeeded" {
            ended.success();
        }
        assert_eq!(report["output"]["stdout"]["whole"], false, "{level}: {report:#}");
        assert_eq!(report["wipe"]["verified"], true, "{level}: {report:#}");
    }
}

/// What the runner has to say of that goes the same way.
#[test]
fn an_order_ends_a_run_whose_log_nobody_reads() {
    for level in ["namespace", "process"] {
        let sandbox = sandbox();
        let text = UNREAD.replace("(1,", "(2,").replace("[1],", "[2],");
        let mut job = python(&text);
        // The order may come while the job is still there; then the reader has the grace period.
        job["grace_s"] = 1.into();
        let mut command = run_command(&sandbox, job, &["--containment", level]);
        command.stdout(Stdio::null());
        let going = Going::spawn(command);
        until("the job has run", || sandbox.path("count").exists());
        going.signal(Signal::SIGTERM);
        // Nothing is read before it has ended.
        going.end();
        let stderr = &report(&sandbox)["output"]["stderr"];
        assert_eq!(stderr["whole"], false, "{level}: {stderr:#}");
    }
}

#[test]
fn after_a_timeout_a_reader_has_the_grace_period() {
    let sandbox = sandbox();
    let members = json!({
        "command": ["sh", "-c", "yes"], "timeout_s": 1, "grace_s": 1,
    });
    let going = Going::spawn(run_command(&sandbox, members, &[]));
    going.end().fails(124);
    let report = report(&sandbox);
    assert_eq!(report["output"]["stdout"]["whole"], false, "{report:#}");
    let waited = report["stages_us"]["output"].as_u64().unwrap();
    assert!((900_000..10_000_000).contains(&waited), "{waited} us");
}

/// Many a job writes nothing, or not for a long time.
#[test]
fn a_silent_job_costs_no_thread() {
    let sandbox = sandbox();
    let text = "touch up; while [ ! -e go ]; do sleep 0.01; done; echo 1; touch out
        while [ ! -e end ]; do sleep 0.01; done";
    let going = Going::spawn(run_command(&sandbox, script(text), &[]));
    until("the job runs", || sandbox.path("up").exists());
    let threads = || {
        let inner = inner(going.pid()).unwrap();
        fs::read_dir(format!("/proc/{inner}/task")).unwrap().count()
    };
    assert_eq!(threads(), 1);
    sandbox.write("go", "");
    until("it has written", || sandbox.path("out").exists());
    until("the stream flows", || threads() == 2);
    sandbox.write("end", "");
    assert_eq!(going.end().success().stdout, "1\n");
}

#[test]
fn values_are_shown_on_terminals_only() {
    let sandbox = sandbox();
    for arguments in [
        &["exec", "-P", "survey", "--no-mask", "--", "true"][..],
        // Before anything is pulled: there is no such file.
        &["run", "--no-mask", "nowhere.json"],
    ] {
        sandbox.run(arguments).error(64, "usage", "--no-mask is for a terminal only");
    }
}
