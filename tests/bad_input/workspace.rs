//! Workspaces without room, and machines without a tmpfs.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{CANARY, KEPT, mounted, mounted_then, nothing_is_lost, refused, sandbox, touching};
use crate::support::{Sandbox, json};

/// A directory that is on no tmpfs: where the build's own files are.
fn on_disk() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Settings with these lines under `[workspace]`.
fn settings(sandbox: &Sandbox, lines: &str) -> PathBuf {
    sandbox.write(
        "settings.toml",
        format!("[containment]\nrequire = \"process\"\n[workspace]\n{lines}\n"),
    )
}

fn with_settings(sandbox: &Sandbox) -> Vec<String> {
    let mut arguments = vec!["--settings".to_owned(), "settings.toml".to_owned()];
    arguments.extend(touching(sandbox));
    arguments
}

#[test]
fn a_full_tmpfs_stops_the_job_and_nothing_is_left_on_it() {
    let sandbox = sandbox();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let place = "-P survey";
        sandbox.add_service(place, name, "ada", &format!("{CANARY}{}", "x".repeat(900)));
    }
    let full = sandbox.path("full");
    std::fs::create_dir(&full).unwrap();
    let full = full.to_str().unwrap();
    settings(&sandbox, &format!("path = [\"{full}\"]"));
    let arguments = with_settings(&sandbox);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The mount is gone with its namespace, so what is left on it has to be looked for inside.
    let look = format!("code=0; \"$@\" || code=$?; ls -A '{full}'; exit $code");
    for options in ["size=4k", "nr_inodes=1", "nr_inodes=2", "nr_inodes=4", "nr_inodes=5"] {
        let mount = format!("mount -t tmpfs -o {options} none '{full}'");
        let ended = mounted_then(&sandbox, &mount, &look, &arguments);
        assert_eq!(ended.stdout, "", "{options}: something is left");
        let words = [&*format!("no room for the service file in {full}: "), "`workspace.path`"];
        refused(&sandbox, ended, 70, "workspace_full", &words);
    }
    nothing_is_lost(&sandbox);
}

#[test]
fn without_a_tmpfs_a_job_starts_only_where_the_settings_allow_a_disk() {
    let sandbox = sandbox();
    let disk = on_disk();
    let path = disk.path().to_str().unwrap().to_owned();
    // Neither a tmpfs: the settings' directory, XDG_RUNTIME_DIR, /dev/shm.
    let hide =
        format!("export XDG_RUNTIME_DIR='{path}' TMPDIR='{path}'; mount --bind '{path}' /dev/shm");
    settings(&sandbox, &format!("path = [\"{path}\", \"/no/such/directory\"]"));
    let arguments = with_settings(&sandbox);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let looked = format!("looked at: {path}, /no/such/directory, {path}, /dev/shm");
    let words = [&*looked, "name it in `workspace.path`", "`workspace.allow_disk = true`"];
    refused(&sandbox, mounted(&sandbox, &hide, &arguments), 78, "no_tmpfs", &words);

    settings(&sandbox, "allow_disk = true");
    let script = "printf '%s %s' \"$KEPT\" \"$PGSERVICEFILE\"";
    let mut arguments = arguments[..arguments.len() - 2].to_vec();
    arguments.extend(["sh", "-c", script]);
    let ended = mounted(&sandbox, &hide, &arguments).success();
    let (value, file) = ended.stdout.split_once(' ').unwrap();
    assert_eq!(value, KEPT);
    assert!(file.starts_with(&path), "{file}");
    let report = json(&sandbox.path("report.json"));
    assert_eq!(report["containment"]["workspace"], "disk", "{report:#}");
    assert_eq!(report["wipe"]["verified"], true, "{report:#}");
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0, "something is left on the disk");

    // Where there is a tmpfs, it is taken all the same.
    sandbox.run(arguments).success();
    let report = json(&sandbox.path("report.json"));
    assert_eq!(report["containment"]["workspace"], "memory", "{report:#}");
}
