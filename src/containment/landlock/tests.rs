//! What a domain refuses, and what it leaves alone. Each test restricts a thread of its own.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::sys::landlock::{drop_capabilities, restrict_self};

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let missing = deny_with(REFER, &["/nonexistent/keys".into()]).unwrap_err().to_string();
    assert!(missing.starts_with("the directory /nonexistent/keys, "), "{missing}");
}

#[test]
fn without_landlock_there_is_no_domain() {
    for abi in [0, 1] {
        assert!(isolate_with(abi).unwrap().is_none());
        assert!(deny_with(abi, &["/etc".into()]).unwrap().is_none());
    }
}

/// Runs `test` in a thread that is inside the domain, without capabilities, as a job is. None: the
/// kernel has no Landlock. What is removed at the end of a test is only lent: inside it would stay.
fn inside(domain: Option<OwnedFd>, test: impl FnOnce() + Send) {
    let Some(domain) = domain else {
        println!("skipped: the kernel offers version {} of Landlock", abi());
        return;
    };
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            set_no_new_privs().unwrap();
            drop_capabilities();
            restrict_self(domain.as_fd()).unwrap();
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// The oldest version and the oldest with scopes, as far as the kernel has them: it takes the
/// rulesets of both.
fn versions() -> impl Iterator<Item = u32> {
    [REFER, SCOPES].into_iter().filter(|version| {
        let there = *version <= abi();
        if !there {
            println!("skipped: the kernel has no version {version} of Landlock");
        }
        there
    })
}

/// A process without capabilities and outside of every domain; killed in the end.
struct Stranger(Child);

impl Stranger {
    fn start() -> Self {
        thread::spawn(|| {
            set_no_new_privs().unwrap();
            drop_capabilities();
            let mut child =
                Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            // Once it answers, it is no copy of this process any more.
            child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            Self(child)
        })
        .join()
        .unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What is to be had from a process: `environ`, its memory, its root directory.
fn open_to_view(pid: Pid) -> [bool; 3] {
    let path = |name: &str| format!("/proc/{pid}/{name}");
    [
        fs::read(path("environ")).is_ok_and(|bytes| !bytes.is_empty()),
        fs::File::open(path("mem")).is_ok(),
        fs::read_link(path("root")).is_ok(),
    ]
}

#[test]
fn a_process_outside_is_out_of_reach_and_one_inside_is_not() {
    let place = Place::new();
    let keys = [place.at("keys")];
    for version in versions() {
        for domain in [isolate_with(version), deny_with(version, &keys)] {
            let stranger = Stranger::start();
            let pid = stranger.pid();
            let before = thread::spawn(move || {
                set_no_new_privs().unwrap();
                drop_capabilities();
                (open_to_view(pid), kill(pid, None))
            });
            assert_eq!(before.join().unwrap(), ([true; 3], Ok(())), "shows nothing");
            inside(domain.unwrap(), || {
                assert_eq!(open_to_view(pid), [false; 3], "version {version}");
                let expected = if version < SCOPES { Ok(()) } else { Err(Errno::EPERM) };
                assert_eq!(kill(pid, Signal::SIGCONT), expected, "version {version}");
                let own = Stranger::start();
                assert_eq!(open_to_view(own.pid()), [true; 3]);
                assert_eq!(kill(own.pid(), Signal::SIGCONT), Ok(()));
            });
        }
    }
}

/// A directory with `keys/deep/key`, `keys/link`, `data/file`, `more/`, and a link to the key.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for directory in ["keys/deep", "data", "more"] {
            fs::create_dir_all(place.at(directory)).unwrap();
        }
        put(&place.at("keys/deep/key"), "secret").unwrap();
        put(&place.at("data/file"), "plain").unwrap();
        put(&place.at("beside"), "plain").unwrap();
        symlink(place.at("keys/deep/key"), place.at("data/link")).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?
        .write_all(text.as_bytes())
}

fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw)
}

#[test]
fn a_denied_directory_cannot_be_read_by_any_path() {
    for version in versions() {
        let place = Place::new();
        // Through a link, and twice: the real directory counts.
        symlink(place.at("keys"), place.at("alias")).unwrap();
        let denied = [place.at("alias"), place.at("keys/deep")];
        let domain = deny_with(version, &denied).unwrap();
        inside(domain, || {
            let denied = |path: &str| errno(fs::read(place.at(path))) == Some(Errno::EACCES);
            assert!(denied("keys/deep/key") && denied("alias/deep/key") && denied("data/link"));
            let by_proc = format!("/proc/self/root/{}", place.at("keys/deep/key").display());
            assert_eq!(errno(fs::read(by_proc)), Some(Errno::EACCES));
            // A new name for it, or for a directory around it.
            let refused = [Some(Errno::EXDEV), Some(Errno::EACCES)];
            for (from, to) in [
                ("keys", "data/keys"),
                ("keys/deep", "data/deep"),
                ("keys/deep", "deep"),
                ("keys/deep/key", "data/key"),
                ("keys/deep/key", "key"),
            ] {
                let moved = errno(fs::rename(place.at(from), place.at(to)));
                assert!(refused.contains(&moved), "{from} to {to}: {moved:?}");
            }
            for to in ["data/key", "more/key", "key"] {
                let linked = errno(fs::hard_link(place.at("keys/deep/key"), place.at(to)));
                assert!(refused.contains(&linked), "{to}: {linked:?}");
            }
            // In its place: the next run would take the new name for one beside the way.
            let at = |name: &str| place.at(name);
            assert_eq!(errno(fs::rename(at("keys"), at("locks"))), Some(Errno::EACCES));
            assert_eq!(errno(fs::rename(at("keys/deep"), at("keys/d"))), Some(Errno::EACCES));
            assert_eq!(errno(fs::rename(at("more"), at("keys"))), Some(Errno::EACCES));
            let exchange = RenameFlags::RENAME_EXCHANGE;
            let exchanged = renameat2(AT_FDCWD, &at("keys"), AT_FDCWD, &at("more"), exchange);
            assert_eq!(exchanged, Err(Errno::EACCES));
            fs::create_dir(at("keys/empty")).unwrap();
            assert_eq!(errno(fs::remove_dir(at("keys/empty"))), Some(Errno::EACCES));
            // What comes in is denied from then on.
            put(&place.at("keys/new"), "x").unwrap();
            assert!(denied("keys/new"));
            // What a program inside starts is inside.
            let mut cat = Command::new("cat");
            let cat = cat.arg(place.at("keys/deep/key")).stderr(Stdio::null());
            assert!(!cat.status().unwrap().success());
        });
    }
}

#[test]
fn a_file_that_others_move_there_is_denied_as_well() {
    let place = Place::new();
    let domain = deny(&[place.at("keys")]).unwrap();
    fs::rename(place.at("data/file"), place.at("keys/file")).unwrap();
    fs::rename(place.at("more"), place.at("keys/more")).unwrap();
    put(&place.at("keys/more/file"), "x").unwrap();
    inside(domain, || {
        for path in ["keys/file", "keys/more/file"] {
            // A directory that was granted carries its grant along; a file in one doesn't.
            let expected = (path == "keys/file").then_some(Errno::EACCES);
            assert_eq!(errno(fs::read(place.at(path))), expected, "{path}");
        }
    });
}

#[test]
fn beside_it_nothing_changes() {
    let place = Place::new();
    let domain = deny(&[place.at("keys")]).unwrap();
    inside(domain, || {
        assert_eq!(fs::read(place.at("data/file")).unwrap(), b"plain");
        assert_eq!(fs::read(place.at("beside")).unwrap(), b"plain");
        put(&place.at("data/file"), "new").unwrap();
        put(&place.at("data/other"), "new").unwrap();
        assert_eq!(fs::read(place.at("data/other")).unwrap(), b"new");
        fs::rename(place.at("data/other"), place.at("more/other")).unwrap();
        fs::hard_link(place.at("more/other"), place.at("data/linked")).unwrap();
        assert_eq!(fs::read(place.at("data/linked")).unwrap(), b"new");
        fs::create_dir(place.at("data/sub")).unwrap();
        fs::rename(place.at("data/sub"), place.at("more/sub")).unwrap();
        fs::remove_dir(place.at("more/sub")).unwrap();
        fs::read_dir(place.at("keys")).unwrap();
        assert!(fs::read("/etc/passwd").is_ok() && fs::read("/proc/self/environ").is_ok());
        assert!(Command::new("true").status().unwrap().success());
        // The documented price: on the way to the directory.
        put(&place.at("fresh"), "x").unwrap();
        assert_eq!(errno(fs::read(place.at("fresh"))), Some(Errno::EACCES));
        assert_eq!(errno(fs::rename(place.at("more"), place.at("m"))), Some(Errno::EACCES));
        fs::remove_file(place.at("beside")).unwrap();
    });
}

#[test]
fn isolation_leaves_files_alone() {
    for version in versions() {
        let place = Place::new();
        inside(isolate_with(version).unwrap(), || {
            fs::rename(place.at("data/file"), place.at("more/file")).unwrap();
            fs::hard_link(place.at("more/file"), place.at("data/file")).unwrap();
            fs::rename(place.at("keys/deep"), place.at("data/deep")).unwrap();
            assert_eq!(fs::read(place.at("data/deep/key")).unwrap(), b"secret");
        });
    }
}

#[test]
fn without_directories_nothing_is_denied() {
    let place = Place::new();
    inside(deny(&[]).unwrap(), || {
        assert_eq!(fs::read(place.at("keys/deep/key")).unwrap(), b"secret");
    });
}

/// Tells the test below that it is inside.
const MOUNTED: &str = "QGIS_SECRETS_TEST_MOUNTED";

/// Runs the next test in a mount namespace in which the directory has a second name.
#[test]
fn a_second_mount_beside_the_way_grants_nothing() {
    let place = Place::new();
    let script = "mount --bind \"$1/keys\" \"$1/more\" && shift && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(place.0.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "containment::landlock::tests::inside_with_a_second_mount"])
        .arg("--nocapture")
        .env(MOUNTED, place.0.path())
        .output();
    let Ok(output) = output else { return println!("skipped: no unshare(1)") };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if text.is_empty() {
        return println!("skipped: no mounts here: {errors}");
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

#[test]
fn inside_with_a_second_mount() {
    let Some(base) = std::env::var_os(MOUNTED).map(PathBuf::from) else {
        println!("skipped: for the test above only");
        return;
    };
    assert_eq!(fs::read(base.join("more/deep/key")).unwrap(), b"secret", "not mounted");
    inside(deny(&[base.join("keys")]).unwrap(), || {
        for path in ["keys/deep/key", "more/deep/key"] {
            assert_eq!(errno(fs::read(base.join(path))), Some(Errno::EACCES), "{path}");
        }
    });
}
