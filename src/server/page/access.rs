//! The Access tab: who administers a scope, and the API tokens for it. For operators, the same
//! without a scope.

mod token;
mod view;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::Page;
use super::body::{Fields, Query, Sent};
use super::failure::{Failure, logged};
use super::flash::{self, Done, Flash};
use super::here::Here;
use super::layout::{self, Chrome, Place, Tab};
use super::problems::Problems;
use super::visitor::Visitor;
use crate::access::{Grant, Scope};
use crate::server::administration::{Refusal, Revoked};

pub(super) use self::token::{ask_token, issue, issue_operator, revoke_token};
pub(super) use self::view::{Lists, OperatorsView, RevokeView, ScopeView, Typing, Words};

/// What one gives in a scope.
fn grant_of(scope: Option<&Scope>) -> Grant {
    scope.map_or(Grant::Operator, Scope::admin)
}

/// Where the addresses begin; the operators' have nothing before `/access`.
fn base(scope: Option<&Scope>) -> String {
    scope.map(super::links::scope).unwrap_or_default()
}

/// The page, with what was typed into its forms.
async fn lists(
    page: &Page,
    visitor: &Visitor,
    scope: Option<&Scope>,
    parts: &view::Parts,
    typing: Typing,
    problems: Problems,
    done: Option<String>,
) -> Result<Response, Failure> {
    let (administration, actor) = (&page.administration, &visitor.actor);
    let view::Parts { grants, tokens } = parts.clone();
    let grants = administration.grants(actor, scope, grants).await?;
    let tokens = administration.api_tokens(actor, scope, tokens).await?;
    let now = jiff::Timestamp::now().as_second();
    let lists = Lists::new(&format!("{}/access", base(scope)), parts, grants, tokens, now);
    let wrong = !problems.is_empty();
    let words = Words::of(scope, page.registered());
    let link = base(scope);
    match scope {
        None => {
            let mut chrome = Chrome::new("Operators", visitor).wrong(wrong);
            chrome.done = done;
            layout::show(&OperatorsView { chrome, link, words, lists, typing, problems })
        }
        Some(scope) => {
            let place = Place::new(scope, page.registered(), Tab::Access);
            let mut chrome = Chrome::new(format!("Access to {}", place.id), visitor).wrong(wrong);
            chrome.done = done;
            layout::show(&ScopeView { chrome, place, link, words, lists, typing, problems })
        }
    }
}

async fn show_lists(
    page: &Page,
    visitor: &Visitor,
    scope: Option<&Scope>,
    query: &Fields,
    parts: &Parts,
) -> Result<Response, Failure> {
    let flash = Flash::read(parts, page.tls);
    let done = flash.sentence();
    let parts = view::Parts::of(query);
    let (typing, problems) = (Typing::default(), Problems::default());
    let shown = lists(page, visitor, scope, &parts, typing, problems, done).await?;
    Ok(flash.said(shown, page.tls))
}

/// `GET /…/access`.
pub(super) async fn show(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    Query(query): Query,
    parts: Parts,
) -> Result<Response, Failure> {
    show_lists(&page, &visitor, Some(here.scope()?), &query, &parts).await
}

/// `GET /access`.
pub(super) async fn operators(
    State(page): State<Page>,
    visitor: Visitor,
    Query(query): Query,
    parts: Parts,
) -> Result<Response, Failure> {
    show_lists(&page, &visitor, None, &query, &parts).await
}

/// `POST /…/access/grants`.
pub(super) async fn grant(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
    sent: Sent,
) -> Result<Response, Failure> {
    give(&page, &visitor, Some(here.scope()?), &sent).await
}

/// `POST /access/grants`.
pub(super) async fn grant_operator(
    State(page): State<Page>,
    visitor: Visitor,
    sent: Sent,
) -> Result<Response, Failure> {
    give(&page, &visitor, None, &sent).await
}

async fn give(
    page: &Page,
    visitor: &Visitor,
    scope: Option<&Scope>,
    Sent(sent): &Sent,
) -> Result<Response, Failure> {
    let subject = sent.get("subject").trim();
    let given = page.administration.grant(&visitor.actor, subject, &grant_of(scope)).await;
    match given {
        Ok(_) => {
            let to = format!("{}/access", base(scope));
            Ok(flash::redirect(&to, Done::Granted, None, page.tls))
        }
        Err(refusal) => {
            let typing = Typing { subject: subject.to_owned(), ..Typing::default() };
            again(page, visitor, scope, typing, refusal).await
        }
    }
}

/// The page once more, with what was refused.
async fn again(
    page: &Page,
    visitor: &Visitor,
    scope: Option<&Scope>,
    typing: Typing,
    refusal: Refusal,
) -> Result<Response, Failure> {
    if matches!(refusal, Refusal::Denied(_)) {
        return Err(refusal.into());
    }
    let problems = Problems::of_refusal(&refusal, |field| match field {
        "subject" => "subject",
        "name" => "name",
        "days" | "expires_at" => "days",
        _ => "",
    });
    let status: StatusCode = logged(&refusal);
    let parts = view::Parts::of(&Fields::default());
    Ok((status, lists(page, visitor, scope, &parts, typing, problems, None).await?).into_response())
}

/// `GET /…/access/grants/{id}/revoke`: asks first, for nobody gets it back by themselves.
pub(super) async fn ask_grant(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    let scope = here.scope.as_ref();
    let Revoked { granted, tokens } =
        page.administration.granted(&visitor.actor, &here.item).await?;
    // The address names the place that the person has looked at.
    if granted.grant.scope().as_ref() != scope {
        return Err(Failure::not_found());
    }
    let link = base(scope);
    let view = RevokeView {
        chrome: Chrome::new("Take access away", &visitor),
        heading: "Take access away",
        sentence: match scope {
            Some(scope) => format!("{} will no longer administer the {scope}.", granted.subject),
            None => format!("{} will no longer be an operator.", granted.subject),
        },
        tokens: tokens.into_iter().map(|token| token.name).collect(),
        action: format!("{link}/access/grants/{}/revoke", super::links::encoded(&granted.id)),
        submit: "Take it away",
        link,
    };
    layout::show(&view)
}

/// `POST /…/access/grants/{id}/revoke`.
pub(super) async fn revoke_grant(
    State(page): State<Page>,
    visitor: Visitor,
    here: Here,
) -> Result<Response, Failure> {
    page.administration.revoke_grant(&visitor.actor, &here.item).await?;
    let to = match here.scope.as_ref() {
        // Who gave up their own access can't see the tab any more.
        Some(scope) if may_see(&page, &visitor, scope).await => {
            format!("{}/access", base(Some(scope)))
        }
        Some(_) => "/".to_owned(),
        None => "/access".to_owned(),
    };
    Ok(flash::redirect(&to, Done::GrantRevoked, None, page.tls))
}

async fn may_see(page: &Page, visitor: &Visitor, scope: &Scope) -> bool {
    page.administration.members(&visitor.actor, scope).await.is_ok()
}
