//! A form that was sent when nobody was logged in any more, or by a page from before the last
//! login: it comes back, to be sent once more.
//!
//! Invariants: what was typed is in the answer to the very request that brought it, and nowhere
//! else; the form goes to the address that it came to; nothing is done before a person presses the
//! button.

use askama::Template;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body::Fields;
use super::failure::{self, Said};
use super::layout::{self, Chrome};
use super::typed::Typed;
use crate::server::login::{CSRF_FIELD, Unsent};

/// The page that gives it back.
#[derive(Template)]
#[template(path = "unsent.html", config = "src/server/page/askama.toml")]
struct View {
    chrome: Chrome,
    heading: &'static str,
    detail: String,
    /// Whether to log in first.
    log_in: bool,
    csrf: Option<String>,
    fields: Vec<(String, Typed)>,
}

/// What is said, by the stable word of the answer; anything else in its own words.
fn words(said: &Said, status: StatusCode) -> (&'static str, String) {
    match said.kind.as_str() {
        "not_logged_in" => (
            "You are not logged in any more",
            "Nothing was saved, and nothing that you typed is lost: it is kept in this page."
                .into(),
        ),
        "csrf_invalid" => (
            "You have logged in again since then",
            "The form is from before. Nothing was saved, and what you typed is kept in this page."
                .into(),
        ),
        _ => (failure::heading(status), said.sentence()),
    }
}

/// Gives people back what could not be taken.
pub(super) async fn given_back(request: Request, next: Next) -> Response {
    let page = *request.method() == Method::POST && failure::wants_page(&request);
    let mut response = next.run(request).await;
    let unsent = response.extensions_mut().remove::<Unsent>();
    let Some(Unsent { body, csrf }) = unsent.filter(|_| page) else { return response };
    let Some(fields) = Fields::decode(&body) else { return response };
    // A mark that was right goes back as it is: whoever presses too early gets the same answer.
    let stale = |name: &str| csrf.is_some() && name == CSRF_FIELD;
    let fields = fields.into_iter().filter(|(name, _)| !stale(name)).collect();
    let (parts, said) = match failure::said(response).await {
        Ok(said) => said,
        Err(response) => return response,
    };
    let (heading, detail) = words(&said, parts.status);
    let chrome = Chrome { title: heading.to_owned(), wrong: true, ..Chrome::default() };
    let log_in = said.kind == "not_logged_in";
    let view = View { chrome, heading, detail, log_in, csrf, fields };
    match layout::show(&view) {
        Ok(shown) => failure::with_headers((parts.status, shown).into_response(), &parts.headers),
        Err(failure) => failure.into_response(),
    }
}
