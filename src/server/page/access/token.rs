//! API tokens: made, shown once, revoked.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::view::{RevokeView, Typing, may};
use super::{again, base, grant_of};
use crate::access::{Access, Scope};
use crate::server::administration::{Refusal, TokenRequest};
use crate::server::page::Page;
use crate::server::page::body::Sent;
use crate::server::page::failure::Failure;
use crate::server::page::flash::{self, Done};
use crate::server::page::here::Here;
use crate::server::page::layout::{self, Chrome};
use crate::server::page::links;
use crate::server::page::typed::Typed;
use crate::server::page::visitor::Visitor;
use crate::server::page::words::When;

/// The one page that shows a token.
#[derive(Template)]
#[template(path = "token.html", config = "src/server/page/askama.toml")]
pub(in crate::server::page) struct TokenView {
    pub(in crate::server::page) chrome: Chrome,
    pub(in crate::server::page) link: String,
    pub(in crate::server::page) name: String,
    pub(in crate::server::page) may: &'static str,
    pub(in crate::server::page) until: When,
    pub(in crate::server::page) token: Typed,
}

/// `POST /…/access/tokens`.
pub(in crate::server::page) async fn issue(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    sent: Sent,
) -> Result<Response, Failure> {
    make(&page, &visitor, Some(here.scope()?), &sent).await
}

/// `POST /access/tokens`.
pub(in crate::server::page) async fn issue_operator(
    State(page): State<Page>,
    visitor: Visitor,
    sent: Sent,
) -> Result<Response, Failure> {
    make(&page, &visitor, None, &sent).await
}

async fn make(
    page: &Page,
    visitor: &Visitor,
    scope: Option<&Scope>,
    Sent(sent): &Sent,
) -> Result<Response, Failure> {
    // Nothing known is the least.
    let access = sent.get("access").parse().unwrap_or(Access::Read);
    let typing = Typing {
        token: sent.get("name").trim().to_owned(),
        access,
        days: sent.get("days").trim().to_owned(),
        ..Typing::default()
    };
    let Ok(days) = typing.days.parse() else {
        let why = "this is a number of days from 1 to 365".to_owned();
        let refusal = Refusal::Invalid { field: "days", why };
        return again(page, visitor, scope, typing, refusal).await;
    };
    let request = TokenRequest {
        name: typing.token.clone(),
        grant: grant_of(scope),
        access,
        days: Some(days),
    };
    match page.administration.issue_api_token(&visitor.actor, &request).await {
        Ok((facts, token)) => layout::show(&TokenView {
            chrome: Chrome::new("New API token", visitor),
            link: base(scope),
            name: facts.name,
            may: may(facts.access),
            until: When::seconds(facts.expires_at),
            token: Typed::of(&token),
        }),
        Err(refusal) => again(page, visitor, scope, typing, refusal).await,
    }
}

/// `GET /…/access/tokens/{id}/revoke`.
pub(in crate::server::page) async fn ask_token(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    let scope = here.scope.as_ref();
    let token = page.administration.api_token(&visitor.actor, &here.item).await?;
    if token.grant.scope().as_ref() != scope {
        return Err(Failure::not_found());
    }
    let link = base(scope);
    let view = RevokeView {
        chrome: Chrome::new("Revoke an API token", &visitor),
        heading: "Revoke an API token",
        sentence: format!(
            "Programs that use the token “{}” are refused from then on, and so are those that use a \
             token made with it. It cannot be brought back.",
            token.name
        ),
        tokens: vec![],
        action: format!("{link}/access/tokens/{}/revoke", links::encoded(&token.id)),
        submit: "Revoke it",
        link,
    };
    layout::show(&view)
}

/// `POST /…/access/tokens/{id}/revoke`.
pub(in crate::server::page) async fn revoke_token(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    page.administration.revoke_api_token(&visitor.actor, &here.item).await?;
    let to = format!("{}/access", base(here.scope.as_ref()));
    Ok(flash::redirect(&to, Done::TokenRevoked, None, page.tls))
}
