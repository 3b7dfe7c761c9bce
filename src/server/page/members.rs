//! The Members tab: to whom secrets can be assigned.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Page;
use super::failure::Failure;
use super::here::Here;
use super::layout::{self, Chrome, Place, Tab};
use super::visitor::Visitor;
use crate::server::administration::Member;

#[derive(Template)]
#[template(path = "members.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) place: Place,
    pub(super) members: Vec<Member>,
}

/// `GET /…/members`. Where nothing is registered, there is no such page.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    let scope = here.scope()?;
    let members = page.administration.members(&visitor.actor, scope).await?;
    if !page.registered() {
        return Err(Failure::not_found());
    }
    let place = Place::new(scope, true, Tab::Members);
    let chrome = Chrome::new(format!("Members of {}", place.id), &visitor);
    layout::show(&View { chrome, place, members })
}
