//! Adding a secret, and replacing one.

mod case;
mod view;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use self::case::Case;
use self::view::Choose;
use super::Page;
use super::body::{Fields, Query, Sent};
use super::failure::Failure;
use super::here::Here;
use super::layout::{self, Chrome, Place, Tab};
use super::problems::Problems;
use super::secret_form::{Editor, SecretForm};
use super::typed::Typed;
use super::visitor::Visitor;
use crate::access::Scope;
use crate::secret::Kind;

/// `GET /…/secrets/new`: which kind. With `?kind=…`: its form, empty.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Query(query): Query,
) -> Result<Response, Failure> {
    let case = Case::adding(&page, &visitor, here.scope()?).await?;
    let Ok(kind) = query.get("kind").parse() else {
        let place = Place::new(case.scope, page.registered(), Tab::Secrets).step("Add a secret");
        let chrome = Chrome::new("Add a new secret", &visitor);
        return layout::show(&Choose { chrome, place });
    };
    let editor = if query.get("editor") == "advanced" { Editor::Advanced } else { Editor::Simple };
    case.form(SecretForm::new(kind, editor), Problems::default(), vec![], StatusCode::OK)
}

/// `POST /…/secrets/new`.
pub(super) async fn submit(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Sent(sent): Sent,
) -> Result<Response, Failure> {
    let case = Case::adding(&page, &visitor, here.scope()?).await?;
    let kind: Kind = sent.get("kind").parse().map_err(|_| {
        Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "The form doesn't say which kind of secret it is. Load it again.",
        )
    })?;
    let (form, press) = SecretForm::read(sent, kind);
    case.submit(form, press).await
}

/// `GET /…/secrets/{id}/replace`.
pub(super) async fn show_replace(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    let case = Case::replacing(&page, &visitor, here.scope()?, &here.item).await?;
    let mut form = SecretForm::new(case.kind(), Editor::Simple);
    case.settle(&mut form);
    form.open = case.is_open();
    case.form(form, Problems::default(), vec![], StatusCode::OK)
}

/// `POST /…/secrets/{id}/replace`. Name and level are those of the secret, whatever was sent.
pub(super) async fn replace(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Sent(sent): Sent,
) -> Result<Response, Failure> {
    let case = match Case::replacing(&page, &visitor, here.scope()?, &here.item).await {
        Err(failure) if failure.is_not_found() => {
            return removed_meanwhile(&page, &visitor, here.scope()?, sent, failure).await;
        }
        case => case?,
    };
    let (mut form, press) = SecretForm::read(sent, case.kind());
    form.assigned = Typed::default();
    case.settle(&mut form);
    case.submit(form, press).await
}

/// Somebody has removed what was to be replaced: what was typed can be added instead, for the same
/// user.
async fn removed_meanwhile(
    page: &Page,
    visitor: &Visitor,
    scope: &Scope,
    sent: Fields,
    failure: Failure,
) -> Result<Response, Failure> {
    let case = Case::adding(page, visitor, scope).await?;
    let Ok(kind) = sent.get("kind").parse() else { return Err(failure) };
    let (form, _) = SecretForm::read(sent, kind);
    let why = "the secret that this was to replace has been replaced or removed meanwhile; nothing is \
               lost: save it as a new one, if it is still wanted";
    case.form(form, Problems::one("", why), vec![], StatusCode::CONFLICT)
}
