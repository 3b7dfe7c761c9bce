//! The web page: where people add and remove secrets.
//!
//! Server-rendered; every page works without JavaScript, by keyboard and by screen reader. It calls
//! nothing but [`Administration`], which decides who may do what.
//!
//! Invariants:
//! - No answer to a `GET` holds a value. The answer to a form that could not be saved holds what
//!   that very form brought (`typed`); a new API token is in the answer to the form that made it.
//! - What is shown is escaped by the templates; there is no inline script and no inline style, so
//!   that the content security policy can forbid both.
//! - A `GET` changes nothing. A `POST` that changed something leads to another page (303).

mod access;
mod add;
pub(in crate::server) mod assets;
mod body;
mod effective;
mod failure;
mod flash;
mod here;
mod landing;
mod layout;
mod links;
mod list;
mod members;
mod problems;
mod remove;
mod secret_form;
mod sessions;
mod typed;
mod unsent;
mod visitor;
mod words;

use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};

pub(in crate::server) use self::failure::dressed;
use super::administration::Administration;
use super::login::{self, Login, guard};
use crate::membership::Membership;

/// What the page stands on.
#[derive(Clone, Debug)]
pub struct Page {
    /// All that it can do.
    pub administration: Administration,
    /// Whether browsers come by TLS: its cookies are then marked so.
    pub tls: bool,
    /// How long a session may be without a request.
    pub idle: Duration,
}

impl Page {
    fn registered(&self) -> bool {
        self.administration.policy().membership != Membership::Trusted
    }
}

/// All that a browser can ask for: the page, the login, and what both are drawn with. What goes
/// wrong on the way is shown as a page by `dressed`, which goes around everything.
pub fn router(page: Page, login: Login) -> Router {
    pages(page)
        .layer(from_fn_with_state(login.clone(), visitor::enter))
        .layer(from_fn_with_state(login.clone(), guard))
        .layer(from_fn(unsent::given_back))
        .merge(login::router(login))
        .route("/assets/{name}", get(assets::get))
}

/// The pages that need somebody who is logged in: a [`visitor::Visitor`] in the extensions of each
/// request.
fn pages(page: Page) -> Router {
    let router = Router::new()
        .route("/", get(landing::show))
        .route("/open", get(landing::open))
        .route("/access", get(access::operators))
        .route("/access/grants", post(access::grant_operator))
        .route("/access/grants/{item}/revoke", get(access::ask_grant).post(access::revoke_grant))
        .route("/access/tokens", post(access::issue_operator))
        .route("/access/tokens/{item}/revoke", get(access::ask_token).post(access::revoke_token))
        .route("/sessions", get(sessions::show))
        .route("/sessions/end", post(sessions::end))
        .route("/projects/{id}/effective", get(effective::show));
    let router = scoped(router, "secrets", || get(list::show));
    let router = scoped(router, "secrets/new", || get(add::show).post(add::submit));
    let router = scoped(router, "secrets/{item}/remove", || get(remove::ask).post(remove::remove));
    let router =
        scoped(router, "secrets/{item}/replace", || get(add::show_replace).post(add::replace));
    let router = scoped(router, "members", || get(members::show));
    let router = scoped(router, "access", || get(access::show));
    let router = scoped(router, "access/grants", || post(access::grant));
    let router = scoped(router, "access/grants/{item}/revoke", || {
        get(access::ask_grant).post(access::revoke_grant)
    });
    let router = scoped(router, "access/tokens", || post(access::issue));
    let router = scoped(router, "access/tokens/{item}/revoke", || {
        get(access::ask_token).post(access::revoke_token)
    });
    router.with_state(page)
}

/// The same page for organizations and for projects.
fn scoped(
    router: Router<Page>,
    path: &str,
    methods: impl Fn() -> MethodRouter<Page>,
) -> Router<Page> {
    router
        .route(&format!("/organizations/{{id}}/{path}"), methods())
        .route(&format!("/projects/{{id}}/{path}"), methods())
}

#[cfg(test)]
mod tests;
