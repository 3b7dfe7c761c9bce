//! The page with the login in front of it.

use std::ffi::OsString;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Request, Response};
use tower::ServiceExt;

use super::ground::{CANARY, Ground};
use crate::server::login::{Clock, Login};
use crate::server::page::router;
use crate::settings::{Overrides, Settings};

const ORIGIN: &str = "http://127.0.0.1:8470";

/// The whole router, and the path of a link that logs in once.
async fn whole(ground: &Ground) -> (Router, String) {
    let home = |name: &str| (name == "HOME").then(|| OsString::from("/nowhere"));
    let service = Settings::load(&Overrides::default(), home).unwrap().service;
    let (pool, administration) = (ground.pool.clone(), ground.administration.clone());
    let login = Login::new(service, pool, administration, Clock::system()).unwrap();
    let link = login.one_time_link(ORIGIN).await.unwrap().unwrap();
    let path = super::text(&link).strip_prefix(ORIGIN).unwrap().to_owned();
    (router(ground.page.clone(), login), path)
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Got {
    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
        let body = String::from_utf8(body).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    fn field(&self, name: &str) -> String {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    fn cookies(&self) -> String {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        let pairs = lines.map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned());
        pairs.collect::<Vec<_>>().join("; ")
    }
}

async fn get(router: &Router, path: &str, cookie: &str) -> Got {
    let request = Request::get(path)
        .header(HOST, "127.0.0.1:8470")
        .header(ACCEPT, "text/html")
        .header(COOKIE, cookie)
        .body(Body::empty());
    Got::of(router.clone().oneshot(request.unwrap()).await.unwrap()).await
}

async fn post(router: &Router, path: &str, cookie: &str, body: &str) -> Got {
    let request = Request::post(path)
        .header(HOST, "127.0.0.1:8470")
        .header("origin", ORIGIN)
        .header(ACCEPT, "text/html")
        .header(COOKIE, cookie)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()));
    Got::of(router.clone().oneshot(request.unwrap()).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_logged_in_gets_in_and_only_with_the_sessions_own_forms() {
    let ground = Ground::trusted();
    let (router, link) = whole(&ground).await;

    let sent_away = get(&router, "/projects/a%2Fb/effective?user=x", "").await;
    assert_eq!(sent_away.status, 303);
    let login = sent_away.headers[LOCATION].to_str().unwrap();
    assert_eq!(login, "/login?return_to=%2Fprojects%2Fa%252Fb%2Feffective%3Fuser%3Dx");
    let lost = post(&router, "/projects/p/secrets/new", "", "kind=envvar").await;
    assert_eq!(lost.status, 401);
    assert!(lost.body.contains("log in in another tab"), "{}", lost.body);
    assert!(lost.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));

    // The login and what it is drawn with need nobody.
    let page = get(&router, &link, "").await;
    let (_, style) = page.body.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let style = get(&router, style.split('"').next().unwrap(), "").await;
    assert_eq!(style.status, 200);
    assert!(style.headers["cache-control"].to_str().unwrap().contains("immutable"));

    let body = format!("link={}&browser={}", page.field("link"), page.field("browser"));
    let entered = post(&router, "/login/link", &page.cookies(), &body).await;
    assert_eq!(entered.status, 303, "{}", entered.body);
    let session = entered.cookies();
    let form = get(&router, "/projects/p/secrets/new?kind=envvar", &session).await;
    assert_eq!(form.status, 200);

    let fields = format!("kind=envvar&name=API_KEY&value={CANARY}");
    for csrf in ["", "&csrf=", "&csrf=another"] {
        let forged =
            post(&router, "/projects/p/secrets/new", &session, &(fields.clone() + csrf)).await;
        assert_eq!(forged.status, 403, "{csrf}");
        assert!(forged.body.contains("<h1>You may not do this</h1>"), "{}", forged.body);
    }
    assert!(ground.stored().is_empty());
    let fields = format!("{fields}&csrf={}", form.field("csrf"));
    let added = post(&router, "/projects/p/secrets/new", &session, &fields).await;
    assert_eq!(added.status, 303, "{}", added.body);
    assert_eq!(ground.names(), ["envvar:API_KEY project p"]);

    let out = format!("csrf={}", form.field("csrf"));
    assert_eq!(post(&router, "/logout", &session, &out).await.status, 303);
    assert_eq!(get(&router, "/", &session).await.status, 303);
}
