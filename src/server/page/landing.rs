//! `/`: what one may administer.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::Page;
use super::body::{Fields, Query};
use super::failure::{Failure, sentence};
use super::layout::{self, Chrome};
use super::links::{self, Part};
use super::visitor::Visitor;
use super::words::count;
use crate::access::{Role, Scope};
use crate::server::administration::{self, COUNTED, Figures, Landing, Looked, Seen};

/// From how many places on a search is offered.
const MANY: usize = 8;

/// How many organizations a page shows.
const ORGANIZATIONS: u32 = 20;

/// How many projects.
const PROJECTS: u32 = 50;

#[derive(Template)]
#[template(path = "landing.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) open: Option<Open>,
    /// Whether there is nothing at all, rather than nothing that was searched for.
    pub(super) nothing: bool,
    pub(super) searchable: bool,
    pub(super) query: String,
    pub(super) organizations: Entries,
    pub(super) projects: Entries,
    pub(super) operator: bool,
}

/// The form that opens a place by its id.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) organization: bool,
    pub(super) id: String,
    pub(super) problem: Option<String>,
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) all: Vec<Entry>,
    pub(super) part: Part,
}

/// A place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) link: String,
    pub(super) of: String,
    pub(super) secrets: String,
    pub(super) is_empty: bool,
    /// Who belongs there, where that is known.
    pub(super) people: Option<String>,
    pub(super) admins: String,
    /// As what one administers it, where that differs from place to place.
    pub(super) role: Option<&'static str>,
}

impl Entry {
    fn new(seen: Seen, registered: bool) -> Self {
        let Figures { secrets, members, admins } = seen.figures;
        Self {
            id: seen.scope.id().to_string(),
            link: format!("{}/secrets", links::scope(&seen.scope)),
            of: seen.organization.map(|id| id.to_string()).unwrap_or_default(),
            secrets: match secrets > COUNTED {
                true => format!("over {COUNTED} secrets"),
                false => count(secrets, "secret", "secrets"),
            },
            is_empty: secrets == 0,
            people: registered.then(|| count(members, "member", "members")),
            admins: count(admins, "admin", "admins"),
            role: match (seen.role, &seen.scope) {
                (Role::Operator, _) => None,
                (Role::OrganizationAdmin, Scope::Project(_)) => {
                    Some("you administer its organization")
                }
                (Role::OrganizationAdmin | Role::ProjectAdmin, _) => Some("you are an admin"),
            },
        }
    }
}

/// Where the two lists of the page begin, and what is searched.
#[derive(Clone, Copy, Debug)]
struct Position<'a> {
    words: &'a str,
    organizations: &'a str,
    projects: &'a str,
}

impl Position<'_> {
    fn address(&self) -> String {
        let pairs =
            [("q", self.words), ("organizations", self.organizations), ("projects", self.projects)];
        format!("/{}", links::query(&pairs))
    }
}

impl Entries {
    fn new(
        page: administration::Page<Seen>,
        registered: bool,
        begun: bool,
        address: impl Fn(&str) -> String,
    ) -> Self {
        Self {
            part: Part {
                first: begun.then(|| address("")),
                next: page.next.as_deref().map(&address),
            },
            all: page.items.into_iter().map(|seen| Entry::new(seen, registered)).collect(),
        }
    }
}

async fn page(
    page: &Page,
    visitor: &Visitor,
    query: &Fields,
    open: Open,
) -> Result<Response, Failure> {
    let at = Position {
        words: query.get("q").trim(),
        organizations: query.get("organizations"),
        projects: query.get("projects"),
    };
    let looked = Looked {
        words: at.words.to_owned(),
        organizations: query.part("organizations", ORGANIZATIONS),
        projects: query.part("projects", PROJECTS),
    };
    let landing = page.administration.landing(&visitor.actor, looked).await?;
    let Landing { organizations, projects, operator } = landing;
    let registered = page.registered();
    let total = organizations.items.len() + projects.items.len();
    let whole = at.organizations.is_empty() && at.projects.is_empty();
    let goes_on = organizations.next.is_some() || projects.next.is_some();
    layout::show(&View {
        chrome: Chrome::new("Overview", visitor).wrong(open.problem.is_some()),
        // Where nothing is registered, nobody knows which ids there are.
        open: (operator || !registered).then_some(open),
        nothing: total == 0 && at.words.is_empty() && whole,
        searchable: total > MANY || goes_on || !whole || !at.words.is_empty(),
        query: at.words.to_owned(),
        organizations: Entries::new(
            organizations,
            registered,
            !at.organizations.is_empty(),
            |after| Position { organizations: after, ..at }.address(),
        ),
        projects: Entries::new(projects, registered, !at.projects.is_empty(), |after| {
            Position { projects: after, ..at }.address()
        }),
        operator,
    })
}

/// `GET /?q=…&organizations=…&projects=…`.
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
