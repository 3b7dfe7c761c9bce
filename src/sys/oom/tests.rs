//! Where the counter is found, and that it moves.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, ExitStatus};

use super::*;

const V2: &str = "24 30 0:22 / /proc rw - proc proc rw\n\
    30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const V2_PART: &str = "30 1 0:26 /docker/abc /sys/fs/cgroup ro master:9 - cgroup2 cgroup rw\n";
const V2_OUTSIDE: &str = "30 1 0:26 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
    33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
    35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
const V1_PART: &str =
    "35 31 0:32 /docker/abc /sys/fs/cgroup/mem,ory ro - cgroup cgroup rw,cpu,memory\n";
const V1_OTHER: &str = "35 31 0:32 / /memory rw,memory - cgroup memory rw,memory_x\n";
const ODD: &str = "30 1 0:26 /a\\040b /cg\\134\\011x\\012 rw shared:4 master:2 - cgroup2 none rw\n";
const TWICE: &str = "30 1 0:26 /other /one rw - cgroup2 none rw\n\
    31 1 0:26 /mine /two rw - cgroup2 none rw\n\
    32 1 0:26 / /three rw - cgroup2 none rw\n";
const BROKEN: &str = "\n30\n30 1 0:26 / /x rw\n30 1 0:26 / /x rw -\n30 1 0:26 / /x rw - cgroup2\n";

#[test]
fn the_own_cgroup_is_found_below_its_mount() {
    for (cgroup, mountinfo, expected) in [
        ("0::/\n", V2, "/sys/fs/cgroup/memory.events"),
        ("0::/user.slice/a b:c\n", V2, "/sys/fs/cgroup/user.slice/a b:c/memory.events"),
        // The mount shows a part only.
        ("0::/docker/abc\n", V2_PART, "/sys/fs/cgroup/memory.events"),
        ("0::/docker/abc/d\n", V2_PART, "/sys/fs/cgroup/d/memory.events"),
        ("0::/docker/abcd\n", V2_PART, ""),
        ("0::/\n", V2_PART, ""),
        // Outside of the cgroup namespace.
        ("0::/../x\n", V2, ""),
        ("0::/\n", V2_OUTSIDE, ""),
        // Both versions: the second may be there without a memory controller.
        (
            "9:name=systemd:/\n4:memory:/a/b\n3:cpuset:/\n0::/c\n",
            V1,
            "/sys/fs/cgroup/unified/c/memory.events /sys/fs/cgroup/memory/a/b/memory.oom_control",
        ),
        ("4:cpu,memory:/a\n", V1, "/sys/fs/cgroup/memory/a/memory.oom_control"),
        ("4:memory:/docker/abc/x\n", V1_PART, "/sys/fs/cgroup/mem,ory/x/memory.oom_control"),
        ("4:memory:/\n", V1_OTHER, ""),
        ("4:memory_x:/a\n5:name=memory:/b\n", V1, ""),
        ("0::/a b/c\n", ODD, "/cg\\\tx\n/c/memory.events"),
        ("0::/mine\n", TWICE, "/two/memory.events /three/mine/memory.events"),
        ("0::/\n", BROKEN, ""),
        ("", V1, ""),
        ("0::/\n", "", ""),
        ("0\n0:\n\n::\n", V2, ""),
    ] {
        let got = counters(cgroup.as_bytes(), mountinfo.as_bytes());
        let (vmstat, cgroups) = got.split_last().unwrap();
        let cgroups: Vec<_> = cgroups.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(cgroups.join(" "), expected, "{cgroup:?} {mountinfo:?}");
        assert_eq!(vmstat, Path::new("/proc/vmstat"));
    }
}

#[test]
fn the_field_is_read() {
    for (text, expected) in [
        ("low 0\nhigh 0\nmax 7\noom 5\noom_kill 3\noom_group_kill 9\n", Some(3)),
        ("oom_kill_disable 0\nunder_oom 1\noom_kill 18446744073709551615\n", Some(u64::MAX)),
        ("nr_free_pages 6\noom_kill 0\nnuma_hit 1", Some(0)),
        ("oom_kill_disable 0\nunder_oom 0\n", None),
        ("oom_kill\n", None),
        ("oom_kill3\n", None),
        ("oom_kill x\n", None),
        ("", None),
    ] {
        assert_eq!(count(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn only_growth_counts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("counter");
    let watch = |at_begin| OomWatch(Some(Counter { file: file.clone(), at_begin }));
    assert!(!watch(0).killed_since(), "a counter that is not there");
    put(&file, "oom_kill 3\n").unwrap();
    for (at_begin, expected) in [(2, true), (3, false), (4, false)] {
        assert_eq!(watch(at_begin).killed_since(), expected, "{at_begin}");
    }
    assert!(!OomWatch(None).killed_since());
}

fn put(file: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(file)?
        .write_all(text.as_bytes())
}

/// Tells the test below that it is inside.
const INSIDE: &str = "QGIS_SECRETS_TEST_CGROUP";

/// A cgroup of version 1 below the own one, with 48 MiB of memory; removed in the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn create() -> Result<Self, String> {
        let cgroup = fs::read("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let own = counters(&cgroup, &mounts)
            .into_iter()
            .find(|path| path.ends_with("memory.oom_control"))
            .ok_or("there is no memory controller of version 1")?;
        let path = own.with_file_name(format!("qgis-secrets-test-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let new = Self(path);
        // Without the first a swap would take what is too much.
        for (file, text) in [("memory.swappiness", "0"), ("memory.limit_in_bytes", "48M")] {
            put(&new.0.join(file), text).map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(new)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Busy until the kernel has let go of the last process.
        for _ in 0..1000 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    std::thread::yield_now();
                }
                done => return assert!(done.is_ok() || std::thread::panicking(), "{done:?}"),
            }
        }
    }
}

fn python(program: &str) -> std::io::Result<ExitStatus> {
    Command::new("python3").args(["-c", program]).status()
}

/// Runs the next test in a cgroup with little memory.
#[test]
fn the_real_counter_moves() {
    if !python("").is_ok_and(|status| status.success()) {
        println!("skipped: no python3");
        return;
    }
    let cgroup = match Cgroup::create() {
        Ok(cgroup) => cgroup,
        Err(why) => {
            println!("skipped: no cgroup could be made: {why}");
            return;
        }
    };
    let output = Command::new("sh")
        .args(["-c", "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"", "sh"])
        .arg(&cgroup.0)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "sys::oom::tests::inside_a_small_cgroup", "--nocapture"])
        .env(INSIDE, &cgroup.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
    assert!(text.contains("the counter moved"), "{text}");
}

#[test]
fn inside_a_small_cgroup() {
    let Some(cgroup) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        println!("skipped: for the test above only");
        return;
    };
    let watch = OomWatch::begin();
    let Some(counter) = &watch.0 else { panic!("no counter") };
    assert_eq!(counter.file, cgroup.join("memory.oom_control"));
    // A kill by anyone else is none by the kernel.
    let killed = python("import os; os.kill(os.getpid(), 9)").unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9));
    assert!(!watch.killed_since());
    let killed = python("x = bytearray(256 << 20)").unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9));
    assert!(watch.killed_since());
    println!("the counter moved");
}
