//! Nothing remains, whatever dies: runs are killed at every system call, and what is left of them
//! is looked for in all memory, all files and all processes.
//!
//! `QGIS_SECRETS_TEST_KILLS` says how many kills; `make test-kill` has a thousand.

mod crowd;
mod endings;
mod ground;
mod plan;
mod planted;
mod processes;
mod search;
mod subject;
mod sweep;
mod tally;
mod tracer;

use std::fmt::Write;
use std::sync::Arc;

use nix::sys::signal::Signal;

use ground::Ground;
use plan::{Cause, Shape, Victim, cases, surroundings};

/// How many, unless the environment says so.
const KILLS: usize = 100;

fn kills() -> usize {
    let number = std::env::var("QGIS_SECRETS_TEST_KILLS").ok();
    number.map_or(KILLS, |number| number.parse().expect("QGIS_SECRETS_TEST_KILLS is a number"))
}

/// `count` kills over all accounts and levels; fails if something remains of one.
fn all_over(count: usize, fates: &[(Victim, Cause)]) -> String {
    let ground = Ground::shared();
    let surroundings = surroundings();
    let (mut text, mut planned) = (String::new(), Vec::new());
    for (i, (account, level)) in surroundings.iter().enumerate() {
        let n = surroundings.len();
        let share = count * (i + 1) / n - count * i / n;
        let shape = Arc::new(Shape::record(&ground, *account, *level));
        writeln!(text, "{} as {account}: {}", level.word(), shape.summary()).unwrap();
        planned.extend(cases((*account, *level), &shape, share, fates));
    }
    let tally = sweep::carry_out(&ground, planned);
    tally.insist(&text);
    text + &tally.table()
}

#[test]
fn nothing_remains_of_a_run_that_is_killed() {
    let kill = Cause::Signal(Signal::SIGKILL);
    let victims = [Victim::Outer, Victim::Inner, Victim::Both, Victim::Leader];
    println!("{}", all_over(kills(), &victims.map(|victim| (victim, kill))));
    search::notes().iter().for_each(|note| println!("{note}"));
}

#[test]
fn nothing_remains_of_a_run_that_crashes() {
    let fates = [Victim::Outer, Victim::Inner].map(|victim| (victim, Cause::Crash));
    println!("{}", all_over(kills() / 4, &fates));
}

#[test]
fn nothing_remains_of_a_run_that_is_told_to_end() {
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let fates = signals.map(|signal| (Victim::Outer, Cause::Signal(signal)));
    println!("{}", all_over(kills() / 4, &fates));
}
