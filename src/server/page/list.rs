//! The Secrets tab: which secrets stand here.

use askama::Template;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;

use super::Page;
use super::body::{Fields, Query};
use super::failure::Failure;
use super::flash::Flash;
use super::here::Here;
use super::layout::{self, Chrome, Place, Tab};
use super::links::{self, Part};
use super::visitor::Visitor;
use super::words::{self, Choice, When};
use crate::access::Scope;
use crate::secret::{Kind, SecretId};
use crate::server::administration::{Filter, Listed};

/// How many secrets a page shows.
const SHOWN: u32 = 100;

#[derive(Template)]
#[template(path = "list.html", config = "src/server/page/askama.toml")]
pub(super) struct View {
    pub(super) chrome: Chrome,
    pub(super) place: Place,
    pub(super) looking: Looking,
    pub(super) rows: Vec<Row>,
    pub(super) part: Part,
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Looking {
    /// Whether the form is shown.
    pub(super) offered: bool,
    /// Whether something is left out.
    pub(super) on: bool,
    pub(super) kinds: Vec<Choice>,
    pub(super) user: String,
    pub(super) words: String,
}

/// What a query asks for. A kind that there isn't leaves none out.
fn filter(query: &Fields) -> Filter {
    Filter {
        kind: query.get("kind").parse().ok(),
        user: query.get("user").trim().to_owned(),
        words: query.get("q").trim().to_owned(),
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
            by: words::person(&record.created_by),
            link: links::secret(&Scope::from(&record.owner), &record.id),
            fresh: fresh == Some(&record.id),
        }
    }
}

/// `GET /…/secrets?q=…&kind=…&user=…&after=…`.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Query(query): Query,
    parts: Parts,
) -> Result<Response, Failure> {
    let scope = here.scope()?;
    let flash = Flash::read(&parts, page.tls);
    let filter = filter(&query);
    let request = query.part("after", SHOWN);
    let begun = request.after.is_some();
    let found = page.administration.search(&visitor.actor, scope, filter.clone(), request).await?;
    let place = Place::new(scope, page.registered(), Tab::Secrets);
    let rows: Vec<Row> =
        found.items.iter().map(|listed| Row::new(listed, flash.secret.as_ref())).collect();
    let mut chrome = Chrome::new(format!("Secrets of {}", place.id), &visitor);
    chrome.done = flash.sentence();
    let kind = filter.kind.map_or("", Kind::as_str);
    let address = |after: &str| {
        let pairs =
            [("q", &*filter.words), ("kind", kind), ("user", &*filter.user), ("after", after)];
        format!("{}/secrets{}", place.link, links::query(&pairs))
    };
    let view = View {
        part: Part { first: begun.then(|| address("")), next: found.next.as_deref().map(address) },
        looking: Looking {
            offered: filter.is_on() || rows.len() > 5 || begun,
            on: filter.is_on() || begun,
            kinds: Choice::kinds(kind),
            user: filter.user,
            words: filter.words,
        },
        chrome,
        place,
        rows,
    };
    Ok(flash.said(layout::show(&view)?, page.tls))
}
