//! What both databases do with grants and API tokens.

use qgis_secrets::access::{Access, Grant, Scope};
use qgis_secrets::secret::Value;
use qgis_secrets::store::access::{
    ApiToken, end, find_grant, find_token, give, grants, grants_of, is_use_due, put_token,
    recognize, revoke_token, set_used, take, token, tokens, tokens_made_by,
};
use qgis_secrets::store::database::{Mode, transaction};
use qgis_secrets::store::page::PageRequest;
use qgis_secrets::store::{Pool, StoreError};

use super::fixture::{Fixture, id, run, write};
use super::on_both;

on_both!(
    a_grant_is_given_once_and_taken_once,
    grants_and_tokens_are_listed_by_scope_in_parts,
    a_token_is_known_by_its_text_alone,
    a_token_is_revoked_once_and_for_good,
    the_last_use_is_never_backwards,
    what_ends_with_a_scope,
    of_many_that_give_the_same_at_once_one_is_new,
    what_cannot_be_read_is_damage,
);

const NOW: i64 = 1_800_000_000;

fn scopes() -> [Option<Scope>; 4] {
    let (o, p) = (Scope::Organization, Scope::Project);
    [None, Some(o(id("x"))), Some(p(id("x"))), Some(p(id("a/b")))]
}

fn of(scope: Option<&Scope>) -> Grant {
    scope.map_or(Grant::Operator, Scope::admin)
}

/// The facts of a new token, its digest and its text.
fn made(grant: &Grant, by: &str) -> (ApiToken, [u8; 32], Value) {
    let fresh = token::make().unwrap();
    let facts = ApiToken {
        id: fresh.id,
        name: "it's \"ci\" \u{1f600}".into(),
        grant: grant.clone(),
        access: Access::Read,
        created_at: "2026-01-01T00:00:00Z".into(),
        created_by: by.into(),
        expires_at: NOW,
        revoked_at: None,
        used_at: None,
    };
    (facts, fresh.digest, fresh.text)
}

fn a_grant_is_given_once_and_taken_once(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        for scope in scopes() {
            let grant = of(scope.as_ref());
            let (given, new) = give(database, "ada", &grant, "root")?;
            assert!(new, "{grant}");
            assert_eq!((&given.grant, given.subject.as_str()), (&grant, "ada"));
            // It stays as it is, whoever gives it again.
            assert_eq!(give(database, "ada", &grant, "other")?, (given.clone(), false));
            assert!(give(database, "Ada", &grant, "root")?.1);
            assert_eq!(find_grant(database, &given.id)?, Some(given));
        }
        let mut all = grants_of(database, "ada")?;
        all.sort_by_key(ToString::to_string);
        let mut expected = scopes().map(|scope| of(scope.as_ref()));
        expected.sort_by_key(ToString::to_string);
        assert_eq!(all, expected);
        let (given, _) = give(database, "ada", &Grant::Operator, "root")?;
        assert!(take(database, &given.id)? && !take(database, &given.id)?);
        assert_eq!(find_grant(database, &given.id)?, None);
        assert_eq!(grants_of(database, "ada")?.len(), 3);
        assert_eq!(grants_of(database, "Ada")?.len(), 4);
        assert!(give(database, "ada", &Grant::Operator, "root")?.1);
        Ok(())
    });
}

fn grants_and_tokens_are_listed_by_scope_in_parts(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        for scope in scopes() {
            for n in 0..5 {
                give(database, &format!("user-{n}"), &of(scope.as_ref()), "root")?;
                let (facts, digest, _) = made(&of(scope.as_ref()), "root");
                put_token(database, &facts, &digest)?;
            }
        }
        for scope in scopes() {
            for limit in [2, 5, 500] {
                let (mut listed, mut after) = (Vec::new(), None);
                loop {
                    let request = PageRequest { after, limit };
                    let page = grants(database, scope.as_ref(), &request)?;
                    listed.extend(page.items);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                let users: Vec<_> = listed.iter().map(|given| given.subject.as_str()).collect();
                assert_eq!(users, ["user-0", "user-1", "user-2", "user-3", "user-4"]);
                assert!(listed.iter().all(|given| given.grant == of(scope.as_ref())));
                let (mut listed, mut after) = (Vec::new(), None);
                loop {
                    let request = PageRequest { after, limit };
                    let page = tokens(database, scope.as_ref(), &request)?;
                    listed.extend(page.items);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(listed.len(), 5);
                assert!(listed.is_sorted_by(|one, other| one.id < other.id));
                assert!(listed.iter().all(|token| token.grant == of(scope.as_ref())));
            }
        }
        Ok(())
    });
}

fn a_token_is_known_by_its_text_alone(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        let grant = Grant::ProjectAdmin(id("a/b"));
        let (facts, digest, text) = made(&grant, "ada");
        put_token(database, &facts, &digest)?;
        let presented = token::Presented::parse(&text).unwrap();
        assert_eq!(recognize(database, &presented)?, Some(facts.clone()));
        assert_eq!(find_token(database, &facts.id)?, Some(facts.clone()));
        assert_eq!(find_token(database, "none")?, None);
        // Its id with another secret, and another token altogether.
        let mut changed = text.expose().to_vec();
        let last = changed.last_mut().unwrap();
        *last = if *last == b'0' { b'1' } else { b'0' };
        for other in [Value::new(changed), made(&grant, "ada").2] {
            let presented = token::Presented::parse(&other).unwrap();
            assert_eq!(recognize(database, &presented)?, None);
        }
        assert!(facts.works(NOW - 1) && !facts.works(NOW));
        Ok(())
    });
}

fn a_token_is_revoked_once_and_for_good(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        let grant = Grant::OrganizationAdmin(id("x"));
        let (facts, digest, text) = made(&grant, "ada");
        put_token(database, &facts, &digest)?;
        for (subject, grant, now, count) in [
            ("ada", grant.clone(), NOW - 1, 1),
            ("ada", grant.clone(), NOW, 0),
            ("eve", grant.clone(), NOW - 1, 0),
            ("ada", Grant::ProjectAdmin(id("x")), NOW - 1, 0),
            ("ada", Grant::Operator, NOW - 1, 0),
        ] {
            assert_eq!(tokens_made_by(database, subject, &grant, now)?.len(), count);
        }
        assert_eq!(revoke_token(database, &facts.id)?.len(), 1);
        let revoked = find_token(database, &facts.id)?.unwrap();
        assert!(revoked.revoked_at.is_some() && !revoked.works(NOW - 1));
        assert_eq!(revoke_token(database, &facts.id)?, []);
        assert_eq!(revoke_token(database, "none")?, []);
        // It is known still, and when it was revoked.
        let presented = token::Presented::parse(&text).unwrap();
        assert_eq!(recognize(database, &presented)?, Some(revoked));
        assert!(tokens_made_by(database, "ada", &grant, NOW - 1)?.is_empty());
        Ok(())
    });
}

fn the_last_use_is_never_backwards(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        let (facts, digest, _) = made(&Grant::Operator, "ada");
        put_token(database, &facts, &digest)?;
        assert!(is_use_due(&facts, NOW));
        for (now, used) in [(NOW, NOW), (NOW - 1, NOW), (NOW + 60, NOW + 60)] {
            set_used(database, &facts.id, now)?;
            let found = find_token(database, &facts.id)?.unwrap();
            assert_eq!(found.used_at, Some(used));
            assert!(!is_use_due(&found, used + 59) && is_use_due(&found, used + 60));
        }
        Ok(())
    });
}

fn what_ends_with_a_scope(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        let mut ids = Vec::new();
        for scope in scopes() {
            give(database, "ada", &of(scope.as_ref()), "root")?;
            let (facts, digest, _) = made(&of(scope.as_ref()), "ada");
            put_token(database, &facts, &digest)?;
            ids.push(facts.id);
        }
        // The project `x`, and not the organization of the same id.
        let (grants, tokens) = end(database, scopes()[2].as_ref().unwrap())?;
        let whose: Vec<_> = grants.iter().map(|it| (&*it.subject, it.grant.clone())).collect();
        assert_eq!(whose, [("ada", Grant::ProjectAdmin(id("x")))]);
        assert_eq!(tokens.iter().map(|token| &token.id).collect::<Vec<_>>(), [&ids[2]]);
        let mut left = grants_of(database, "ada")?;
        left.sort_by_key(ToString::to_string);
        assert_eq!(left.len(), 3);
        assert!(!left.contains(&Grant::ProjectAdmin(id("x"))));
        let revoked = |id: &String| Ok(find_token(database, id)?.unwrap().revoked_at.is_some());
        let revoked = ids.iter().map(revoked).collect::<Result<Vec<_>, StoreError>>()?;
        assert_eq!(revoked, [false, false, true, false]);
        Ok(())
    });
}

fn of_many_that_give_the_same_at_once_one_is_new(fixture: &mut Fixture) {
    let given = run(async {
        let pool = Pool::open(&fixture.settings.place, 4).unwrap();
        let mut giving = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let pool = pool.clone();
            giving.spawn(async move {
                let given = pool.write(|database| give(database, "ada", &Grant::Operator, "root"));
                given.await.unwrap()
            });
        }
        let given = giving.join_all().await;
        pool.close().await;
        given
    });
    assert_eq!(given.iter().filter(|(_, new)| *new).count(), 1, "{given:?}");
    assert!(given.iter().all(|(one, _)| *one == given[0].0), "{given:?}");
}

fn what_cannot_be_read_is_damage(fixture: &mut Fixture) {
    for sql in [
        "UPDATE access_grant SET role = 'king'",
        "UPDATE access_grant SET role = 'operator', owner = 'x'",
        "UPDATE access_grant SET owner = '../x'",
        "UPDATE access_grant SET owner = ''",
    ] {
        write(&mut *fixture.connect(), |database| {
            give(database, "ada", &Grant::ProjectAdmin(id("x")), "root")
        });
        fixture.tamper(sql);
        let mut database = fixture.connect();
        let found = transaction(&mut *database, Mode::Read, |database| grants_of(database, "ada"));
        assert!(matches!(found, Err(StoreError::Damaged(_))), "{sql}: {found:?}");
        fixture.tamper("DELETE FROM access_grant");
    }
}
