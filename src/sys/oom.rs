//! Tells a kill by the kernel's out-of-memory killer from other kills.
//!
//! Invariant: says yes only when a kernel counter has grown; without a counter it says no.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The field that every source calls the same: processes that the killer chose.
const FIELD: &str = "oom_kill";

/// Remembers how often the out-of-memory killer had struck.
///
/// The counter is the first of these that there is:
///
/// 1. `memory.events` of the own cgroup in version 2, which counts what is below it too;
/// 2. `memory.oom_control` of the own cgroup in version 1, which counts only the cgroup itself;
/// 3. `/proc/vmstat`, which counts the whole machine: another container's kill counts as well, so
///    the answer is worth something only for a job that was in fact ended by SIGKILL.
///
/// See cgroups(7), the kernel's cgroup-v2.rst and cgroup-v1/memory.rst, and proc_vmstat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OomWatch(Option<Counter>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Counter {
    file: PathBuf,
    at_begin: u64,
}

impl OomWatch {
    /// Finds the counter and reads it: three small files at most. It watches the cgroup in which
    /// the caller is now.
    pub fn begin() -> Self {
        let cgroup = fs::read("/proc/self/cgroup").unwrap_or_default();
        // Not read where there are no cgroups.
        let mounts = if cgroup.is_empty() { None } else { fs::read("/proc/self/mountinfo").ok() };
        let files = counters(&cgroup, &mounts.unwrap_or_default());
        Self(files.into_iter().find_map(|file| {
            let at_begin = count(&fs::read(&file).ok()?)?;
            Some(Counter { file, at_begin })
        }))
    }

    /// The file that it reads; `None` where there is nothing to read.
    pub fn source(&self) -> Option<&Path> {
        self.0.as_ref().map(|counter| counter.file.as_path())
    }

    /// Whether the killer has struck since. False when there is no counter, or it cannot be read
    /// any more.
    pub fn killed_since(&self) -> bool {
        self.0.as_ref().is_some_and(|Counter { file, at_begin }| {
            fs::read(file).ok().and_then(|text| count(&text)).is_some_and(|now| now > *at_begin)
        })
    }
}

/// The number in the line `oom_kill NUMBER`; none on a kernel that doesn't count (before 4.13).
fn count(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?;
    text.lines().find_map(|line| line.strip_prefix(FIELD)?.strip_prefix(' ')?.parse().ok())
}

/// The files that may hold the counter, in the order in which to try them, from the texts of
/// `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn counters(cgroup: &[u8], mountinfo: &[u8]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let v2 = own_cgroup(cgroup, None);
    let v1 = own_cgroup(cgroup, Some(b"memory"));
    for (own, version, file) in
        [(v2, Version::Two, "memory.events"), (v1, Version::One, "memory.oom_control")]
    {
        let Some(own) = own else { continue };
        let mounts = lines(mountinfo).filter_map(Mount::parse);
        let mounts = mounts.filter(|mount| mount.version == version);
        files.extend(mounts.filter_map(|mount| Some(mount.place_of(own)?.join(file))));
    }
    files.push("/proc/vmstat".into());
    files
}

/// The path in the line `N:controller,…:PATH`, or in `0::PATH`, which is version 2's: cgroups(7).
fn own_cgroup<'a>(cgroup: &'a [u8], controller: Option<&[u8]>) -> Option<&'a Path> {
    lines(cgroup).find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (id, controllers) = (fields.next()?, fields.next()?);
        let found = match controller {
            None => id == b"0" && controllers.is_empty(),
            Some(name) => controllers.split(|byte| *byte == b',').any(|each| each == name),
        };
        found.then(|| fields.next()).flatten().map(|path| Path::new(OsStr::from_bytes(path)))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A mounted hierarchy that may have the memory controller.
#[derive(Debug)]
struct Mount {
    version: Version,
    /// The cgroup that is seen at the mount point; not `/` in a container whose mount shows its
    /// own part only.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// A line of proc_pid_mountinfo(5):
    /// `id parent device root point options [tag…] - type source super-options`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        // The first that is a dash: the tags before it are words.
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let version = match (fields.next()?, fields.nth(1)?) {
            (b"cgroup2", _) => Version::Two,
            (b"cgroup", options) if options.split(|byte| *byte == b',').any(|o| o == b"memory") => {
                Version::One
            }
            _ => return None,
        };
        Some(Self { version, root: unescape(root), point: unescape(point) })
    }

    /// Where the cgroup `own` is below the mount point; none if this mount doesn't show it.
    fn place_of(&self, own: &Path) -> Option<PathBuf> {
        // A cgroup outside of the own namespace is written with `..`, and can't be followed.
        let below = own.strip_prefix(&self.root).ok()?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        plain.then(|| self.point.join(below))
    }
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests;
