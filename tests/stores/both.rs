//! What every store does.

use std::thread;

use qgis_secrets::secret::{Kind, Name, Owner, SecretId};
use qgis_secrets::store::database::Database;
use qgis_secrets::store::ledger::{self, Entry};
use qgis_secrets::store::{Keyring, Pool, Selection, Store, StoreError, secrets};

use super::fixture::{Fixture, id, keys, organization, project, run, variable};
use super::on_both;

on_both!(
    what_is_added_is_opened,
    names_are_taken_once,
    several_are_added_or_none,
    another_takes_its_place_under_a_new_id,
    what_is_removed_is_gone,
    a_purge_takes_its_selection_and_no_more,
    lists_are_ordered_byte_by_byte,
    texts_come_back_as_they_were,
    a_key_is_rotated_in_batches,
    another_key_is_refused,
    what_something_else_changed_is_missed,
    a_moved_value_does_not_open,
    two_that_add_the_same_at_once,
    many_that_write_at_once,
    of_many_that_write_in_one_place_none_is_turned_away,
    a_reader_sees_one_state,
    a_store_is_made_once,
    a_failed_statement_is_never_committed_over,
);

fn everybody() -> [Owner; 4] {
    [
        organization("org", None),
        organization("org", Some("ada")),
        project("survey", None),
        project("survey", Some("ada")),
    ]
}

fn what_is_added_is_opened(fixture: &mut Fixture) {
    for owner in &everybody() {
        fixture.add(owner, &["A", "B"]).unwrap();
    }
    fixture.add(&project("other", None), &["C"]).unwrap();
    fixture.add(&project("survey", Some("bob")), &["D"]).unwrap();
    let both = ["A=A", "B=B"];
    assert_eq!(fixture.values(&everybody()).unwrap(), [both, both, both, both].concat());
    assert_eq!(fixture.values(&[project("survey", Some("bob"))]).unwrap(), ["D=D"]);
    assert!(fixture.values(&[project("nobody", None)]).unwrap().is_empty());
    assert_eq!(fixture.open().recipient().unwrap(), *fixture.key().id());
}

fn names_are_taken_once(fixture: &mut Fixture) {
    let owner = project("survey", None);
    fixture.add(&owner, &["A"]).unwrap();
    let again = fixture.add(&owner, &["A"]);
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    // Elsewhere, and as another kind, it is another.
    fixture.add(&project("survey", Some("ada")), &["A"]).unwrap();
    let mut service = variable(&owner, "A", "service");
    service.name.kind = Kind::Pgservice;
    fixture.open().add("local:t", &[service], fixture.key(), false).unwrap();
    assert_eq!(fixture.values(&[owner]).unwrap(), ["A=A", "A=service"]);
}

fn several_are_added_or_none(fixture: &mut Fixture) {
    let owner = project("survey", None);
    fixture.add(&owner, &["B"]).unwrap();
    let several = fixture.add(&owner, &["A", "B", "C"]);
    assert!(matches!(several, Err(StoreError::Exists { .. })), "{several:?}");
    assert_eq!(fixture.values(&[owner]).unwrap(), ["B=B"]);
}

fn another_takes_its_place_under_a_new_id(fixture: &mut Fixture) {
    let owner = project("survey", None);
    let before = fixture.add(&owner, &["A"]).unwrap().remove(0);
    let new = [variable(&owner, "A", "another"), variable(&owner, "B", "new")];
    let after = fixture.open().add("local:t", &new, fixture.key(), true).unwrap();
    assert_ne!(after[0].id, before.id);
    assert_eq!(fixture.values(std::slice::from_ref(&owner)).unwrap(), ["A=another", "B=new"]);
    let mut store = fixture.open();
    assert_eq!(store.find(&before.id).unwrap(), None);
    assert_eq!(store.find(&after[0].id).unwrap().as_ref(), Some(&after[0]));
}

fn what_is_removed_is_gone(fixture: &mut Fixture) {
    let owner = project("survey", None);
    let records = fixture.add(&owner, &["A", "B"]).unwrap();
    let mut store = fixture.open();
    store.remove("local:t", &records[0]).unwrap();
    let again = store.remove("local:t", &records[0]);
    assert!(matches!(&again, Err(StoreError::Gone(id)) if *id == records[0].id), "{again:?}");
    assert_eq!(fixture.values(std::slice::from_ref(&owner)).unwrap(), ["B=B"]);
    store.remove("local:t", &records[1]).unwrap();
    assert!(fixture.values(std::slice::from_ref(&owner)).unwrap().is_empty());
    fixture.add(&owner, &["A"]).unwrap();
    assert_eq!(store.find(&SecretId::from("none".to_owned())).unwrap(), None);
}

fn a_purge_takes_its_selection_and_no_more(fixture: &mut Fixture) {
    let all = [
        organization("x", None),
        organization("x", Some("ada")),
        // Of the same id, but no organization.
        project("x", None),
        project("x", Some("ada")),
        project("y", Some("ada")),
        project("y", Some("bob")),
    ];
    for (selection, takes) in [
        (Selection::Organization(id("x")), &[0, 1][..]),
        (Selection::Project(id("x")), &[2, 3]),
        (Selection::User(id("ada")), &[1, 3, 4]),
        (Selection::Owner(all[5].clone()), &[5]),
        (Selection::All, &[0, 1, 2, 3, 4, 5]),
    ] {
        let mut store = fixture.open();
        for owner in &all {
            fixture.add(owner, &["A", "B"]).unwrap();
        }
        assert_eq!(store.list(&selection).unwrap().len(), 2 * takes.len(), "{selection:?}");
        assert_eq!(
            store.purge("local:t", &selection).unwrap(),
            2 * takes.len() as u64,
            "{selection:?}"
        );
        for (index, owner) in all.iter().enumerate() {
            let left = fixture.values(std::slice::from_ref(owner)).unwrap().len();
            assert_eq!(left, if takes.contains(&index) { 0 } else { 2 }, "{selection:?} {owner}");
        }
        store.purge("local:t", &Selection::All).unwrap();
    }
}

fn lists_are_ordered_byte_by_byte(fixture: &mut Fixture) {
    let owner = project("survey", None);
    let names = ["a", "B", "_", "Z", "é", "10", "9"];
    fixture.add(&owner, &names).unwrap();
    fixture.add(&project("Survey", None), &["x"]).unwrap();
    fixture.add(&organization("survey", None), &["a"]).unwrap();
    let mut store = fixture.open();
    let listed = store.list(&Selection::All).unwrap();
    assert_eq!(keys(&listed), ["a", "x", "10", "9", "B", "Z", "_", "a", "é"]);
    let named = Selection::Named(Name { kind: Kind::Envvar, key: "a".into() });
    let named = store.list(&named).unwrap();
    let owners: Vec<_> = named.iter().map(|record| &record.owner).collect();
    assert_eq!(owners, [&organization("survey", None), &owner]);
    let other = Selection::Named(Name { kind: Kind::Pgservice, key: "a".into() });
    assert!(store.list(&other).unwrap().is_empty());
}

fn texts_come_back_as_they_were(fixture: &mut Fixture) {
    let owner = project("a/b@c+d", Some("É".replace('É', "e").as_str()));
    let odd = "it's \"q\\uoted\" $1 ?1 %s é 漢 \u{1f600}\nline\ttab";
    let mut new = variable(&owner, odd, &odd.repeat(500));
    new.created_by = odd.into();
    new.sensitive = false;
    let added = fixture.open().add("local:t", &[new], fixture.key(), false).unwrap();
    let listed = fixture.open().list(&Selection::All).unwrap();
    assert_eq!(listed, added);
    assert_eq!((listed[0].created_by.as_str(), listed[0].sensitive), (odd, false));
    assert_eq!(fixture.values(&[owner]).unwrap(), [format!("{odd}={}", odd.repeat(500))]);
}

fn a_key_is_rotated_in_batches(fixture: &mut Fixture) {
    let owner = project("survey", None);
    let names: Vec<String> = (0..7).map(|n| format!("N{n}")).collect();
    fixture.add(&owner, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let before = fixture.values(std::slice::from_ref(&owner)).unwrap();
    fixture.keys.advance();
    let mut store = fixture.open();
    assert_eq!(store.stale(fixture.key().id()).unwrap(), 7);
    let early = store.add("local:t", &[variable(&owner, "EARLY", "x")], fixture.key(), false);
    assert!(matches!(early, Err(StoreError::OtherKey { .. })), "{early:?}");
    store.set_recipient(fixture.key()).unwrap();
    let batches: Vec<_> = (0..4).map(|_| store.reseal(&fixture.keys, 3).unwrap()).collect();
    assert_eq!(batches, [3, 3, 1, 0]);
    assert_eq!(store.stale(fixture.key().id()).unwrap(), 0);
    fixture.keys.retire();
    assert_eq!(fixture.values(&[owner]).unwrap(), before);
}

fn another_key_is_refused(fixture: &mut Fixture) {
    fixture.add(&project("survey", None), &["A"]).unwrap();
    let other = Keyring::generate();
    let mut store = fixture.open();
    let refused = store.check_keys(&other);
    assert!(matches!(refused, Err(StoreError::OtherKey { .. })), "{refused:?}");
    assert_eq!(store.check_keys(&fixture.keys).unwrap(), *fixture.key().id());
    let records = store.candidates(&[project("survey", None)]).unwrap();
    let opened = store.values(&[&records[0]], &other);
    assert!(matches!(opened, Err(StoreError::OtherKey { .. })), "{opened:?}");
}

fn what_something_else_changed_is_missed(fixture: &mut Fixture) {
    let owner = project("survey", None);
    for sql in [
        "DELETE FROM secret WHERE key = 'A'",
        "DELETE FROM secret",
        "UPDATE secret SET key = 'X' WHERE key = 'A'",
        "UPDATE secret SET owner = 'other' WHERE key = 'A'",
        "UPDATE secret SET level = 'project_user', \"user\" = 'ada' WHERE key = 'A'",
        "UPDATE secret SET id = 'another' WHERE key = 'A'",
        "DELETE FROM inventory",
        "UPDATE inventory SET digest = (SELECT digest FROM inventory WHERE owner = 'third')
             WHERE owner = 'survey'",
    ] {
        fixture.add(&project("third", None), &["T"]).unwrap();
        let records = fixture.add(&owner, &["A", "B"]).unwrap();
        fixture.tamper(sql);
        let mut store = fixture.open();
        let altered = |error: Option<StoreError>| {
            assert!(matches!(error, Some(StoreError::Altered { .. })), "{sql}: {error:?}");
        };
        altered(store.candidates(std::slice::from_ref(&owner)).err());
        altered(store.remove("local:t", &records[1]).err());
        altered(store.add("local:t", &[variable(&owner, "C", "c")], fixture.key(), false).err());
        altered(store.add("local:t", &[variable(&owner, "A", "c")], fixture.key(), true).err());
        store.purge("local:t", &Selection::All).unwrap();
        fixture.add(&owner, &["A"]).unwrap();
        store.purge("local:t", &Selection::All).unwrap();
    }
}

fn a_moved_value_does_not_open(fixture: &mut Fixture) {
    let owner = project("survey", None);
    fixture.add(&owner, &["A", "B"]).unwrap();
    fixture.tamper(
        "UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE key = 'B') WHERE key = 'A'",
    );
    let opened = fixture.values(&[owner]);
    assert!(matches!(opened, Err(StoreError::Sealed { .. })), "{opened:?}");
}

fn two_that_add_the_same_at_once(fixture: &mut Fixture) {
    let owner = project("survey", None);
    for round in 0..10 {
        let name = format!("N{round}");
        let results: Vec<_> = thread::scope(|scope| {
            let adding: Vec<_> =
                (0..3).map(|_| scope.spawn(|| fixture.add(&owner, &[&name]))).collect();
            adding.into_iter().map(|adding| adding.join().unwrap()).collect()
        });
        let added = results.iter().filter(|result| result.is_ok()).count();
        let exist = |result: &&Result<_, _>| matches!(result, Err(StoreError::Exists { .. }));
        assert_eq!((added, results.iter().filter(exist).count()), (1, 2), "{results:?}");
    }
    assert_eq!(fixture.values(&[owner]).unwrap().len(), 10);
}

/// They add, replace and remove at one level, where each changes what the others have read.
fn many_that_write_at_once(fixture: &mut Fixture) {
    let owner = project("survey", None);
    thread::scope(|scope| {
        for writer in 0..4 {
            let (fixture, owner) = (&*fixture, &owner);
            scope.spawn(move || {
                let mut store = fixture.open();
                for round in 0..8 {
                    let name = format!("W{writer}R{round}");
                    let added = store.add(
                        "local:t",
                        &[variable(owner, &name, &name)],
                        fixture.key(),
                        false,
                    );
                    let shared = variable(owner, "SHARED", &name);
                    store.add("local:t", &[shared], fixture.key(), true).unwrap();
                    if round % 2 == 1 {
                        store.remove("local:t", &added.unwrap()[0]).unwrap();
                    } else {
                        added.unwrap();
                    }
                }
            });
        }
    });
    let values = fixture.values(&[owner]).unwrap();
    assert_eq!(values.len(), 4 * 4 + 1, "{values:?}");
    let own = values.iter().filter(|pair| pair.starts_with('W'));
    assert!(
        own.clone().all(|pair| pair.split_once('=').is_some_and(|(name, value)| name == value))
    );
}

/// Each reads what all the others change, and does so for some time.
fn of_many_that_write_in_one_place_none_is_turned_away(fixture: &mut Fixture) {
    const WRITERS: usize = 10;
    const ROUNDS: usize = 12;
    let owner = project("survey", None);
    run(async {
        let pool = Pool::open(&fixture.settings.place, WRITERS).unwrap();
        let mut writing = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (pool, owner, key) = (pool.clone(), owner.clone(), fixture.key().clone());
            writing.spawn(async move {
                for round in 0..ROUNDS {
                    let new = [variable(&owner, &format!("W{writer}_{round}"), "value")];
                    let key = key.clone();
                    let add = move |database: &mut dyn Database| {
                        let entry = Entry::allowed("ada", "secret.add");
                        ledger::record(database, &entry)?;
                        secrets::add(database, &new, &key, false).map(drop)
                    };
                    pool.write(add).await.unwrap();
                }
            });
        }
        writing.join_all().await;
        pool.close().await;
    });
    assert_eq!(fixture.values(&[owner]).unwrap().len(), WRITERS * ROUNDS);
}

/// What is opened is what was listed, whatever is replaced in between.
fn a_reader_sees_one_state(fixture: &mut Fixture) {
    let owner = project("survey", None);
    fixture.add(&owner, &["A", "B"]).unwrap();
    let mut reader = fixture.open();
    let records = reader.candidates(std::slice::from_ref(&owner)).unwrap();
    // A journal that is no log makes who writes wait for who reads, and then give up.
    let written = match &fixture.database {
        Some(_) => fixture.open().purge("local:t", &Selection::All),
        None => Ok(2),
    };
    assert_eq!(written.unwrap(), 2);
    let values = reader.values(&records.iter().collect::<Vec<_>>(), &fixture.keys).unwrap();
    assert_eq!(values.len(), 2);
}

fn a_store_is_made_once(fixture: &mut Fixture) {
    let owner = project("survey", None);
    fixture.add(&owner, &["A"]).unwrap();
    let other = Keyring::generate();
    let mut again = Store::make_from_settings(&fixture.settings, other.current().public()).unwrap();
    assert_eq!(again.recipient().unwrap(), *fixture.key().id());
    assert_eq!(fixture.values(&[owner]).unwrap(), ["A=A"]);
}

/// Whoever goes on after a statement failed has done nothing, and nobody else is held up.
fn a_failed_statement_is_never_committed_over(fixture: &mut Fixture) {
    run(async {
        let pool = Pool::open(&fixture.settings.place, 1).unwrap();
        let put = "INSERT INTO organization VALUES ('x', 'now')";
        let swallowed = pool
            .write(move |database| {
                database.execute(put, &[])?;
                drop(database.execute(put, &[]));
                Ok(())
            })
            .await;
        assert!(matches!(swallowed, Err(StoreError::Fault(_))), "{swallowed:?}");
        let count = async || {
            let rows = pool.read(|database| database.query("SELECT id FROM organization", &[]));
            rows.await.unwrap().len()
        };
        assert_eq!(count().await, 0);
        pool.write(move |database| database.execute(put, &[])).await.unwrap();
        assert_eq!(count().await, 1);
        pool.close().await;
    });
}
