//! Answers that no login gets in by.

use std::sync::Arc;

use axum::{Extension, middleware};
use hmac::{Hmac, KeyInit, Mac};
use qgis_secrets::server::limits::{self, Limits, Rates};
use qgis_secrets::server::listen::{Peer, Socket};
use qgis_secrets::server::metrics::Metrics;
use serde_json::{Value as Json, json};
use sha2::Sha256;
use url::Url;

use super::browser::Page;
use super::ground::{NOW, Service};
use super::provider::{Key, Mind, part};

/// The same address with a parameter changed, or taken out.
fn changed(address: &str, name: &str, value: Option<&str>) -> String {
    let mut url = Url::parse(address).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let kept = pairs.into_iter().filter(|(key, _)| key != name);
    let all: Vec<(String, String)> =
        kept.chain(value.map(|value| (name.to_owned(), value.to_owned()))).collect();
    url.query_pairs_mut().clear().extend_pairs(all);
    url.into()
}

fn refused(page: &Page, message: &str) {
    assert_eq!(page.status, 401, "{}", page.body);
    assert!(page.body.contains(message), "{message} is not in {}", page.body);
    assert!(page.set_cookie("__Host-qgis_secrets").is_none());
}

const NOT_BEGUN: &str = "was not begun in this browser";

#[tokio::test(flavor = "multi_thread")]
async fn only_an_answer_to_this_browsers_login_is_looked_at() {
    let service = Service::new().await;
    let mut victim = service.browser();
    let mut eve = service.browser();
    let back = service.begin(&mut victim, "/whoami").await;
    let hers = service.begin(&mut eve, "/whoami").await;
    let state = |address: &str| {
        let url = Url::parse(address).unwrap();
        url.query_pairs().find(|(key, _)| key == "state").unwrap().1.into_owned()
    };
    // Eve has the victim logged in as herself: her answer, in the victim's browser.
    refused(&victim.get(&hers).await, NOT_BEGUN);
    // Her code with the victim's state, without a state, with a made-up one.
    refused(&victim.get(&changed(&back, "state", Some(&state(&hers)))).await, NOT_BEGUN);
    refused(&victim.get(&changed(&back, "state", None)).await, NOT_BEGUN);
    refused(&victim.get(&changed(&back, "state", Some("AAAA.BBBB"))).await, NOT_BEGUN);
    // A browser that began nothing.
    refused(&service.browser().get(&back).await, NOT_BEGUN);
    // Nothing of all that asked the provider, or cost the victim the login.
    assert_eq!(service.provider.asked("token"), 0);
    assert_eq!(victim.get(&back).await.status, 303);
    let rows = service.ground.audit().await;
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0], json!(["", "session.begin", "denied", "login_state", {"address": null}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_good_once_and_for_ten_minutes() {
    let service = Service::new().await;
    let mut browser = service.browser();
    let back = service.begin(&mut browser, "/whoami").await;
    assert_eq!(browser.get(&back).await.status, 303);
    // The provider takes a code once.
    refused(&browser.get(&back).await, "invalid_grant");
    // Even with another code of the same person it is over.
    let other = service.begin(&mut browser, "/whoami").await;
    let url = Url::parse(&other).unwrap();
    let code = url.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned();
    refused(&browser.get(&changed(&back, "code", Some(&code))).await, "invalid_grant");
    let late = service.begin(&mut browser, "/whoami").await;
    service.ground.pass(600);
    refused(&browser.get(&late).await, NOT_BEGUN);
}

/// A provider that takes a code twice doesn't help: the answer was used.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_used_is_refused_by_every_replica() {
    let service = Service::new().await;
    let mut browser = service.browser();
    let back = service.begin(&mut browser, "/whoami").await;
    let mut elsewhere = browser.at(service.replica());
    service.provider.with(|mind| mind.forgetful = true);
    assert_eq!(browser.get(&back).await.status, 303);
    refused(&elsewhere.get(&back).await, "was used already");
    assert_eq!(service.ground.count("session").await, 1);
}

type Lie = fn(&mut Json, &mut Json);

#[tokio::test(flavor = "multi_thread")]
async fn id_tokens_that_do_not_count() {
    let table: &[(&str, Lie)] = &[
        ("another issuer", |_, claims| claims["iss"] = json!("https://evil.example")),
        ("not for this client", |_, claims| claims["aud"] = json!("them")),
        ("for others too", |_, claims| claims["aud"] = json!(["us er", "them"])),
        ("to another client", |_, claims| claims["azp"] = json!("them")),
        ("has expired", |_, claims| claims["exp"] = json!(NOW - 60)),
        ("long ago", |_, claims| claims["iat"] = json!(NOW - 661)),
        ("in the future", |_, claims| claims["iat"] = json!(NOW + 61)),
        ("another login", |_, claims| claims["nonce"] = json!("n")),
        ("another login", |_, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("is another one", |_, claims| claims["at_hash"] = json!("77QmUPtjPfzWtF2AnpK9RQ")),
        ("who it is about", |_, claims| claims["sub"] = json!("")),
        ("begins as the name of a token", |_, claims| claims["sub"] = json!("token:1")),
        ("not signed with", |header, _| header["alg"] = json!("none")),
        ("not signed with", |header, _| header["alg"] = json!("HS256")),
        ("not signed with", |header, _| header["alg"] = json!("RS256")),
        ("doesn&#39;t publish", |header, _| header["kid"] = json!("k9")),
        ("brings a key", |header, _| header["jwk"] = json!({"kty": "OKP"})),
        ("where keys are", |header, _| header["jku"] = json!("https://evil.example/keys")),
        ("typ", |header, _| header["typ"] = json!("at+jwt")),
    ];
    let service = Service::new().await;
    for (message, lie) in table {
        service.provider.with(|mind| mind.lie = Some(Arc::new(lie)));
        let page = service.log_in(&mut service.browser()).await;
        refused(&page, message);
    }
    assert_eq!(service.ground.count("session").await, 0);
    service.provider.with(|mind| mind.lie = None);
    service.logged_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn id_tokens_that_somebody_else_made() {
    /// Without a signature.
    fn unsigned(token: &str, _: &Mind) -> String {
        let claims = token.split('.').nth(1).unwrap();
        format!("{}.{claims}.", part(&json!({"alg": "none"})))
    }
    /// Signed with the public key as if it were a password.
    fn confused(token: &str, mind: &Mind) -> String {
        let claims = token.split('.').nth(1).unwrap();
        let message = format!("{}.{claims}", part(&json!({"alg": "HS256", "kid": "k1"})));
        let key = mind.jwk().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        use base64ct::Encoding;
        let mark = base64ct::Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes());
        format!("{message}.{mark}")
    }
    /// Other claims under the same signature.
    fn grown(token: &str, _: &Mind) -> String {
        let parts: Vec<&str> = token.split('.').collect();
        use base64ct::Encoding;
        let claims = base64ct::Base64UrlUnpadded::decode_vec(parts[1]).unwrap();
        let mut claims: Json = serde_json::from_slice(&claims).unwrap();
        claims["sub"] = json!("eve");
        format!("{}.{}.{}", parts[0], part(&claims), parts[2])
    }
    fn nothing(_: &str, _: &Mind) -> String {
        String::new()
    }
    let service = Service::new().await;
    for (message, forge) in [
        ("not signed with", unsigned as fn(&str, &Mind) -> String),
        ("not signed with", confused),
        ("signature is wrong", grown),
        ("three parts", nothing),
    ] {
        service.provider.with(|mind| mind.forge = Some(forge));
        refused(&service.log_in(&mut service.browser()).await, message);
    }
    // Another key under the id of the published one.
    service.provider.with(|mind| {
        mind.forge = None;
        mind.hidden.insert("k1".into());
        mind.keys.push(("k2".into(), Key::ed25519()));
    });
    service.ground.pass(60);
    service.logged_in().await;
    service.provider.with(|mind| {
        mind.keys = vec![("k2".into(), Key::ed25519())];
    });
    refused(&service.log_in(&mut service.browser()).await, "signature is wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_elsewhere_after_the_login() {
    let service = Service::new().await;
    for address in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/login/start",
    ] {
        let mut browser = service.browser();
        let back = service.begin(&mut browser, address).await;
        let page = browser.get(&back).await;
        assert_eq!((page.status, page.location()), (303, "/"), "{address}");
    }
}

/// Whoever fails too often from one address is not listened to, and fills no audit.
#[tokio::test(flavor = "multi_thread")]
async fn failures_have_a_rate() {
    let service = Service::new().await;
    let limits = Limits::default();
    let rates = Rates::new(&limits, Metrics::new());
    let peer = Peer {
        socket: Socket::Tcp("192.0.2.7:4711".parse().unwrap()),
        forwarded: None,
        tls: true,
        certificate: None,
    };
    let limited = service
        .app
        .clone()
        .layer(middleware::from_fn_with_state(rates, limits::failures))
        .layer(Extension(peer));
    let mut eve = service.browser().at(limited);
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(eve.get("/login/callback?code=a&state=b").await.status);
    }
    assert_eq!(statuses[0], 401);
    assert_eq!(statuses[49], 429);
    let rows = service.ground.audit().await;
    assert!((1..50).contains(&rows.len()), "{}", rows.len());
    assert_eq!(rows[0][4], json!({"address": "192.0.2.7"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_is_shown_as_text_and_only_to_whom_it_concerns() {
    let service = Service::new().await;
    let mut browser = service.browser();
    let back = service.begin(&mut browser, "/whoami").await;
    let back = changed(&back, "code", None);
    let back = changed(&back, "error", Some("access_denied"));
    let back = changed(&back, "error_description", Some("<script>alert(1)</script>\"'"));
    let page = browser.get(&back).await;
    refused(&page, "access_denied (&#60;script&#62;alert(1)");
    assert!(!page.body.contains("<script>"));
    // A link that somebody sends shows no text of theirs.
    let page = service.browser().get(&back).await;
    refused(&page, NOT_BEGUN);
    assert!(!page.body.contains("alert(1)"));
    // Of the token endpoint too.
    let back = service.begin(&mut browser, "/whoami").await;
    let page = browser.get(&changed(&back, "code", Some("x"))).await;
    refused(&page, "invalid_grant (no &#60;b&#62;way&#60;/b&#62;)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_the_provider_if_it_always_does() {
    let service = Service::new().await;
    let issuer = service.provider.issuer.clone();
    let mut browser = service.browser();
    let back = service.begin(&mut browser, "/whoami").await;
    let page = browser.get(&changed(&back, "iss", Some("https://evil.example"))).await;
    refused(&page, "not from the login provider");
    assert_eq!(browser.get(&changed(&back, "iss", Some(&issuer))).await.status, 303);
    service.provider.with(|mind| {
        mind.discovery["authorization_response_iss_parameter_supported"] = json!(true);
    });
    service.ground.pass(3600);
    let back = service.begin(&mut browser, "/whoami").await;
    refused(&browser.get(&back).await, "not from the login provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_it_is_another_is_not_used() {
    let service = Service::new().await;
    for (member, value) in [
        ("issuer", "https://evil.example".to_owned()),
        ("issuer", format!("{}/", service.provider.issuer)),
        ("token_endpoint", "http://evil.example/token".to_owned()),
    ] {
        let before = service.provider.mind.lock().unwrap().discovery.clone();
        service.provider.with(|mind| mind.discovery[member] = json!(value));
        let page = service.browser().get("/login/start").await;
        assert_eq!(page.status, 502, "{member} {value}");
        service.provider.with(|mind| mind.discovery = before);
        service.ground.pass(5);
    }
    service.logged_in().await;
}
