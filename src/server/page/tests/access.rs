//! Who administers, and API tokens.

use super::ground::{Answer, Ground, ORGANIZATION, PROJECT, id, person};
use crate::access::{Access, Grant};
use crate::secret::Value;
use crate::server::administration::{Entered, Session, TokenRequest};
use crate::store::database::Database;
use crate::store::sessions;

const TOKENS: &str = "/organizations/org-81/access/tokens";

#[tokio::test]
async fn a_token_is_shown_once() {
    let ground = Ground::registered().await;
    let fields = [("name", "Deployment"), ("access", "manage"), ("days", "30")];
    let answer = ground.post(TOKENS, &fields).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let at = answer.body.find("qgis_secrets_").unwrap();
    let token = answer.body[at..].split('<').next().unwrap();
    let actor = ground.administration.authenticate_token(&Value::from(token)).await.unwrap();
    assert_eq!(actor.grants, [Grant::OrganizationAdmin(id("org-81"))]);
    let list = ground.get(&format!("{ORGANIZATION}/access")).await;
    list.has("Deployment").has("add and remove secrets too").has_not(token);

    let (_, rest) = list.body.split_once("/access/tokens/").unwrap();
    let path = format!("{TOKENS}/{}/revoke", rest.split('/').next().unwrap());
    ground.get(&path).await.has("“Deployment” are refused");
    assert!(ground.administration.authenticate_token(&Value::from(token)).await.is_ok());
    assert_eq!(ground.post(&path, &[]).await.location(), format!("{ORGANIZATION}/access"));
    assert!(ground.administration.authenticate_token(&Value::from(token)).await.is_err());
    ground.get(&format!("{ORGANIZATION}/access")).await.has("revoked");
}

#[tokio::test]
async fn a_token_that_cannot_be_made_is_told_beside_its_field() {
    let ground = Ground::registered().await;
    for (days, name, field) in [("x", "CI", "days"), ("0", "CI", "days"), ("9", "", "name")] {
        let fields = [("name", name), ("access", "read"), ("days", days)];
        let answer = ground.post(TOKENS, &fields).await;
        assert_eq!(answer.status, 422, "{days} {name}");
        answer.has(&format!("id=\"{field}-wrong-1\"")).has(&format!("value=\"{days}\""));
    }
    ground.get(&format!("{ORGANIZATION}/access")).await.has_not("Revoke");
}

#[tokio::test]
async fn access_is_given_and_taken_away() {
    let mut ground = Ground::registered().await;
    let access = format!("{PROJECT}/access");
    let answer = ground.post(&format!("{access}/grants"), &[("subject", " eve ")]).await;
    assert_eq!(answer.location(), access);
    ground
        .get_with(&access, &answer.cookie())
        .await
        .has("Access was given.")
        .has("<code>eve</code>");
    let refused = ground.post(&format!("{access}/grants"), &[("subject", "token:x")]).await;
    assert_eq!(refused.status, 422);
    refused.has("id=\"subject-wrong-1\"").has("value=\"token:x\"");

    let list = ground.get(&access).await;
    let (_, rest) = list.body.split_once("/access/grants/").unwrap();
    let path = format!("{access}/grants/{}/revoke", rest.split('/').next().unwrap());

    // Eve may do what was given, makes a token, and gives up her own access.
    let actor = ground.administration.actor_of("eve", "Eve", vec![]).await.unwrap();
    let mut eve = person("eve", "Eve", vec![]);
    eve.actor = actor;
    ground.become_visitor(eve);
    let fields = [("name", "Left behind"), ("access", "read"), ("days", "9")];
    assert_eq!(ground.post(&format!("{access}/tokens"), &fields).await.status, 200);
    ground.get(&path).await.has("Left behind").has("no longer administer");
    assert_eq!(ground.post(&path, &[]).await.location(), "/");
    assert_eq!(ground.get(&access).await.status, 404);
}

#[tokio::test]
async fn lists_of_access_come_in_parts() {
    let ground = Ground::trusted();
    let actor = person("ada", "Ada", vec![Grant::Operator]).actor;
    let grant = Grant::ProjectAdmin(id("p"));
    let mut last = None;
    for n in 0..101 {
        let given = ground.administration.grant(&actor, &format!("u{n:03}"), &grant).await;
        last = Some(given.unwrap().id);
        let request = TokenRequest {
            name: format!("t{n:03}"),
            grant: grant.clone(),
            access: Access::Read,
            days: None,
        };
        ground.administration.issue_api_token(&actor, &request).await.unwrap();
    }
    let at = "/projects/p/access";
    let first = ground.get(at).await;
    first.has("u099").has_not("u100").has_not("First page");
    let next = |answer: &Answer, what: &str| {
        let (_, rest) = answer.body.split_once(&format!("href=\"{at}?{what}=")).unwrap();
        format!("{what}={}", rest.split('"').next().unwrap())
    };
    let (grants, tokens) = (next(&first, "grants"), next(&first, "tokens"));
    let second = ground.get(&format!("{at}?{grants}")).await;
    second.has("u100").has_not("u099").has("First page").has(&format!("&#38;{tokens}"));
    let both = ground.get(&format!("{at}?{grants}&{tokens}")).await;
    both.has("u100").has_not("Next page");
    assert_eq!(both.body.matches("<th scope=\"row\"").count(), 2);
    // One that is not on the first page can be taken away.
    let path = format!("{at}/grants/{}/revoke", last.unwrap());
    ground.get(&path).await.has("u100 will no longer administer");
    let elsewhere = path.replace("/projects/p/", "/projects/q/");
    assert_eq!(ground.get(&elsewhere).await.status, 404);
}

#[tokio::test]
async fn who_is_logged_in_can_be_logged_out() {
    let ground = Ground::trusted();
    let now = jiff::Timestamp::now().as_second();
    for (digest, subject, entered) in [
        (1, "eve", Entered::Login),
        (2, "eve", Entered::Login),
        (3, "link:operator", Entered::Link),
    ] {
        let session = Session {
            subject: subject.to_owned(),
            name: format!("{subject} <b>"),
            claimed: vec![Grant::Operator],
            entered,
            created_at: now - 50,
            seen_at: now - 10,
            expires_at: now + 1000,
        };
        let begin =
            move |database: &mut dyn Database| sessions::begin(database, &[digest; 32], &session);
        ground.pool.write(begin).await.unwrap();
    }
    let list = ground.get("/sessions").await;
    list.has("eve &#60;b&#62;").has("identity provider").has("one-time link").has("operator");
    list.has_not("<code>link:operator").has_not("this browser");
    assert_eq!(list.body.matches("End all").count(), 3);
    let eve = sessions::hex(&[1; 32]);
    for (fields, said, left) in [
        (vec![("session", "gone")], "over already", 3),
        (vec![("session", &eve)], "has to log in again", 2),
        (vec![("session", &eve), ("everywhere", "yes")], "over already", 2),
    ] {
        let ended = ground.post("/sessions/end", &fields).await;
        assert_eq!(ended.location(), "/sessions");
        let after = ground.get_with("/sessions", &ended.cookie()).await;
        after.has(said);
        assert_eq!(after.body.matches("End all").count(), left, "{fields:?}");
    }
}

#[tokio::test]
async fn operators_are_the_operators_business() {
    let mut ground = Ground::registered().await;
    ground.post("/access/grants", &[("subject", "zoe")]).await.location();
    let list = ground.get("/access").await;
    list.has("<code>zoe</code>");
    let (_, rest) = list.body.split_once("/access/grants/").unwrap();
    let path = format!("/access/grants/{}/revoke", rest.split('/').next().unwrap());
    ground.get(&path).await.has("zoe will no longer be an operator.");

    ground.become_visitor(person("eve", "Eve", vec![Grant::ProjectAdmin(id("p"))]));
    for (path, fields) in [
        ("/access/grants", &[("subject", "eve")][..]),
        ("/access/tokens", &[("name", "mine"), ("days", "9")]),
        (path.as_str(), &[]),
    ] {
        let answer = ground.post(path, fields).await;
        assert!([403, 404].contains(&answer.status), "{path}: {}", answer.status);
    }
}

/// What a token may is what was chosen, and the least where that is nothing known.
#[tokio::test]
async fn a_token_may_what_was_chosen() {
    let ground = Ground::registered().await;
    for (sent, access, says) in [
        ("read", Access::Read, "list and explain only"),
        ("manage", Access::Manage, "add and remove secrets too"),
        ("delegate", Access::Delegate, "add and remove secrets, admins and tokens too"),
        ("", Access::Read, "list and explain only"),
        ("all", Access::Read, "list and explain only"),
    ] {
        let fields = [("name", "Deployment"), ("access", sent), ("days", "30")];
        let shown = ground.post(TOKENS, &fields).await;
        shown.has(says);
        let (_, rest) = shown.body.split_once("qgis_secrets_").unwrap();
        let token = format!("qgis_secrets_{}", &rest[..81]);
        let actor = ground.administration.authenticate_token(&Value::from(token.as_str())).await;
        assert_eq!(actor.unwrap().access, access, "{sent}");
    }
    // What was chosen stays when something else is wrong.
    let fields = [("name", "Deployment"), ("access", "delegate"), ("days", "1000")];
    let again = ground.post(TOKENS, &fields).await;
    again.has("<option value=\"delegate\" selected>").has_not("value=\"read\" selected");
}
