//! What works: a login from its beginning to its end.

use serde_json::json;

use super::ground::Service;
use super::provider::{CLIENT, Key};

const SESSION: &str = "__Host-qgis_secrets";

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_with_each_kind_of_key() {
    for key in [Key::rsa(), Key::p256(), Key::ed25519()] {
        let service = Service::with(key, "client_secret_file = 'SECRET_FILE'").await;
        let mut browser = service.logged_in().await;
        let who = browser.get("/whoami").await.json();
        assert_eq!((&who["subject"], &who["name"]), (&json!("ada"), &json!("Ada Lovelace")));
        assert_eq!((&who["grants"], &who["via"]), (&json!([]), &json!("Session")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_to_a_page_is_sent_to_the_login_and_back() {
    let service = Service::new().await;
    let mut browser = service.browser();
    let sent = browser.get("/whoami?a=b&c=%2F").await;
    assert_eq!(sent.status, 303);
    assert_eq!(sent.location(), "/login?return_to=%2Fwhoami%3Fa%3Db%26c%3D%252F");
    let page = browser.get(sent.location()).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Log in with 127.0.0.1"), "{}", page.body);
    let (_, start) = page.body.split_once("main\" href=\"").unwrap();
    let start = start.split('"').next().unwrap().replace("&#38;", "&");
    let sent = browser.get(&start).await;
    let back = service.at_provider(sent.location()).await;
    let entered = browser.get(&back).await;
    assert_eq!((entered.status, entered.location()), (303, "/whoami?a=b&c=%2F"));
    let cookie = entered.set_cookie(SESSION).unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert_eq!(browser.get("/whoami").await.status, 200);
    // Whoever is logged in needs no login page.
    let page = browser.get("/login?return_to=/whoami").await;
    assert_eq!((page.status, page.location()), (303, "/whoami"));
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_stored_grants_come_together() {
    let service = Service::new().await;
    service.provider.with(|mind| {
        mind.claims["groups"] = json!(["gis-admins", "org-81-admins", "org-../x-admins"]);
    });
    let mut browser = service.logged_in().await;
    let expected = json!(["operator", "admin of organization 81"]);
    assert_eq!(browser.get("/whoami").await.json()["grants"], expected);
    // Granted on the page while the session lasts: it counts at once.
    let stored = service.ground.pool.write(|database| {
        let project = qgis_secrets::access::Grant::ProjectAdmin("p1".parse().unwrap());
        qgis_secrets::store::access::give(database, "ada", &project, "eve").map(drop)
    });
    stored.await.unwrap();
    let grants = browser.get("/whoami").await.json()["grants"].to_string();
    assert!(grants.contains("admin of project p1"), "{grants}");
    let rows = service.ground.audit().await;
    let detail = json!({"via": "provider", "grants": ["operator", "admin of organization 81"]});
    assert_eq!(rows, [json!(["ada", "session.begin", "allowed", null, detail])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_itself_as_the_provider_asks() {
    let post = json!(["client_secret_post"]);
    for (methods, settings, fine) in [
        (json!(["client_secret_basic"]), "client_secret_file = 'SECRET_FILE'", true),
        (post.clone(), "client_secret_file = 'SECRET_FILE'", true),
        (post, "", true),
        (json!(["private_key_jwt"]), "client_secret_file = 'SECRET_FILE'", false),
    ] {
        let service = Service::with(Key::ed25519(), settings).await;
        service.provider.with(|mind| {
            mind.discovery["token_endpoint_auth_methods_supported"] = methods.clone();
        });
        let page = service.log_in(&mut service.browser()).await;
        assert_eq!(page.status == 303, fine, "{methods} {settings}: {}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_claims_are_asked_for() {
    let service = Service::new().await;
    service.provider.with(|mind| {
        mind.claims = json!({"name": "Token"});
        mind.user_info = json!({"sub": "ada", "name": "Info", "groups": ["gis-admins"]});
    });
    let mut browser = service.logged_in().await;
    let who = browser.get("/whoami").await.json();
    // What the token says counts before others.
    assert_eq!((&who["name"], &who["grants"]), (&json!("Token"), &json!(["operator"])));
    assert_eq!(service.provider.asked("userinfo"), 1);
    service.provider.with(|mind| mind.user_info["sub"] = json!("eve"));
    let page = service.log_in(&mut service.browser()).await;
    assert_eq!(page.status, 401);
    assert!(page.body.contains("about somebody else"), "{}", page.body);
    // All there: nobody is asked.
    service.provider.with(|mind| mind.claims = json!({"name": "A", "groups": []}));
    service.logged_in().await;
    assert_eq!(service.provider.asked("userinfo"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_need_not_be_there_when_the_service_starts() {
    let service = Service::new().await;
    service.provider.with(|mind| mind.down = true);
    let mut browser = service.browser();
    assert_eq!(browser.get("/login").await.status, 200);
    let page = browser.get("/login/start").await;
    assert_eq!(page.status, 502);
    assert!(page.body.contains("cannot be reached"), "{}", page.body);
    service.provider.with(|mind| mind.down = false);
    // Not asked again at once: others would wait for it in line.
    assert_eq!(browser.get("/login/start").await.status, 502);
    assert_eq!(service.provider.asked("discovery"), 1);
    service.ground.pass(5);
    service.logged_in().await;
    // Kept: an outage of a while after an hour doesn't matter.
    assert_eq!(service.provider.asked("discovery"), 2);
    service.provider.with(|mind| mind.discovery = json!({}));
    service.ground.pass(3600);
    service.logged_in().await;
    assert_eq!(service.provider.asked("discovery"), 3);
    service.ground.pass(24 * 3600);
    assert_eq!(service.browser().get("/login/start").await.status, 502);
    // Nobody who isn't logged in fills the audit.
    assert_eq!(service.ground.audit().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_at_the_provider() {
    let service = Service::new().await;
    service.logged_in().await;
    service.provider.with(|mind| mind.keys.push(("k2".to_owned(), Key::rsa())));
    service.ground.pass(60);
    service.logged_in().await;
    assert_eq!(service.provider.asked("keys"), 2);
    // The old one is taken out: what it signed doesn't count any more.
    service.provider.with(|mind| {
        mind.hidden.insert("k1".to_owned());
        mind.keys.swap(0, 1);
    });
    service.ground.pass(3600);
    let page = service.log_in(&mut service.browser()).await;
    assert_eq!(page.status, 401);
    assert!(page.body.contains("doesn&#39;t publish"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_offers_the_providers_own() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    let csrf = browser.get("/whoami").await.json()["csrf"].as_str().unwrap().to_owned();
    let page = browser.post("/logout", &[("csrf", &csrf)]).await;
    assert_eq!((page.status, page.location()), (303, "/login?out=1"));
    assert!(page.set_cookie(SESSION).unwrap().contains("Max-Age=0"));
    let page = browser.get("/login?out=1").await;
    let address =
        format!("{}/logout?client_id={}", service.provider.issuer, CLIENT.replace(' ', "+"));
    assert!(page.body.contains(&address), "{}", page.body);
    assert_eq!(browser.get("/whoami").await.status, 303);
}
