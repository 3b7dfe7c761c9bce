//! Grants and tokens over time, and what somebody sees first.

use jiff::Timestamp;
use qgis_secrets::access::{Access, Actor, Grant};
use qgis_secrets::secret::Value;
use qgis_secrets::server::administration::{PageRequest, TokenRequest};

use super::ground::{Ground, id, kind, looked, organization, project};
use super::{MakeStore, on_both};

on_both!(
    what_is_taken_away_is_gone_at_once,
    a_token_lasts_as_long_as_was_said,
    only_the_whole_token_opens,
    the_use_of_a_token_is_noted_once_a_minute,
    nobody_can_pass_for_a_token_or_hide_in_a_name,
    lists_of_grants_come_in_parts,
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
    service.revoke_api_token(&pat, &token.id).await.unwrap();
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
