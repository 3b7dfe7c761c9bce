//! What masking costs: the masker between two pipes, and the whole runner around a job that writes.
//!
//! The plain pump is this program too, with the same buffers and the same loop: what differs is
//! the masking.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use qgis_secrets::redact::{Masker, Sensitive};
use qgis_secrets::secret::Value;

use super::{Home, judged, row};

/// As the first argument: be a pump. The second says which.
pub(super) const PUMP: &str = "--pump";

/// The size of the file that is read, and how often.
const FILE: usize = 64 << 20;
const TIMES: usize = 16;

const PAIRS: usize = 7;
const PIPE: i32 = 1 << 20;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qgis_log.py");

/// Measures all of it.
pub(super) fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path());
    println!("masking {} MiB of a log of QGIS; medians of {PAIRS} pairs", (FILE * TIMES) >> 20);
    for (what, secrets, least) in [
        ("20 random secrets", "random:20", 0.75),
        ("20 secrets like words", "words:20", 0.75),
        ("200 random secrets", "random:200", 0.35),
    ] {
        let (masked, plain) = pairs(|| through(&log, secrets), || through(&log, "plain"));
        let share = plain.as_secs_f64() / masked.as_secs_f64();
        let name = format!("{what}, against a plain pump: share of its speed");
        judged(&name, share, 2, least, share >= least);
        row("  GiB a second", format!("{:.2}", gib() / masked.as_secs_f64()), "");
    }
    whole_runner(&log);
}

fn gib() -> f64 {
    (FILE * TIMES) as f64 / f64::from(1 << 30)
}

/// A log of 100,000 lines of real work, over and over.
fn log(folder: &Path) -> PathBuf {
    eprintln!("making a log of QGIS");
    let (once, many) = (folder.join("once"), folder.join("log"));
    let mut script = Command::new("/usr/bin/python3");
    script.arg(SCRIPT).arg("100000").arg(folder.join("forms"));
    script.env("QT_QPA_PLATFORM", "offscreen").env("HOME", folder);
    script.stdin(Stdio::piped()).stdout(created(&once)).stderr(Stdio::null());
    let mut script = script.spawn().unwrap();
    // Not among the values that are masked: nearly all lines of a log hold none.
    let values = br#"{"A": "Survey2024!", "B": "gis-Postgres#1"}"#;
    script.stdin.take().unwrap().write_all(values).unwrap();
    assert!(script.wait().unwrap().success(), "no log: run `make deps`");
    let text = fs::read(once).unwrap();
    let mut file = created(&many);
    let mut written = 0;
    while written < FILE {
        let part = &text[..text.len().min(FILE - written)];
        file.write_all(part).unwrap();
        written += part.len();
    }
    many
}

fn created(path: &Path) -> File {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).unwrap()
}

/// `cat` through a pump.
fn through(log: &Path, pump: &str) -> Duration {
    let started = Instant::now();
    let mut cat = cat(log).stdout(Stdio::piped()).spawn().unwrap();
    let mut pump = Command::new(std::env::current_exe().unwrap())
        .args([PUMP, pump])
        .stdin(cat.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sink = sink(&mut pump);
    for child in [&mut cat, &mut pump, &mut sink] {
        assert!(child.wait().unwrap().success());
    }
    started.elapsed()
}

fn cat(log: &Path) -> Command {
    let mut cat = Command::new("cat");
    cat.args(vec![log; TIMES]).stdin(Stdio::null());
    cat
}

/// Reads what a child writes.
fn sink(child: &mut Child) -> Child {
    let from = child.stdout.take().unwrap();
    Command::new("cat").stdin(from).stdout(Stdio::null()).spawn().unwrap()
}

/// The medians of both, in turn.
fn pairs(a: impl Fn() -> Duration, b: impl Fn() -> Duration) -> (Duration, Duration) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for index in 0..=PAIRS {
        let (one, two) = (a(), b());
        // The first is to warm up.
        if index > 0 {
            first.push(one);
            second.push(two);
        }
    }
    (median(first), median(second))
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// Is a pump: `plain`, or one that masks `random:20` or `words:20` secrets.
pub(super) fn pump(which: &str) {
    let (mut from, mut to) =
        (File::from(owned(std::io::stdin())), File::from(owned(std::io::stdout())));
    for pipe in [&from, &to] {
        // A pipe may refuse to grow; then it stays as it is for each pump.
        fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE)).unwrap_or_default();
    }
    let (kind, count) = which.split_once(':').unwrap_or((which, "0"));
    let secrets = secrets(kind, count.parse().unwrap());
    let sensitive = secrets
        .iter()
        .map(|(name, value)| Sensitive { name: name.clone(), value: Value::from(value.as_str()) });
    let mut stream = Arc::new(Masker::new(sensitive.collect())).stream();
    if kind == "plain" {
        let mut buffer = vec![0; buffer_size()];
        loop {
            match from.read(&mut buffer).unwrap() {
                0 => break,
                read => to.write_all(&buffer[..read]).unwrap(),
            }
        }
        return;
    }
    loop {
        match from.read(stream.space()).unwrap() {
            0 => break,
            read => to.write_all(stream.filled(read)).unwrap(),
        }
    }
    to.write_all(stream.end()).unwrap();
}

/// The room that a stream which masks gives at first.
fn buffer_size() -> usize {
    let sensitive = Sensitive { name: "a".to_owned(), value: Value::from("a value") };
    Arc::new(Masker::new(vec![sensitive])).stream().space().len()
}

fn owned(stream: impl AsFd) -> std::os::fd::OwnedFd {
    stream.as_fd().try_clone_to_owned().unwrap()
}

/// Names and values.
fn secrets(kind: &str, count: usize) -> Vec<(String, String)> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = 1_u64;
    let mut letter = move || {
        // Knuth's MMIX generator: always the same secrets.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(state >> 33) as usize % LETTERS.len()])
    };
    (0..count)
        .map(|index| {
            let value = match kind {
                "words" => format!("alpha-secret-value-{index:04}"),
                _ => (0..32).map(|_| letter()).collect(),
            };
            (format!("SECRET_{index}"), value)
        })
        .collect()
}

/// The runner around a job that writes.
fn whole_runner(log: &Path) {
    let masked = Home::with(&secrets("random", 20), true);
    let open = Home::with(&secrets("random", 20), false);
    let script = format!("cat {}", vec![log.to_str().unwrap(); TIMES].join(" "));
    let timed = |mut command: Command| {
        let started = Instant::now();
        let mut job = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut sink = sink(&mut job);
        assert!(job.wait().unwrap().success() && sink.wait().unwrap().success());
        started.elapsed()
    };
    let job = ["sh", "-c", &script];
    let (with, without) = pairs(|| timed(masked.command(&job)), || timed(open.command(&job)));
    let times = with.as_secs_f64() / without.as_secs_f64();
    judged(
        "a job that writes 1 GiB, against one without masking: times",
        times,
        2,
        1.3,
        times <= 1.3,
    );
    let (with, alone) = pairs(|| timed(masked.command(&job)), || timed(cat(log)));
    let times = with.as_secs_f64() / alone.as_secs_f64();
    row("  against the job alone, in the same pipe: times", format!("{times:.2}"), "");
    memory(&masked, &script);
    latency(&masked);
}

/// Peak memory of both processes of a runner, while its job writes and when nobody reads.
fn memory(home: &Home, script: &str) {
    // The job tells when it has written all of it, and stays.
    let told = format!("{script}; echo done >&2; read end");
    let mut child = home
        .command(&["sh", "-c", &told])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sink = sink(&mut child);
    let mut line = [0; 5];
    child.stderr.take().unwrap().read_exact(&mut line).unwrap();
    let read = super::status(child.id(), "VmHWM") as f64 / 1024.0;
    drop(child.stdin.take());
    assert!(sink.wait().unwrap().success() && child.wait().is_ok());
    judged("peak memory of the runner, 1 GiB written: MiB", read, 1, 16.0, read <= 16.0);

    let mut child = home.command(&["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    // Nothing moves any more when what the runner has read stays the same.
    let mut before = u64::MAX;
    loop {
        std::thread::park_timeout(Duration::from_millis(300));
        let now = super::read_bytes(child.id());
        if now == before {
            break;
        }
        before = now;
    }
    let unread = super::status(child.id(), "VmHWM") as f64 / 1024.0;
    child.kill().unwrap();
    child.wait().unwrap();
    judged("  with a reader that doesn't read: MiB", unread, 1, 16.0, unread <= 16.0);
}

/// How long a lone line and a prompt take to come out, through the runner and through a plain pump.
fn latency(home: &Home) {
    let command = || home.command(&["cat"]);
    let bare = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([PUMP, "plain"]);
        command
    };
    for (what, text) in [("a lone line", "a line of a log\n"), ("a prompt", "Go on? ")] {
        let through = echoes(command(), text);
        let plain = echoes(bare(), text);
        let more = (through.as_secs_f64() - plain.as_secs_f64()) * 1e3;
        let name = format!("{what}, through the runner, more than a plain pump: ms");
        judged(&name, more, 3, 2.0, more <= 2.0);
        row("  through a plain pump: ms", format!("{:.3}", plain.as_secs_f64() * 1e3), "");
    }
}

/// The median time in which a command that gives back what it gets does so.
fn echoes(mut command: Command, text: &str) -> Duration {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut back = vec![0; text.len()];
    let mut all = Vec::new();
    for index in 0..220 {
        let started = Instant::now();
        to.write_all(text.as_bytes()).unwrap();
        from.read_exact(&mut back).unwrap();
        if index >= 20 {
            all.push(started.elapsed());
        }
        assert_eq!(back, text.as_bytes());
    }
    drop(to);
    assert!(child.wait().unwrap().success());
    median(all)
}
