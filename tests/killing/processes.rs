//! All processes of the machine at one moment, and which of them belong to a run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process, as far as it may be read.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    session: i32,
    /// With the number it names the process for ever.
    started: u64,
    pub(super) name: String,
    pub(super) environment: Vec<u8>,
    pub(super) arguments: Vec<u8>,
    directory: PathBuf,
    pid_namespace: PathBuf,
}

/// By what the processes of a run are known, though their parents are gone.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Directories of this run only: in environment, arguments or working directory.
    directories: Vec<PathBuf>,
    /// Process ids and start times of those that were seen while the run was whole.
    known: BTreeSet<(i32, u64)>,
    /// PID namespaces that the run made.
    namespaces: BTreeSet<PathBuf>,
}

impl Marks {
    pub(super) fn new(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { directories: directories.into_iter().collect(), ..Self::default() }
    }

    /// Remembers a process, and the PID namespace that it lives in.
    pub(super) fn add(&mut self, pid: Pid) {
        let Some(process) = read(pid.as_raw()) else { return };
        self.known.insert((process.pid, process.started));
        if let Ok(own) = fs::read_link("/proc/self/ns/pid")
            && process.pid_namespace != own
            && !process.pid_namespace.as_os_str().is_empty()
        {
            self.namespaces.insert(process.pid_namespace);
        }
    }

    /// Whether it is one of those that were added, and no later one with the same number.
    pub(super) fn knows(&self, pid: Pid) -> bool {
        read(pid.as_raw())
            .is_some_and(|process| self.known.contains(&(process.pid, process.started)))
    }

    fn has(&self, process: &Process) -> bool {
        let named = |text: &[u8]| {
            self.directories
                .iter()
                .any(|directory| contains(text, directory.as_os_str().as_bytes()))
        };
        self.known.contains(&(process.pid, process.started))
            || self.namespaces.contains(&process.pid_namespace)
            || self.directories.iter().any(|directory| process.directory.starts_with(directory))
            || named(&process.environment)
            || named(&process.arguments)
    }

    /// The processes of the run: those that bear a mark, their sessions, and their descendants.
    pub(super) fn own<'a>(&self, all: &'a [Process]) -> Vec<&'a Process> {
        let mut own: BTreeSet<i32> =
            all.iter().filter(|process| self.has(process)).map(|process| process.pid).collect();
        // A session is one's own if its leader is, or was.
        let ours = |pid: i32, own: &BTreeSet<i32>| {
            own.contains(&pid) || self.known.iter().any(|(known, _)| *known == pid)
        };
        loop {
            let more: Vec<i32> = all
                .iter()
                .filter(|process| !own.contains(&process.pid))
                .filter(|process| own.contains(&process.parent) || ours(process.session, &own))
                .map(|process| process.pid)
                .collect();
            if more.is_empty() {
                break;
            }
            own.extend(more);
        }
        let this = i32::try_from(std::process::id()).unwrap();
        all.iter().filter(|process| own.contains(&process.pid) && process.pid != this).collect()
    }
}

/// All that live: no zombies, no threads of the kernel.
pub(super) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

/// Ends a process that was found, if it is still the same.
pub(super) fn end(process: &Process) {
    if read(process.pid).is_some_and(|now| now.started == process.started) {
        // Unless it ended between these two lines.
        kill(Pid::from_raw(process.pid), Signal::SIGKILL).unwrap_or_default();
    }
}

/// Its arguments, to be shown.
impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let words: Vec<_> = words.collect();
        write!(f, "process {} ({}) {}", self.pid, self.name, words.join(" ").trim_end())
    }
}

fn read(pid: i32) -> Option<Process> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let stat = String::from_utf8_lossy(&content(&directory.join("stat"))?).into_owned();
    let (head, tail) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = tail.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    const PF_KTHREAD: u64 = 0x0020_0000;
    // Its first thread can be gone while another still holds the files that all of them share.
    let dead = matches!(*fields.first()?, "Z" | "X") && number(17)? <= 1;
    if dead || number(6)? & PF_KTHREAD != 0 {
        return None;
    }
    let link = |name: &str| fs::read_link(directory.join(name)).unwrap_or_default();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: number(19)?,
        name: head.split_once('(')?.1.to_owned(),
        environment: content(&directory.join("environ")).unwrap_or_default(),
        arguments: content(&directory.join("cmdline")).unwrap_or_default(),
        directory: link("cwd"),
        pid_namespace: link("ns/pid"),
    })
}

/// A file of /proc, whose length nobody knows before.
fn content(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(4096);
    fs::File::open(path).ok()?.read_to_end(&mut content).ok()?;
    Some(content)
}

/// Whether a text is in another.
pub(super) fn contains(text: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(text, needle).is_some()
}
