//! The table of all kills.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::plan::{Case, Cause, Victim};
use super::tracer::Phase;

/// What became of one kill.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Who was killed in fact; nobody, if the run had ended before.
    pub(super) victim: Option<Victim>,
    pub(super) files: usize,
    pub(super) processes: usize,
    /// After a double kill without namespaces: what was there until the next start.
    pub(super) left_to_next: usize,
    pub(super) took: Duration,
    pub(super) problems: Vec<String>,
}

/// The sum of many.
#[derive(Debug, Default)]
pub(super) struct Tally {
    lines: BTreeMap<(String, String, Phase), Line>,
    pub(super) problems: Vec<String>,
    pub(super) kills: usize,
    pub(super) missed: usize,
}

#[derive(Debug, Default)]
struct Line {
    kills: usize,
    files: usize,
    processes: usize,
    left_to_next: usize,
    slowest: Duration,
}

impl Tally {
    pub(super) fn add(&mut self, case: &Case, row: Row) {
        for problem in &row.problems {
            self.problems.push(format!("{case}: {problem}"));
        }
        let Some(victim) = row.victim else {
            self.missed += 1;
            return;
        };
        self.kills += 1;
        let level = format!("{}, {}", case.level.word(), case.account);
        let cause = match case.cause {
            Cause::Signal(signal) => signal.to_string(),
            Cause::Crash => "crash".into(),
        };
        let line = self.lines.entry((level, format!("{cause} {}", name(victim)), case.phase()));
        let line = line.or_default();
        line.kills += 1;
        line.files += row.files;
        line.processes += row.processes;
        line.left_to_next += row.left_to_next;
        line.slowest = line.slowest.max(row.took);
    }

    /// The table, to be printed.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        let heading = ("level", "victim", "phase");
        writeln!(
            table,
            "{:<31} {:<15} {:<9} {:>5} {:>5} {:>9} {:>12} {:>8}",
            heading.0,
            heading.1,
            heading.2,
            "kills",
            "files",
            "processes",
            "left to next",
            "slowest"
        )
        .unwrap();
        for ((level, victim, phase), line) in &self.lines {
            let Line { kills, files, processes, left_to_next, slowest } = line;
            let slowest = format!("{} ms", slowest.as_millis());
            let phase = phase.to_string();
            writeln!(
                table,
                "{level:<31} {victim:<15} {phase:<9} {kills:>5} {files:>5} {processes:>9} \
                 {left_to_next:>12} {slowest:>8}"
            )
            .unwrap();
        }
        writeln!(table, "{} kills; {} came after the end", self.kills, self.missed).unwrap();
        table
    }

    /// Fails, and says what remained.
    #[track_caller]
    pub(super) fn insist(&self, text: &str) {
        let first: Vec<&str> = self.problems.iter().take(30).map(String::as_str).collect();
        let count = self.problems.len();
        let first = first.join("\n");
        assert!(count == 0, "{count} problems, such as:\n{first}\n{text}{}", self.table());
        // Else the points were not where they were looked for.
        assert!(self.missed * 10 <= self.kills, "{} of {} missed", self.missed, self.kills);
    }
}

fn name(victim: Victim) -> &'static str {
    match victim {
        Victim::Outer => "outer",
        Victim::Inner => "inner",
        Victim::Both => "both",
        Victim::Leader => "leader",
    }
}
