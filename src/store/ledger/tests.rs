//! Counting, forgetting and remembering.

use tempfile::TempDir;

use super::*;
use crate::store::database::{Mode, transaction};
use crate::store::sqlite::Sqlite;
use crate::store::{Keyring, Store};

fn store() -> (TempDir, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s/store.db");
    drop(Store::create(&path, Keyring::generate().current().public()).unwrap());
    let database = Sqlite::open(&path).unwrap();
    (directory, database)
}

fn write<T>(
    database: &mut dyn Database,
    work: impl FnOnce(&mut dyn Database) -> Result<T, StoreError>,
) -> T {
    transaction(database, Mode::Write, work).unwrap()
}

fn rows(database: &mut dyn Database, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    write(database, |database| database.query(&sql, &[])?[0].integer(0))
}

#[test]
fn a_job_token_is_used_as_often_as_it_may_be() {
    let (_directory, mut database) = store();
    let mut take = |issuer: &str, jti: &str, limit, now| {
        write(&mut database, |database| use_job_token(database, issuer, jti, 1000, limit, now))
    };
    assert_eq!(take("", "a", 3, 0), Use::Counted(1));
    assert_eq!(take("", "a", 3, 0), Use::Counted(2));
    // Another's of the same name, and another name.
    assert_eq!(take("i", "a", 3, 0), Use::Counted(1));
    assert_eq!(take("", "b", 1, 0), Use::Counted(1));
    assert_eq!(take("", "b", 1, 0), Use::Exhausted);
    assert_eq!(take("", "a", 3, 0), Use::Counted(3));
    for now in [0, 1000, 1000 + LINGER] {
        assert_eq!(take("", "a", 3, now), Use::Exhausted, "{now}");
    }
    assert_eq!(take("", "c", 0, 0), Use::Exhausted);
    assert_eq!(take("", "d", 3, 1001 + LINGER), Use::Counted(1));
    assert_eq!(rows(&mut database, "job_token"), 1);
}

#[cfg(feature = "service")]
#[tokio::test]
async fn of_many_uses_at_once_no_more_than_the_limit_count() {
    let (directory, database) = store();
    drop(database);
    let path = directory.path().join("s/store.db");
    let pool = crate::store::pool::Pool::sqlite(&path, 1).unwrap();
    let mut uses = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let pool = pool.clone();
        uses.spawn(async move {
            pool.write(|database| use_job_token(database, "i", "t", 1000, 3, 0)).await.unwrap()
        });
    }
    let mut counted: Vec<Use> = uses.join_all().await;
    counted.retain(|used| *used != Use::Exhausted);
    counted.sort_by_key(|used| format!("{used:?}"));
    assert_eq!(counted, [Use::Counted(1), Use::Counted(2), Use::Counted(3)]);
    pool.close().await;
}

#[test]
fn what_is_over_goes_in_small_batches() {
    let (_directory, mut database) = store();
    write(&mut database, |database| {
        for n in 0..100 {
            use_job_token(database, "", &format!("t{n}"), 10, 3, 0)?;
            let key = format!("k{n}").parse().unwrap();
            remember(database, "s", &key, "f", "a", 0)?;
        }
        Ok(())
    });
    let later = 2 * REPEATABLE;
    for n in 1..=3 {
        write(&mut database, |database| {
            use_job_token(database, "", &format!("new{n}"), later, 3, later)?;
            let key = format!("new{n}").parse().unwrap();
            remember(database, "s", &key, "f", "a", later)
        });
        assert_eq!(rows(&mut database, "job_token"), 100 - n * SWEPT + n);
        assert_eq!(rows(&mut database, "idempotency"), 100 - n * SWEPT + n);
    }
}

#[test]
fn an_answer_is_remembered_for_a_day() {
    let (_directory, mut database) = store();
    let key: IdempotencyKey = "k".parse().unwrap();
    let mut ask = |subject: &str, facts: &str, now| {
        write(&mut database, |database| recall(database, subject, &key, facts, now))
    };
    assert_eq!(ask("s", "f", 0), Recalled::New);
    write(&mut database, |database| remember(database, "s", &key, "f", "answer", 0));
    let mut ask = |subject: &str, facts: &str, now| {
        write(&mut database, |database| recall(database, subject, &key, facts, now))
    };
    for now in [0, REPEATABLE] {
        assert_eq!(ask("s", "f", now), Recalled::Answer("answer".into()));
        assert_eq!(ask("s", "other", now), Recalled::Mismatch);
        assert_eq!(ask("other", "f", now), Recalled::New);
    }
    assert_eq!(ask("s", "f", REPEATABLE + 1), Recalled::New);
    let now = REPEATABLE + 1;
    write(&mut database, |database| remember(database, "s", &key, "new", "later", now));
    let again = write(&mut database, |database| recall(database, "s", &key, "new", now));
    assert_eq!(again, Recalled::Answer("later".into()));
}

#[test]
fn keys_of_requests() {
    for good in ["a", "~!", &"x".repeat(255)] {
        assert_eq!(good.parse::<IdempotencyKey>().unwrap().as_str(), good);
    }
    for bad in ["", " ", "a b", "ä", "a\n", &"x".repeat(256)] {
        assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad}");
    }
}

#[test]
fn an_entry_says_what_it_is_about() {
    let (_directory, mut database) = store();
    let id = |text: &str| text.parse::<Id>().unwrap();
    let scope = Scope::Project(id("p"));
    let entry = Entry::allowed("a", "x").of_owner(&scope.owner(Some(id("u"))));
    let page = write(&mut database, |database| {
        record(database, &entry)?;
        record(database, &entry.clone().of_scope(&scope).denied("why"))?;
        record(database, &Entry::allowed("a", "x").of_user(&id("u")).with(json!({"n": 1})))?;
        audit(database, &AuditFilter::default(), &PageRequest::first())
    });
    let said: Vec<_> = page
        .items
        .iter()
        .map(|row| {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let AuditRow { decision, reason, level, owner, user, detail, .. } = row;
            format!(
                "{decision} {} {} {} {} {detail}",
                text(reason),
                text(level),
                text(owner),
                text(user)
            )
        })
        .collect();
    let expected =
        ["allowed - - - u {\"n\":1}", "denied why project p - {}", "allowed - project_user p u {}"];
    assert_eq!(said, expected);
    assert!(page.items.is_sorted_by(|newer, older| newer.id > older.id));
}

#[test]
fn old_rows_of_the_audit_go_and_the_others_stay() {
    let (_directory, mut database) = store();
    let (day, now) = (jiff::SignedDuration::from_hours(24), Timestamp::now());
    let id_of = |at: Timestamp, n: u8| {
        let milliseconds = u64::try_from(at.as_millisecond()).unwrap();
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &[n; 10]).into_uuid().to_string()
    };
    let before = now - day;
    let a_moment = jiff::SignedDuration::from_millis(1);
    let rows_of = [(before - day, 3_u8), (before - a_moment, 2), (before, 1), (now, 1)];
    for (at, count) in rows_of {
        for n in 0..count {
            let id = id_of(at, n);
            write(&mut database, |database| {
                let sql = "INSERT INTO audit (id, at, actor, action, decision, detail)
                           VALUES ($1, $2, 'a', 'b', 'allowed', '{}')";
                database.execute(sql, parameters![&id, &at.to_string()])
            });
        }
    }
    let mut forget = |limit| write(&mut database, |database| forget(database, before, limit));
    // The oldest first, no more at once than asked for, and nothing that is as old as the limit.
    assert_eq!((forget(3), forget(1), forget(9), forget(9)), (3, 1, 1, 0));
    let left = write(&mut database, |database| {
        audit(database, &AuditFilter::default(), &PageRequest::first())
    });
    let left: Vec<String> = left.items.into_iter().map(|row| row.id).collect();
    assert_eq!(left, [id_of(now, 0), id_of(before, 0)]);
}
