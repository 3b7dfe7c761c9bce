//! What runs left whose two processes were both killed, where no namespace took it away.
//!
//! Invariants: only what belongs to this account and to a dead runner is touched: a directory that
//! is not locked, and processes of its owner's whose `PGSERVICEFILE` is in exactly that directory and
//! which are in the same namespaces as the sweeper. A directory is made by anybody, under any name: a
//! part of the name would be found in the environment of jobs that live.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::geteuid;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::receipt::Receipt;
use super::workspace::{Places, UNLOCKED, Workspace, is_name};
use crate::sys::tree;

/// What was found and taken away for one dead run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Its directory.
    pub path: PathBuf,
    /// What was removed.
    pub receipt: Receipt,
}

/// Looks in all places, and takes away what dead runners left.
pub fn remains(places: &Places) -> Vec<Swept> {
    let mut swept = Vec::new();
    for place in places.candidates.iter().chain(&places.disks) {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if is_name(name) {
                swept.extend(sweep(entry.path()));
            } else if name.starts_with(UNLOCKED) {
                unlocked(&entry.path());
            }
        }
    }
    for Swept { path, receipt } in &swept {
        let path = path.display();
        if receipt.verified {
            tracing::warn!(%path, killed = receipt.processes_killed, "a dead run was wiped");
        } else {
            tracing::error!(%path, problem = receipt.problem, "a dead run could not be wiped");
        }
    }
    swept
}

fn sweep(path: PathBuf) -> Option<Swept> {
    let directory = abandoned(&path).ok()??;
    // The processes first: they could write what was just removed.
    let owner = directory.metadata().ok()?.uid();
    let mark = [b"PGSERVICEFILE=", path.join("pg_service.conf").as_os_str().as_bytes()].concat();
    let killed = tree::end_marked(&mark, owner);
    let left = Workspace::left_behind(path.clone(), directory);
    let receipt = left.wipe_for_another().with_processes(killed);
    Some(Swept { path, receipt })
}

/// The directory, if it is ours and nobody who lives holds its lock.
fn abandoned(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = directory.metadata()?;
    // Root sweeps for every account; a job's workspace may belong to another than the runner's.
    if !geteuid().is_root() && metadata.uid() != geteuid().as_raw() {
        return Ok(None);
    }
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        // Whoever swept it meanwhile has removed it.
        Ok(()) => Ok((directory.metadata()?.nlink() > 0).then_some(directory)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A runner was killed between the making of its directory and the lock, or is just there: then it
/// makes another. There is nothing in it.
fn unlocked(path: &Path) {
    if abandoned(path).is_ok_and(|directory| directory.is_some()) {
        fs::remove_dir(path).unwrap_or_default();
    }
}
