//! Many runs at once on one host: each has its own values, and nobody else's are touched.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::plan::Level;
use super::processes::{self, Marks};
use super::search::{Canary, Search};
use super::subject::Going;
use crate::support::{Sandbox, end, until};

const RUNS: usize = 50;

/// Shows its values in a file, waits at the gate, and shows them again, on its output too.
const JOB: &str = r#"
    show() { echo "$CANARY"; cat "$PGSERVICEFILE"; }
    show > "first-$1"; : > "stands-$1"; read -r go < gate; show > "second-$1"; show
"#;

struct One {
    project: String,
    variable: Canary,
    password: Canary,
}

impl One {
    fn new(sandbox: &Sandbox, n: usize) -> Self {
        let one =
            Self { project: format!("p{n}"), variable: Canary::new(), password: Canary::new() };
        let place = format!("-P {}", one.project);
        sandbox.add_sensitive(&place, "CANARY", &one.variable.0);
        sandbox.add_service(&place, "kill", "ada", &one.password.0);
        one
    }

    fn command(&self, sandbox: &Sandbox, level: Level) -> Command {
        let words = ["exec", "-P", &self.project, "--", "sh", "-c", JOB, "sh", &self.project];
        let mut command = sandbox.command(words);
        command.env("QGIS_SECRETS_CONTAINMENT", level.word());
        command
    }
}

fn all_at_once(level: Level) {
    let sandbox = Sandbox::new();
    let crowd: Vec<One> = (0..RUNS).map(|n| One::new(&sandbox, n)).collect();
    let canaries: Vec<Canary> =
        crowd.iter().flat_map(|one| [one.variable.clone(), one.password.clone()]).collect();
    let search = Search::new(&canaries, sandbox.home().to_owned());
    mkfifo(&sandbox.path("gate"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    // Open at both ends, so that nobody waits for it to be opened.
    let mut options = fs::OpenOptions::new();
    let mut gate = options.read(true).write(true).open(sandbox.path("gate")).unwrap();

    let going: Vec<Going> =
        crowd.iter().map(|one| Going::start(one.command(&sandbox, level))).collect();
    let stands = |one: &One| sandbox.path(&format!("stands-{}", one.project)).exists();
    until("all stand", || crowd.iter().all(stands));
    let mut sweep = sandbox.command(["sweep"]);
    sweep.env("QGIS_SECRETS_CONTAINMENT", level.word());
    let swept = end(sweep);
    gate.write_all("\n".repeat(RUNS).as_bytes()).unwrap();

    for (one, going) in crowd.iter().zip(going) {
        let ended = going.finish().unwrap().success();
        let [first, second] = ["first", "second"].map(|when| {
            let path = sandbox.path(&format!("{when}-{}", one.project));
            let text = fs::read_to_string(&path).unwrap();
            fs::remove_file(path).unwrap();
            text
        });
        assert_eq!(first, second, "{}: not the same after a sweep", one.project);
        assert!(first.contains(&one.variable.0) && first.contains(&one.password.0), "{first}");
        let seen: BTreeSet<&str> = canaries
            .iter()
            .map(|canary| canary.0.as_str())
            .filter(|canary| first.contains(canary))
            .collect();
        assert_eq!(seen.len(), 2, "{} sees what is another's: {seen:?}", one.project);
        let masked = first.replace(&one.variable.0, "***").replace(&one.password.0, "***");
        assert_eq!(ended.stdout, masked, "{}", one.project);
    }
    swept.success();
    let marks = Marks::new([sandbox.home().to_owned(), sandbox.memory().to_owned()]);
    let all = processes::all();
    assert!(marks.own(&all).is_empty(), "{:?}", marks.own(&all));
    assert_eq!(search.find(&all, &[]), Vec::<String>::new());
}

#[test]
fn fifty_runs_without_namespaces() {
    all_at_once(Level::Process);
}

#[test]
fn fifty_runs_in_namespaces() {
    all_at_once(Level::Namespace);
}
