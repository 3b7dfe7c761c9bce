//! Who is logged in, for operators, and the end of that.

use askama::Template;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;

use super::Page;
use super::body::{Query, Sent};
use super::failure::Failure;
use super::flash::{self, Done, Flash};
use super::layout::{self, Chrome};
use super::links::{self, Part};
use super::visitor::Visitor;
use super::words::When;
use crate::server::administration::{Entered, LoggedIn};
use crate::server::login::LINK_SUBJECT;

/// How many sessions a page shows.
const SHOWN: u32 = 100;

#[derive(Template)]
#[template(path = "sessions.html", config = "src/server/page/askama.toml")]
struct View {
    chrome: Chrome,
    rows: Vec<Row>,
    part: Part,
}

/// A session.
#[derive(Debug)]
struct Row {
    id: String,
    name: String,
    /// The person's id; none where nobody knows more than the name.
    subject: Option<String>,
    since: When,
    used: When,
    method: &'static str,
    /// What the login itself vouches for.
    grants: Option<String>,
    /// Whether it is that of who looks.
    own: bool,
}

impl Row {
    fn new(LoggedIn { id, session }: LoggedIn, own: &str) -> Self {
        let is_link = session.subject == LINK_SUBJECT;
        let grants: Vec<String> = session.claimed.iter().map(ToString::to_string).collect();
        Self {
            own: id == own,
            id,
            name: if session.name.is_empty() { session.subject.clone() } else { session.name },
            subject: (!is_link).then_some(session.subject),
            since: When::seconds(session.created_at),
            used: When::seconds(session.seen_at),
            method: match session.entered {
                Entered::Login => "identity provider",
                Entered::Link => "one-time link",
            },
            grants: (!grants.is_empty()).then(|| grants.join(", ")),
        }
    }
}

/// `GET /sessions?after=…`.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    Query(query): Query,
    parts: Parts,
) -> Result<Response, Failure> {
    let request = query.part("after", SHOWN);
    let begun = request.after.is_some();
    let found = page.administration.sessions(&visitor.actor, page.idle, request).await?;
    let flash = Flash::read(&parts, page.tls);
    let mut chrome = Chrome::new("Who is logged in", &visitor);
    chrome.done = flash.sentence();
    let address = |after: &str| format!("/sessions{}", links::query(&[("after", after)]));
    let view = View {
        chrome,
        part: Part { first: begun.then(|| address("")), next: found.next.as_deref().map(address) },
        rows: found.items.into_iter().map(|one| Row::new(one, &visitor.session)).collect(),
    };
    Ok(flash.said(layout::show(&view)?, page.tls))
}

/// `POST /sessions/end`.
pub(super) async fn end(
    State(page): State<Page>,
    visitor: Visitor,
    Sent(sent): Sent,
) -> Result<Response, Failure> {
    let everywhere = sent.get("everywhere") == "yes";
    let session = sent.get("session");
    let ended = page.administration.end_session(&visitor.actor, session, everywhere).await?;
    let done = if ended > 0 { Done::SessionEnded } else { Done::SessionGone };
    Ok(flash::redirect("/sessions", done, None, page.tls))
}
