//! How long a login lasts, and what ends it.

use base64ct::{Base64UrlUnpadded, Encoding};
use qgis_secrets::access::Grant;
use qgis_secrets::store::access;
use qgis_secrets::store::page::PageRequest;
use qgis_secrets::store::sessions::{self, Entered};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::browser::Browser;
use super::ground::{NOW, Service};

const SESSION: &str = "__Host-qgis_secrets";

async fn csrf(browser: &mut Browser) -> String {
    browser.get("/whoami").await.json()["csrf"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_makes_a_session_of_its_own_and_ends_the_one_before() {
    let service = Service::new().await;
    let mut browser = service.browser();
    // Planted by somebody else.
    let planted = "A".repeat(43);
    browser.cookies.insert(SESSION.into(), planted.clone());
    service.log_in(&mut browser).await;
    assert_ne!(browser.cookies[SESSION], planted);
    let old = browser.clone();
    service.log_in(&mut browser).await;
    assert_ne!(browser.cookies[SESSION], old.cookies[SESSION]);
    assert_eq!(browser.get("/whoami").await.status, 200);
    assert_eq!(old.clone().get("/whoami").await.status, 303);
    let mut thief = service.browser();
    thief.cookies.insert(SESSION.into(), planted);
    assert_eq!(thief.get("/whoami").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_holds_nothing_that_logs_in() {
    let service = Service::new().await;
    let browser = service.logged_in().await;
    let ticket = Base64UrlUnpadded::decode_vec(&browser.cookies[SESSION]).unwrap();
    let stored = service.ground.pool.read(|database| {
        Ok(database.query("SELECT digest FROM session", &[])?[0].bytes(0)?.to_vec())
    });
    let stored = stored.await.unwrap();
    assert_eq!(stored, Sha256::digest(&ticket).to_vec());
    let mut thief = service.browser();
    thief.cookies.insert(SESSION.into(), Base64UrlUnpadded::encode_string(&stored));
    assert_eq!(thief.get("/whoami").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_nobody_uses_it() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    for _ in 0..5 {
        service.ground.pass(1799);
        assert_eq!(browser.get("/whoami").await.status, 200);
    }
    service.ground.pass(1800);
    assert_eq!(browser.get("/whoami").await.status, 303);
    // A change is not lost by a redirect.
    let page = browser.post("/change", &[]).await;
    assert_eq!((page.status, page.kind().as_str()), (401, "not_logged_in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_at_its_time_whoever_uses_it() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    let mark = csrf(&mut browser).await;
    for _ in 0..24 {
        service.ground.pass(1790);
        assert_eq!(browser.get("/whoami").await.status, 200);
    }
    service.ground.pass(43_200 - 24 * 1790);
    assert_eq!(browser.get("/whoami").await.status, 303);
    let page = browser.post("/change", &[("csrf", &mark)]).await;
    assert_eq!((page.status, page.kind().as_str()), (401, "not_logged_in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_do_is_looked_up_at_each_request() {
    let service = Service::new().await;
    service.provider.with(|mind| mind.claims["groups"] = json!(["org-81-admins"]));
    let mut browser = service.logged_in().await;
    let mut grants = async || browser.get("/whoami").await.json()["grants"].clone();
    let claimed = "admin of organization 81";
    assert_eq!(grants().await, json!([claimed]));
    // What is given while somebody is logged in counts at once, and ends at once; the session
    // stays, with what the login brought along.
    let given = service
        .ground
        .pool
        .write(|database| Ok(access::give(database, "ada", &Grant::Operator, "root")?.0.id));
    let given = given.await.unwrap();
    assert_eq!(grants().await, json!(["operator", claimed]));
    let taken = service.ground.pool.write(move |database| access::take(database, &given));
    assert!(taken.await.unwrap());
    assert_eq!(grants().await, json!([claimed]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_an_operator_ends_is_over_at_the_next_request() {
    let service = Service::new().await;
    let mut desk = service.logged_in().await;
    let mut phone = service.logged_in().await;
    let sessions = service.ground.pool.read(|database| {
        let first = PageRequest::first();
        Ok(sessions::live(database, NOW, 1800, &first)?.items)
    });
    let sessions = sessions.await.unwrap();
    assert_eq!(sessions.len(), 2);
    let ticket = Base64UrlUnpadded::decode_vec(&desk.cookies[SESSION]).unwrap();
    let own: sessions::Digest = Sha256::digest(&ticket).into();
    let (digest, found) = sessions.into_iter().find(|(digest, _)| *digest == own).unwrap();
    assert_eq!((&*found.subject, found.entered), ("ada", Entered::Login));
    service.ground.pool.write(move |database| sessions::end(database, &digest)).await.unwrap();
    assert_eq!(desk.get("/whoami").await.status, 303);
    assert_eq!(phone.get("/whoami").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_sessions() {
    let service = Service::new().await;
    let mut browser = service.browser();
    // Begun at one, finished at another, used at a third.
    let back = service.begin(&mut browser, "/whoami").await;
    let mut browser = browser.at(service.replica());
    assert_eq!(browser.get(&back).await.status, 303);
    let mut browser = browser.at(service.replica());
    let mark = csrf(&mut browser).await;
    let mut first = browser.at(service.app.clone());
    assert_eq!(first.post("/change", &[("csrf", &mark)]).await.status, 200);
    assert_eq!(first.post("/logout", &[("csrf", &mark)]).await.status, 303);
    assert_eq!(browser.get("/whoami").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_one_session_or_all() {
    let service = Service::new().await;
    let mut desk = service.logged_in().await;
    let mut phone = service.logged_in().await;
    let mut tablet = service.logged_in().await;
    service.provider.with(|mind| mind.claims["sub"] = json!("eve"));
    let mut eve = service.logged_in().await;
    let mark = csrf(&mut desk).await;
    let stolen = desk.clone();
    assert_eq!(desk.post("/logout", &[("csrf", &mark)]).await.status, 303);
    // Deleted, not just forgotten by the browser.
    assert_eq!(stolen.clone().get("/whoami").await.status, 303);
    assert_eq!(phone.get("/whoami").await.status, 200);
    let mark = csrf(&mut phone).await;
    let page = phone.post("/logout", &[("csrf", &mark), ("everywhere", "true")]).await;
    assert_eq!(page.status, 303);
    assert_eq!(tablet.get("/whoami").await.status, 303);
    assert_eq!(eve.get("/whoami").await.status, 200);
    let rows = service.ground.audit().await;
    let ended: Vec<_> = rows.iter().filter(|row| row[1] == "session.end").collect();
    assert_eq!(ended.len(), 2);
    assert_eq!(*ended[1], json!(["ada", "session.end", "allowed", null, {"sessions": 2}]));
}
