//! Which run is killed where: as whom, at which level, at which point, by what.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use super::ground::Ground;
use super::subject::Subject;
use super::tracer::{Ancestry, Boundary, Next, Phase, Point};

/// How the run is contained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Namespace,
    SharedProc,
    Process,
}

/// Who starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Account {
    /// The one that the tests run as.
    Own,
    /// An ordinary one, from a test that runs as root.
    Ordinary,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Outer,
    Inner,
    Both,
    Leader,
}

/// What befalls the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Signal(Signal),
    /// A wild jump.
    Crash,
}

/// When.
#[derive(Clone, Debug)]
pub(super) enum When {
    /// At the end of a system call.
    Boundary(Boundary),
    /// So long after the leader's exec.
    After(Duration),
}

/// One kill.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) account: Account,
    pub(super) shape: Arc<Shape>,
    pub(super) level: Level,
    pub(super) when: When,
    pub(super) victim: Victim,
    pub(super) cause: Cause,
    /// By a descriptor instead of `exec`; the next run instead of `sweep` clears a double kill.
    pub(super) other_way: bool,
}

type Living = Vec<Ancestry>;

/// What an untouched run does.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) leader: Ancestry,
    /// The system calls that each process makes in each phase, and who lives then.
    calls: BTreeMap<(Phase, Ancestry), Vec<Living>>,
    /// Where processes are made, and what they do first: there a run is most easily torn apart.
    edges: Vec<Boundary>,
    /// From the leader's exec until the job stands.
    ready: Duration,
}

impl Shape {
    /// Watches a run from its start to its end.
    pub(super) fn record(ground: &Arc<Ground>, account: Account, level: Level) -> Self {
        let subject = Subject::new(ground, account, level);
        let mut calls: BTreeMap<(Phase, Ancestry), Vec<Living>> = BTreeMap::new();
        let (mut leader, mut executed, mut ending) = (None, None, None);
        let mut edges = Vec::new();
        let going = subject.follow(&subject.run(false, &[]), |trace, point| {
            match point {
                Point::LeaderExecuted => {
                    leader = leader.take().or(trace.leader().cloned());
                    executed = executed.or(Some(Instant::now()));
                }
                Point::Made(boundary) => edges.push(boundary.clone()),
                Point::Boundary(boundary, _) => {
                    if boundary.calls <= 3 && !boundary.process.is_empty() {
                        edges.push(boundary.clone());
                    }
                    if boundary.phase == Phase::Wipe {
                        ending = ending.or(Some(Instant::now()));
                    }
                    let of = (boundary.phase, boundary.process.clone());
                    calls.entry(of).or_default().push(trace.living().cloned().collect());
                }
            }
            Next::GoOn
        });
        let ended = going.finish().unwrap();
        assert_eq!(ended.code, 0, "an untouched run fails: {}{}", ended.stdout, ended.stderr);
        let leader = leader.expect("the leader was seen").1;
        let ready = ending.expect("a wipe was seen") - executed.expect("it was executed");
        calls.retain(|(phase, _), _| *phase != Phase::Running);
        edges.retain(|edge| edge.phase == Phase::StartUp);
        Self { leader, calls, edges, ready }
    }

    /// The process that starts the leader.
    pub(super) fn inner(&self) -> &[usize] {
        self.leader.split_last().map_or(&[], |(_, inner)| inner)
    }

    /// All boundaries, by process.
    pub(super) fn summary(&self) -> String {
        let parts: Vec<String> = self
            .calls
            .iter()
            .map(|((phase, process), calls)| format!("{phase} of {process:?}: {}", calls.len()))
            .collect();
        format!(
            "system calls: {}; {} ms until the job stands",
            parts.join(", "),
            self.ready.as_millis()
        )
    }

    /// As many points as asked for, spread evenly: over the processes and phases first, the first
    /// and the last call of each included.
    fn points(&self, count: usize, fates: &[(Victim, Cause)]) -> Vec<When> {
        let shares = self.shares(count, fates);
        let spread = |count: usize, over: usize| {
            (0..count).map(move |i| i * (over - 1) / count.saturating_sub(1).max(1))
        };
        let mut points = Vec::new();
        points.extend(
            spread(shares[0], self.edges.len()).map(|i| When::Boundary(self.edges[i].clone())),
        );
        for (part, ((phase, process), calls)) in self.calls.iter().enumerate() {
            points.extend(spread(shares[part + 1], calls.len()).map(|i| {
                let process = process.clone();
                When::Boundary(Boundary { phase: *phase, process, calls: i + 1 })
            }));
        }
        let most = usize::try_from(self.ready.as_micros()).unwrap() * 5 / 4;
        points.extend(
            spread(shares[shares.len() - 1], most)
                .map(|micros| When::After(Duration::from_micros(micros.try_into().unwrap()))),
        );
        points
    }
}

impl Shape {
    /// How many points for the edges, for each process and phase, and for the time in between: as
    /// equal as can be, but no more than there are points and victims.
    fn shares(&self, count: usize, fates: &[(Victim, Cause)]) -> Vec<usize> {
        let possible =
            |when: When| fates.iter().filter(|(victim, _)| self.has(&when, *victim)).count();
        let edges = self.edges.iter().cloned().map(When::Boundary).map(possible).sum();
        let parts = self.calls.iter().map(|((phase, process), calls)| {
            let at = |calls| Boundary { phase: *phase, process: process.clone(), calls };
            (1..=calls.len()).map(at).map(When::Boundary).map(possible).sum()
        });
        // Who isn't root can't reach into a runner that it doesn't follow, to make it crash.
        let killed = fates.iter().any(|(_, cause)| *cause != Cause::Crash);
        let between = if killed || Uid::effective().is_root() { usize::MAX } else { 0 };
        let limits: Vec<usize> = [edges].into_iter().chain(parts).chain([between]).collect();
        let mut shares = vec![0; limits.len()];
        for _ in 0..count {
            // To whoever has least, and can take more.
            let takers = (0..shares.len()).filter(|part| shares[*part] < limits[*part]);
            if let Some(part) = takers.min_by_key(|part| shares[*part]) {
                shares[part] += 1;
            }
        }
        shares
    }

    /// Whether there is such a victim at that point.
    fn has(&self, when: &When, victim: Victim) -> bool {
        let When::Boundary(Boundary { phase, process, calls }) = when else { return true };
        let living = self.calls.get(&(*phase, process.clone())).and_then(|all| all.get(calls - 1));
        let lives =
            |who: &[usize]| living.is_some_and(|living| living.iter().any(|one| one == who));
        match victim {
            Victim::Outer => lives(&[]),
            Victim::Inner => lives(self.inner()),
            Victim::Both => lives(&[]) && lives(self.inner()),
            Victim::Leader => lives(&self.leader),
        }
    }
}

/// The levels and accounts to be tried.
pub(super) fn surroundings() -> Vec<(Account, Level)> {
    let accounts: &[Account] = if Uid::effective().is_root() {
        &[Account::Own, Account::Ordinary]
    } else {
        &[Account::Own]
    };
    let levels = [Level::Namespace, Level::SharedProc, Level::Process];
    accounts.iter().flat_map(|account| levels.map(|level| (*account, level))).collect()
}

/// Kills at as many points, the victims and causes in turn.
pub(super) fn cases(
    (account, level): (Account, Level),
    shape: &Arc<Shape>,
    count: usize,
    fates: &[(Victim, Cause)],
) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for when in shape.points(count, fates) {
        let mut possible: Vec<_> =
            fates.iter().filter(|(victim, _)| shape.has(&when, *victim)).collect();
        if possible.is_empty() {
            // Then it is the outermost process.
            possible = fates.iter().collect();
        }
        let turn = cases.len();
        let (victim, cause) = *possible[turn % possible.len()];
        let other_way = turn / possible.len() % 2 == 1;
        let shape = Arc::clone(shape);
        cases.push(Case { account, shape, level, when, victim, cause, other_way });
    }
    cases
}

impl Level {
    /// As `--containment` has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::SharedProc => "namespace-shared-proc",
            Self::Process => "process",
        }
    }
}

impl Case {
    pub(super) fn phase(&self) -> Phase {
        match &self.when {
            When::Boundary(boundary) => boundary.phase,
            When::After(_) => Phase::Running,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartUp => "start-up",
            Self::Running => "running",
            Self::Wipe => "wipe",
        })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => write!(f, "uid {}", Uid::effective()),
            Self::Ordinary => write!(f, "uid 65534"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, level, victim, cause, .. } = self;
        write!(f, "{} as {account}, {cause:?} to {victim:?} ", level.word())?;
        match &self.when {
            When::Boundary(Boundary { phase, process, calls }) => {
                write!(f, "after system call {calls} of process {process:?}, {phase}")
            }
            When::After(after) => write!(f, "{} us after the leader's exec", after.as_micros()),
        }
    }
}
