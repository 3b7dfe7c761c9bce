//! The Members tab: to whom secrets can be assigned.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Page;
use super::body::Query;
use super::failure::Failure;
use super::here::Here;
use super::layout::{self, Chrome, Place, Tab};
use super::links::{self, Part};
use super::visitor::Visitor;
use crate::server::administration::Member;

#[derive(Template)]
#[template(path = "members.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) place: Place,
    pub(super) members: Vec<Member>,
    pub(super) query: String,
    /// Whether a search is offered.
    pub(super) searchable: bool,
    pub(super) part: Part,
}

/// How many members a page shows.
const SHOWN: usize = 100;

/// `GET /…/members?q=…&after=…`. Where nothing is registered, there is no such page.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Query(query): Query,
) -> Result<Response, Failure> {
    let scope = here.scope()?;
    let members = page.administration.members(&visitor.actor, scope).await?;
    if !page.registered() {
        return Err(Failure::not_found());
    }
    let place = Place::new(scope, true, Tab::Members);
    let chrome = Chrome::new(format!("Members of {}", place.id), &visitor);
    let (words, after) = (query.get("q").trim().to_owned(), query.get("after"));
    let searchable = members.len() > SHOWN || !words.is_empty();
    let wanted = words.to_lowercase();
    let mut members: Vec<Member> = members
        .into_iter()
        .filter(|member| member.user.as_str().to_lowercase().contains(&wanted))
        .filter(|member| member.user.as_str() > after)
        .collect();
    let goes_on = members.len() > SHOWN;
    members.truncate(SHOWN);
    let address = |after: &str| {
        format!("{}/members{}", place.link, links::query(&[("q", &words), ("after", after)]))
    };
    let part = Part {
        first: (!after.is_empty()).then(|| address("")),
        next: members.last().filter(|_| goes_on).map(|last| address(last.user.as_str())),
    };
    layout::show(&View { chrome, place, members, query: words, searchable, part })
}
