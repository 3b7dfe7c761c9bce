//! The way into containment: from one process to an outer and an inner one.
//!
//! Invariants: a level counts as available only when everything that it takes has worked; what was
//! refused is remembered and told; signals that come meanwhile reach the inner process.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid, pipe2, setsid};

use super::account::{self, Account, UnknownAccount};
use super::guard::{self, Guarded};
use super::level::{Attempt, Level, Refusal, attempts};
use super::namespace::{self, Furnished, Wish};
use super::notes::{Note, Notes};
use super::receipt::{Receipt, Wiper};
use super::sweep;
use super::workspace::{Places, Workspace, WorkspaceError};
use crate::sys::clone::{Copy, clone};
use crate::sys::errno::of_io;
use crate::sys::oom::OomWatch;
use crate::sys::privileges;
use crate::sys::terminal::{Line, Pair};
use crate::sys::tree::{Exit, Tree};
use crate::sys::view::Change;

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// This level and no other; `None`: the strongest that works.
    pub require: Option<Level>,
    /// `user[:group,…]`
    pub run_as: Option<&'a str>,
    /// Where a workspace may go that is not in a namespace.
    pub places: Places,
    /// The runner's terminal and the job's, if the job gets one.
    pub terminal: Option<Pair>,
}

/// The inner process, contained.
#[derive(Debug)]
pub struct Contained {
    /// What is in force.
    pub hold: Hold,
    /// Told to the outer process.
    pub notes: Notes,
    /// Ends when the outer process ends.
    pub lifeline: OwnedFd,
    /// The job's terminal, if it gets one.
    pub terminal: Option<Line>,
}

/// What is in force for the inner process and its job.
#[derive(Debug)]
pub struct Hold {
    /// The private directory of this run, empty.
    pub workspace: Result<Workspace, WorkspaceError>,
    /// The rest.
    pub grip: Grip,
}

/// What holds the job.
#[derive(Debug)]
pub struct Grip {
    /// The level.
    pub level: Level,
    /// Whether what is in the workspace is never swapped out.
    pub never_swapped: bool,
    /// What is different in the job's view of the file system; `None` without namespaces.
    pub changes: Option<Vec<Change>>,
    /// Who the job runs as, if not as the runner.
    pub account: Option<Account>,
    /// Why it is no stronger level.
    pub refusals: Vec<Refusal>,
}

/// What became of the inner process.
#[derive(Debug)]
pub struct Aftermath {
    /// Its end.
    pub guarded: Guarded,
    /// What it told.
    pub notes: Vec<Note>,
    /// What the outer process removed in its stead; `None` where there was nothing to do.
    pub receipt: Option<Receipt>,
    /// Whether the kernel killed it for want of memory.
    pub out_of_memory: bool,
}

/// Which process this is, after [`enter`].
#[derive(Debug)]
pub enum Side {
    /// The inner one: the run goes on.
    Inner(Box<Contained>),
    /// An inner one that found its level refused: nothing is left to do but to end.
    Superfluous,
    /// The outer one, after the end of the inner one.
    Outer(Aftermath),
}

/// Why a run may not start.
#[derive(Debug, thiserror::Error)]
pub enum ContainmentError {
    /// The level that is required is not to be had.
    #[error(
        "the containment `{}` is required, and not to be had here: {}. `qgis-secrets check` shows \
         what is; `containment.require` says what must be",
        .0.word(), list(.1)
    )]
    Unavailable(Level, Vec<Refusal>),
    /// Nobody to run as.
    #[error(transparent)]
    Account(#[from] UnknownAccount),
    /// Not root.
    #[error(
        "only root can run a job as another account; start qgis-secrets as root, or leave \
         `containment.run_as` away"
    )]
    RunAs,
    /// The processes of a job could not be found.
    #[error(
        "without namespaces the job's processes are found in /proc, and {}; mount one there, or let \
         the runner have namespaces",
        proc(*.0)
    )]
    Tree(Errno),
    /// A thing that should always work.
    #[error("the containment could not be set up: {what}: {}", errno.desc())]
    System {
        /// What it is.
        what: &'static str,
        /// The kernel's word.
        errno: Errno,
    },
}

fn list(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "`containment.run_as` needs real root".into();
    }
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; ")
}

fn proc(errno: Errno) -> String {
    match errno {
        Errno::ESRCH => "that one shows another PID namespace's".into(),
        _ => format!("that one can't be read: {}", errno.desc()),
    }
}

/// Divides this process into an outer and an inner one, and sets up what is between them.
///
/// Returns in both. The outer one returns when the inner one has ended.
pub fn enter(request: Request<'_>) -> Result<Side, ContainmentError> {
    let entered = divide(request);
    if entered.is_err() {
        // A token may be read all the same, to say whose job it was.
        privileges::close_to_others().map_err(system("PR_SET_DUMPABLE"))?;
    }
    entered
}

fn divide(request: Request<'_>) -> Result<Side, ContainmentError> {
    let Request { require, run_as, places, terminal } = request;
    let account = run_as.map(account::look_up).transpose()?;
    if account.is_some() && !geteuid().is_root() {
        return Err(ContainmentError::RunAs);
    }
    sweep::remains(&places);
    dump_no_memory();
    guard::block().map_err(system("signals"))?;
    let notes = Notes::new().map_err(|error| file_in_memory(&error))?;
    let attempts = attempts(require, privileges::may_mount(), account.is_some());
    let mut entrance = Entrance {
        require,
        places,
        account,
        notes,
        terminal,
        told: Vec::new(),
        refusals: Vec::new(),
    };
    for attempt in attempts {
        let Attempt::Namespaces { user } = attempt else { return entrance.process() };
        match entrance.namespaces(user)? {
            ControlFlow::Break(side) => return Ok(side),
            ControlFlow::Continue(refused) => entrance = refused,
        }
    }
    let required = require.unwrap_or(Level::Namespace);
    Err(ContainmentError::Unavailable(required, entrance.refusals))
}

/// What one try hands to the next.
struct Entrance {
    require: Option<Level>,
    places: Places,
    account: Option<Account>,
    notes: Notes,
    terminal: Option<Pair>,
    /// Signals that were passed on to an inner process that found its level refused.
    told: Vec<Signal>,
    refusals: Vec<Refusal>,
}

impl Entrance {
    /// Goes on where it was refused.
    fn namespaces(mut self, user: bool) -> Result<ControlFlow<Side, Self>, ContainmentError> {
        // Before a new user namespace makes everybody nobody.
        let (uid, gid) = (geteuid(), getegid());
        let wish = Wish {
            user: user.then_some((uid, gid)),
            require: self.require,
            as_root: self.account.as_ref().map_or(uid.as_raw(), |account| account.uid) == 0,
        };
        let mut flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
        // Only in a mount namespace of its own may a user namespace mount. The job gets another.
        flags.set(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS, user);
        let (lifeline, held) = lifeline()?;
        privileges::close_to_others().map_err(system("PR_SET_DUMPABLE"))?;
        match clone(flags) {
            Err(errno) => {
                self.refusals.push(namespace::refused_clone(user, errno));
                Ok(ControlFlow::Continue(self))
            }
            Ok(Copy::Inner) => {
                drop(held);
                self.inner(lifeline, wish).map(ControlFlow::Break)
            }
            Ok(Copy::Outer(inner)) => {
                drop(lifeline);
                let oom = OomWatch::begin();
                let guarded = guard::guard(inner, &mut self.told, self.terminal.as_mut())
                    .map_err(system("waiting"))?;
                drop(held);
                if self.notes.refused().map_err(|error| file_in_memory(&error))? {
                    let notes = self.notes.read().map_err(|error| file_in_memory(&error))?;
                    self.refusals.extend(notes.into_iter().filter_map(|note| match note {
                        Note::Refused(step, raw) => {
                            Some(Refusal { step: step.into(), errno: Errno::from_raw(raw) })
                        }
                        Note::Report(_) | Note::Feedback(_) | Note::Told => None,
                    }));
                    self.notes.clear().map_err(|error| file_in_memory(&error))?;
                    return Ok(ControlFlow::Continue(self));
                }
                // The kernel let go of it only after the last process of the namespace.
                let receipt = (!self.notes.told()).then(Receipt::by_kernel);
                Ok(ControlFlow::Break(Side::outer(guarded, &self.notes, receipt, &oom)))
            }
        }
    }

    fn inner(self, lifeline: OwnedFd, wish: Wish) -> Result<Side, ContainmentError> {
        // A session of its own: what the terminal signals comes through the outer process, once.
        setsid().map_err(system("a session"))?;
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(system("PR_SET_PDEATHSIG"))?;
        if has_ended(&lifeline) {
            return Ok(Side::Superfluous);
        }
        if wish.user.is_some() {
            // What is closed belongs to root, and so would its uid map.
            privileges::open_to_others().map_err(system("PR_SET_DUMPABLE"))?;
        }
        let furnished = match namespace::furnish(wish, &self.places.candidates) {
            Ok(furnished) => furnished,
            Err(Refusal { step, errno }) => {
                let refused = Note::Refused(step.into_owned(), errno as i32);
                self.notes.add(&refused).map_err(|error| file_in_memory(&error))?;
                return Ok(Side::Superfluous);
            }
        };
        privileges::close_to_others().map_err(system("PR_SET_DUMPABLE"))?;
        if wish.user.is_some() {
            privileges::only_to_furnish().map_err(system("capabilities"))?;
        }
        let Furnished { level, refused, memory, mount_point, never_swapped, changes } = furnished;
        let workspace = Workspace::in_private(memory, &mount_point);
        let Self { account, notes, terminal, mut refusals, .. } = self;
        refusals.extend(refused);
        let changes = Some(changes);
        let grip = Grip { level, never_swapped, changes, account, refusals };
        Ok(Side::inner(Hold { workspace, grip }, notes, lifeline, terminal))
    }

    fn process(mut self) -> Result<Side, ContainmentError> {
        privileges::close_to_others().map_err(system("PR_SET_DUMPABLE"))?;
        // Made here, so that either process can remove it.
        let workspace = Workspace::create(&self.places, self.account.as_ref());
        let tree = Tree::adopt().map_err(ContainmentError::Tree)?;
        let (lifeline, held) = lifeline()?;
        match clone(CloneFlags::empty()).map_err(system("a process"))? {
            Copy::Inner => {
                drop(held);
                setsid().map_err(system("a session"))?;
                let Self { account, notes, terminal, refusals, .. } = self;
                let level = Level::Process;
                let grip = Grip { level, never_swapped: false, changes: None, account, refusals };
                Ok(Side::inner(Hold { workspace, grip }, notes, lifeline, terminal))
            }
            Copy::Outer(inner) => {
                drop(lifeline);
                let oom = OomWatch::begin();
                let guarded = guard::guard(inner, &mut self.told, self.terminal.as_mut())
                    .map_err(system("waiting"))?;
                drop(held);
                let receipt = (!self.notes.told()).then(|| {
                    let ended = tree.end_orphans();
                    let wiped = workspace.map(Workspace::wipe_for_another);
                    let nothing = |_| Receipt { by: Wiper::Outer, ..Receipt::of_nothing() };
                    wiped.unwrap_or_else(nothing).with_processes(ended)
                });
                Ok(Side::outer(guarded, &self.notes, receipt, &oom))
            }
        }
    }
}

impl Side {
    fn outer(guarded: Guarded, notes: &Notes, receipt: Option<Receipt>, oom: &OomWatch) -> Self {
        // One that has told the world has left nothing to do.
        let told = notes.told() && !guarded.by_signal();
        let notes = if told { vec![Note::Told] } else { notes.read().unwrap_or_default() };
        let out_of_memory = guarded.exit == Exit::Signal(libc::SIGKILL) && oom.killed_since();
        Self::Outer(Aftermath { guarded, notes, receipt, out_of_memory })
    }

    fn inner(hold: Hold, notes: Notes, lifeline: OwnedFd, terminal: Option<Pair>) -> Self {
        let terminal = terminal.map(Pair::into_line);
        Self::Inner(Box::new(Contained { hold, notes, lifeline, terminal }))
    }
}

fn system(what: &'static str) -> impl Fn(Errno) -> ContainmentError {
    move |errno| ContainmentError::System { what, errno }
}

fn file_in_memory(error: &io::Error) -> ContainmentError {
    system("a file in memory")(of_io(error))
}

/// A pipe whose reading end tells when the last holder of the other end is gone. A job inherits
/// neither.
fn lifeline() -> Result<(OwnedFd, OwnedFd), ContainmentError> {
    pipe2(OFlag::O_CLOEXEC).map_err(system("a pipe"))
}

fn has_ended(lifeline: &OwnedFd) -> bool {
    let mut ends = [PollFd::new(lifeline.as_fd(), PollFlags::empty())];
    poll(&mut ends, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// No mapping goes into a core of this process or one that it starts, should one be written all
/// the same: core(5). Best effort: the file is not there without `CONFIG_ELF_CORE` or `/proc`, and
/// the job's limit stands anyway.
fn dump_no_memory() {
    namespace::tell_kernel("/proc/self/coredump_filter", "0").unwrap_or_default();
}
