//! The pool, on SQLite: who is answered what, and who disturbs whom.

use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{Database, Mode, Pool, Sqlite, StoreError, WAITING, oneshot};
use crate::store::database::{one, parameters};
use crate::store::{Keyring, Store};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pool on a new store.
fn pool() -> (TempDir, Pool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s/store.db");
    drop(Store::create(&path, Keyring::generate().current().public()).unwrap());
    let pool = Pool::sqlite(&path, 2).unwrap();
    (directory, pool)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn put(database: &mut dyn Database, id: &str) -> Result<(), StoreError> {
    database
        .execute("INSERT INTO organization VALUES ($1, 'now')", parameters![id])
        .map(|rows| assert_eq!(rows, 1))
}

fn ids(database: &mut dyn Database) -> Result<Vec<String>, StoreError> {
    let rows = database.query("SELECT id FROM organization ORDER BY id", &[])?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Holds the thread that writes until something is sent.
async fn hold(pool: &Pool) -> (JoinHandle<Result<(), StoreError>>, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let (began, begun) = oneshot::channel();
    let mut began = Some(began);
    let pool = pool.clone();
    let held = move |_: &mut dyn Database| {
        began.take().unwrap().send(()).unwrap();
        wait.recv().unwrap();
        Ok(())
    };
    let held = tokio::spawn(async move { pool.write(held).await });
    begun.await.unwrap();
    (held, go)
}

#[test]
fn what_was_written_is_read_by_every_reader_and_by_others() {
    let (directory, pool) = pool();
    run(async {
        pool.write(|database| put(database, "a")).await.unwrap();
        for _ in 0..4 {
            assert_eq!(pool.read(ids).await.unwrap(), ["a"]);
        }
        let other = Connection::open(directory.path().join("s/store.db")).unwrap();
        let count: i64 =
            other.query_row("SELECT count(*) FROM organization", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    });
}

#[test]
fn a_write_that_fails_or_panics_is_undone_alone() {
    let (_directory, pool) = pool();
    run(async {
        // All of them wait, so that one commit has them all.
        let (held, go) = hold(&pool).await;
        let good = pool.write(|database| put(database, "good"));
        let failing = pool.write(|database| -> Result<(), _> {
            put(database, "failed")?;
            Err(StoreError::Busy(database.place().clone()))
        });
        let refused = pool.write(|database| put(database, "good"));
        let panicking = pool.write(|database| -> Result<(), _> {
            put(database, "panicked")?;
            panic!("on purpose");
        });
        let ending = pool.write(|database| {
            put(database, "ended")?;
            database.rollback();
            database.commit()
        });
        // It can't undo anything itself, and so what it did before counts.
        let undoing = pool.write(|database| {
            put(database, "before")?;
            database.rollback();
            put(database, "behind")
        });
        let last = pool.write(|database| put(database, "last"));
        let release = async { go.send(()).unwrap() };
        let (good, failing, refused, panicking, ending, undoing, last, ()) =
            tokio::join!(good, failing, refused, panicking, ending, undoing, last, release);
        good.unwrap();
        undoing.unwrap();
        last.unwrap();
        assert!(matches!(failing, Err(StoreError::Busy(_))), "{failing:?}");
        assert!(matches!(refused, Err(StoreError::Database(..))), "{refused:?}");
        assert!(matches!(panicking, Err(StoreError::Fault(_))), "{panicking:?}");
        assert!(matches!(ending, Err(StoreError::Fault(_))), "{ending:?}");
        held.await.unwrap().unwrap();
        assert_eq!(pool.read(ids).await.unwrap(), ["before", "behind", "good", "last"]);
    });
}

#[test]
fn a_reader_that_panics_goes_on() {
    let (_directory, pool) = pool();
    run(async {
        for _ in 0..5 {
            let panicked = pool.read(|_| -> Result<(), _> { panic!("on purpose") }).await;
            assert!(matches!(panicked, Err(StoreError::Fault(_))), "{panicked:?}");
        }
        assert!(pool.read(ids).await.unwrap().is_empty());
        let writing = pool.read(|database| put(database, "never")).await;
        assert!(matches!(writing, Err(StoreError::ReadOnly(_))), "{writing:?}");
        assert!(pool.read(ids).await.unwrap().is_empty());
    });
}

#[test]
fn a_caller_that_gives_up_disturbs_nobody() {
    let (_directory, pool) = pool();
    run(async {
        let (held, go) = hold(&pool).await;
        let waiting = pool.write(|database| put(database, "given up"));
        assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err());
        let next = pool.write(|database| put(database, "next"));
        let release = async { go.send(()).unwrap() };
        let (next, ()) = tokio::join!(next, release);
        next.unwrap();
        held.await.unwrap().unwrap();
        assert_eq!(pool.read(ids).await.unwrap(), ["next"]);
    });
}

#[test]
fn beyond_the_bound_a_caller_is_turned_away() {
    let (_directory, pool) = pool();
    run(async {
        let (held, go) = hold(&pool).await;
        let write = || {
            let pool = pool.clone();
            tokio::spawn(async move { pool.write(|_| Ok(())).await })
        };
        let waiting: Vec<_> = (0..WAITING).map(|_| write()).collect();
        while pool.waiting() < WAITING {
            tokio::task::yield_now().await;
        }
        let beyond = tokio::time::timeout(PATIENCE, write()).await.expect("it waits in line");
        let beyond = beyond.unwrap();
        assert!(matches!(beyond, Err(StoreError::Busy(_))), "{beyond:?}");
        assert!(pool.read(ids).await.unwrap().is_empty(), "readers have a queue of their own");
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
        for write in waiting {
            write.await.unwrap().unwrap();
        }
    });
}

#[test]
fn closing_does_what_waits_and_leaves_one_file() {
    let (directory, pool) = pool();
    let beside = || {
        let entries = std::fs::read_dir(directory.path().join("s")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    run(async {
        assert!(beside().iter().any(|name| name == "store.db-wal"), "{:?}", beside());
        let (held, go) = hold(&pool).await;
        let other = pool.clone();
        let waiting = tokio::spawn(async move { other.write(|database| put(database, "a")).await });
        while pool.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let closing = pool.close();
        let release = async { go.send(()).unwrap() };
        let ((), ()) = tokio::join!(closing, release);
        held.await.unwrap().unwrap();
        waiting.await.unwrap().unwrap();
        let late = pool.write(|database| put(database, "late")).await;
        assert!(matches!(late, Err(StoreError::Closed(_))), "{late:?}");
        assert!(matches!(pool.read(ids).await, Err(StoreError::Closed(_))));
    });
    assert_eq!(beside(), ["store.db"]);
    // Its header says that the next to open it needs no log.
    assert_eq!(std::fs::read(directory.path().join("s/store.db")).unwrap()[18..20], [1, 1]);
    let mut store = Sqlite::open(&directory.path().join("s/store.db")).unwrap();
    let found = super::super::database::transaction(&mut store, Mode::Read, ids).unwrap();
    assert_eq!(found, ["a"]);
}

#[test]
fn a_store_that_another_process_has_open_stays_a_log() {
    let (directory, pool) = pool();
    let path = directory.path().join("s/store.db");
    let other = Connection::open(&path).unwrap();
    let count = |other: &Connection| -> i64 {
        other.query_row("SELECT count(*) FROM organization", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&other), 0);
    run(async {
        pool.write(|database| put(database, "a")).await.unwrap();
        pool.close().await;
    });
    assert_eq!(count(&other), 1);
    let pool = Pool::sqlite(&path, 1).unwrap();
    run(async {
        let found = pool.read(|database| {
            one(database.query("SELECT count(*) FROM organization", &[])?).unwrap().integer(0)
        });
        assert_eq!(found.await.unwrap(), 1);
        drop(other);
        pool.close().await;
    });
}
