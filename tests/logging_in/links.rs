//! The one-time link.

use axum::http::Method;
use serde_json::json;

use super::browser::Browser;
use super::ground::{Ground, HOME, Service, app};

const LOCAL: &str = "http://127.0.0.1:8470";

/// A service of this machine alone, a browser there, and the path of its link.
async fn local(settings: &str) -> (Ground, Browser, String) {
    let ground = Ground::new();
    let login = ground.login(settings);
    let address = login.one_time_link(LOCAL).await.unwrap().unwrap();
    let address = String::from_utf8(address.expose().to_vec()).unwrap();
    let path = address.strip_prefix(LOCAL).unwrap().to_owned();
    assert!(path.starts_with("/login?link="), "{path}");
    let browser = Browser::new(app(login), LOCAL);
    (ground, browser, path)
}

/// Opens the link and sends its form.
async fn follow(browser: &mut Browser, path: &str) -> super::browser::Page {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let link = page.field("link").unwrap();
    let mark = page.field("browser").unwrap();
    let csrf = page.field("csrf").unwrap_or_default();
    let fields = [("link", link.as_str()), ("browser", &mark), ("csrf", &csrf)];
    browser.post("/login/link", &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_makes_an_operator_once() {
    let (ground, mut browser, path) = local("").await;
    // Programs that look at links use none up.
    for _ in 0..3 {
        assert_eq!(browser.another().get(&path).await.status, 200);
    }
    let entered = follow(&mut browser, &path).await;
    assert_eq!((entered.status, entered.location()), (303, "/"), "{}", entered.body);
    let cookie = entered.set_cookie("qgis_secrets").unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    let who = browser.get("/whoami").await.json();
    assert_eq!((&who["grants"], &who["via"]), (&json!(["operator"]), &json!("Link")));
    let again = follow(&mut browser.another(), &path).await;
    assert_eq!(again.status, 401);
    assert!(again.body.contains("this link was used"), "{}", again.body);
    assert!(again.set_cookie("qgis_secrets").is_none());
    let rows = ground.audit().await;
    let detail = json!({"via": "link", "grants": ["operator"]});
    assert_eq!(rows[0], json!(["link:operator", "session.begin", "allowed", null, detail]));
    assert_eq!(rows[1][3], "link_invalid");
    assert_eq!(rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_over_after_fifteen_minutes() {
    let (ground, mut browser, path) = local("").await;
    ground.pass(900);
    let page = follow(&mut browser, &path).await;
    assert_eq!(page.status, 401);
    let (ground, mut browser, path) = local("").await;
    ground.pass(899);
    assert_eq!(follow(&mut browser, &path).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_in_under_the_services_own_name_only() {
    let (_ground, mut browser, path) = local("").await;
    for host in ["evil.example:8470", "evil.example", "127.0.0.1.evil.example:8470"] {
        let page = browser.send(Method::GET, &path, &[("host", host)], None).await;
        assert_eq!((page.status, page.kind().as_str()), (421, "host_unknown"), "{host}");
        let page = browser.send(Method::GET, "/whoami", &[("host", host)], None).await;
        assert_eq!(page.status, 421, "{host}");
    }
    let page = browser.get(&path).await;
    let (link, mark) = (page.field("link").unwrap(), page.field("browser").unwrap());
    let fields = [("link", link.as_str()), ("browser", mark.as_str())];
    let rebound = [
        ("host", "evil.example:8470"),
        ("origin", "http://evil.example:8470"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(browser.post_from("/login/link", &rebound, &fields).await.status, 421);
    let foreign = [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(browser.post_from("/login/link", &foreign, &fields).await.status, 403);
    assert_eq!(follow(&mut browser, &path).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_a_link_belongs_to_its_browser() {
    let (ground, mut browser, path) = local("").await;
    let mut eve = browser.another();
    let hers = eve.get(&path).await;
    let (link, mark) = (hers.field("link").unwrap(), hers.field("browser").unwrap());
    // Without a cookie, and with another browser's.
    let fields = [("link", link.as_str()), ("browser", mark.as_str())];
    assert_eq!(browser.another().post("/login/link", &fields).await.status, 403);
    browser.get(&path).await;
    assert_eq!(browser.post("/login/link", &fields).await.status, 403);
    assert_eq!(ground.count("session").await, 0);
    // An old session's cookie is in nobody's way.
    browser.cookies.insert("qgis_secrets".into(), "A".repeat(43));
    assert_eq!(follow(&mut browser, &path).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_link_none_works() {
    let ground = Ground::new();
    let silent = ground.login("one_time_link = 'never'");
    assert!(silent.one_time_link(LOCAL).await.unwrap().is_none());
    let mut browser = Browser::new(app(silent), LOCAL);
    let page = browser.get("/login").await;
    assert!(page.body.contains("Nobody can log in"), "{}", page.body);
    let page = browser.get(&format!("/login?link={}", "A".repeat(43))).await;
    assert_eq!(page.status, 404);
    // With a provider, a link that was made before is of no use either.
    let service = Service::new().await;
    let other = service.ground.login("");
    let address = other.one_time_link(HOME).await.unwrap().unwrap();
    let path = String::from_utf8(address.expose().to_vec()).unwrap();
    let mut browser = service.browser();
    assert_eq!(browser.get(&path).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_a_link_leads_in_at_the_public_address() {
    let settings = format!("public_url = '{HOME}'\none_time_link = 'anywhere'");
    let ground = Ground::new();
    let login = ground.login(&settings);
    let address = login.one_time_link(HOME).await.unwrap().unwrap();
    let path = String::from_utf8(address.expose().to_vec()).unwrap();
    let mut browser = Browser::new(app(login), HOME);
    let page = browser.send(Method::GET, &path, &[("host", "10.0.0.1")], None).await;
    assert_eq!(page.status, 421);
    let entered = follow(&mut browser, &path).await;
    assert!(entered.set_cookie("__Host-qgis_secrets").unwrap().contains("; Secure"));
}
