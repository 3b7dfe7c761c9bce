//! The page on a store of its own, for somebody who is logged in.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Extension;
use axum::http::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request};
use axum::{Router, middleware};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::access::{Access, Actor, Grant, Via};
use crate::membership::{Membership, NonMember};
use crate::secret::{Id, Value};
use crate::server::administration::{Administration, Organization, Policy, Project};
use crate::server::page::visitor::Visitor;
use crate::server::page::{Page, pages};
use crate::store::pool::Pool;
use crate::store::{Keyring, Record, Selection, Store};

pub(super) const PROJECT: &str = "/projects/ninja%2Ffield-survey";
pub(super) const ORGANIZATION: &str = "/organizations/org-81";

/// A name that would be a script, an attribute, a template or an entity if it weren't escaped.
pub(super) const HOSTILE: &str = "<script>alert(1)</script>\"' onload=x {{ 7*7 }} &amp;";

pub(super) fn id(text: &str) -> Id {
    text.parse().unwrap()
}

pub(super) fn person(subject: &str, name: &str, claimed: Vec<Grant>) -> Visitor {
    let grants = claimed.clone();
    let (subject, name) = (subject.to_owned(), name.to_owned());
    let access = Access::Delegate;
    let actor = Actor { subject, name, claimed, grants, access, via: Via::Session };
    Visitor { actor, csrf: "csrf-of-this-session".to_owned(), session: "own".to_owned() }
}

pub(super) struct Ground {
    pub(super) administration: Administration,
    pub(super) page: Page,
    pub(super) pool: Pool,
    visitor: Visitor,
    keys: Keyring,
    directory: TempDir,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.body);
        self.headers[LOCATION].to_str().unwrap()
    }

    pub(super) fn cookie(&self) -> String {
        let cookie = self.headers[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    #[track_caller]
    pub(super) fn has(&self, text: &str) -> &Self {
        assert!(self.body.contains(text), "no {text} in {}", self.body);
        self
    }

    #[track_caller]
    pub(super) fn has_not(&self, text: &str) -> &Self {
        assert!(!self.body.contains(text), "there is {text} in {}", self.body);
        self
    }
}

impl Ground {
    pub(super) fn new(membership: Membership, organization_user: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("s/store.db");
        let keys = Keyring::generate();
        let key = keys.current().public().clone();
        drop(Store::create(&path, &key).unwrap());
        let pool = Pool::sqlite(&path, 1).unwrap();
        let policy = Policy { membership, organization_user, oldest_libpq: 15 };
        let administration = Administration::new(pool.clone(), key, policy);
        let idle = Duration::from_secs(1800);
        let page = Page { administration: administration.clone(), tls: false, idle };
        let visitor = person("ada", "Ada", vec![Grant::Operator]);
        Self { administration, page, pool, visitor, keys, directory }
    }

    pub(super) fn trusted() -> Self {
        Self::new(Membership::Trusted, true)
    }

    /// With the project and the organization of [`PROJECT`] and [`ORGANIZATION`] registered.
    pub(super) async fn registered() -> Self {
        let non_member = NonMember::Unassigned;
        let ground = Self::new(Membership::Registered { non_member }, false);
        let actor = &ground.visitor.actor;
        let organization = Organization { members: vec![id("bob")], admins: vec![id("ada")] };
        ground.administration.put_organization(actor, &id("org-81"), &organization).await.unwrap();
        let project = Project {
            organization: Some(id("org-81")),
            members: vec![id("bob"), id("cy")],
            admins: vec![],
        };
        let project_id = id("ninja/field-survey");
        ground.administration.put_project(actor, &project_id, &project).await.unwrap();
        ground
    }

    /// The same, for somebody else.
    pub(super) fn become_visitor(&mut self, visitor: Visitor) {
        self.visitor = visitor;
    }

    /// What stands in the store: `level owner name`, in the store's order, with the values.
    pub(super) fn stored(&self) -> Vec<(Record, Value)> {
        let path = self.directory.path().join("s/store.db");
        let mut store = Store::open(&path).unwrap();
        let records = store.list(&Selection::All).unwrap();
        let values = store.values(&records.iter().collect::<Vec<_>>(), &self.keys).unwrap();
        records.into_iter().zip(values).collect()
    }

    /// Their names and levels.
    pub(super) fn names(&self) -> Vec<String> {
        let show = |(record, _): (Record, Value)| format!("{} {}", record.name, record.owner);
        self.stored().into_iter().map(show).collect()
    }

    pub(super) fn router(&self) -> Router {
        pages(self.page.clone()).layer(Extension(self.visitor.clone()))
    }

    async fn send(&self, router: Router, request: Request<Body>) -> Answer {
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 8 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(super) async fn get_with(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path)
            .header(ACCEPT, "text/html")
            .header(COOKIE, cookie)
            .body(Body::empty());
        self.send(self.router(), request.unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, "").await
    }

    pub(super) async fn nobody(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        self.send(pages(self.page.clone()), request).await
    }

    pub(super) async fn post_raw(&self, path: &str, body: Vec<u8>) -> Answer {
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap();
        self.send(self.router(), request).await
    }

    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.post_raw(path, pairs.join("&").into_bytes()).await
    }

    /// Adds a variable, whatever warnings there are; returns its id.
    pub(super) async fn add_variable(&self, at: &str, name: &str, assigned: &str) -> String {
        let fields =
            [("kind", "envvar"), ("name", name), ("value", CANARY), ("assigned", assigned)];
        added(&self.post(&format!("{at}/secrets/new"), &fields).await)
    }

    pub(super) async fn add_service(&self, at: &str, name: &str, assigned: &str) -> String {
        let fields = [
            ("kind", "pgservice"),
            ("editor", "simple"),
            ("service", name),
            ("host", "db"),
            ("user", "ninja"),
            ("password", CANARY),
            ("assigned", assigned),
        ];
        added(&self.post(&format!("{at}/secrets/new"), &fields).await)
    }
}

/// The id of the secret that was added.
fn added(answer: &Answer) -> String {
    answer.location();
    answer.cookie().split_once('.').unwrap().1.to_owned()
}

/// Every value in these tests begins with it.
pub(super) const CANARY: &str = "canary-7d1f0a";

/// What a problem of another part looks like on the way out.
pub(super) fn with_problem(problem: crate::server::problem::Problem) -> Router {
    let router = Router::new().fallback(move || {
        let problem = problem.clone();
        async move { ([("retry-after", "3")], problem) }
    });
    router.layer(middleware::from_fn(crate::server::page::dressed))
}
