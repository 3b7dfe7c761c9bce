//! What a run costs, side by side with what it is compared with, as ratios in one run.
//!
//! Each pair is measured in turn, A B A B …, so that a machine whose speed drifts does not favour
//! one of them; the ratio is that of the medians. Nothing here passes or fails, but what masking and
//! the secrets service cost is said to keep its limits or not. `-- masking` and `-- service` measure
//! those alone.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a benchmark")]

mod masking;
mod service;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_qgis-secrets");
const PAIRS: usize = 200;
const WARM_UP: usize = 10;

fn main() {
    // `cargo bench` passes `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [masking::PUMP, which] => return masking::pump(which),
        ["masking"] => return masking::measure(),
        ["service"] => return service::measure(),
        [] => {}
        _ => panic!("only `masking` or `service` may be named"),
    }
    let five = Home::with_secrets(5);
    println!("{PAIRS} pairs each, after {WARM_UP} that don't count; medians\n");
    println!("{:<58} {:>12} {:>9}", "what", "measured", "at most");
    start_up(&five);
    more_secrets(&five);
    more_rows(&five);
    memory_and_idleness(&five);
    println!();
    masking::measure();
    println!();
    service::measure();
    println!();
    stages(&five);
}

/// `run` on `/bin/true` with five secrets, against the smallest supervisor that containers use.
fn start_up(five: &Home) {
    let (ours, tini) = pairs(|| five.job(), || Some(silent("tini", &["-s", "--", "/bin/true"])));
    row("run /bin/true, five secrets, against tini -s: times", ratio(ours, tini), "2.5");
    row("  the run itself: ms", millis(ours), "");
    row("  tini -s: ms", millis(tini), "");
    let (bare, _) = pairs(|| silent("/bin/true", &[]), || None);
    row("  /bin/true alone: ms", millis(bare), "");
    let without = || {
        let mut command = five.job();
        command.env("QGIS_SECRETS_CONTAINMENT", "process");
        Some(command)
    };
    let (within, without) = pairs(|| five.job(), without);
    row("in namespaces, against two processes without: times", ratio(within, without), "");
}

/// The price of each further secret, and whether it stays the same.
fn more_secrets(five: &Home) {
    for count in [100, 1_000] {
        let many = Home::with_secrets(5 + count);
        let (large, small) = pairs(|| many.job(), || Some(five.job()));
        let each = (large.as_secs_f64() - small.as_secs_f64()) * 1e3 / f64::from(count);
        row(&format!("one more secret, of {count} more: ms"), format!("{each:.3}"), "0.2");
    }
}

/// The same five secrets in a store of many.
fn more_rows(five: &Home) {
    let hundred = Home::with_secrets(5);
    hundred.fill(95);
    let million = Home::with_secrets(5);
    eprintln!("filling a store with 1,000,000 rows");
    million.fill(999_995);
    let (large, small) = pairs(|| million.job(), || Some(hundred.job()));
    row("store of 1,000,000 rows against 100: times", ratio(large, small), "1.2");
    drop(five.job());
}

/// What the runner holds, and whether it stirs, while its job sleeps.
fn memory_and_idleness(five: &Home) {
    let mut child = five.command(&["sleep", "3"]).spawn().unwrap();
    let status = |key: &str| status(child.id(), key);
    std::thread::park_timeout(Duration::from_secs(1));
    let before = status("voluntary_ctxt_switches");
    std::thread::park_timeout(Duration::from_secs(1));
    let wake_ups = status("voluntary_ctxt_switches") - before;
    let peak = status("VmHWM") as f64 / 1024.0;
    row("peak memory of both processes while the job works: MiB", format!("{peak:.1}"), "14");
    row("wake-ups in one second of a sleeping job", wake_ups.to_string(), "0");
    child.wait().unwrap();
}

/// The outer process of a run and the inner one.
fn processes(outer: u32) -> Vec<String> {
    let children = format!("/proc/{outer}/task/{outer}/children");
    let children = fs::read_to_string(children).unwrap();
    children.split_whitespace().map(str::to_owned).chain([outer.to_string()]).collect()
}

/// The sum over both processes of a number in a file of `/proc`.
fn sum(outer: u32, file: &str, key: &str) -> u64 {
    let of = |pid: &String| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    processes(outer).iter().map(of).sum()
}

fn status(outer: u32, key: &str) -> u64 {
    sum(outer, "status", key)
}

/// How many bytes both processes have read.
fn read_bytes(outer: u32) -> u64 {
    sum(outer, "io", "rchar:")
}

/// Where the time of a run goes, by its own report.
fn stages(five: &Home) {
    let mut laps: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let report = five.home.path().join("report.json");
    for _ in 0..100 {
        let mut command = five.command(&["/bin/true"]);
        command.env("QGIS_SECRETS_SETTINGS", five.home.path().join("settings.toml"));
        assert!(command.status().unwrap().success());
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        for (stage, micros) in json["stages_us"].as_object().unwrap() {
            laps.entry(stage.clone()).or_default().push(micros.as_u64().unwrap());
        }
    }
    println!("where the time goes, µs, median of 100 runs");
    for stage in ["contain", "pull", "resolve", "materialise", "supervise", "wipe"] {
        let mut micros = laps.remove(stage).unwrap();
        micros.sort_unstable();
        println!("  {stage:<56} {:>12}", micros[micros.len() / 2]);
    }
}

fn row(what: &str, measured: impl std::fmt::Display, at_most: &str) {
    println!("{what:<58} {measured:>12} {at_most:>9}");
}

/// A row with a limit, and whether it is kept.
fn judged(what: &str, measured: f64, digits: usize, limit: f64, kept: bool) {
    let verdict = if kept { "kept" } else { "NOT KEPT" };
    println!("{what:<58} {measured:>12.digits$} {limit:>9} {verdict}");
}

fn at_most(what: &str, measured: f64, digits: usize, limit: f64) {
    judged(what, measured, digits, limit, measured <= limit);
}

fn at_least(what: &str, measured: f64, digits: usize, limit: f64) {
    judged(&format!("{what}, at least"), measured, digits, limit, measured >= limit);
}

fn ratio(a: Duration, b: Duration) -> String {
    format!("{:.2}", a.as_secs_f64() / b.as_secs_f64())
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}

/// The medians of both commands, run in turn.
fn pairs(a: impl Fn() -> Command, b: impl Fn() -> Option<Command>) -> (Duration, Duration) {
    let time = |mut command: Command| {
        let started = Instant::now();
        assert!(command.status().unwrap().success());
        started.elapsed()
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for index in 0..WARM_UP + PAIRS {
        let one = time(a());
        let two = b().map(time).unwrap_or_default();
        if index >= WARM_UP {
            first.push(one);
            second.push(two);
        }
    }
    first.sort_unstable();
    second.sort_unstable();
    (first[PAIRS / 2], second[PAIRS / 2])
}

fn silent(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A home directory with a store of its own.
struct Home {
    home: TempDir,
}

impl Home {
    /// With this many variables for the project `p`.
    fn with_secrets(count: u32) -> Self {
        let value = |index| format!("a password of usual length {index}");
        let secrets = (0..count).map(|index| (format!("SECRET_{index}"), value(index)));
        Self::with(&secrets.collect::<Vec<_>>(), true)
    }

    /// With these variables for the project `p`.
    fn with(secrets: &[(String, String)], sensitive: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let text: String =
            secrets.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let file = home.path().join("all.env");
        private(&file, &text);
        let settings = format!("report.file = {:?}\n", home.path().join("report.json"));
        private(&home.path().join("settings.toml"), &settings);
        let made = Self { home };
        if sensitive {
            let mut import = made.program(&["secret", "import", "-P", "p", "--yes"]);
            import.arg(&file).stderr(Stdio::null());
            assert!(import.status().unwrap().success());
            return made;
        }
        for (name, value) in secrets {
            let mut add = made.program(&["secret", "add", name, "-P", "p", "--not-sensitive"]);
            let mut add = add.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            add.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
            assert!(add.wait().unwrap().success());
        }
        made
    }

    /// Puts rows of other projects beside them. Their values are copies of a sealed one, and open
    /// for nobody: only their number matters.
    fn fill(&self, rows: u32) {
        let path = self.home.path().join(".local/share/qgis-secrets/store.db");
        let mut store = rusqlite::Connection::open(path).unwrap();
        let tx = store.transaction().unwrap();
        tx.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO secret
             SELECT level, 'project-' || (i / 5), user, kind, key || '_' || (i % 5), id || i,
                    sensitive, created_at, created_by, key_id, sealed
             FROM n, (SELECT * FROM secret LIMIT 1)",
            [rows],
        )
        .unwrap();
        tx.commit().unwrap();
    }

    fn job(&self) -> Command {
        self.command(&["/bin/true"])
    }

    fn command(&self, job: &[&str]) -> Command {
        let mut command = self.program(&["exec", "-P", "p", "--"]);
        command.args(job);
        command
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = silent(PROGRAM, arguments);
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        // As root it would warn each time; and each run would be in the audit.
        command.env("QGIS_SECRETS_LOG", "off");
        command
    }
}

fn private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(path).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
