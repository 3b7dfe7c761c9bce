//! Replacing and removing.

use super::ground::{CANARY, Ground, ORGANIZATION, PROJECT};
use super::text;

#[tokio::test]
async fn replacing_keeps_name_and_level_whatever_is_sent() {
    let ground = Ground::trusted();
    let old = ground.add_variable("/projects/p", "API_KEY", "bob").await;
    let path = format!("/projects/p/secrets/{old}/replace");
    let form = ground.get(&path).await;
    form.has("value=\"API_KEY\" readonly").has("Assigned to bob").has_not("id=\"assigned\"");
    let fields = [
        ("kind", "pgservice"),
        ("name", "OTHER"),
        ("service", "other"),
        ("assigned", "eve"),
        ("value", "another value"),
        ("open", "yes"),
    ];
    let answer = ground.post(&path, &fields).await;
    assert_eq!(answer.location(), "/projects/p/secrets");
    assert!(answer.cookie().starts_with("qgis_secrets_done=replaced."));
    let stored = ground.stored();
    assert_eq!(ground.names(), ["envvar:API_KEY project p, user bob"]);
    assert_eq!(text(&stored[0].1), "another value");
    assert!(!stored[0].0.sensitive && stored[0].0.id.as_str() != old);
    // The old one is gone, and so is its page.
    assert_eq!(ground.get(&path).await.status, 404);
    // What was typed twice is saved once.
    assert_eq!(ground.post(&path, &fields).await.status, 409);
    assert_eq!(ground.names().len(), 1);
}

#[tokio::test]
async fn a_service_is_replaced_by_the_same_service() {
    let ground = Ground::trusted();
    let old = ground.add_service("/organizations/o", "ninja", "").await;
    let path = format!("/organizations/o/secrets/{old}/replace");
    for text in ["[other]\nhost=h\nuser=u\n", "[ninja]\nhost=h\nuser=u\n[other]\nhost=h\nuser=u\n"]
    {
        let fields = [("editor", "advanced"), ("text", text), ("previewed", "yes")];
        let refused = ground.post(&path, &fields).await;
        assert_eq!(refused.status, 422, "{text}");
        refused.has("This replaces the service ninja").has(&format!(">\n{text}</textarea>"));
    }
    let advanced = [("editor", "simple"), ("host", "h"), ("do", "advanced")];
    ground.post(&path, &advanced).await.has(">\n[ninja]\nhost=h\n</textarea>");
    let fields = [("editor", "simple"), ("service", "x"), ("host", "h"), ("user", "u")];
    ground.post(&path, &fields).await.location();
    assert_eq!(ground.names(), ["pgservice:ninja organization o"]);
    assert_eq!(text(&ground.stored()[0].1), "[ninja]\nhost=h\nuser=u\n");
}

#[tokio::test]
async fn removing_says_what_becomes_effective_and_asks_first() {
    let ground = Ground::registered().await;
    ground.add_service(ORGANIZATION, "ninja", "").await;
    let of_project = ground.add_service(PROJECT, "ninja", "").await;
    let path = format!("{PROJECT}/secrets/{of_project}/remove");
    let ask = ground.get(&path).await;
    ask.has("Remove <code>ninja</code>?").has("note warn").has("get the organization&#39;s");
    assert_eq!(ground.names().len(), 2, "looking removes nothing");
    let answer = ground.post(&path, &[]).await;
    assert_eq!(answer.location(), format!("{PROJECT}/secrets"));
    let next = ground.get_with(answer.location(), &answer.cookie()).await;
    next.has("The secret was removed.");
    assert_eq!(ground.names(), ["pgservice:ninja organization org-81"]);
    assert_eq!(ground.post(&path, &[]).await.status, 404);
}

/// An address names the place and the secret; both have to fit.
#[tokio::test]
async fn a_secret_is_changed_at_its_own_place_only() {
    let ground = Ground::trusted();
    let id = ground.add_variable("/projects/p", "API_KEY", "").await;
    for place in ["/projects/q", "/organizations/p"] {
        for what in ["remove", "replace"] {
            let path = format!("{place}/secrets/{id}/{what}");
            assert_eq!(ground.get(&path).await.status, 404, "{path}");
            let fields = [("value", "another value")];
            assert_eq!(ground.post(&path, &fields).await.status, 404, "{path}");
        }
    }
    assert_eq!(text(&ground.stored()[0].1), CANARY);
}

#[tokio::test]
async fn what_was_to_replace_a_removed_secret_is_not_lost() {
    let ground = Ground::registered().await;
    let variable = ground.add_variable(PROJECT, "API_KEY", "bob").await;
    let path = format!("{PROJECT}/secrets/{variable}/replace");
    ground.get(&path).await.has("name=\"assigned\" value=\"bob\"");
    ground.post(&format!("{PROJECT}/secrets/{variable}/remove"), &[]).await.location();
    let typed = format!("{CANARY}-new");
    let fields = [
        ("kind", "envvar"),
        ("assigned", "bob"),
        ("name", "API_KEY"),
        ("value", &typed),
        ("do", "add"),
    ];
    let late = ground.post(&path, &fields).await;
    assert_eq!(late.status, 409);
    late.has("replaced or removed meanwhile").has(&typed).has("<option value=\"bob\" selected>");
    late.has(&format!("action=\"{PROJECT}/secrets/new\""));
    assert!(ground.stored().is_empty());
    assert_eq!(ground.get(&path).await.status, 404);
}
