//! Removing a secret: a page that says what happens then, and the act.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::failure::{Failure, sentence};
use super::flash::{self, Done};
use super::here::{Here, belongs};
use super::layout::{self, Chrome, Place, Tab};
use super::visitor::Visitor;
use super::words::{self, When};
use super::{Page, links};
use crate::access::Scope;
use crate::secret::SecretId;
use crate::server::administration::Removed;

#[derive(Template)]
#[template(path = "remove.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) level: String,
    pub(super) created: When,
    pub(super) by: String,
    /// Whether another one steps in.
    pub(super) instead: bool,
    pub(super) sentence: String,
    pub(super) action: String,
}

impl View {
    /// The question, from what would happen.
    pub(super) fn new(chrome: Chrome, place: Place, removed: &Removed) -> Self {
        let record = &removed.record;
        Self {
            chrome,
            key: record.name.key.clone(),
            kind: words::kind(record.name.kind),
            level: words::level(&record.owner),
            created: When::of(&record.created_at),
            by: words::person(&record.created_by),
            instead: removed.instead.is_some(),
            sentence: sentence(&removed.sentence),
            action: format!("{}/remove", links::secret(&Scope::from(&record.owner), &record.id)),
            place,
        }
    }
}

/// `GET /…/secrets/{id}/remove`.
pub(super) async fn ask(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    let scope = here.scope()?;
    let id = SecretId::from(here.item.clone());
    let removed = page.administration.would_be_effective(&visitor.actor, &id).await?;
    belongs(&removed.record, scope)?;
    let place = Place::new(scope, page.registered(), Tab::Secrets).step("Remove");
    let chrome = Chrome::new(format!("Remove {}", removed.record.name.key), &visitor);
    layout::show(&View::new(chrome, place, &removed))
}

/// `POST /…/secrets/{id}/remove`.
pub(super) async fn remove(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    let scope = here.scope()?;
    let id = SecretId::from(here.item.clone());
    // The address names the place that the person has looked at; another's isn't touched.
    let listed = page.administration.secret(&visitor.actor, &id).await?;
    belongs(&listed.record, scope)?;
    page.administration.remove(&visitor.actor, &id).await?;
    let to = format!("{}/secrets", links::scope(scope));
    Ok(flash::redirect(&to, Done::Removed, None, page.tls))
}
