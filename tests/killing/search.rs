//! The search for what remains of a run's secrets, wherever a program can have put them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use nix::sys::statfs::{FsType, HUGETLBFS_MAGIC, TMPFS_MAGIC, statfs};

use super::processes::{Process, contains};

const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kernel_memory.py");

/// Places on a disk where programs write without being told to.
const DISKS: &[&str] = &["/tmp", "/var/tmp", "/run", "/var/crash", "/var/lib/systemd/coredump"];

/// File systems that are memory.
const MEMORY: &[&str] = &["tmpfs", "ramfs", "devtmpfs", "hugetlbfs"];

/// The beginning of all canaries of this process: most of the search looks for this only.
static FLOCK: LazyLock<String> = LazyLock::new(|| random()[20..].to_owned());

fn random() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// A secret value that no other run has.
#[derive(Clone, Debug)]
pub(super) struct Canary(pub(super) String);

impl Canary {
    pub(super) fn new() -> Self {
        Self(format!("{}{}", *FLOCK, &random()[12..]))
    }
}

/// A text as it is, and as it looks when it is encoded.
#[derive(Debug)]
struct Guises(Vec<Vec<u8>>);

impl Guises {
    fn of(text: &str) -> Self {
        let raw = text.as_bytes();
        let mut guises = vec![raw.to_vec()];
        guises.push(raw.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        // As Qt keeps it in memory.
        guises.push(raw.iter().flat_map(|byte| [*byte, 0]).collect());
        for skipped in 0..3 {
            // What doesn't depend on the neighbours.
            let whole = (raw.len() - skipped) / 3 * 3;
            guises.push(Base64::encode_string(&raw[skipped..skipped + whole]).into_bytes());
        }
        Self(guises)
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.0.iter().any(|guise| contains(text, guise))
    }
}

/// What is looked for, and what was there before.
#[derive(Debug)]
pub(super) struct Search {
    flock: Guises,
    own: Vec<Guises>,
    lines: String,
    /// The run's own directory: searched whole.
    home: PathBuf,
    /// Elsewhere only what changed since then.
    since: SystemTime,
    kernel: BTreeSet<String>,
}

impl Search {
    /// To be made before the run.
    pub(super) fn new(canaries: &[Canary], home: PathBuf) -> Self {
        Self {
            flock: Guises::of(&FLOCK),
            own: canaries.iter().map(|canary| Guises::of(&canary.0)).collect(),
            lines: canaries.iter().map(|canary| format!("{}\n", canary.0)).collect(),
            home,
            // Clocks of file systems are coarse.
            since: SystemTime::now() - Duration::from_millis(50),
            kernel: kernel_objects(),
        }
    }

    /// Every place that holds a canary. `own` are the run's processes that still live.
    pub(super) fn find(&self, all: &[Process], own: &[&Process]) -> Vec<String> {
        let mut found = Vec::new();
        for process in all {
            for (what, text) in
                [("environment", &process.environment), ("arguments", &process.arguments)]
            {
                if self.is_in(text) {
                    found.push(format!("the {what} of {process}"));
                }
            }
        }
        let devices = self.memory_file_systems(all, own, &mut found);
        self.open_files(all, &devices, &mut found);
        self.walk(&self.home, SystemTime::UNIX_EPOCH, &mut found);
        for directory in DISKS {
            self.top(Path::new(directory), &mut found);
        }
        self.kernel_memory(own, &mut found);
        found.sort();
        found.dedup();
        found
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.flock.is_in(text) && self.own.iter().any(|guises| guises.is_in(text))
    }

    /// Each mounted tmpfs of each live mount namespace once; returns their devices.
    fn memory_file_systems(
        &self,
        all: &[Process],
        own: &[&Process],
        found: &mut Vec<String>,
    ) -> BTreeSet<u64> {
        let here = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
        let mut namespaces = BTreeSet::new();
        let (mut seen, mut covered) = (BTreeSet::new(), BTreeMap::new());
        for process in all {
            let proc = PathBuf::from(format!("/proc/{}", process.pid));
            let Ok(namespace) = fs::read_link(proc.join("ns/mnt")) else { continue };
            if !namespaces.insert(namespace.clone()) {
                continue;
            }
            let Ok(mounts) = fs::read_to_string(proc.join("mountinfo")) else { continue };
            for mount in mounts.lines() {
                let Some((device, root, point)) = memory_mount(mount) else { continue };
                // What is seen from here is called as it is called here.
                let base = if namespace == here { "/".into() } else { proc.join("root") };
                let point = base.join(point.trim_start_matches('/'));
                let Ok(metadata) = fs::metadata(&point) else { continue };
                if metadata.dev() != device {
                    // Nobody can look below it. Those of strangers are no concern of ours.
                    if own.iter().any(|own| own.pid == process.pid) {
                        covered.insert(device, point);
                    }
                } else if seen.insert((device, root)) {
                    self.walk(&point, self.since, found);
                }
            }
        }
        let devices: BTreeSet<u64> = seen.into_iter().map(|(device, _)| device).collect();
        covered.retain(|device, _| !devices.contains(device));
        found.extend(
            covered
                .into_values()
                .map(|point: PathBuf| format!("{} is covered by another mount", point.display())),
        );
        devices
    }

    /// Files of memory that have no name any more, or none that leads there from here.
    fn open_files(&self, all: &[Process], seen: &BTreeSet<u64>, found: &mut Vec<String>) {
        let mut kinds = BTreeMap::new();
        for process in all {
            let proc = PathBuf::from(format!("/proc/{}", process.pid));
            let Ok(open) = fs::read_dir(proc.join("fd")) else { continue };
            let open = open.flatten().map(|descriptor| descriptor.path());
            for path in open.chain([proc.join("cwd"), proc.join("root")]) {
                let Ok(name) = fs::read_link(&path) else { continue };
                let bytes = name.as_os_str().as_bytes();
                if !bytes.starts_with(b"/") {
                    continue;
                }
                let nameless = bytes.starts_with(b"/memfd:") || bytes.ends_with(b" (deleted)");
                let Ok(metadata) = fs::metadata(&path) else { continue };
                let device = metadata.dev();
                let memory = *kinds.entry(device).or_insert_with(|| is_memory(&path));
                if metadata.is_dir() && memory && (nameless || !seen.contains(&device)) {
                    // Its mount is gone, but for those who hold it.
                    self.walk(&path, SystemTime::UNIX_EPOCH, found);
                } else if metadata.is_file() && (nameless || memory) && self.in_file(&path) {
                    found.push(format!("{}, open in {process}", name.display()));
                }
            }
        }
    }

    /// All of a directory, but not what is mounted in it.
    fn walk(&self, directory: &Path, since: SystemTime, found: &mut Vec<String>) {
        let Ok(metadata) = fs::metadata(directory) else { return };
        self.entries(directory, since, found, &|inner| inner.dev() == metadata.dev());
    }

    /// A directory that everybody writes to: what changed in it, and below new directories.
    fn top(&self, directory: &Path, found: &mut Vec<String>) {
        self.entries(directory, self.since, found, &|inner| changed(inner) >= self.since);
    }

    fn entries(
        &self,
        directory: &Path,
        since: SystemTime,
        found: &mut Vec<String>,
        enter: &dyn Fn(&fs::Metadata) -> bool,
    ) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            let fresh = changed(&metadata) >= since;
            if fresh && self.is_in(entry.file_name().as_bytes()) {
                found.push(format!("the name of {}", path.display()));
            }
            if metadata.is_dir() {
                if enter(&metadata) {
                    self.entries(&path, since, found, enter);
                }
            } else if fresh && metadata.is_symlink() {
                if fs::read_link(&path).is_ok_and(|link| self.is_in(link.as_os_str().as_bytes())) {
                    found.push(format!("the link {}", path.display()));
                }
            } else if fresh && metadata.is_file() && self.in_file(&path) {
                found.push(path.display().to_string());
            }
        }
    }

    fn in_file(&self, path: &Path) -> bool {
        const CHUNK: usize = 1 << 20;
        const LONGEST: usize = 256;
        let Ok(mut file) = fs::File::open(path) else { return false };
        let mut text = Vec::new();
        loop {
            let kept = text.len().saturating_sub(LONGEST);
            text.drain(..kept);
            match Read::by_ref(&mut file).take(CHUNK as u64).read_to_end(&mut text) {
                Ok(0) | Err(_) => return false,
                Ok(_) if self.is_in(&text) => return true,
                Ok(_) => {}
            }
        }
    }

    /// System V segments and keys that were not there before.
    fn kernel_memory(&self, own: &[&Process], found: &mut Vec<String>) {
        let new: Vec<String> = kernel_objects().difference(&self.kernel).cloned().collect();
        if !new.is_empty() {
            found.extend(self.ask(&mut python(), &new));
        }
        let here = fs::read_link("/proc/self/ns/ipc").unwrap_or_default();
        let mut seen = BTreeSet::new();
        for process in own {
            let path = format!("/proc/{}/ns/ipc", process.pid);
            let Ok(namespace) = fs::read_link(&path) else { continue };
            if namespace == here || !seen.insert(namespace) {
                continue;
            }
            let enter = ["nsenter".to_owned(), format!("--ipc={path}")];
            let table = output(&mut command(&enter, &["cat", "/proc/sysvipc/shm"]), "");
            let objects = segments(&table);
            if !objects.is_empty() {
                let held = self.ask(&mut command(&enter, &["/usr/bin/python3", KERNEL]), &objects);
                found.extend(held.iter().map(|object| format!("{object} in {path}")));
            }
        }
    }

    fn ask(&self, command: &mut Command, objects: &[String]) -> Vec<String> {
        let held = output(command.args(objects), &self.lines);
        held.lines().map(str::to_owned).collect()
    }
}

/// Whether a file lies in memory only.
fn is_memory(path: &Path) -> bool {
    const RAMFS: FsType = FsType(0x8584_58f6);
    let kind = statfs(path).map(|found| found.filesystem_type());
    kind.is_ok_and(|kind| [TMPFS_MAGIC, HUGETLBFS_MAGIC, RAMFS].contains(&kind))
}

/// The time of the last change, which no program can set back.
fn changed(metadata: &fs::Metadata) -> SystemTime {
    let nanoseconds = u64::try_from(metadata.ctime_nsec()).unwrap_or_default();
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

/// Device, root and mount point of a line of mountinfo, if it is a file system in memory.
fn memory_mount(line: &str) -> Option<(u64, String, String)> {
    let (head, tail) = line.split_once(" - ")?;
    if !MEMORY.contains(&tail.split(' ').next()?) {
        return None;
    }
    let mut fields = head.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?);
    let (root, point) = (fields.next()?, fields.next()?);
    Some((device, root.into(), point.replace("\\040", " ").replace("\\134", "\\")))
}

/// The System V segments and the keys that this process sees.
fn kernel_objects() -> BTreeSet<String> {
    let segments = segments(&fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default());
    let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
    let keys = keys.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (serial, flags) = (fields.next()?, fields.next()?);
        let (kind, name) = (fields.nth(5)?, fields.next()?);
        // Revoked, dead and invalid ones hold nothing; systemd has one for each service.
        let holds = !flags.contains(['R', 'D', 'i']) && !name.starts_with("invocation_id");
        let kind = matches!(kind, "user" | "logon" | "big_key");
        (holds && kind).then(|| format!("key:{serial}"))
    });
    segments.into_iter().chain(keys).collect()
}

fn segments(table: &str) -> Vec<String> {
    let ids = table.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(1));
    ids.map(|id| format!("shm:{id}")).collect()
}

fn python() -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(KERNEL);
    command
}

fn command(before: &[String], words: &[&str]) -> Command {
    let mut command = Command::new(&before[0]);
    command.args(&before[1..]).args(words);
    command
}

fn output(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // One that ends early, with its namespace, reads nothing.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What this machine leaves out of the search, or has none of.
pub(super) fn notes() -> Vec<String> {
    let mut notes = Vec::new();
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    notes.push(match swaps.lines().count() {
        0 | 1 => "swap: none is on".into(),
        _ => "swap: it is on, and is not searched".into(),
    });
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    notes.push(match pattern.trim() {
        piped if piped.starts_with('|') => format!("cores: go to `{piped}`, which is not asked"),
        file => format!("cores: files named `{file}`, looked for where the runner works"),
    });
    notes
}
