//! The search itself: what is planted is found, in each kind of place. Otherwise it would prove
//! nothing that nothing is found.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use nix::unistd::{Pid, Uid};

use super::processes::{self, Marks};
use super::search::{Canary, Search};
use crate::support::{Sandbox, until};

/// A search with something to find.
struct Ground {
    sandbox: Sandbox,
    canary: Canary,
    search: Search,
}

impl Ground {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let canary = Canary::new();
        let search = Search::new(std::slice::from_ref(&canary), sandbox.home().to_owned());
        Self { sandbox, canary, search }
    }

    /// What is found; `own` is a process of the run.
    fn find(&self, own: Option<&Child>) -> Vec<String> {
        let all = processes::all();
        let own: Vec<_> = all
            .iter()
            .filter(|process| own.is_some_and(|own| own.id() as i32 == process.pid))
            .collect();
        self.search.find(&all, &own)
    }

    #[track_caller]
    fn finds(&self, place: &str, own: Option<&Child>) {
        let found = self.find(own);
        assert!(found.iter().any(|found| found.contains(place)), "no `{place}` in {found:?}");
    }

    #[track_caller]
    fn finds_nothing(&self) {
        assert_eq!(self.find(None), Vec::<String>::new());
    }

    /// A process that holds the canary in a place of this kind.
    fn holder(&self, before: &[&str], kind: &str) -> Held {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/plant.py");
        let mut words = before.to_vec();
        words.extend(["/usr/bin/python3", script, kind]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{}", self.canary.0).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "planted\n");
        Held(child)
    }
}

/// A process that ends with the test.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // At the end of its input it takes away what it planted.
        match self.0.stdin.take() {
            Some(stdin) => drop(stdin),
            None => drop(self.0.kill()),
        }
        drop(self.0.wait());
    }
}

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    command
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

#[test]
fn in_files_and_their_names() {
    let ground = Ground::new();
    ground.finds_nothing();
    let canary = &ground.canary.0;
    let mut utf16 = vec![1, 2, 3];
    utf16.extend(canary.encode_utf16().flat_map(u16::to_le_bytes));
    let deep = [vec![0; (1 << 20) - 7], canary.clone().into_bytes()].concat();
    let elsewhere = ["/dev/shm", "/tmp", "/var/tmp"].map(|top| tempfile::tempdir_in(top).unwrap());
    let directories = elsewhere.iter().map(tempfile::TempDir::path).chain([ground.sandbox.home()]);
    for directory in directories {
        let new = directory.join("new");
        fs::create_dir(&new).unwrap();
        let path = new.join("file");
        for text in [
            canary.clone().into_bytes(),
            format!("[kill]\npassword={canary}\n").into_bytes(),
            Base64::encode_string(format!("x{canary}y").as_bytes()).into_bytes(),
            Base64::encode_string(format!("xx{canary}y").as_bytes()).into_bytes(),
            utf16.clone(),
            deep.clone(),
        ] {
            write(&path, text);
            ground.finds(path.to_str().unwrap(), None);
            fs::remove_file(&path).unwrap();
        }
        symlink(format!("/{canary}"), &path).unwrap();
        ground.finds(path.to_str().unwrap(), None);
        fs::remove_file(&path).unwrap();
        write(&new.join(canary), "");
        ground.finds("the name of", None);
        fs::remove_file(new.join(canary)).unwrap();
        ground.finds_nothing();
    }
}

#[test]
fn in_environment_and_arguments() {
    let ground = Ground::new();
    let child = Held(sleeper().env("SECRET", &ground.canary.0).spawn().unwrap());
    until("the environment is there", || {
        ground.find(None).iter().any(|found| found.contains("the environment of"))
    });
    drop(child);
    ground.finds_nothing();
    let mut command = Command::new("sh");
    command.args(["-c", "read -r end", &ground.canary.0]).stdin(Stdio::piped());
    let child = Held(command.spawn().unwrap());
    until("the arguments are there", || {
        ground.find(None).iter().any(|found| found.contains("the arguments of"))
    });
    drop(child);
    ground.finds_nothing();
}

#[test]
fn in_files_without_a_name() {
    let ground = Ground::new();
    for (kind, place) in [("memfd", "/memfd:plant"), ("deleted", "(deleted)")] {
        let held = ground.holder(&[], kind);
        ground.finds(place, None);
        drop(held);
        ground.finds_nothing();
    }
}

#[test]
fn in_memory_that_the_kernel_keeps() {
    let ground = Ground::new();
    let mut kinds = vec![("segment", "shm:")];
    if fs::read_to_string("/proc/keys").is_ok_and(|keys| !keys.is_empty()) {
        kinds.push(("key", "key:"));
    }
    for (kind, place) in kinds {
        let held = ground.holder(&[], kind);
        ground.finds(place, None);
        drop(held);
        until("it is gone", || ground.find(None).is_empty());
    }
}

#[test]
fn in_other_namespaces() {
    if !Uid::effective().is_root() {
        return;
    }
    let ground = Ground::new();
    for (namespace, kind, place) in [
        ("--mount", "mount", "/deep/er/file"),
        ("--mount", "covered", "is covered"),
        ("--mount", "detached", "/file"),
        ("--ipc", "segment", "shm:"),
    ] {
        let held = ground.holder(&["unshare", namespace], kind);
        ground.finds(place, Some(&held.0));
        drop(held);
        ground.finds_nothing();
    }
}

/// A process of a run is known by each of its marks alone.
#[test]
fn processes_by_any_of_their_marks() {
    let sandbox = Sandbox::new();
    let home = sandbox.home().to_owned();
    let lives = |marks: &Marks, command: &mut Command| {
        let child = Held(command.spawn().unwrap());
        let pid = child.0.id() as i32;
        until("it is found", || marks.own(&processes::all()).iter().any(|found| found.pid == pid));
    };
    let marks = Marks::new([home.clone()]);
    assert!(marks.own(&processes::all()).is_empty());
    lives(&marks, sleeper().env_clear().env("HOME", &home));
    lives(&marks, sleeper().env_clear().current_dir(&home));
    let mut named = Command::new("sh");
    lives(&marks, named.args(["-c", "read -r end"]).arg(&home).stdin(Stdio::piped()));
    assert!(marks.own(&processes::all()).is_empty());

    // By its number, by its session though the session's leader is gone, and by its parents.
    let mut leader = Command::new("setsid");
    leader.args(["sh", "-c", "sleep 1000 & sleep 1000 & read -r end"]);
    leader.env_clear().stdin(Stdio::piped());
    let mut leader = leader.spawn().unwrap();
    let mut marks = Marks::new([home]);
    until("it is a shell", || {
        marks.add(Pid::from_raw(leader.id() as i32));
        marks.own(&processes::all()).len() == 3
    });
    leader.kill().unwrap();
    leader.wait().unwrap();
    let all = processes::all();
    let orphans = marks.own(&all);
    assert_eq!(orphans.len(), 2, "{orphans:?}");
    orphans.iter().for_each(|orphan| processes::end(orphan));
    until("they are gone", || marks.own(&processes::all()).is_empty());
}

#[test]
fn processes_by_their_namespace() {
    if !Uid::effective().is_root() {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "sh", "-c", "setsid sleep 1000 & wait"]);
    let child = Held(command.env_clear().stdin(Stdio::null()).spawn().unwrap());
    let outer = child.0.id() as i32;
    let mut marks = Marks::new([]);
    until("its first process is there", || {
        let all = processes::all();
        let inner = all.iter().find(|process| process.parent == outer);
        inner.is_some_and(|inner| {
            marks.add(Pid::from_raw(inner.pid));
            marks.own(&all).iter().any(|process| process.name == "sleep")
        })
    });
    drop(child);
    until("they are gone", || marks.own(&processes::all()).is_empty());
}

/// It is done thousands of times.
#[test]
fn it_takes_little_time() {
    let ground = Ground::new();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        ground.finds_nothing();
        best = best.min(started.elapsed());
    }
    println!("a search takes {best:?}");
    assert!(best < Duration::from_millis(500), "a search takes {best:?}");
}
