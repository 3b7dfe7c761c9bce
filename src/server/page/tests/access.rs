//! Who administers, and API tokens.

use super::ground::{Ground, ORGANIZATION, PROJECT, id, person};
use crate::access::Grant;
use crate::secret::Value;

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
