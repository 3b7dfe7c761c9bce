//! The page with the login in front of it.

use std::ffi::OsString;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Request, Response};
use tower::ServiceExt;

use super::ground::{CANARY, Ground};
use crate::server::around;
use crate::server::limits::rate::Rate;
use crate::server::limits::{Limits, Rates};
use crate::server::login::{Clock, Login};
use crate::server::metrics::Metrics;
use crate::server::page::router;
use crate::settings::{Overrides, Settings};

const ORIGIN: &str = "http://127.0.0.1:8470";

/// The whole router, and the path of a link that logs in once.
async fn whole(ground: &Ground) -> (Router, String) {
    whole_within(ground, &Limits::default()).await
}

/// The same, with other limits.
async fn whole_within(ground: &Ground, limits: &Limits) -> (Router, String) {
    let home = |name: &str| (name == "HOME").then(|| OsString::from("/nowhere"));
    let service = Settings::load(&Overrides::default(), home).unwrap().service;
    let (pool, administration) = (ground.pool.clone(), ground.administration.clone());
    let login = Login::new(service, pool, administration, Clock::system()).unwrap();
    let link = login.one_time_link(ORIGIN).await.unwrap().unwrap();
    let path = super::text(&link).strip_prefix(ORIGIN).unwrap().to_owned();
    let (metrics, pages) = (Metrics::default(), router(ground.page.clone(), login));
    let programs = Router::new().route("/v1/whoami", axum::routing::any(async |_: Bytes| ()));
    let rates = Rates::new(limits, metrics.clone());
    (around(pages.merge(programs), limits, rates, metrics), path)
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

/// Logs in by a link; gives the cookies.
async fn log_in(router: &Router, link: &str) -> String {
    let page = get(router, link, "").await;
    let body = format!("link={}&browser={}", page.field("link"), page.field("browser"));
    let entered = post(router, "/login/link", &page.cookies(), &body).await;
    assert_eq!(entered.status, 303, "{}", entered.body);
    entered.cookies()
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
    assert!(lost.body.contains("Log in in another tab"), "{}", lost.body);
    assert!(lost.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));

    // The login and what it is drawn with need nobody.
    let page = get(&router, &link, "").await;
    let (_, style) = page.body.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let style = get(&router, style.split('"').next().unwrap(), "").await;
    assert_eq!(style.status, 200);
    assert!(style.headers["cache-control"].to_str().unwrap().contains("immutable"));

    let session = log_in(&router, &link).await;
    let form = get(&router, "/projects/p/secrets/new?kind=envvar", &session).await;
    assert_eq!(form.status, 200);

    let fields = format!("kind=envvar&name=API_KEY&value={CANARY}");
    for csrf in ["", "&csrf=", "&csrf=another"] {
        let forged =
            post(&router, "/projects/p/secrets/new", &session, &(fields.clone() + csrf)).await;
        assert_eq!(forged.status, 403, "{csrf}");
        assert!(forged.body.contains("<h1>You have logged in again since"), "{}", forged.body);
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

/// The form that gives back what was sent: its fields.
fn given_back(got: &Got) -> Vec<(String, String)> {
    assert!(got.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    assert_eq!(got.headers["cache-control"], "no-store");
    let (_, form) = got.body.split_once("<form method=\"post\" accept-charset").unwrap();
    let form = form.split("</form>").next().unwrap();
    let areas = form.split("<textarea name=\"").skip(1).map(|area| {
        let (name, rest) = area.split_once('"').unwrap();
        let (_, text) = rest.split_once(">\n").unwrap();
        (name.to_owned(), text.split("</textarea>").next().unwrap().to_owned())
    });
    areas.filter(|(name, _)| name != "csrf").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_survives_the_end_of_a_session() {
    let ground = Ground::trusted();
    let (router, link) = whole(&ground).await;
    let session = log_in(&router, &link).await;
    let mark = get(&router, "/", &session).await.field("csrf");
    let typed = format!("kind=envvar&name=API_KEY&value=%0D%0A{CANARY}%0D%0A%3C%2Ftextarea%3E");
    let expected = [
        ("kind", "envvar".to_owned()),
        ("name", "API_KEY".to_owned()),
        ("value", format!("\r\n{CANARY}\r\n&#60;/textarea&#62;")),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let path = "/projects/p/secrets/new";

    // An operator ends it, in the middle of a form.
    let (_, own) = get(&router, "/sessions", &session)
        .await
        .body
        .split_once("name=\"session\" value=\"")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let own = own.split('"').next().unwrap();
    let ended =
        post(&router, "/sessions/end", &session, &format!("csrf={mark}&session={own}")).await;
    assert_eq!(ended.status, 303, "{}", ended.body);
    let lost = post(&router, path, &session, &format!("{typed}&csrf={mark}")).await;
    assert_eq!(lost.status, 401);
    assert_eq!(given_back(&lost), expected);
    assert!(lost.body.contains("href=\"/login\" target=\"_blank\""));
    // Whoever sends it again too early gets the same.
    let early = post(&router, path, &session, &format!("{typed}&csrf={mark}")).await;
    assert_eq!(early.body, lost.body);
    // Nor where the browser has no cookie any more.
    let lost = post(&router, path, "", &typed).await;
    assert_eq!((lost.status, given_back(&lost)), (401, expected.to_vec()));

    // Logged in again, in another tab: the mark that is missing comes with the form.
    let home = |name: &str| (name == "HOME").then(|| OsString::from("/nowhere"));
    let service = Settings::load(&Overrides::default(), home).unwrap().service;
    let login =
        Login::new(service, ground.pool.clone(), ground.administration.clone(), Clock::system());
    let again = login.unwrap().one_time_link(ORIGIN).await.unwrap().unwrap();
    let session = log_in(&router, super::text(&again).strip_prefix(ORIGIN).unwrap()).await;
    for stale in ["", &format!("&csrf={mark}")] {
        let stopped = post(&router, path, &session, &format!("{typed}{stale}")).await;
        assert_eq!(stopped.status, 403);
        assert_eq!(given_back(&stopped), expected);
        assert!(ground.stored().is_empty());
    }
    let stopped = post(&router, path, &session, &typed).await;
    let fresh = stopped.field("csrf");
    let added = post(&router, path, &session, &format!("{typed}&csrf={fresh}")).await;
    assert_eq!(added.status, 303, "{}", added.body);
    let value = format!("\n{CANARY}\n</textarea>");
    assert_eq!(super::text(&ground.stored()[0].1), value);
}

/// Or everybody who connects could have the service hold as much as a request may bring, as often.
#[tokio::test(flavor = "multi_thread")]
async fn nobodys_form_is_read_only_as_far_as_people_type() {
    let ground = Ground::trusted();
    let (router, link) = whole(&ground).await;
    let session = log_in(&router, &link).await;
    let (name, rest) = session.split_once('=').unwrap();
    let ticket = rest.split(';').next().unwrap();
    let made_up = format!("{name}={}", "A".repeat(ticket.len()));
    let path = "/projects/p/secrets/new";
    let form = |length| format!("kind=envvar&value={}", "x".repeat(length));
    for cookie in ["", &made_up] {
        let typed = post(&router, path, cookie, &form(100_000)).await;
        assert_eq!((typed.status, given_back(&typed).len()), (401, 2));
        let long = post(&router, path, cookie, &form(200_000)).await;
        assert_eq!(long.status, 401);
        assert!(!long.body.contains("xxxx"), "{} bytes", long.body.len());
    }
    let login = post(&router, "/login/link", "", &format!("link={}", "x".repeat(5_000))).await;
    assert_eq!(login.status, 413, "{}", login.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_gets_nothing_back() {
    let ground = Ground::trusted();
    let (router, link) = whole(&ground).await;
    let session = log_in(&router, &link).await;
    for origin in ["https://evil.example", "null"] {
        let request = Request::post("/projects/p/secrets/new")
            .header(HOST, "127.0.0.1:8470")
            .header("origin", origin)
            .header(ACCEPT, "text/html")
            .header(COOKIE, &session)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("kind=envvar&name=PLANTED&value=planted"));
        let got = Got::of(router.clone().oneshot(request.unwrap()).await.unwrap()).await;
        assert_eq!(got.status, 403);
        assert!(!got.body.contains("<form") && !got.body.contains("PLANTED"), "{}", got.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_limit_stops_is_a_page_for_people_and_a_problem_for_programs() {
    let ground = Ground::trusted();
    let limits = Limits {
        body_bytes: 4096,
        body: Duration::from_secs(20),
        requests: Rate { burst: 4, every: Duration::from_secs(3600) },
        ..Limits::default()
    };
    let (router, link) = whole_within(&ground, &limits).await;
    let session = log_in(&router, &link).await;
    let long = format!("kind=envvar&name=A&value={}", "x".repeat(5000));
    let page = post(&router, "/projects/p/secrets/new", &session, &long).await;
    assert_eq!(page.status, 413);
    assert!(page.body.contains("<h1>This is too long</h1>"), "{}", page.body);
    assert!(page.body.contains("Go back and send less"), "{}", page.body);
    assert_eq!(page.headers["connection"], "close");
    let problem = post(&router, "/v1/whoami", "", &long).await;
    assert_eq!(
        (problem.status, &problem.headers[CONTENT_TYPE]),
        (413, &"application/problem+json".parse().unwrap())
    );

    let mark = get(&router, "/", &session).await.field("csrf");
    for _ in 0..3 {
        assert_eq!(get(&router, "/", &session).await.status, 200);
    }
    let stopped = get(&router, "/", &session).await;
    assert_eq!(stopped.status, 429);
    assert!(stopped.body.contains("<h1>Too many requests</h1>"), "{}", stopped.body);
    let wait = stopped.headers["retry-after"].to_str().unwrap();
    assert!(stopped.body.contains(&format!("Wait {wait} seconds")), "{}", stopped.body);
    // A form is kept.
    let fields = format!("kind=envvar&name=A&value=x&csrf={mark}");
    let kept = post(&router, "/projects/p/secrets/new", &session, &fields).await;
    assert_eq!((kept.status, given_back(&kept).len()), (429, 3));
    assert_eq!(kept.headers["retry-after"], "3600");
    let nowhere = get(&router, "/nowhere", "").await;
    assert!(nowhere.body.contains("<h1>There is nothing here</h1>"), "{}", nowhere.body);
    let nothing = get(&router, "/v1/nowhere", "").await;
    assert_eq!(nothing.headers[CONTENT_TYPE], "application/problem+json");
}
