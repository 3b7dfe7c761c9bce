//! Searches all that a process can read.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use memchr::memmem::Finder;
use nix::unistd::Pid;

/// How many bytes are read at once.
const PIECE: usize = 1 << 20;

/// The length of the parts that are looked for.
const PART: usize = 16;

/// A value to look for.
pub(crate) struct Planted {
    /// What it is called in a message.
    pub(super) name: String,
    /// Its beginning, its middle and its end.
    parts: Vec<Finder<'static>>,
}

impl Planted {
    /// `value` has 24 bytes at least.
    pub(crate) fn new(name: &str, value: &[u8]) -> Self {
        let last = value.len() - PART;
        let parts = [0, last / 2, last].map(|at| Finder::new(&value[at..at + PART]).into_owned());
        Self { name: name.into(), parts: parts.into() }
    }
}

/// Where each is in the memory of `pid`, by its part of which there are most copies.
pub(crate) fn copies<'a>(
    pid: Pid,
    planted: impl IntoIterator<Item = &'a Planted>,
) -> Vec<Vec<String>> {
    let planted: Vec<&Planted> = planted.into_iter().collect();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut found: Vec<Vec<Vec<String>>> =
        planted.iter().map(|planted| vec![Vec::new(); planted.parts.len()]).collect();
    let mut searched = 0;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let name = fields.nth(3).unwrap_or("anonymous");
        // The kernel's own pages, which can't be read this way.
        if !rights.starts_with('r') || ["[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&name) {
            continue;
        }
        let (begin, end) = range.split_once('-').unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        let (begin, end) = (number(begin), number(end));
        let mut buffer = vec![0; PIECE.min(end - begin)];
        let mut at = begin;
        while at < end {
            let piece = &mut buffer[..PIECE.min(end - at)];
            memory.read_exact_at(piece, at as u64).unwrap();
            for (planted, found) in planted.iter().zip(&mut found) {
                for (part, found) in planted.parts.iter().zip(found) {
                    found.extend(
                        part.find_iter(piece).map(|offset| format!("{name} at {:#x}", at + offset)),
                    );
                }
            }
            searched += piece.len();
            // What stands across two pieces is found in the second.
            at = if at + piece.len() == end { end } else { at + piece.len() - PART };
        }
    }
    assert!(searched > PIECE, "only {searched} bytes could be read");
    found.into_iter().map(|parts| parts.into_iter().max_by_key(Vec::len).unwrap()).collect()
}

/// What `/proc/PID/environ` shows.
pub(super) fn environment(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap()
}
