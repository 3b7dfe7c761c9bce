//! The private directory: who can look in, and what is left of it.

use std::os::unix::fs::symlink;

use std::os::unix::fs::PermissionsExt;

use super::*;

fn shm() -> Places {
    Places::new(&[], None, None)
}

fn filled(places: &Places, text: &str) -> Workspace {
    let mut workspace = Workspace::create(places, None).unwrap();
    workspace.write(&text.into()).unwrap();
    workspace
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn nobody_else_can_look_in_and_the_wipe_leaves_nothing() {
    let workspace = filled(&shm(), "[a]\nhost=b\n");
    let path = workspace.path().to_owned();
    assert!(workspace.on_memory());
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&workspace.service_file()), 0o600);
    assert_eq!(mode(&workspace.sysconf_dir()), 0o500);
    assert_eq!(fs::read_to_string(workspace.service_file()).unwrap(), "[a]\nhost=b\n");
    let receipt = workspace.wipe();
    assert_eq!(receipt, Receipt { files_removed: 5, ..Receipt::of_nothing() });
    assert!(!path.exists());
}

#[test]
fn dropping_wipes_and_links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let kept = outside.path().join("kept");
    drop(OpenOptions::new().write(true).create_new(true).open(&kept).unwrap());
    let workspace = filled(&shm(), "[a]\nhost=b\n");
    let path = workspace.path().to_owned();
    fs::remove_file(workspace.service_file()).unwrap();
    symlink(&kept, workspace.service_file()).unwrap();
    symlink(outside.path(), workspace.qgis_dir().join("link")).unwrap();
    drop(workspace);
    assert!(!path.exists());
    assert!(kept.exists(), "a link out of the workspace was followed");
}

#[test]
fn a_service_file_that_was_moved_or_linked_is_emptied_and_told() {
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let kept = elsewhere.path().join("kept");
    for keep in [fs::rename::<PathBuf, &PathBuf>, fs::hard_link] {
        let workspace = filled(&shm(), "[a]\nhost=b\n");
        keep(workspace.service_file(), &kept).unwrap();
        let receipt = workspace.wipe();
        assert!(!receipt.verified);
        assert_eq!(fs::read(&kept).unwrap(), b"");
        fs::remove_file(&kept).unwrap();
    }
    let workspace = filled(&shm(), "[a]\nhost=b\n");
    fs::rename(workspace.path(), &kept).unwrap();
    assert!(!workspace.wipe().verified);
    assert_eq!(fs::read(kept.join("pg_service.conf")).unwrap(), b"");
}

#[test]
fn a_directory_that_the_job_closed_goes_as_well() {
    let workspace = filled(&shm(), "x");
    let cache = workspace.qgis_dir().join("cache");
    private_directory(0o700).create(&cache).unwrap();
    drop(OpenOptions::new().write(true).create_new(true).open(cache.join("f")).unwrap());
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o000)).unwrap();
    let receipt = workspace.wipe();
    assert_eq!((receipt.verified, receipt.files_removed), (true, 7));
}

#[test]
fn a_disk_only_where_it_is_allowed() {
    let disk = tempfile::tempdir_in("/var/tmp").unwrap();
    let places = |disks| Places { candidates: vec![disk.path().into()], disks };
    let error = Workspace::create(&places(vec![]), None).unwrap_err().to_string();
    assert!(error.contains(&disk.path().display().to_string()), "{error}");
    let allowed = places(vec![disk.path().into()]);
    let workspace = filled(&allowed, "x");
    assert!(!workspace.on_memory());
    assert!(workspace.wipe().verified);
}

/// Who watches a machine may open what is in `/proc/PID/fd`, for a moment.
#[test]
fn a_file_that_another_holds_is_left_until_he_lets_go() {
    // It takes root to make one.
    let Ok((tmpfs, _)) = crate::sys::view::new_tmpfs() else { return };
    let mut workspace = Workspace::in_private(tmpfs, Path::new("/dev/shm")).unwrap();
    workspace.write(&"[a]\nhost=b\n".into()).unwrap();
    let held = File::open(workspace.own_path.join("pg_service.conf")).unwrap();
    let holder = std::thread::spawn(move || {
        while held.metadata().unwrap().nlink() > 0 {
            std::thread::yield_now();
        }
    });
    let receipt = workspace.wipe();
    holder.join().unwrap();
    assert_eq!(receipt.problem, None);

    let (tmpfs, _) = crate::sys::view::new_tmpfs().unwrap();
    let workspace = Workspace::in_private(tmpfs, Path::new("/dev/shm")).unwrap();
    let held = File::open(workspace.own_path.join("pg_service.conf")).unwrap();
    let problem = workspace.wipe().problem.unwrap();
    assert!(problem.ends_with("files of its tmpfs are held by somebody"), "{problem}");
    drop(held);
}

/// Its owner could put another directory in the workspace's place.
#[test]
fn root_makes_no_workspace_in_a_directory_of_somebody_else() {
    if !geteuid().is_root() {
        return;
    }
    let theirs = tempfile::tempdir_in("/dev/shm").unwrap();
    std::os::unix::fs::chown(theirs.path(), Some(12_345), Some(12_345)).unwrap();
    let places = Places::new(&[], Some(theirs.path().into()), None);
    let workspace = Workspace::create(&places, None).unwrap();
    assert_eq!(workspace.path().parent(), Some(Path::new("/dev/shm")));
    drop(workspace);
    std::os::unix::fs::chown(theirs.path(), Some(0), Some(0)).unwrap();
    let workspace = Workspace::create(&places, None).unwrap();
    assert_eq!(workspace.path().parent(), Some(theirs.path()));
}
