//! The Secrets tab: which secrets stand here.

use askama::Template;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;

use super::body::{Fields, Query};
use super::failure::Failure;
use super::flash::Flash;
use super::here::Here;
use super::layout::{self, Chrome, Place, Tab};
use super::visitor::Visitor;
use super::words::{self, Choice, When};
use super::{Page, links};
use crate::access::{Actor, Scope};
use crate::secret::SecretId;
use crate::server::administration::{Listed, PageRequest, Refusal};

/// How many secrets a page shows.
const SHOWN: u32 = 100;

/// How many parts of a list are gone through at most, of [`PageRequest::MAX`] each.
const PARTS: usize = 20;

#[derive(Template)]
#[template(path = "list.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) place: Place,
    pub(super) filter: Filter,
    pub(super) rows: Vec<Row>,
    pub(super) first: Option<String>,
    pub(super) next: Option<String>,
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Filter {
    /// Whether the form is shown.
    pub(super) offered: bool,
    /// Whether something is left out.
    pub(super) on: bool,
    pub(super) kinds: Vec<Choice>,
    pub(super) user: String,
}

impl Filter {
    /// What a query asks for.
    pub(super) fn of(query: &Fields) -> Self {
        let user = query.get("user").trim().to_owned();
        let kinds = Choice::kinds(query.get("kind"));
        let on = !user.is_empty() || kinds.iter().any(|kind| kind.chosen);
        Self { offered: on, on, kinds, user }
    }

    fn lets(&self, listed: &Listed) -> bool {
        let record = &listed.record;
        let kind = self.kinds.iter().find(|kind| kind.chosen);
        let user = record.owner.user().map_or("", |user| user.as_str());
        kind.is_none_or(|kind| kind.value == record.name.kind.as_str())
            && (self.user.is_empty() || self.user == user)
    }
}

/// A secret.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) level: String,
    pub(super) open: bool,
    pub(super) dormant: Option<String>,
    pub(super) created: When,
    pub(super) by: String,
    pub(super) link: String,
    /// Whether it was just added.
    pub(super) fresh: bool,
}

impl Row {
    /// How a secret is shown.
    pub(super) fn new(listed: &Listed, fresh: Option<&SecretId>) -> Self {
        let record = &listed.record;
        Self {
            key: record.name.key.clone(),
            kind: words::kind(record.name.kind),
            level: words::level(&record.owner),
            open: !record.sensitive,
            dormant: listed.dormant.then(|| words::dormant(&record.owner)),
            created: When::of(&record.created_at),
            by: record.created_by.clone(),
            link: links::secret(&Scope::from(&record.owner), &record.id),
            fresh: fresh == Some(&record.id),
        }
    }
}

/// Goes through the whole list of a scope, as far as is bearable, and keeps what `keep` lets pass.
pub(super) async fn all(
    page: &Page,
    actor: &Actor,
    scope: &Scope,
    keep: impl Fn(&Listed) -> bool,
) -> Result<Vec<Listed>, Refusal> {
    let mut request = PageRequest::first();
    let mut kept = Vec::new();
    for _ in 0..PARTS {
        let part = page.administration.list(actor, scope, request.clone()).await?;
        kept.extend(part.items.into_iter().filter(&keep));
        match part.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    Ok(kept)
}

/// `GET /…/secrets?kind=…&user=…&after=…`.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Query(query): Query,
    parts: Parts,
) -> Result<Response, Failure> {
    let scope = here.scope()?;
    let flash = Flash::read(&parts, page.tls);
    let mut filter = Filter::of(&query);
    let after = Some(query.get("after").to_owned()).filter(|after| !after.is_empty());
    let (listed, next) = if filter.on {
        (all(&page, &visitor.actor, scope, |listed| filter.lets(listed)).await?, None)
    } else {
        let request = PageRequest { after: after.clone(), limit: SHOWN };
        let part = page.administration.list(&visitor.actor, scope, request).await?;
        (part.items, part.next)
    };
    let place = Place::new(scope, page.registered(), Tab::Secrets);
    let own = format!("{}/secrets", place.link);
    filter.offered |= listed.len() > 5 || after.is_some();
    filter.on |= after.is_some();
    let rows: Vec<Row> =
        listed.iter().map(|listed| Row::new(listed, flash.secret.as_ref())).collect();
    let mut chrome = Chrome::new(format!("Secrets of {}", place.id), &visitor);
    chrome.done = flash.sentence();
    let view = View {
        chrome,
        place,
        filter,
        rows,
        first: after.map(|_| own.clone()),
        next: next.map(|next| format!("{own}?after={}", links::encoded(&next))),
    };
    Ok(flash.said(layout::show(&view)?, page.tls))
}
