//! Grants and tokens over time, and what somebody sees first.

use jiff::Timestamp;
use qgis_secrets::access::{Access, Actor, Grant};
use qgis_secrets::secret::Value;
use qgis_secrets::server::administration::{ApiToken, PageRequest, TokenRequest};

use super::ground::{Ground, id, kind, looked, organization, project};
use super::{MakeStore, on_both};

on_both!(
    what_is_taken_away_is_gone_at_once,
    a_token_lasts_as_long_as_was_said,
    only_the_whole_token_opens,
    the_use_of_a_token_is_noted_once_a_minute,
    nobody_can_pass_for_a_token_or_hide_in_a_name,
    lists_of_grants_come_in_parts,
    a_token_gives_on_only_if_it_was_made_to_and_within_its_own,
    what_a_token_gave_stays_and_says_who_gave_it,
    no_token_outlives_the_one_that_made_it,
    tokens_fall_with_the_one_that_made_them,
    any_token_ends_itself_and_only_itself,
    everybody_sees_first_what_they_administer,
);

/// Seconds since 1970.
fn now() -> i64 {
    Timestamp::now().as_second()
}

fn request(grant: Grant, access: Access, days: Option<u32>) -> TokenRequest {
    TokenRequest { name: " ci ".into(), grant, access, days }
}

async fn what_is_taken_away_is_gone_at_once(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let p = project("p");
    let granted = service.grant(root, "new", &p.admin()).await.unwrap();
    assert_eq!(service.grant(root, "new", &p.admin()).await.unwrap(), granted);
    // Somebody who logged in before, and still holds what they had.
    let new = ground.person("new").await;
    let secret = ground.add(&new, p.owner(None), "A").await.unwrap();
    let made = service.issue_api_token(&new, &request(p.admin(), Access::Read, None)).await;
    let (token, text) = made.unwrap();
    let revoked = service.revoke_grant(root, &granted.id).await.unwrap();
    assert_eq!((revoked.granted, revoked.tokens), (granted, vec![token.clone()]));
    assert_eq!(new.grants, [p.admin()]);
    assert_eq!(kind(ground.add(&new, p.owner(None), "B").await), "not_found");
    assert_eq!(kind(service.secret(&new, &secret.id).await), "not_found");
    assert_eq!(kind(service.list(&new, &p, PageRequest::first()).await), "not_found");
    // The token stands on its own, and the scope's admins see and end it.
    let bearer = service.authenticate_token(&text).await.unwrap();
    assert_eq!(kind(service.secret(&bearer, &secret.id).await), "ok");
    let pat = ground.person("pat").await;
    let tokens = service.api_tokens(&pat, Some(&p), PageRequest::first()).await.unwrap();
    let ids: Vec<_> = tokens.items.iter().map(|token| &token.id).collect();
    assert_eq!(ids, [&token.id]);
    let ended = service.revoke_api_token(&pat, &token.id).await.unwrap();
    assert_eq!((ended.token.id, ended.made), (token.id, vec![]));
    assert_eq!(kind(service.secret(&bearer, &secret.id).await), "token_invalid");
    assert_eq!(kind(service.authenticate_token(&text).await), "token_invalid");
    // A registered admin who is one no more.
    ground.put_project("p", Some("o"), &[], &[]).await;
    assert_eq!(kind(service.secret(&pat, &secret.id).await), "not_found");
}

async fn a_token_lasts_as_long_as_was_said(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let issue = async |days| {
        service.issue_api_token(root, &request(project("p").admin(), Access::Manage, days)).await
    };
    for (days, seconds) in [(None, 90 * 86_400), (Some(1), 86_400), (Some(365), 365 * 86_400)] {
        let before = now();
        let (token, _) = issue(days).await.unwrap();
        assert_eq!(token.name, "ci");
        let lasts = token.expires_at - seconds;
        assert!((before..=now()).contains(&lasts), "{days:?} {token:?}");
    }
    for days in [0, 366, u32::MAX] {
        assert_eq!(kind(issue(Some(days)).await), "invalid");
    }
    for name in ["", " ", "a\nb", &"x".repeat(101)] {
        let request =
            TokenRequest { name: name.into(), ..request(Grant::Operator, Access::Read, None) };
        assert_eq!(kind(service.issue_api_token(root, &request).await), "invalid");
    }
    let unknown = request(project("none").admin(), Access::Read, None);
    assert_eq!(kind(service.issue_api_token(root, &unknown).await), "not_registered");
}

async fn only_the_whole_token_opens(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let request = request(project("p").admin(), Access::Manage, None);
    let (facts, text) = service.issue_api_token(root, &request).await.unwrap();
    let (_, other) = service.issue_api_token(root, &request).await.unwrap();
    let actor = service.authenticate_token(&text).await.unwrap();
    assert_eq!(actor.subject, format!("token:{}", facts.id));
    assert_eq!((actor.grants, actor.claimed), (vec![project("p").admin()], vec![]));
    let [one, two] = [&text, &other].map(|text| String::from_utf8(text.expose().to_vec()).unwrap());
    for bad in [
        String::new(),
        one[..one.len() - 1].to_owned(),
        // The id of one, the secret of another.
        format!("{}{}", &one[..30], &two[30..]),
        format!("qgis_secrets_{}_{}", "0".repeat(16), &one[30..]),
    ] {
        let answer = service.authenticate_token(&Value::from(bad.as_str())).await.unwrap_err();
        assert_eq!((answer.kind(), answer.status()), ("token_invalid", 401));
        assert!(answer.to_string().contains("not known"), "{answer}");
    }
    assert_eq!(ground.count("SELECT count(*) FROM api_token WHERE length(digest) = 32").await, 2);
}

async fn the_use_of_a_token_is_noted_once_a_minute(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let (_, text) =
        service.issue_api_token(root, &request(Grant::Operator, Access::Read, None)).await.unwrap();
    let used = "SELECT coalesce(max(used_at), 0) FROM api_token";
    assert_eq!(ground.count(used).await, 0);
    service.authenticate_token(&text).await.unwrap();
    let first = ground.count(used).await;
    assert!((now() - 60..=now()).contains(&first));
    ground.sql("UPDATE api_token SET used_at = used_at - 30").await;
    service.authenticate_token(&text).await.unwrap();
    assert_eq!(ground.count(used).await, first - 30);
    ground.sql("UPDATE api_token SET used_at = used_at - 30").await;
    service.authenticate_token(&text).await.unwrap();
    assert!(ground.count(used).await >= first);
}

async fn nobody_can_pass_for_a_token_or_hide_in_a_name(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    for subject in ["", "token:x", "a\nb", "a\0", &"x".repeat(256)] {
        assert_eq!(kind(service.actor_of(subject, "", vec![]).await), "invalid", "{subject:?}");
        assert_eq!(kind(service.grant(root, subject, &Grant::Operator).await), "invalid");
    }
    let named = service.actor_of("u", &"\x1bn".repeat(300), vec![]).await.unwrap();
    assert_eq!(named.name, "n".repeat(200));
    let unknown = service.grant(root, "u", &project("none").admin()).await;
    assert_eq!(kind(unknown), "not_registered");
}

async fn lists_of_grants_come_in_parts(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    for n in 0..5 {
        service.grant(root, &format!("u{n}"), &project("p").admin()).await.unwrap();
        service.grant(root, &format!("u{n}"), &project("q").admin()).await.unwrap();
        service.grant(root, &format!("u{n}"), &Grant::Operator).await.unwrap();
    }
    for scope in [Some(project("p")), None] {
        let mut subjects = Vec::new();
        let mut after = None;
        loop {
            let page = PageRequest { after, limit: 2 };
            let part = service.grants(root, scope.as_ref(), page).await.unwrap();
            subjects.extend(part.items.into_iter().map(|granted| granted.subject));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(subjects, ["u0", "u1", "u2", "u3", "u4"]);
    }
}

async fn everybody_sees_first_what_they_administer(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let see = async |actor: &Actor| {
        let landing = service.landing(actor, looked("", 50)).await.unwrap();
        assert_eq!((&landing.organizations.next, &landing.projects.next), (&None, &None));
        let projects = landing.projects.items.iter().map(|of| match &of.organization {
            Some(organization) => format!("{organization}/{}", of.scope.id()),
            None => of.scope.id().to_string(),
        });
        let projects: Vec<String> = projects.collect();
        let organizations: Vec<&str> =
            landing.organizations.items.iter().map(|of| of.scope.id().as_str()).collect();
        format!("{} {} {}", landing.operator, organizations.join(","), projects.join(","))
    };
    assert_eq!(see(root).await, "true o,x own,o/p,x/q");
    assert_eq!(see(&ground.person("boss").await).await, "false o o/p");
    assert_eq!(see(&ground.person("pat").await).await, "false  own,o/p");
    assert_eq!(see(&ground.person("ann").await).await, "false  ");
    service.grant(root, "ann", &organization("x").admin()).await.unwrap();
    service.grant(root, "ann", &project("own").admin()).await.unwrap();
    assert_eq!(see(&ground.person("ann").await).await, "false x own,x/q");
    service.delete_project(root, &id("q"), false).await.unwrap();
    service.delete_project(root, &id("own"), false).await.unwrap();
    assert_eq!(see(&ground.person("ann").await).await, "false x ");
}

/// A token of this access for `grant`, made by `by`.
async fn token(ground: &Ground, by: &Actor, grant: Grant, access: Access) -> (ApiToken, Actor) {
    let made = ground.service.issue_api_token(by, &request(grant, access, None)).await;
    let (facts, text) = made.unwrap();
    (facts, ground.service.authenticate_token(&text).await.unwrap())
}

async fn a_token_gives_on_only_if_it_was_made_to_and_within_its_own(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let (o, p, q) = (organization("o").admin(), project("p").admin(), project("q").admin());
    // What it may give: to the project, to the organization, another's, everything.
    let tries = async |actor: &Actor| {
        let mut words = Vec::new();
        for grant in [&p, &o, &q, &Grant::Operator] {
            let given = kind(service.grant(actor, "new", grant).await);
            for access in Access::ALL {
                let asked = request(grant.clone(), access, None);
                assert_eq!(kind(service.issue_api_token(actor, &asked).await), given);
            }
            words.push(given);
        }
        words
    };
    const ND: &str = "no_delegation";
    let all = [
        (Grant::Operator, ["ok", "ok", "ok", "ok"], [ND, ND, ND, ND]),
        (
            o.clone(),
            ["ok", "ok", "not_found", "operator_only"],
            [ND, ND, "not_found", "operator_only"],
        ),
        (
            p.clone(),
            ["ok", "not_found", "not_found", "operator_only"],
            [ND, "not_found", "not_found", "operator_only"],
        ),
    ];
    for (grant, may, may_not) in all {
        let (_, delegate) = token(&ground, root, grant.clone(), Access::Delegate).await;
        assert_eq!(tries(&delegate).await, may, "{grant}");
        let (_, manage) = token(&ground, root, grant.clone(), Access::Manage).await;
        assert_eq!(tries(&manage).await, may_not, "{grant}");
        // The same of one that a token made.
        let (_, made) = token(&ground, &delegate, grant.clone(), Access::Delegate).await;
        assert_eq!(tries(&made).await, may, "{grant}");
        let (_, made) = token(&ground, &delegate, grant.clone(), Access::Manage).await;
        assert_eq!(tries(&made).await, may_not, "{grant}");
    }
    // A project that leaves the organization leaves its token too.
    let (_, of_o) = token(&ground, root, o.clone(), Access::Delegate).await;
    ground.put_project("p", Some("x"), &[], &[]).await;
    assert_eq!(kind(service.grant(&of_o, "late", &p).await), "not_found");
    assert_eq!(ground.person("late").await.grants, []);
}

async fn what_a_token_gave_stays_and_says_who_gave_it(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let p = project("p");
    let (facts, delegate) = token(&ground, root, p.admin(), Access::Delegate).await;
    let given = service.grant(&delegate, "new", &p.admin()).await.unwrap();
    assert_eq!(given.granted_by, format!("token:{}", facts.id));
    assert_eq!(ground.audited("grant.give").await[0], format!("token:{} allowed p", facts.id));
    service.revoke_api_token(root, &facts.id).await.unwrap();
    assert_eq!(ground.person("new").await.grants, [p.admin()]);
    // Nobody makes a token pass for a person, or gives one a grant.
    assert_eq!(kind(service.grant(root, &given.granted_by, &p.admin()).await), "invalid");
    // It takes away what others gave, there and nowhere else.
    let (_, delegate) = token(&ground, root, p.admin(), Access::Delegate).await;
    let (_, manage) = token(&ground, root, p.admin(), Access::Manage).await;
    assert_eq!(kind(service.revoke_grant(&manage, &given.id).await), "no_delegation");
    assert_eq!(kind(service.revoke_grant(&delegate, &given.id).await), "ok");
    for grant in [organization("o").admin(), project("q").admin(), Grant::Operator] {
        let other = service.grant(root, "other", &grant).await.unwrap();
        assert_eq!(kind(service.revoke_grant(&delegate, &other.id).await), "not_found", "{grant}");
    }
}

async fn no_token_outlives_the_one_that_made_it(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let p = project("p").admin();
    let made = service.issue_api_token(root, &request(p.clone(), Access::Delegate, Some(2))).await;
    let (parent, text) = made.unwrap();
    let delegate = service.authenticate_token(&text).await.unwrap();
    let issue = async |days| {
        service.issue_api_token(&delegate, &request(p.clone(), Access::Delegate, days)).await
    };
    for days in [3, 90, 365] {
        let refused = issue(Some(days)).await.unwrap_err();
        assert_eq!((refused.kind(), refused.field()), ("invalid", Some("days")), "{days}");
        assert!(refused.to_string().contains("ends at"), "{refused}");
    }
    assert!(issue(Some(1)).await.unwrap().0.expires_at < parent.expires_at);
    let (child, text) = issue(None).await.unwrap();
    assert_eq!(child.expires_at, parent.expires_at);
    // Nor does what that one makes.
    let child = service.authenticate_token(&text).await.unwrap();
    let grandchild = service.issue_api_token(&child, &request(p.clone(), Access::Read, None)).await;
    assert_eq!(grandchild.unwrap().0.expires_at, parent.expires_at);
    // One that has just expired makes none.
    ground.sql("UPDATE api_token SET expires_at = 1").await;
    for actor in [&delegate, &child] {
        let late = service.issue_api_token(actor, &request(p.clone(), Access::Read, None)).await;
        assert_eq!(kind(late), "token_invalid");
        assert_eq!(kind(service.grant(actor, "late", &p).await), "token_invalid");
    }
    assert_eq!(ground.person("late").await.grants, []);
}

async fn tokens_fall_with_the_one_that_made_them(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let (o, p) = (organization("o"), project("p"));
    let (_, untouched) = token(&ground, root, o.admin(), Access::Delegate).await;
    let (beside, _) = token(&ground, &untouched, p.admin(), Access::Read).await;
    let (parent, actor) = token(&ground, root, o.admin(), Access::Delegate).await;
    let (child, delegate) = token(&ground, &actor, p.admin(), Access::Delegate).await;
    let (before, _) = token(&ground, &delegate, p.admin(), Access::Read).await;
    let (grandchild, reader) = token(&ground, &delegate, p.admin(), Access::Read).await;
    // One that was ended before is not ended again.
    service.revoke_api_token(&delegate, &before.id).await.unwrap();
    let ended = service.revoke_api_token(root, &parent.id).await.unwrap();
    assert_eq!(ended.token.id, parent.id);
    assert!(ended.token.revoked_at.is_some());
    let mut expected = vec![&child.id, &grandchild.id];
    expected.sort();
    assert_eq!(ended.made.iter().map(|made| &made.id).collect::<Vec<_>>(), expected);
    let p_page = async |actor: &Actor| service.list(actor, &p, PageRequest::first()).await;
    for actor in [&actor, &delegate, &reader] {
        assert_eq!(kind(p_page(actor).await), "token_invalid");
        assert_eq!(kind(service.grant(actor, "late", &p.admin()).await), "token_invalid");
    }
    assert_eq!(kind(p_page(&untouched).await), "ok");
    let working = service.api_tokens(root, Some(&p), PageRequest::first()).await.unwrap();
    let working = working.items.iter().filter(|token| token.revoked_at.is_none());
    assert_eq!(working.map(|token| &token.id).collect::<Vec<_>>(), [&beside.id]);
    // Each has its row, where its own admins look.
    let rows = ground.audited("token.revoke").await;
    assert_eq!(rows[..2], ["root allowed p", "root allowed p"]);
    assert_eq!(rows[2], "root allowed o");
    assert_eq!(service.revoke_api_token(root, &parent.id).await.unwrap().made, []);
    assert_eq!(ground.audited("token.revoke").await.len(), rows.len());
    // A purge ends the tokens of its scope, and these end theirs elsewhere.
    ground.put_project("p", None, &[], &[]).await;
    service.delete_organization(root, &id("o"), true).await.unwrap();
    let beside = service.api_tokens(root, Some(&p), PageRequest::first()).await.unwrap();
    assert!(beside.items.iter().all(|token| token.revoked_at.is_some()), "{beside:?}");
    // With their rows, too: of `untouched`, and of what it made.
    let mut new = ground.audited("token.revoke").await;
    new.truncate(new.len() - rows.len());
    new.sort();
    assert_eq!(new, ["root allowed o", "root allowed p"]);
}

async fn any_token_ends_itself_and_only_itself(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let p = project("p").admin();
    for access in [Access::Read, Access::Manage] {
        let (own, actor) = token(&ground, root, p.clone(), access).await;
        let (other, _) = token(&ground, root, p.clone(), access).await;
        let refused = kind(service.revoke_api_token(&actor, &other.id).await);
        assert_eq!(refused, if access == Access::Read { "read_only" } else { "no_delegation" });
        assert_eq!(kind(service.revoke_api_token(&actor, &own.id).await), "ok");
        assert_eq!(kind(service.revoke_api_token(&actor, &own.id).await), "token_invalid");
    }
}
