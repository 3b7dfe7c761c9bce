//! The routes of the login.
//!
//! | route | what it does |
//! |---|---|
//! | `GET /login` | the page: the provider's button, or the form of a one-time link |
//! | `GET /login/start` | sends the browser to the provider |
//! | `GET /login/callback` | takes the provider's answer |
//! | `POST /login/link` | takes a one-time link |
//! | `POST /logout` | ends the session, or all of the same person's |
//!
//! The way to the provider is a link and no form: the policy `form-action 'self'` also stops a form
//! whose answer leads elsewhere.

use askama::Template;
use axum::extract::{DefaultBodyLimit, Form, Query, State};
use axum::http::header::SET_COOKIE;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use super::attempt::Attempt;
use super::cookie::Cookie;
use super::guard::{guard, is_mark, mark};
use super::oidc::Answer;
use super::return_to::ReturnTo;
use super::sessions::{Once, by_link};
use super::ticket::Ticket;
use super::{Fault, Login};
use crate::server::limits::{Rates, Refused};
use crate::server::listen::Peer;
use crate::server::problem::Problem;

/// The longest form of these routes, in bytes: two tickets and marks.
const MAX_FORM: usize = 4 * 1024;

/// The routes, with [`guard()`] around them.
pub fn router(login: Login) -> Router {
    Router::new()
        .route("/login", get(page))
        .route("/login/start", get(start))
        .route("/login/callback", get(callback))
        .route("/login/link", post(link))
        .route("/logout", post(logout))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(login.clone(), guard))
        .with_state(login)
}

/// The page, in every state that it has.
#[derive(Template)]
#[template(path = "login.html", config = "src/server/page/askama.toml")]
struct LoginPage<'a> {
    /// What went wrong.
    problem: Option<String>,
    /// Somebody has just logged out; where to end the provider's session as well.
    logged_out: bool,
    end_session: Option<String>,
    way: Way<'a>,
}

enum Way<'a> {
    /// The provider's name, and the address that leads there.
    Provider { name: String, start: String },
    /// The marks of the session that there may be, and of the browser; the link.
    Link { csrf: Option<String>, browser: String, link: &'a str },
    /// A link is printed where the service runs.
    AwaitLink,
    /// Neither.
    Nothing,
}

impl Login {
    fn page(&self, status: StatusCode, way: Way<'_>, problem: Option<String>) -> Response {
        render(status, &LoginPage { problem, logged_out: false, end_session: None, way })
    }

    fn way(&self, return_to: &ReturnTo) -> Way<'static> {
        match &self.0.provider {
            Some(provider) => {
                let to: String = byte_serialize(return_to.as_str().as_bytes()).collect();
                let start = format!("/login/start?return_to={to}");
                Way::Provider { name: provider.name(), start }
            }
            None if self.0.link => Way::AwaitLink,
            None => Way::Nothing,
        }
    }

    /// The page that says why not, and how to try again.
    async fn sorry(&self, fault: Fault, from: &From) -> Response {
        tracing::warn!(kind = fault.kind(), %fault, "somebody could not log in");
        self.refused(&fault, from.address.clone()).await;
        self.page(fault.status(), self.way(&ReturnTo::new(None)), Some(fault.to_string()))
    }

    fn with_cookie(&self, cookie: Option<HeaderValue>, mut response: Response) -> Response {
        if let Some(cookie) = cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }

    fn is_tls(&self) -> bool {
        self.0.site.is_tls()
    }

    /// The browser's own ticket, or a new one. One that is there stays: another tab may be logging
    /// in as well.
    fn browser(&self, headers: &HeaderMap) -> Result<Ticket, Fault> {
        match Cookie::Browser.read(headers, self.is_tls()) {
            Some(ticket) => Ok(ticket),
            None => Ok(Ticket::new()?),
        }
    }
}

fn render(status: StatusCode, page: &LoginPage<'_>) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Where a request comes from.
struct From {
    address: Option<String>,
}

impl From {
    /// Refuses who failed too often.
    fn new(extensions: &Extensions) -> Result<Self, Refused> {
        let peer = extensions.get::<Peer>();
        if let (Some(rates), Some(peer)) = (extensions.get::<Rates>(), peer) {
            rates.failed_too_often(peer)?;
        }
        let address = peer.and_then(Peer::address).map(|address| address.to_string());
        Ok(Self { address })
    }
}

#[derive(Deserialize)]
struct Opened {
    return_to: Option<String>,
    link: Option<String>,
    out: Option<String>,
}

async fn page(
    State(login): State<Login>,
    Query(Opened { return_to, link, out }): Query<Opened>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let return_to = ReturnTo::new(return_to.as_deref());
    if let Some(link) = &link {
        return link_page(&login, link, &uri, &headers);
    }
    if let Some(ticket) = Cookie::Session.read(&headers, login.is_tls())
        && let Ok(Some(_)) = login.session(&ticket).await
    {
        return Redirect::to(return_to.as_str()).into_response();
    }
    let logged_out = out.is_some();
    let end_session = login.0.provider.as_ref().filter(|_| logged_out);
    let end_session = end_session.and_then(|provider| provider.end_session());
    let way = login.way(&return_to);
    let page = LoginPage { problem: None, logged_out, end_session, way };
    render(StatusCode::OK, &page)
}

fn link_page(login: &Login, link: &str, uri: &Uri, headers: &HeaderMap) -> Response {
    let link = match (login.0.site.strict_origin(uri, headers), login.0.link) {
        (Err(foreign), _) => return foreign.into_response(),
        (Ok(_), true) => link,
        (Ok(_), false) => {
            let fault = Fault::NotOffered;
            let way = login.way(&ReturnTo::new(None));
            return login.page(fault.status(), way, Some(fault.to_string()));
        }
    };
    match login.browser(headers) {
        Ok(browser) => {
            let session = Cookie::Session.read(headers, login.is_tls());
            let csrf = session.as_ref().map(mark);
            let way = Way::Link { csrf, browser: mark(&browser), link };
            let cookie = Cookie::Browser.set(&browser, login.is_tls());
            login.with_cookie(cookie, login.page(StatusCode::OK, way, None))
        }
        Err(fault) => login.page(fault.status(), Way::Nothing, Some(fault.to_string())),
    }
}

async fn start(
    State(login): State<Login>,
    Query(Opened { return_to, .. }): Query<Opened>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let from = match From::new(&extensions) {
        Ok(from) => from,
        Err(refused) => return refused.into_response(),
    };
    match begin(&login, &ReturnTo::new(return_to.as_deref()), &headers).await {
        Ok((browser, to)) => {
            let cookie = Cookie::Browser.set(&browser, login.is_tls());
            login.with_cookie(cookie, Redirect::to(&to).into_response())
        }
        Err(fault) => login.sorry(fault, &from).await,
    }
}

async fn begin(
    login: &Login,
    return_to: &ReturnTo,
    headers: &HeaderMap,
) -> Result<(Ticket, String), Fault> {
    let provider = login.0.provider.as_ref().ok_or(Fault::NotOffered)?;
    let browser = login.browser(headers)?;
    let now = login.0.clock.now();
    let attempt = Attempt::new(now.as_second(), return_to.clone())?;
    let to = provider.begin(&attempt, &browser, now).await?;
    Ok((browser, to))
}

async fn callback(
    State(login): State<Login>,
    Query(answer): Query<Answer>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let from = match From::new(&extensions) {
        Ok(from) => from,
        Err(refused) => return refused.into_response(),
    };
    match finish(&login, &answer, &headers).await {
        Ok((session, to)) => {
            let cookie = Cookie::Session.set(&session, login.is_tls());
            login.with_cookie(cookie, Redirect::to(to.as_str()).into_response())
        }
        Err(fault) => login.sorry(fault, &from).await,
    }
}

async fn finish(
    login: &Login,
    answer: &Answer,
    headers: &HeaderMap,
) -> Result<(Ticket, ReturnTo), Fault> {
    let provider = login.0.provider.as_ref().ok_or(Fault::NotOffered)?;
    let now = login.0.clock.now();
    // Before anything of the answer is looked at or shown: whoever likes can send a browser here.
    let browser = Cookie::Browser.read(headers, login.is_tls()).ok_or(Fault::State)?;
    let state = answer.state.as_deref().ok_or(Fault::State)?;
    let attempt = Attempt::read(state, &browser, now.as_second()).ok_or(Fault::State)?;
    let who = provider.finish(answer, &attempt, &browser, now).await?;
    let (digest, until) = attempt.used();
    let before = Cookie::Session.read(headers, login.is_tls());
    let session = login.enter(who, Once::Answer(digest, until), before.as_ref()).await?;
    Ok((session, attempt.return_to().clone()))
}

#[derive(Deserialize)]
struct LinkForm {
    link: String,
    browser: String,
}

async fn link(
    State(login): State<Login>,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    Form(form): Form<LinkForm>,
) -> Response {
    let from = match From::new(&extensions) {
        Ok(from) => from,
        Err(refused) => return refused.into_response(),
    };
    if let Err(foreign) = login.0.site.strict_origin(&uri, &headers) {
        return foreign.into_response();
    }
    match enter_by_link(&login, &form, &headers).await {
        Ok(session) => {
            let cookie = Cookie::Session.set(&session, login.is_tls());
            login.with_cookie(cookie, Redirect::to("/").into_response())
        }
        Err(fault) => login.sorry(fault, &from).await,
    }
}

async fn enter_by_link(
    login: &Login,
    form: &LinkForm,
    headers: &HeaderMap,
) -> Result<Ticket, Fault> {
    if !login.0.link {
        return Err(Fault::NotOffered);
    }
    let browser = Cookie::Browser.read(headers, login.is_tls()).ok_or(Fault::Form)?;
    if !is_mark(&browser, &form.browser) {
        return Err(Fault::Form);
    }
    let link = Ticket::read(&form.link).ok_or(Fault::Link)?;
    let before = Cookie::Session.read(headers, login.is_tls());
    login.enter(by_link(), Once::Link(link.digest()), before.as_ref()).await
}

#[derive(Deserialize)]
struct LogoutForm {
    #[serde(default)]
    everywhere: bool,
}

/// The guard has seen the session's mark in the form.
async fn logout(
    State(login): State<Login>,
    headers: HeaderMap,
    Form(form): Form<LogoutForm>,
) -> Response {
    if let Some(ticket) = Cookie::Session.read(&headers, login.is_tls())
        && let Err(error) = login.leave(&ticket, form.everywhere).await
    {
        tracing::error!(%error, "a session could not be ended");
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "logout_failed",
            "the session could not be ended; you are still logged in. Try again",
        )
        .into_response();
    }
    let gone = Cookie::Session.clear(login.is_tls());
    login.with_cookie(gone, Redirect::to("/login?out=1").into_response())
}
