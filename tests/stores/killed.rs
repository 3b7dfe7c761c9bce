//! SIGKILL in the middle of adding and removing, while others do the same.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use qgis_secrets::secret::Owner;
use qgis_secrets::settings::Place;
use qgis_secrets::store::Selection;

use super::cluster::private;
use super::fixture::{Fixture, keys, project, variable};
use super::on_both;
use crate::durability::stepper::Stepper;
use crate::support::{Sandbox, until};

on_both!(a_killed_command_did_all_or_nothing);

/// Tells the others to end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A sandbox whose program uses the fixture's store.
fn sandbox(fixture: &Fixture) -> Sandbox {
    let sandbox = Sandbox::new();
    let directory = sandbox.path(".config/qgis-secrets");
    fs::create_dir_all(&directory).unwrap();
    let section = match (&fixture.settings.place, &fixture.database) {
        (Place::File(path), _) => format!("[store]\npath = '{}'\n", path.display()),
        (_, Some(database)) => database.section(),
        _ => unreachable!(),
    };
    let key = fixture.settings.key.display();
    private(&directory.join("settings.toml"), &format!("{section}key = '{key}'\n"));
    sandbox
}

/// Three names at once, replaced and removed, killed after every few system calls.
fn a_killed_command_did_all_or_nothing(fixture: &mut Fixture) {
    let owner = project("survey", None);
    let sandbox = sandbox(fixture);
    let text = ["X", "Y", "Z"].map(|name| format!("{name}=new-value-{name}\n")).concat();
    sandbox.write("three.env", text);
    let import = ["secret", "import", "three.env", "-P", "survey", "--yes", "--replace"];
    let purge = ["secret", "purge", "-U", "ada", "--yes"];
    let over = AtomicBool::new(false);
    let kills = AtomicUsize::new(0);
    thread::scope(|scope| {
        let others: Vec<_> = (0..2)
            .map(|other| {
                let (fixture, owner, over, kills) = (&*fixture, &owner, &over, &kills);
                scope.spawn(move || others_go_on(fixture, owner, other, (over, kills)))
            })
            .collect();
        // Also if this panics: the scope waits for them.
        let end = Over(&over);
        let mut seen = [[0; 2]; 2];
        for (command, arguments) in [&import[..], &purge].into_iter().enumerate() {
            let mut kill_at = 10;
            loop {
                prepare(fixture);
                kills.fetch_add(1, Ordering::SeqCst);
                let mut stepper = Stepper::start(&sandbox.command(arguments), "");
                let mut steps = 0;
                let mut lives = true;
                while lives && steps < kill_at {
                    lives = stepper.step();
                    steps += 1;
                }
                drop(stepper);
                let state = state(fixture, command);
                seen[command][state] += 1;
                assert!(lives || state == 1, "it ended without effect");
                if !lives {
                    break;
                }
                kill_at += (kill_at / 8).max(5);
            }
        }
        drop(end);
        for other in others {
            other.join().unwrap();
        }
        assert!(seen.iter().all(|[before, after]| *before > 5 && *after > 0), "{seen:?}");
    });
}

/// What the commands find: old values of the three, and two of a user's.
fn prepare(fixture: &Fixture) {
    let mut store = fixture.open();
    let assigned = project("survey", Some("ada"));
    let old = ["X", "Y", "Z"].map(|name| variable(&project("survey", None), name, "old-value"));
    store.add("local:t", &old, fixture.key(), true).unwrap();
    let two = ["P", "Q"].map(|name| variable(&assigned, name, "value"));
    store.add("local:t", &two, fixture.key(), true).unwrap();
}

/// 0: nothing was done; 1: all.
fn state(fixture: &Fixture, command: usize) -> usize {
    let values = fixture.values(&[project("survey", None)]).unwrap();
    let three: Vec<_> = values.iter().filter(|pair| pair.starts_with(['X', 'Y', 'Z'])).collect();
    let replaced = three.iter().filter(|pair| pair.contains("new-value")).count();
    let assigned = fixture.values(&[project("survey", Some("ada"))]).unwrap().len();
    assert_eq!(three.len(), 3, "{values:?}");
    assert!([0, 3].contains(&replaced) && [0, 2].contains(&assigned), "{values:?} {assigned}");
    usize::from(if command == 0 { replaced == 3 } else { assigned == 0 })
}

/// Whoever adds and removes besides, once for every kill, gets all of it done.
fn others_go_on(
    fixture: &Fixture,
    owner: &Owner,
    other: usize,
    (over, kills): (&AtomicBool, &AtomicUsize),
) {
    let mut store = fixture.open();
    for round in 0.. {
        let is_over = || over.load(Ordering::SeqCst);
        until("another is killed", || kills.load(Ordering::SeqCst) > round || is_over());
        if is_over() {
            break;
        }
        let name = format!("OTHER{other}R{round}");
        let added =
            store.add("local:t", &[variable(owner, &name, &name)], fixture.key(), false).unwrap();
        let listed = store.list(&Selection::Owner(owner.clone())).unwrap();
        assert!(keys(&listed).contains(&name.as_str()));
        store.remove("local:t", &added[0]).unwrap();
    }
}
