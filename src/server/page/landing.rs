//! `/`: what one may administer.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::body::{Fields, Query};
use super::failure::{Failure, sentence};
use super::layout::{self, Chrome};
use super::visitor::Visitor;
use super::{Page, links};
use crate::access::Scope;
use crate::server::administration::Landing;

/// From how many places on a search is offered.
const MANY: usize = 8;

#[derive(Template)]
#[template(path = "landing.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) open: Option<Open>,
    pub(super) total: usize,
    pub(super) searchable: bool,
    pub(super) query: String,
    pub(super) organizations: Vec<Entry>,
    pub(super) projects: Vec<Entry>,
    pub(super) more: bool,
    pub(super) operator: bool,
}

/// The form that opens a place by its id.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) organization: bool,
    pub(super) id: String,
    pub(super) problem: Option<String>,
}

/// A place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) link: String,
    pub(super) of: String,
}

impl View {
    /// The page, of what is there and what is searched for.
    pub(super) fn new(chrome: Chrome, landing: Landing, query: &str, open: Option<Open>) -> Self {
        let total = landing.organizations.len() + landing.projects.len();
        let wanted = query.trim().to_lowercase();
        let entry = |scope: Scope, of: String| Entry {
            id: scope.id().to_string(),
            link: format!("{}/secrets", links::scope(&scope)),
            of,
        };
        let mut organizations: Vec<Entry> = landing
            .organizations
            .into_iter()
            .map(|id| entry(Scope::Organization(id), String::new()))
            .collect();
        let mut projects: Vec<Entry> = landing
            .projects
            .into_iter()
            .map(|project| {
                let of = project.organization.map(|id| id.to_string()).unwrap_or_default();
                entry(Scope::Project(project.id), of)
            })
            .collect();
        organizations.retain(|entry| entry.id.to_lowercase().contains(&wanted));
        projects.retain(|entry| {
            entry.id.to_lowercase().contains(&wanted) || entry.of.to_lowercase().contains(&wanted)
        });
        Self {
            chrome,
            open,
            total,
            searchable: total > MANY,
            query: query.trim().to_owned(),
            organizations,
            projects,
            more: landing.more,
            operator: landing.operator,
        }
    }
}

async fn page(
    page: &Page,
    visitor: &Visitor,
    query: &Fields,
    open: Open,
) -> Result<Response, Failure> {
    let landing = page.administration.landing(&visitor.actor).await?;
    let chrome = Chrome::new("Overview", visitor).wrong(open.problem.is_some());
    // Where nothing is registered, nobody knows which ids there are.
    let open = (landing.operator || !page.registered()).then_some(open);
    layout::show(&View::new(chrome, landing, query.get("q"), open))
}

/// `GET /`.
pub(super) async fn show(
    State(state): State<Page>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    page(&state, &visitor, &query, Open::default()).await
}

/// `GET /open?what=…&id=…`: leads to the place of this id.
pub(super) async fn open(
    State(state): State<Page>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let organization = query.get("what") == "organization";
    let typed = query.get("id").trim();
    match typed.parse() {
        Ok(id) => {
            let scope = if organization { Scope::Organization(id) } else { Scope::Project(id) };
            Ok(Redirect::to(&format!("{}/secrets", links::scope(&scope))).into_response())
        }
        Err(invalid) => {
            let problem = Some(sentence(&invalid.to_string()));
            let open = Open { organization, id: typed.to_owned(), problem };
            let response = page(&state, &visitor, &query, open).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, response).into_response())
        }
    }
}
