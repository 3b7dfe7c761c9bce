//! What both databases do with sessions and logins.

use qgis_secrets::access::Grant;
use qgis_secrets::store::database::{Mode, transaction};
use qgis_secrets::store::page::PageRequest;
use qgis_secrets::store::sessions::{
    Entered, Session, begin, digest_of, end, end_all, find, hex, live, offer_link, touch,
    use_answer, use_link,
};
use qgis_secrets::store::{Pool, StoreError};

use super::fixture::{Fixture, run, write};
use super::on_both;

on_both!(
    a_session_comes_back_as_it_was,
    who_is_logged_in_is_listed_the_newest_first,
    a_touch_is_never_backwards,
    one_ends_or_all_of_one_person,
    a_link_works_once_and_in_time,
    what_is_over_goes_when_something_new_comes,
    a_grant_that_cannot_be_read_is_damage,
    of_many_that_use_a_link_at_once_one_is_in,
);

const NOW: i64 = 1_800_000_000;

fn session(subject: &str, expires_at: i64) -> Session {
    Session {
        subject: subject.to_owned(),
        name: "Ada".to_owned(),
        claimed: vec![
            Grant::Operator,
            Grant::OrganizationAdmin("org-81".parse().unwrap()),
            Grant::ProjectAdmin("a/b".parse().unwrap()),
        ],
        entered: Entered::Login,
        created_at: NOW,
        seen_at: NOW,
        expires_at,
    }
}

fn a_session_comes_back_as_it_was(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        let ada = session("ada", NOW + 100);
        let link = Session { entered: Entered::Link, claimed: vec![], ..session("l", NOW + 9) };
        begin(database, &[1; 32], &ada)?;
        begin(database, &[2; 32], &link)?;
        assert_eq!(find(database, &[1; 32])?, Some(ada));
        assert_eq!(find(database, &[2; 32])?, Some(link));
        assert_eq!(find(database, &[3; 32])?, None);
        Ok(())
    });
    // One digest, one session: nobody gets into another's.
    let eve = session("eve", NOW + 100);
    let begun = transaction(&mut *fixture.connect(), Mode::Write, |database| {
        begin(database, &[1; 32], &eve)
    });
    assert!(begun.is_err());
    let found = write(&mut *fixture.connect(), |database| find(database, &[1; 32]));
    assert_eq!(found.unwrap().subject, "ada");
}

fn who_is_logged_in_is_listed_the_newest_first(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        for (digest, subject, created_at, expires_at) in [
            (1, "ada", NOW - 30, NOW + 100),
            (2, "bob", NOW - 20, NOW + 100),
            (3, "cy", NOW - 20, NOW + 100),
            (4, "over", NOW - 10, NOW),
            (5, "idle", NOW - 300, NOW + 100),
        ] {
            let session =
                Session { created_at, seen_at: created_at, ..session(subject, expires_at) };
            begin(database, &[digest; 32], &session)?;
        }
        let mut subjects = Vec::new();
        let mut after = None;
        loop {
            let part = live(database, NOW, 60, &PageRequest { after, limit: 1 })?;
            for (digest, session) in part.items {
                assert_eq!(digest_of(&hex(&digest)), Some(digest));
                subjects.push(session.subject);
            }
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(subjects, ["cy", "bob", "ada"]);
        let all = PageRequest { after: Some("é.zz".to_owned()), limit: 9 };
        assert_eq!(live(database, NOW, i64::MAX, &all)?.items.len(), 4);
        Ok(())
    });
}

fn a_touch_is_never_backwards(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        begin(database, &[1; 32], &session("ada", NOW + 100))?;
        for (now, seen) in [(NOW + 5, NOW + 5), (NOW + 3, NOW + 5)] {
            touch(database, &[1; 32], now)?;
            assert_eq!(find(database, &[1; 32])?.unwrap().seen_at, seen);
        }
        Ok(())
    });
}

fn one_ends_or_all_of_one_person(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        for (digest, subject) in [(1, "ada"), (2, "ada"), (3, "ada"), (4, "eve")] {
            begin(database, &[digest; 32], &session(subject, NOW + 100))?;
        }
        assert!(end(database, &[1; 32])?);
        assert!(!end(database, &[1; 32])?);
        assert_eq!(end_all(database, "ada")?, 2);
        assert_eq!(find(database, &[2; 32])?, None);
        assert!(find(database, &[4; 32])?.is_some());
        Ok(())
    });
}

fn a_link_works_once_and_in_time(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        offer_link(database, &[1; 32], NOW, NOW + 10)?;
        offer_link(database, &[2; 32], NOW, NOW + 10)?;
        assert!(!use_link(database, &[3; 32], NOW)?);
        assert!(use_link(database, &[1; 32], NOW + 9)?);
        assert!(!use_link(database, &[1; 32], NOW + 9)?);
        assert!(!use_link(database, &[2; 32], NOW + 10)?);
        // An answer that was used is no link.
        assert!(use_answer(database, &[4; 32], NOW, NOW + 10)?);
        assert!(!use_link(database, &[4; 32], NOW)?);
        assert!(!use_answer(database, &[4; 32], NOW, NOW + 10)?);
        Ok(())
    });
}

fn what_is_over_goes_when_something_new_comes(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        begin(database, &[1; 32], &session("ada", NOW - 1))?;
        offer_link(database, &[1; 32], NOW - 20, NOW - 10)?;
        begin(database, &[2; 32], &session("ada", NOW + 100))?;
        offer_link(database, &[2; 32], NOW, NOW + 10)?;
        for table in ["session", "login"] {
            let sql = format!("SELECT count(*) FROM {table}");
            assert_eq!(database.query(&sql, &[])?[0].integer(0)?, 1, "{table}");
        }
        Ok(())
    });
}

fn a_grant_that_cannot_be_read_is_damage(fixture: &mut Fixture) {
    for text in [
        r#"[{"role":"operator","id":null},{"role":"king","id":null}]"#,
        r#"[{"role":"operator","id":"a"}]"#,
        r#"[{"role":"project_admin","id":null}]"#,
        r#"[{"role":"project_admin","id":"../a"}]"#,
        r#"{}"#,
        "",
    ] {
        write(&mut *fixture.connect(), |database| {
            end(database, &[1; 32])?;
            begin(database, &[1; 32], &session("ada", NOW + 100))?;
            database.execute("UPDATE session SET grants = $1", &[text.into()])?;
            assert!(matches!(find(database, &[1; 32]), Err(StoreError::Damaged(_))), "{text}");
            Ok(())
        });
    }
}

fn of_many_that_use_a_link_at_once_one_is_in(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| offer_link(database, &[1; 32], NOW, NOW + 10));
    let ask = async |answers: bool| {
        let pool = Pool::open(&fixture.settings.place, 4).unwrap();
        let mut using = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let pool = pool.clone();
            using.spawn(async move {
                let used = pool.write(move |database| match answers {
                    true => use_answer(database, &[2; 32], NOW, NOW + 10),
                    false => use_link(database, &[1; 32], NOW),
                });
                used.await.unwrap()
            });
        }
        let used = using.join_all().await;
        pool.close().await;
        used.into_iter().filter(|used| *used).count()
    };
    assert_eq!(run(async { (ask(false).await, ask(true).await) }), (1, 1));
}
