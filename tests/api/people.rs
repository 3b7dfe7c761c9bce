//! Every route of the page, with everybody who logs in and with sessions that are over.

use std::collections::BTreeSet;

use qgis_secrets::store::database::{Mode, transaction};
use qgis_secrets::store::sessions::{self, Entered, Session};
use sha2::{Digest, Sha256};

use super::*;

/// Who asks, in the order of the columns: an operator by login, the registered admin of the
/// organization `org`, of its project `survey`, of another organization, and a member of that one's
/// project.
const PEOPLE: [&str; 5] = ["root", "olga", "pia", "otto", "zoe"];

const EVERYBODY: [u16; 5] = [200; 5];
const MOVED: [u16; 5] = [303; 5];
const OPERATOR: [u16; 5] = [200, 403, 403, 403, 403];
const OPERATOR_CHANGES: [u16; 5] = [303, 403, 403, 403, 403];
/// What one can't see by its id isn't there.
const OPERATOR_SEES: [u16; 5] = [200, 404, 404, 404, 404];
const OPERATOR_TAKES: [u16; 5] = [303, 404, 404, 404, 404];
const SEES_PROJECT: [u16; 5] = [200, 200, 200, 404, 404];
const CHANGES_PROJECT: [u16; 5] = [303, 303, 303, 404, 404];
const SEES_ORGANIZATION: [u16; 5] = [200, 200, 404, 404, 404];
const CHANGES_ORGANIZATION: [u16; 5] = [303, 303, 404, 404, 404];

/// A row: whether it is a `POST`, the route, the form besides its mark, and what each gets. `{item}`
/// is a new secret, grant or token of the place.
type Row = (bool, String, &'static str, [u16; 5]);

fn rows() -> Vec<Row> {
    let mut rows = vec![
        (false, "/".into(), "", EVERYBODY),
        (false, "/open".into(), "", MOVED),
        (false, "/access".into(), "", OPERATOR),
        (true, "/access/grants".into(), "subject=eve", OPERATOR_CHANGES),
        (false, "/access/grants/{item}/revoke".into(), "", OPERATOR_SEES),
        (true, "/access/grants/{item}/revoke".into(), "", OPERATOR_TAKES),
        (true, "/access/tokens".into(), "name=t&access=delegate&days=1", OPERATOR),
        (false, "/access/tokens/{item}/revoke".into(), "", OPERATOR_SEES),
        (true, "/access/tokens/{item}/revoke".into(), "", OPERATOR_TAKES),
        (false, "/sessions".into(), "", OPERATOR),
        (true, "/sessions/end".into(), "session=none", OPERATOR_CHANGES),
        (false, "/projects/{id}/effective".into(), "", SEES_PROJECT),
    ];
    let add = "kind=envvar&name=ADDED&value=a-known-value";
    for (at, sees, changes) in [
        ("/projects/{id}", SEES_PROJECT, CHANGES_PROJECT),
        ("/organizations/{id}", SEES_ORGANIZATION, CHANGES_ORGANIZATION),
    ] {
        for (post, path, form, expected) in [
            (false, "secrets", "", sees),
            (false, "secrets/new", "", sees),
            (true, "secrets/new", add, changes),
            (false, "secrets/{item}/remove", "", sees),
            (true, "secrets/{item}/remove", "", changes),
            (false, "secrets/{item}/replace", "", sees),
            (true, "secrets/{item}/replace", "kind=envvar&value=another-value", changes),
            (false, "members", "", sees),
            (false, "access", "", sees),
            (true, "access/grants", "subject=eve", changes),
            (false, "access/grants/{item}/revoke", "", sees),
            (true, "access/grants/{item}/revoke", "", changes),
            (true, "access/tokens", "name=t&access=delegate&days=1", sees),
            (false, "access/tokens/{item}/revoke", "", sees),
            (true, "access/tokens/{item}/revoke", "", changes),
        ] {
            rows.push((post, format!("{at}/{path}"), form, expected));
        }
    }
    rows
}

/// The grant of a route's place.
fn place(route: &str) -> Grant {
    match route.split('/').nth(1) {
        Some("projects") => Grant::ProjectAdmin(id("survey")),
        Some("organizations") => Grant::OrganizationAdmin(id("org")),
        _ => Grant::Operator,
    }
}

/// The path of a route, with what it names made anew, for it may be gone by now.
fn prepared(service: &Service, route: &str) -> String {
    let (at, word) = match place(route) {
        Grant::OrganizationAdmin(_) => ("/v1/organizations/org", "org"),
        _ => ("/v1/projects/survey", "survey"),
    };
    let path = route.replace("{id}", word);
    if route == "/open" {
        return format!("{path}?what=project&id=survey");
    }
    let made = if !route.contains("{item}") {
        if route.ends_with("/new") {
            // What a form adds must not be there already.
            service.ask("operator", "DELETE", &format!("{at}/secrets"), None).with(200);
        }
        return path;
    } else if route.contains("/grants/") {
        let place = place(route);
        let given = service.administration.grant(&service.operator, "made", &place);
        service.runtime.block_on(given).unwrap().id
    } else if route.contains("/tokens/") {
        service.issue("made", place(route), Access::Read).0
    } else {
        let add =
            json!({"kind": "envvar", "key": "MADE", "value": "a-known-value", "replace": true});
        let added = service.post(&format!("{at}/secrets"), add).with(201);
        added["secrets"][0]["id"].as_str().unwrap().to_owned()
    };
    path.replace("{item}", &made)
}

/// The header that shows the session of somebody who logged in `ago` seconds before now.
fn cookie(service: &Service, subject: &str, ago: i64) -> String {
    let ticket: [u8; 32] = Sha256::digest(format!("{subject} {ago}")).into();
    let created_at = jiff::Timestamp::now().as_second() - ago;
    let session = Session {
        subject: subject.into(),
        name: String::new(),
        claimed: if subject == "root" { vec![Grant::Operator] } else { vec![] },
        entered: Entered::Login,
        created_at,
        seen_at: created_at,
        expires_at: created_at + 3600,
    };
    let mut store = qgis_secrets::store::sqlite::Sqlite::open(&service.sandbox.store()).unwrap();
    transaction(&mut store, Mode::Write, |database| {
        sessions::begin(database, &Sha256::digest(ticket).into(), &session)
    })
    .unwrap();
    format!("Cookie: qgis_secrets={}\r\n", crate::job_tokens::base64(ticket))
}

/// Asks as a browser does; a form has the mark of the session.
fn browse(service: &Service, post: bool, path: &str, cookie: &str, form: &str) -> Answer {
    let get = |path: &str| {
        let headers = format!("Accept: text/html\r\n{cookie}");
        service.send_to(&service.address, "GET", path, &headers, None)
    };
    if !post {
        return get(path);
    }
    let page = get("/").body;
    let mark = page
        .split_once("name=\"csrf\" value=\"")
        .map_or("none", |(_, rest)| rest.split('"').next().unwrap());
    let body = format!("csrf={mark}&{form}");
    let headers = format!(
        "Accept: text/html\r\nOrigin: http://{}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{cookie}",
        service.address
    );
    service.send_to(&service.address, "POST", path, &headers, Some(&body))
}

#[test]
fn the_matrix() {
    let service = Service::new();
    let people = PEOPLE.map(|subject| cookie(&service, subject, 0));
    let mut wrong = Vec::new();
    for (post, route, form, expected) in rows() {
        for ((subject, cookie), expected) in PEOPLE.iter().zip(&people).zip(expected) {
            let path = prepared(&service, &route);
            let answer = browse(&service, post, &path, cookie, form);
            let login = answer.header("location").is_some_and(|to| to.starts_with("/login"));
            if answer.status != expected || login {
                wrong.push(format!("{subject} {post} {path}: {expected}, not {answer:?}"));
            }
            assert!(!answer.body.contains("a-known-value"), "{subject} {path}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A session that is over, that was ended, or that is none opens nothing and does nothing.
#[test]
fn without_a_session_there_is_the_login() {
    let service = Service::new();
    let ended = cookie(&service, "root", 1);
    assert_eq!(browse(&service, true, "/logout", &ended, "").status, 303);
    let (live, over) = (cookie(&service, "root", 0), cookie(&service, "root", 7200));
    let added = service.post("/v1/projects/survey/secrets", variable("KEPT", "a-known-value"));
    let kept = added.with(201)["secrets"][0]["id"].as_str().unwrap().to_owned();
    for (post, route, form, _) in rows() {
        let place = if route.starts_with("/projects") { "survey" } else { "org" };
        let path = route.replace("{id}", place).replace("{item}", &kept);
        for (what, cookie) in [
            ("none", ""),
            ("over", &over),
            ("ended", &ended),
            ("garbage", "Cookie: qgis_secrets=garbage\r\n"),
            ("another name", &live.replace("qgis_secrets=", "session=")),
            ("twice", &format!("{live}{live}")),
        ] {
            let answer = browse(&service, post, &path, cookie, form);
            let login = answer.header("location").is_some_and(|to| to.starts_with("/login"));
            let refused = [401, 403].contains(&answer.status);
            assert!(refused || answer.status == 303 && login, "{what} {path}: {answer:?}");
            assert!(!answer.body.contains("KEPT"), "{what} {path}: {answer:?}");
        }
        // A form without the session's mark.
        if post {
            let headers = format!(
                "Content-Type: application/x-www-form-urlencoded\r\n{live}Origin: http://{}\r\n",
                service.address
            );
            let answer = service.send_to(&service.address, "POST", &path, &headers, Some(form));
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
        }
    }
    service.get(&format!("/v1/secrets/{kept}")).with(200);
    assert_eq!(service.get("/v1/grants").with(200)["grants"], json!([]));
    assert_eq!(service.get("/v1/grants?project=survey").with(200)["grants"], json!([]));
}

/// The matrix has every route of the page, and no other.
#[test]
fn no_route_is_left_out() {
    let there: BTreeSet<(String, bool)> = routes().into_iter().collect();
    let tried: BTreeSet<(String, bool)> =
        rows().into_iter().map(|(post, route, ..)| (route, post)).collect();
    assert_eq!(tried, there);
}

/// Every route of the page that needs somebody who is logged in, and whether it is a `POST`, as its
/// source has them.
pub(super) fn routes() -> Vec<(String, bool)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/page.rs");
    let source = std::fs::read_to_string(path).unwrap();
    let (_, source) = source.split_once("\nfn pages(").unwrap();
    let (source, _) = source.split_once("\n}\n").unwrap();
    let mut routes = Vec::new();
    for (mark, scoped) in [(".route(", false), ("scoped(router, ", true)] {
        for part in source.split(mark).skip(1) {
            let part = part.split(".route(").next().unwrap();
            let part = part.split("scoped(router, ").next().unwrap();
            let path = part.trim_start().trim_start_matches('"').split('"').next().unwrap();
            let paths = if scoped {
                vec![format!("/organizations/{{id}}/{path}"), format!("/projects/{{id}}/{path}")]
            } else {
                vec![path.to_owned()]
            };
            for (method, post) in [("get(", false), ("post(", true)] {
                if part.contains(method) {
                    routes.extend(paths.iter().map(|path| (path.clone(), post)));
                }
            }
        }
    }
    routes
}
