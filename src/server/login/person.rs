//! Who sends a request, as an argument of a handler.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::{ACCEPT, AUTHORIZATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded::byte_serialize;

use super::Login;
use super::cookie::Cookie;
use super::guard::{Guarded, Sessionless};
use super::return_to::ReturnTo;
use super::site::is_safe;
use crate::access::Actor;
use crate::server::administration::Refusal;
use crate::server::limits::{Rates, Refused};
use crate::server::problem::Problem;
use crate::store::sessions;

/// Somebody who is logged in.
///
/// As an extractor it needs [`guard()`](super::guard()) around the route, and refuses everything
/// without: a route that was forgotten is closed, not open to other sites' forms.
#[derive(Debug)]
pub struct Person {
    /// Who, and what they may do at this moment.
    pub actor: Actor,
    /// What each form of theirs must hold, as the field [`CSRF_FIELD`](super::CSRF_FIELD).
    pub csrf: String,
    /// The session's id, as operators see it.
    pub session: String,
}

/// Why there is no [`Person`].
#[derive(Debug)]
pub enum NotLoggedIn {
    /// A browser that looks: it is sent to the login, and comes back.
    Look(String),
    /// Anything else: a redirect would lose what was sent.
    Change,
    /// The route has no guard.
    Unguarded,
    /// Too many requests.
    Rate(Refused),
    /// The store doesn't say.
    Store(Refusal),
}

impl<S: Send + Sync> FromRequestParts<S> for Person
where
    Login: FromRef<S>,
{
    type Rejection = NotLoggedIn;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NotLoggedIn> {
        let login = Login::from_ref(state);
        if parts.extensions.get::<Guarded>().is_none() {
            return Err(NotLoggedIn::Unguarded);
        }
        let nobody = || match is_safe(&parts.method) && takes_html(&parts.headers) {
            true => NotLoggedIn::Look(parts.uri.to_string()),
            false => NotLoggedIn::Change,
        };
        // Judged by that header alone, wherever this stands.
        if parts.headers.contains_key(AUTHORIZATION) {
            return Err(NotLoggedIn::Change);
        }
        if parts.extensions.get::<Sessionless>().is_some() {
            return Err(nobody());
        }
        let ticket = Cookie::Session.read(&parts.headers, login.0.site.is_tls());
        let ticket = ticket.ok_or_else(nobody)?;
        let session = login.session(&ticket).await.map_err(|e| NotLoggedIn::Store(e.into()))?;
        let session = session.ok_or_else(nobody)?;
        if let Some(rates) = parts.extensions.get::<Rates>() {
            rates.request(&session.subject).map_err(NotLoggedIn::Rate)?;
        }
        let actor = login.actor(session).await.map_err(NotLoggedIn::Store)?;
        Ok(Self {
            actor,
            csrf: super::guard::mark(&ticket),
            session: sessions::hex(&ticket.digest()),
        })
    }
}

impl IntoResponse for NotLoggedIn {
    fn into_response(self) -> Response {
        match self {
            Self::Look(uri) => {
                let to = ReturnTo::new(Some(&uri));
                let to: String = byte_serialize(to.as_str().as_bytes()).collect();
                Redirect::to(&format!("/login?return_to={to}")).into_response()
            }
            Self::Change => Problem::new(
                StatusCode::UNAUTHORIZED,
                "not_logged_in",
                "nobody is logged in in this browser, or not any more; log in in another tab, then \
                 repeat this",
            )
            .into_response(),
            Self::Unguarded => {
                tracing::error!("a route for people has no guard (a fault of the program)");
                let detail = "the service failed at this request; its log says more";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
            }
            Self::Rate(refused) => refused.into_response(),
            Self::Store(refusal) => {
                let status = StatusCode::from_u16(refusal.status());
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Problem::new(status, refusal.kind(), refusal.to_string()).into_response()
            }
        }
    }
}

fn takes_html(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    accept.flat_map(|line| line.split(',')).any(|media| media.trim().starts_with("text/html"))
}
