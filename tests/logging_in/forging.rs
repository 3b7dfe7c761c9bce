//! Requests that other sites' pages make a browser send.

use axum::http::Method;

use super::ground::{HOME, Service};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_the_sessions_own_mark() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    let mut other = service.logged_in().await;
    let mark = browser.get("/whoami").await.json()["csrf"].as_str().unwrap().to_owned();
    let others = other.get("/whoami").await.json()["csrf"].as_str().unwrap().to_owned();
    assert_ne!(mark, others);
    for fields in [
        vec![],
        vec![("csrf", "")],
        vec![("csrf", others.as_str())],
        vec![("csrf", &mark[1..])],
        vec![("CSRF", mark.as_str())],
        // The first one counts.
        vec![("csrf", "x"), ("csrf", mark.as_str())],
    ] {
        let page = browser.post("/change", &fields).await;
        assert_eq!((page.status, page.kind().as_str()), (403, "csrf_invalid"), "{fields:?}");
        let page = browser.post("/logout", &fields).await;
        assert_eq!(page.status, 403, "{fields:?}");
    }
    assert_eq!(browser.post("/change", &[("a", "b"), ("csrf", &mark)]).await.status, 200);
    // In a header, for what is no form.
    let own = [("sec-fetch-site", "same-origin"), ("content-type", "application/json")];
    for (mark, status) in [(mark.as_str(), 200), (&others, 403), ("", 403)] {
        let headers = [own[0], own[1], ("x-csrf-token", mark)];
        let page = browser.send(Method::PUT, "/change", &headers, Some("{}".into())).await;
        assert_eq!(page.status, status);
    }
    let form = format!("csrf={mark}");
    let page = browser.send(Method::PUT, "/change", &own, Some(form)).await;
    assert_eq!(page.status, 403, "a mark counts in a form only");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_mark_from_elsewhere_is_none() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    let mark = browser.get("/whoami").await.json()["csrf"].as_str().unwrap().to_owned();
    let fields = [("csrf", mark.as_str())];
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("sec-fetch-site", "same-origin"), ("origin", HOME)], 200),
        (&[("sec-fetch-site", "same-origin"), ("origin", "null")], 200),
        (&[("origin", HOME)], 200),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "http://secrets.example")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", HOME)], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-site", "none")], 403),
        (&[], 403),
    ];
    for (headers, status) in table {
        let page = browser.post_from("/change", headers, &fields).await;
        assert_eq!(page.status, *status, "{headers:?}: {}", page.body);
        if *status == 403 {
            assert_eq!(page.kind(), "origin_foreign");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_a_guard_is_closed() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    let mark = browser.get("/whoami").await.json()["csrf"].as_str().unwrap().to_owned();
    assert_eq!(browser.get("/unguarded").await.status, 500);
    assert_eq!(browser.post("/unguarded", &[("csrf", &mark)]).await.status, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_an_authorization_header_no_cookie_counts() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    let mark = browser.get("/whoami").await.json()["csrf"].as_str().unwrap().to_owned();
    let headers =
        [("authorization", "Bearer x"), ("sec-fetch-site", "same-origin"), ("accept", "text/html")];
    let page = browser.send(Method::GET, "/whoami", &headers, None).await;
    assert_eq!((page.status, page.kind().as_str()), (401, "not_logged_in"));
    let page = browser.post_from("/change", &headers, &[("csrf", &mark)]).await;
    assert_eq!((page.status, page.kind().as_str()), (401, "not_logged_in"));
    // Nor does it log anybody out, which needs no person.
    browser.post_from("/logout", &headers, &[]).await;
    assert_eq!(browser.clone().get("/whoami").await.status, 303, "the browser has let it go");
    let rows = service.ground.audit().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(service.ground.count("session").await, 1);
    // Without a session there is nothing to forge: it is the page's own affair.
    let page = service.browser().post("/change", &[]).await;
    assert_eq!((page.status, page.kind().as_str()), (401, "not_logged_in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_counts_under_its_secure_name_only_and_once() {
    let service = Service::new().await;
    let mut browser = service.logged_in().await;
    let value = browser.cookies["__Host-qgis_secrets"].clone();
    let mut plain = service.browser();
    plain.cookies.insert("qgis_secrets".into(), value.clone());
    assert_eq!(plain.get("/whoami").await.status, 303);
    let twice = format!("__Host-qgis_secrets={value}");
    let headers = [("accept", "text/html"), ("cookie", twice.as_str())];
    let page = browser.send(Method::GET, "/whoami", &headers, None).await;
    assert_eq!(page.status, 303);
}
