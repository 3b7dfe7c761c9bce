//! What a start takes for the remains of a dead run, and what not.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::{Child, Command};

use super::{NOBODY, Who, is_root, run};

/// A process whose service file is in a directory; ends with the test.
struct Marked(Child);

impl Marked {
    fn start(workspace: &Path) -> Self {
        let mut command = Command::new("sleep");
        command.arg("1000").env("PGSERVICEFILE", workspace.join("pg_service.conf"));
        Self(command.spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The name of a workspace of this test's own: `number` tells the tests apart.
fn name(number: u32) -> String {
    format!("qgis-secrets-{number:016x}{:016x}", std::process::id())
}

/// Anybody can leave a directory in `/dev/shm`: the begin of a name stands for nobody's processes.
#[test]
fn half_a_name_is_nobodys() {
    for who in Who::all() {
        let sandbox = who.sandbox();
        let name = name(1);
        let mut others = Marked::start(&sandbox.memory().join(&name));
        let halves = ["qgis-secrets-", "qgis-secrets-0", &name[..name.len() - 1]];
        for half in halves {
            let path = sandbox.memory().join(half);
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            who.own(&path);
        }
        run(&sandbox, &[&who.words()], &[], "true").success();
        assert!(others.lives(), "another run's process was killed");
        for half in halves {
            std::fs::remove_dir(sandbox.memory().join(half)).unwrap();
        }
    }
}

/// Root sweeps for every account, but a user's directory stands for that user's processes.
#[test]
fn a_directory_stands_for_its_owners_processes() {
    if !is_root() {
        super::skipped("it takes root");
        return;
    }
    let sandbox = Who::Root.sandbox();
    let name = name(2);
    let path = sandbox.memory().join(&name);
    let mut others = Marked::start(&path);
    DirBuilder::new().mode(0o700).create(&path).unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    run(&sandbox, &[], &[], "true").success();
    assert!(others.lives(), "root's process was killed for a user's directory");
    assert!(!path.exists());

    DirBuilder::new().mode(0o700).create(&path).unwrap();
    run(&sandbox, &[], &[], "true").success();
    assert!(!others.lives(), "what a dead run left lives");
}
