//! The namespaces of a run, as the inner process finds and furnishes them.
//!
//! Invariants: the inner process sees the file system as the outer one does; only the job sees it
//! changed. The workspace's tmpfs is mounted for the job alone. Everything that can be refused is
//! tried here, before a secret is read.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use super::exposure::SYSTEM;
use super::level::{Level, Refusal};
use crate::sys::errno::of_io;
use crate::sys::privileges;
use crate::sys::view::{Change, c_path, copy_of, new_proc, new_tmpfs, try_out};

/// Where the job finds its workspace. A mount hides what was there, so these are directories that
/// a job doesn't need: `/dev/shm`, which is private then as well, or empty ones of the Filesystem
/// Hierarchy Standard; never `/run`, `/tmp` or `/etc`, for sockets of PostgreSQL and DNS are there.
const MOUNT_POINTS: [&str; 4] = ["/dev/shm", "/mnt", "/media", "/srv"];

/// What uid 0 could write to without any capability, in a new `/proc`: as Docker and runc have it.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What tells of the host, or holds its memory.
const BLANK: [&str; 6] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
];

/// The same, directories.
const COVERED: [&str; 4] = ["/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware"];

/// What was made for a run.
#[derive(Debug)]
pub struct Furnished {
    /// With a new `/proc`, or without.
    pub level: Level,
    /// Why it is without, where that was left open.
    pub refused: Option<Refusal>,
    /// The tmpfs, mounted nowhere yet.
    pub memory: OwnedFd,
    /// Where the job will see it.
    pub mount_point: PathBuf,
    /// Whether it is never swapped out.
    pub never_swapped: bool,
    /// What else is different for the job.
    pub changes: Vec<Change>,
}

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Who this is outside of a new user namespace; `None`: there is none.
    pub user: Option<(Uid, Gid)>,
    /// This level and no other.
    pub require: Option<Level>,
    /// Whether the job will be uid 0.
    pub as_root: bool,
}

/// Prepares what the job will see.
pub fn furnish(wish: Wish, more_mount_points: &[PathBuf]) -> Result<Furnished, Refusal> {
    let Wish { user, require, as_root } = wish;
    if let Some((uid, gid)) = user {
        map(uid, gid)?;
    }
    let mount_point = mount_point(more_mount_points)
        .ok_or(Refusal { step: "a directory to mount a tmpfs on".into(), errno: Errno::ENOENT })?;
    // The runner finds the tmpfs below it, and its threads.
    fs::metadata("/proc/self/fd")
        .map_err(|error| Refusal { step: "/proc".into(), errno: of_io(&error) })?;
    let prepare = || prepare(as_root, require, mount_point.clone());
    if privileges::may_be_refused_more() {
        rehearse(prepare()?)?;
    }
    prepare()
}

fn prepare(
    as_root: bool,
    require: Option<Level>,
    mount_point: PathBuf,
) -> Result<Furnished, Refusal> {
    let (memory, never_swapped) =
        new_tmpfs().map_err(|errno| Refusal { step: "a new tmpfs".into(), errno })?;
    let mut changes = Vec::new();
    let proc = new_proc().map_err(|errno| Refusal { step: "a new /proc".into(), errno });
    let (level, refused) = match (require, proc) {
        (Some(Level::NamespaceSharedProc), _) => (Level::NamespaceSharedProc, None),
        (_, Ok(proc)) => {
            let masks = masks();
            changes.push(Change::Attach(proc, c"/proc".into()));
            changes.extend(masks);
            (Level::Namespace, None)
        }
        (None, Err(refused)) => (Level::NamespaceSharedProc, Some(refused)),
        (Some(_), Err(refused)) => return Err(refused),
    };
    // In a user namespace too: there uid 0 is the owner of the kernel's files all the same.
    if as_root {
        hide_from_root(&mut changes);
    }
    Ok(Furnished { level, refused, memory, mount_point, never_swapped, changes })
}

/// Does to a copy of this process what will be done to the job: that a mount could be made doesn't
/// say that it may be attached. AppArmor's profile of Docker, for one, refuses mount(2) alone.
fn rehearse(furnished: Furnished) -> Result<(), Refusal> {
    let Furnished { memory, mount_point, mut changes, .. } = furnished;
    // Directories are covered for every job, and the workspace comes last.
    changes.extend(Change::pin(&mount_point));
    changes.extend(Change::cover(&mount_point));
    changes.extend(c_path(&mount_point).map(|at| Change::Attach(memory, at)));
    try_out(&changes).map_err(|errno| Refusal { step: "mounts for the job alone".into(), errno })
}

/// One uid and one gid, the same inside as outside: user_namespaces(7).
fn map(uid: Uid, gid: Gid) -> Result<(), Refusal> {
    let write = |file: &str, text: String, step: &'static str| {
        tell_kernel(file, &text)
            .map_err(|error| Refusal { step: step.into(), errno: of_io(&error) })
    };
    write("/proc/self/uid_map", format!("{uid} {uid} 1"), "the uid map of a user namespace")?;
    // Without it an unprivileged process may not write the other map. Linux 3.19.
    write("/proc/self/setgroups", "deny".into(), "the groups of a user namespace")?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"), "the gid map of a user namespace")
}

fn mount_point(more: &[PathBuf]) -> Option<PathBuf> {
    let [shm, others @ ..] = MOUNT_POINTS;
    // A link may lead anywhere, and a setting too.
    let harmless = |path: &PathBuf| {
        path == Path::new(shm) || !SYSTEM.iter().any(|system| path == Path::new(system))
    };
    let directory = |path: &Path| {
        let canonical = path.is_dir().then(|| fs::canonicalize(path).ok()).flatten();
        canonical.filter(harmless)
    };
    let empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    directory(Path::new(shm))
        .or_else(|| more.iter().find_map(|path| directory(path)))
        .or_else(|| others.iter().map(Path::new).find(|path| empty(path)).map(Into::into))
}

/// What a container's engine mounted below `/proc` to hide it, to be mounted over the new one.
fn masks() -> Vec<Change> {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    below_proc(&mounts)
        .into_iter()
        // What cannot be copied is hidden by root's list, or belongs to root anyway.
        .filter_map(|path| Some(Change::Attach(copy_of(&path).ok()?, path)))
        .collect()
}

/// The mount points below `/proc` in the text of proc_pid_mountinfo(5): the fifth field.
fn below_proc(mounts: &[u8]) -> Vec<CString> {
    mounts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        // An escaped blank is in none of the kernel's own names.
        .filter(|path| path.starts_with(b"/proc/") && !path.contains(&b'\\'))
        .filter_map(|path| CString::new(path).ok())
        .collect()
}

fn hide_from_root(changes: &mut Vec<Change>) {
    let all = |names: &'static [&'static str], change: fn(CString) -> Change| {
        names.iter().filter_map(move |name| Some(change(c_path(Path::new(name))?)))
    };
    changes.extend(all(&READ_ONLY, Change::ReadOnly));
    changes.extend(all(&BLANK, Change::Blank));
    changes.extend(all(&COVERED, Change::Cover));
    changes.extend(all(&["/sys"], Change::ReadOnlyBelow));
}

/// The step at which a new namespace was refused.
pub(super) fn refused_clone(user: bool, errno: Errno) -> Refusal {
    let step = match (user, errno) {
        (true, Errno::ENOSPC) => "new namespaces (user.max_user_namespaces)",
        (true, _) => "new namespaces with a user namespace",
        (false, _) => "new namespaces",
    };
    Refusal { step: step.into(), errno }
}

/// Writes to a file of the kernel's.
pub(super) fn tell_kernel(file: &str, text: &str) -> io::Result<()> {
    // One write: the kernel takes a map in one piece.
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_hid_below_proc_is_found() {
        let text = b"\
22 28 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:25 / /proc/kcore rw,nosuid - tmpfs tmpfs rw
31 22 0:21 /sys /proc/sys ro,nosuid - proc proc rw
32 28 0:26 / /procedures rw - tmpfs tmpfs rw
33 28 0:26 / /var/proc/x rw - tmpfs tmpfs rw
broken
";
        assert_eq!(below_proc(text), [c"/proc/kcore".into(), CString::from(c"/proc/sys")]);
    }
}
