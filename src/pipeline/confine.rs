//! What holds one job: from the containment in force, the settings and the job's needs.
//!
//! Invariant: a job that could read a credential of the runner doesn't start, unless the settings
//! say so.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, geteuid};

use super::parent::variable;
use crate::containment::{
    Account, Exposed, Grip, LandlockError, Level, Needed, Protected, Workspace, exposure, landlock,
};
use crate::error::Error;
use crate::job::Job;
use crate::report::Containment;
use crate::settings::{Place, Settings};
use crate::supervise::StartError;
use crate::sys::privileges::Ids;
use crate::sys::spawn::Confinement;
use crate::sys::view::Change;

/// What holds the job, and the facts of it for the report.
pub(super) fn confinement(
    settings: &Settings,
    job: &Job,
    parent: &[(OsString, OsString)],
    grip: Grip,
    workspace: &Workspace,
) -> Result<(Confinement, Containment), Error> {
    let Grip { level, never_swapped, changes, account, refusals } = grip;
    let refused: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    if level != Level::Namespace && settings.containment.require.is_none() {
        tracing::warn!(
            containment = level.word(),
            refused = refused.join("; "),
            "not the strongest containment; `containment.require` says which one must be"
        );
    }
    let judged = judge(settings, job, parent, account.as_ref());
    let (mut view, landlock) = match (level, changes) {
        // An older version would only refuse mounts, to a job that can see nobody anyway.
        (Level::Namespace, changes) if landlock::abi() < landlock::SCOPES => (changes, None),
        (Level::Namespace | Level::NamespaceSharedProc, changes) => {
            (changes, held(landlock::isolate()))
        }
        (Level::Process, _) if judged.readable.is_empty() => (None, held(landlock::isolate())),
        (Level::Process, _) => (None, held(landlock::deny(&judged.hidden))),
    };
    if let Some(exposed) = judged.exposed(level, landlock.is_some()) {
        if !settings.containment.allow_exposed {
            return Err(exposed.into());
        }
        tracing::warn!(%exposed, "allowed by `containment.allow_exposed`");
    }
    let uid = account.as_ref().map_or_else(|| geteuid().as_raw(), |account| account.uid);
    if let Some(changes) = &mut view {
        visible(job, workspace)?;
        cover(changes, judged.hidden, uid, workspace);
        workspace.show(changes)?;
    }
    if uid == 0 && account.is_none() {
        tracing::warn!(
            "the job runs as root; name another account in `containment.run_as`, or `root` if it \
             is meant"
        );
    }
    if let Some(account) = &account {
        workspace.give_to(account)?;
    }
    let containment = Containment {
        level,
        refused,
        workspace: if workspace.on_memory() { "memory" } else { "disk" }.into(),
        never_swapped,
        uid,
        landlock: landlock.is_some(),
    };
    // In namespaces nobody asks for it.
    let sign_of_life = if view.is_none() { workspace.lock() } else { None };
    Ok((Confinement { view, ids: account.map(ids), landlock, sign_of_life }, containment))
}

/// What a job could read of what it must not.
pub struct Judged {
    /// The directories that can be hidden from it.
    hidden: Vec<PathBuf>,
    /// Credentials that its account could read, were they not hidden.
    readable: Vec<Protected>,
    /// One that can't be hidden.
    exposed: Option<Exposed>,
}

impl Judged {
    /// What a job could read with this containment, and with Landlock or without.
    pub fn exposed(&self, level: Level, landlock: bool) -> Option<Exposed> {
        let unheld = level == Level::Process && !landlock;
        let readable = self.readable.first().filter(|_| unheld);
        self.exposed.clone().or_else(|| {
            readable
                .map(|Protected { what, file, .. }| Exposed::Readable { what, file: file.clone() })
        })
    }
}

/// Looks at the files; nothing is read.
pub fn judge(
    settings: &Settings,
    job: &Job,
    parent: &[(OsString, OsString)],
    account: Option<&Account>,
) -> Judged {
    let protected = protected(settings);
    let (hidden, shared) = exposure::directories(&protected, &needed(job, parent));
    let readable: Vec<Protected> = exposure::readable(&protected, account)
        .into_iter()
        .filter(|protected| protected.credential)
        .cloned()
        .collect();
    let mut exposed = None;
    for shared in shared {
        let Exposed::Shared { what, .. } = &shared else { continue };
        if readable.iter().any(|credential| credential.what == *what) {
            exposed.get_or_insert(shared);
        } else {
            tracing::info!(exposed = %shared, "not hidden");
        }
    }
    Judged { hidden, readable, exposed }
}

/// What a job must not read.
pub(super) fn protected(settings: &Settings) -> Vec<Protected> {
    let file = |what, file: &Path, credential| Protected { what, file: file.into(), credential };
    let mut protected = vec![file("the key", &settings.store.key, true)];
    match &settings.store.place {
        Place::File(path) => protected.push(file("the store", path, true)),
        Place::Postgres(postgres) => protected.extend(
            postgres.password_file.iter().map(|path| file("the store's password", path, true)),
        ),
    }
    let tokens = [&settings.job.token_file, &settings.report.token_file];
    protected.extend(tokens.into_iter().flatten().map(|path| file("the token", path, true)));
    if let Some(service) = settings.backend.service() {
        let token = service.token_file.iter().map(|path| file("the job token", path, true));
        let key = service.certificate.iter().map(|files| &files.key);
        protected.extend(token);
        protected.extend(key.map(|path| file("the key of the runner's certificate", path, true)));
    }
    protected.extend(settings.file.iter().map(|path| file("the settings file", path, false)));
    // No credentials, but a job could write into them what it likes.
    protected.extend(settings.audit.file.iter().map(|path| file("the audit log", path, false)));
    if settings.report.url.is_some() {
        let kept = settings.report.undelivered.join("report.json");
        protected.push(file("the kept reports", &kept, false));
    }
    protected
}

/// What a job needs, as far as it is known.
fn needed(job: &Job, parent: &[(OsString, OsString)]) -> Vec<Needed> {
    let directory =
        |what, directory: Option<PathBuf>| directory.map(|directory| Needed { what, directory });
    let feedback = job.feedback.as_deref().and_then(Path::parent).map(Into::into);
    let program = job.command.first().map(Path::new).filter(|program| program.is_absolute());
    [
        directory("its working directory", working_dir(job)),
        directory("the directory of its feedback", feedback),
        directory("the directory of its program", program.and_then(Path::parent).map(Into::into)),
        directory("its home directory", variable(parent, "HOME").map(Into::into)),
        directory("its TMPDIR", variable(parent, "TMPDIR").map(Into::into)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Where the job starts: if it doesn't say so, where the runner stands.
fn working_dir(job: &Job) -> Option<PathBuf> {
    job.working_dir.clone().or_else(|| std::env::current_dir().ok())
}

/// What the job has a private one of cannot be shared with it.
fn visible(job: &Job, workspace: &Workspace) -> Result<(), Error> {
    let Some(mount_point) = workspace.path().parent() else { return Ok(()) };
    let hidden = |path: &Path| path.starts_with(mount_point);
    if let Some(directory) = working_dir(job).filter(|path| hidden(path)) {
        let problem = "the job has a private /dev/shm; name a directory elsewhere";
        return Err(StartError::WorkingDir(directory, problem).into());
    }
    if let Some(feedback) = job.feedback.as_deref().filter(|path| hidden(path)) {
        return Err(Error::Input(format!(
            "the feedback file {} would be in the job's private {}, where nobody else sees it; \
             name one elsewhere",
            feedback.display(),
            mount_point.display(),
        )));
    }
    Ok(())
}

/// The domain, if there is one; that there is none shows in the report.
fn held(domain: Result<Option<OwnedFd>, LandlockError>) -> Option<OwnedFd> {
    domain.unwrap_or_else(|error| {
        tracing::warn!(%error, "no Landlock");
        None
    })
}

/// Hides directories where they are, but for what the workspace's tmpfs hides anyway.
fn cover(changes: &mut Vec<Change>, mut hidden: Vec<PathBuf>, uid: u32, workspace: &Workspace) {
    if let Some(mount_point) = workspace.path().parent() {
        hidden.retain(|directory| !directory.starts_with(mount_point));
    }
    // Before the covers, which would be under them otherwise.
    let movable = exposure::movable(&hidden, uid);
    changes.extend(movable.iter().filter_map(|directory| Change::pin(directory)));
    changes.extend(hidden.iter().filter_map(|directory| Change::cover(directory)));
}

fn ids(account: Account) -> Ids {
    Ids {
        uid: Uid::from_raw(account.uid),
        gid: Gid::from_raw(account.gid),
        groups: account.groups.into_iter().map(Gid::from_raw).collect(),
    }
}

/// The variables that say who one is, for another account, as su(1) sets them.
pub(super) fn move_home(parent: &mut Vec<(OsString, OsString)>, account: &Account) {
    parent.retain(|(name, _)| !["HOME", "USER", "LOGNAME"].iter().any(|own| name == own));
    parent.push(("HOME".into(), account.home.clone().into()));
    if let Some(name) = &account.name {
        parent.push(("USER".into(), name.into()));
        parent.push(("LOGNAME".into(), name.into()));
    }
}
