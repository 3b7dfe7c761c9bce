//! Carries out kills, and looks at what remains of each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ground::Ground;
use super::plan::{Case, Cause, Level, Victim, When};
use super::subject::{Remains, Subject};
use super::tally::{Row, Tally};
use super::tracer::{Next, Point, Trace, crash, crash_at_work};

/// So soon nothing must remain of a run that was killed.
const AT_ONCE: Duration = Duration::from_secs(1);

/// So soon nothing must remain of a run that was asked to end, or that saw its job die.
const IN_ORDER: Duration = Duration::from_secs(10);

/// Runs that are killed at the same time.
const WORKERS: usize = 2;

/// A kill that took place.
struct Struck {
    cast: Cast,
    victim: Victim,
    /// Whether neither half of the runner is left.
    alone: bool,
    at: Instant,
}

/// All cases, some at the same time.
pub(super) fn carry_out(ground: &Arc<Ground>, cases: Vec<Case>) -> Tally {
    let cases = Mutex::new(VecDeque::from(cases));
    let tally = Mutex::new(Tally::default());
    let next = || cases.lock().unwrap().pop_front();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = next() {
                    let row = one(ground, &case);
                    tally.lock().unwrap().add(&case, row);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

/// One run, killed. The number of calls is not the same each time: one that ended before the
/// wanted call is tried again, with an earlier one.
fn one(ground: &Arc<Ground>, case: &Case) -> Row {
    let mut case = case.clone();
    loop {
        let row = once(ground, &case);
        match &mut case.when {
            When::Boundary(boundary)
                if row.victim.is_none() && row.problems.is_empty() && boundary.calls > 1 =>
            {
                boundary.calls = (boundary.calls * 9 / 10).min(boundary.calls - 1);
            }
            _ => return row,
        }
    }
}

fn once(ground: &Arc<Ground>, case: &Case) -> Row {
    let subject = Subject::new(ground, case.account, case.level);
    let mut row = Row::default();
    let command = subject.run(case.other_way, &[]);
    let mut struck = None;
    let mut executed = None;
    let going = subject.follow(&command, |trace, point| match (&case.when, point) {
        (When::Boundary(wanted), Point::Boundary(boundary, thread))
            if boundary.phase == wanted.phase
                && boundary.process == wanted.process
                && boundary.calls >= wanted.calls =>
        {
            subject.mark(trace.pids());
            struck = strike(&subject, case, cast(case, trace), Some(thread));
            Next::Stop
        }
        (When::After(_), Point::LeaderExecuted) => {
            executed = Some((cast(case, trace), Instant::now()));
            subject.mark(trace.pids());
            subject.mark(trace.leader().map(|(pid, _)| *pid));
            Next::Stop
        }
        _ => Next::GoOn,
    });
    if let (When::After(after), Some((cast, executed))) = (&case.when, executed) {
        while let Some(left) = after.checked_sub(executed.elapsed()) {
            std::thread::park_timeout(left);
        }
        struck = strike(&subject, case, cast, None);
    }
    match &struck {
        Some(struck) => {
            row.victim = Some(struck.victim);
            aftermath(&subject, case, struck, &mut row);
        }
        // The run made fewer calls this time, and ended as it should.
        None => {
            subject.end_job();
            settle(&subject, subject.until_clean(Instant::now() + IN_ORDER).0, &mut row);
        }
    }
    match going.finish() {
        Err(problem) => row.problems.push(problem),
        Ok(ended) if struck.is_none() && ended.code != 0 => {
            row.problems.push(format!("untouched, it ended with {}: {}", ended.code, ended.stderr));
        }
        Ok(_) => {}
    }
    if let Err(problem) = subject.store_works() {
        row.problems.push(problem);
    }
    row
}

/// Who is who.
struct Cast {
    outer: Pid,
    inner: Option<Pid>,
    leader: Option<Pid>,
}

fn cast(case: &Case, trace: &Trace<'_>) -> Cast {
    let executed = trace.leader().map(|(pid, _)| *pid);
    Cast {
        outer: trace.outer(),
        inner: trace.pid(case.shape.inner()),
        leader: executed.or_else(|| trace.pid(&case.shape.leader)),
    }
}

impl Cast {
    /// Both halves of the runner.
    fn runners(&self) -> impl Iterator<Item = Pid> {
        [self.outer].into_iter().chain(self.inner)
    }
}

/// Kills the victim, or the outermost process where there is no such victim at that point.
fn strike(subject: &Subject, case: &Case, cast: Cast, standing: Option<Pid>) -> Option<Struck> {
    let signal = match case.cause {
        Cause::Signal(signal) => signal,
        Cause::Crash => {
            let inner = cast.inner.filter(|inner| *inner != cast.outer);
            let (pid, crashed) = match (standing, inner) {
                (Some(thread), _) => (thread, crash(thread)),
                (None, Some(inner)) if case.victim == Victim::Inner => {
                    (inner, crash_at_work(inner))
                }
                (None, _) => (cast.outer, crash_at_work(cast.outer)),
            };
            let victim = match Some(pid) {
                pid if pid == inner => Victim::Inner,
                pid if pid == cast.leader => Victim::Leader,
                _ => Victim::Outer,
            };
            let alone = victim == Victim::Outer && inner.is_none();
            return crashed.then(|| Struck { cast, victim, alone, at: Instant::now() });
        }
    };
    let hit =
        |pid: Option<Pid>| pid.is_some_and(|pid| subject.is_own(pid) && kill(pid, signal).is_ok());
    let victim = match case.victim {
        Victim::Inner if hit(cast.inner) => Victim::Inner,
        Victim::Leader if hit(cast.leader) => Victim::Leader,
        Victim::Both => {
            let inner = cast.inner.filter(|inner| *inner != cast.outer);
            let (outer, inner) = if case.other_way {
                let inner = hit(inner);
                (hit(Some(cast.outer)), inner)
            } else {
                (hit(Some(cast.outer)), hit(inner))
            };
            match (outer, inner) {
                (true, true) => Victim::Both,
                (true, false) => Victim::Outer,
                (false, true) => Victim::Inner,
                (false, false) => return None,
            }
        }
        _ if hit(Some(cast.outer)) => Victim::Outer,
        _ => return None,
    };
    let alone = match victim {
        Victim::Both => true,
        Victim::Outer => !cast.inner.is_some_and(|inner| subject.is_own(inner)),
        Victim::Inner | Victim::Leader => false,
    };
    Some(Struck { cast, victim, alone, at: Instant::now() })
}

/// What remains, and how long it takes until nothing does.
fn aftermath(subject: &Subject, case: &Case, struck: &Struck, row: &mut Row) {
    let killed = matches!(case.cause, Cause::Crash | Cause::Signal(Signal::SIGKILL));
    let mut since = struck.at;
    if case.level == Level::Process && killed && struck.alone {
        // Nobody is left who could do anything: the next start does.
        while struck.cast.runners().any(|pid| subject.is_own(pid)) && since.elapsed() < IN_ORDER {
            // They hold on to what is theirs until they are gone.
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let before = subject.remains();
        row.left_to_next = before.files.len() + before.processes.len();
        since = Instant::now();
        let next: &[&str] =
            if case.other_way { &["exec", "-P", "survey", "--", "true"] } else { &["sweep"] };
        let ended = crate::support::end(subject.command(next));
        if ended.code != 0 {
            row.problems.push(format!("{next:?} ends with {}: {}", ended.code, ended.stderr));
        }
    }
    let limit = if killed { AT_ONCE } else { IN_ORDER };
    let (remains, clean) = subject.until_clean(since + limit);
    row.took = clean - since;
    settle(subject, remains, row);
}

fn settle(subject: &Subject, remains: Remains, row: &mut Row) {
    row.files = remains.files.len();
    row.processes = remains.processes.len();
    row.problems.extend(remains.files.into_iter().map(|file| format!("remains: {file}")));
    row.problems.extend(remains.processes.into_iter().map(|process| format!("lives: {process}")));
    if !row.problems.is_empty() {
        // Else nobody closes its output.
        subject.clear();
    }
}
