//! What both databases do with the audit, the uses of job tokens and the answers to repeated
//! requests.

use jiff::{SignedDuration, Timestamp};
use qgis_secrets::access::Scope;
use qgis_secrets::store::database::{Database, Parameter};
use qgis_secrets::store::ledger::{
    AuditFilter, AuditRow, Entry, IdempotencyKey, REPEATABLE, Recalled, Use, audit, forget, recall,
    record, remember, use_job_token,
};
use qgis_secrets::store::page::PageRequest;
use qgis_secrets::store::{Pool, StoreError};
use serde_json::json;

use super::fixture::{Fixture, id, run, write};
use super::on_both;

on_both!(
    a_job_token_is_used_as_often_as_it_may_be,
    of_many_uses_at_once_no_more_than_the_limit_count,
    what_is_over_goes_in_small_batches,
    an_answer_is_remembered_for_a_day,
    of_many_that_remember_at_once_one_answer_stays,
    an_entry_says_what_it_is_about,
    the_audit_is_filtered_and_comes_in_parts,
    old_rows_of_the_audit_go_and_the_others_stay,
    what_is_undone_is_not_in_the_audit,
);

/// How long a job token's row outlives the token, in seconds.
const LINGER: i64 = 3600;

/// How many rows that are over go with each that is added.
const SWEPT: i64 = 16;

fn rows(database: &mut dyn Database, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    write(database, |database| database.query(&sql, &[])?[0].integer(0))
}

fn a_job_token_is_used_as_often_as_it_may_be(fixture: &mut Fixture) {
    let mut database = fixture.connect();
    let mut take = |issuer: &str, jti: &str, limit, now| {
        write(&mut *database, |database| use_job_token(database, issuer, jti, 1000, limit, now))
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
    assert_eq!(rows(&mut *database, "job_token"), 1);
}

fn of_many_uses_at_once_no_more_than_the_limit_count(fixture: &mut Fixture) {
    let counted = run(async {
        let pool = Pool::open(&fixture.settings.place, 4).unwrap();
        let mut uses = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let pool = pool.clone();
            uses.spawn(async move {
                pool.write(|database| use_job_token(database, "i", "t", 1000, 3, 0)).await.unwrap()
            });
        }
        let counted = uses.join_all().await;
        pool.close().await;
        counted
    });
    let mut counted: Vec<Use> =
        counted.into_iter().filter(|used| *used != Use::Exhausted).collect();
    counted.sort_by_key(|used| format!("{used:?}"));
    assert_eq!(counted, [Use::Counted(1), Use::Counted(2), Use::Counted(3)]);
}

fn what_is_over_goes_in_small_batches(fixture: &mut Fixture) {
    let mut database = fixture.connect();
    write(&mut *database, |database| {
        for n in 0..100 {
            use_job_token(database, "", &format!("t{n}"), 10, 3, 0)?;
            let key = format!("k{n}").parse().unwrap();
            remember(database, "s", &key, "f", "a", 0)?;
        }
        Ok(())
    });
    let later = 2 * REPEATABLE;
    for n in 1..=3 {
        write(&mut *database, |database| {
            use_job_token(database, "", &format!("new{n}"), later, 3, later)?;
            let key = format!("new{n}").parse().unwrap();
            remember(database, "s", &key, "f", "a", later)
        });
        assert_eq!(rows(&mut *database, "job_token"), 100 - n * SWEPT + n);
        assert_eq!(rows(&mut *database, "idempotency"), 100 - n * SWEPT + n);
    }
}

fn an_answer_is_remembered_for_a_day(fixture: &mut Fixture) {
    let mut database = fixture.connect();
    let key: IdempotencyKey = "k".parse().unwrap();
    let mut ask = |subject: &str, facts: &str, now| {
        write(&mut *database, |database| recall(database, subject, &key, facts, now))
    };
    assert_eq!(ask("s", "f", 0), Recalled::New);
    write(&mut *database, |database| remember(database, "s", &key, "f", "answer", 0));
    let mut ask = |subject: &str, facts: &str, now| {
        write(&mut *database, |database| recall(database, subject, &key, facts, now))
    };
    for now in [0, REPEATABLE] {
        assert_eq!(ask("s", "f", now), Recalled::Answer("answer".into()));
        assert_eq!(ask("s", "other", now), Recalled::Mismatch);
        assert_eq!(ask("other", "f", now), Recalled::New);
    }
    assert_eq!(ask("s", "f", REPEATABLE + 1), Recalled::New);
    let now = REPEATABLE + 1;
    write(&mut *database, |database| remember(database, "s", &key, "new", "later", now));
    let again = write(&mut *database, |database| recall(database, "s", &key, "new", now));
    assert_eq!(again, Recalled::Answer("later".into()));
}

/// Who comes second finds the answer of who came first, in whatever order they are told.
fn of_many_that_remember_at_once_one_answer_stays(fixture: &mut Fixture) {
    let answers = run(async {
        let pool = Pool::open(&fixture.settings.place, 4).unwrap();
        let mut asking = tokio::task::JoinSet::new();
        for n in 0..12 {
            let pool = pool.clone();
            let work = move |database: &mut dyn Database| {
                let key = "k".parse().unwrap();
                match recall(database, "s", &key, "f", 0)? {
                    Recalled::Answer(answer) => Ok(answer),
                    Recalled::Mismatch => panic!("other facts"),
                    Recalled::New => {
                        let answer = format!("answer {n}");
                        remember(database, "s", &key, "f", &answer, 0).map(|()| answer)
                    }
                }
            };
            asking.spawn(async move { pool.write(work).await.unwrap() });
        }
        let answers = asking.join_all().await;
        pool.close().await;
        answers
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

fn an_entry_says_what_it_is_about(fixture: &mut Fixture) {
    let mut database = fixture.connect();
    let scope = Scope::Project(id("p"));
    let entry = Entry::allowed("a", "x").of_owner(&scope.owner(Some(id("u"))));
    let page = write(&mut *database, |database| {
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

fn old_rows_of_the_audit_go_and_the_others_stay(fixture: &mut Fixture) {
    let mut database = fixture.connect();
    let (day, now) = (SignedDuration::from_hours(24), Timestamp::now());
    let id_of = |at: Timestamp, n: u8| {
        let milliseconds = u64::try_from(at.as_millisecond()).unwrap();
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &[n; 10]).into_uuid().to_string()
    };
    let before = now - day;
    let a_moment = SignedDuration::from_millis(1);
    let rows_of = [(before - day, 3_u8), (before - a_moment, 2), (before, 1), (now, 1)];
    for (at, count) in rows_of {
        for n in 0..count {
            let id = id_of(at, n);
            write(&mut *database, |database| {
                let sql = "INSERT INTO audit (id, at, actor, action, decision, detail)
                           VALUES ($1, $2, 'a', 'b', 'allowed', '{}')";
                database.execute(sql, &[Parameter::from(&id), Parameter::from(&at.to_string())])
            });
        }
    }
    let recent = [id_of(now, 0), id_of(before, 0)];
    let [older, old] = [1, 0].map(|n| id_of(before - a_moment, n));
    // The oldest first, no more at once than asked for, and nothing that is as old as the limit.
    for (limit, gone, left) in
        [(3, 3, &[older.clone(), old][..]), (1, 1, &[older]), (9, 1, &[]), (9, 0, &[])]
    {
        let (count, rows) = write(&mut *database, |database| {
            let count = forget(database, before, limit)?;
            Ok((count, audit(database, &AuditFilter::default(), &PageRequest::first())?))
        });
        let rows: Vec<String> = rows.items.into_iter().map(|row| row.id).collect();
        assert_eq!((count, rows), (gone, [&recent, left].concat()), "{limit}");
    }
}

fn the_audit_is_filtered_and_comes_in_parts(fixture: &mut Fixture) {
    let mut database = fixture.connect();
    let scopes = [Scope::Project(id("x")), Scope::Organization(id("x")), Scope::Project(id("y"))];
    write(&mut *database, |database| {
        for n in 0..4 {
            for scope in &scopes {
                let user = (n % 2 == 1).then(|| id("ada"));
                let entry = Entry::allowed(&format!("actor-{n}"), "secret.add");
                record(database, &entry.of_owner(&scope.owner(user)))?;
            }
        }
        record(database, &Entry::allowed("eve", "login").denied("no_grant"))
    });
    let mut parts = |filter: &AuditFilter, limit| {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let request = PageRequest { after, limit };
            let page = write(&mut *database, |database| audit(database, filter, &request));
            assert!(page.items.len() <= limit as usize);
            rows.extend(page.items);
            after = page.next;
            if after.is_none() {
                return rows;
            }
        }
    };
    let everything = parts(&AuditFilter::default(), 500);
    assert_eq!(everything.len(), 13);
    assert!(everything.is_sorted_by(|newer, older| newer.id > older.id));
    assert_eq!(parts(&AuditFilter::default(), 2), everything);
    let text = |text: &str| Some(text.to_owned());
    let all = AuditFilter::default;
    for (filter, count) in [
        (AuditFilter { scope: Some(scopes[0].clone()), ..all() }, 4),
        (AuditFilter { scope: Some(scopes[1].clone()), ..all() }, 4),
        (AuditFilter { scope: Some(scopes[0].clone()), actor: text("actor-1"), ..all() }, 1),
        (AuditFilter { actor: text("actor-1"), ..all() }, 3),
        (AuditFilter { action: text("login"), ..all() }, 1),
        (AuditFilter { decision: text("denied"), ..all() }, 1),
        (AuditFilter { action: text("secret.add"), decision: text("denied"), ..all() }, 0),
        (AuditFilter { actor: text("' OR true --"), ..all() }, 0),
    ] {
        assert_eq!(parts(&filter, 3).len(), count, "{filter:?}");
    }
}

/// What fails after it was recorded was not done, and is not recorded.
fn what_is_undone_is_not_in_the_audit(fixture: &mut Fixture) {
    run(async {
        let pool = Pool::open(&fixture.settings.place, 1).unwrap();
        let failed = pool
            .write(|database| {
                record(database, &Entry::allowed("a", "x"))?;
                Err::<(), _>(StoreError::Busy(database.place().clone()))
            })
            .await;
        assert!(matches!(failed, Err(StoreError::Busy(_))), "{failed:?}");
        pool.close().await;
    });
    assert_eq!(rows(&mut *fixture.connect(), "audit"), 0);
}
