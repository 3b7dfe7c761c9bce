//! Who asks for a page.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use crate::access::Actor;
use crate::server::login::{Login, Person};

/// A person who is logged in. [`enter`] puts it into the extensions of a request, and has seen to
/// it that a form is from the person's own session.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// Who it is, and what they may do.
    pub(super) actor: Actor,
    /// The token that this session's forms carry, in a field called `csrf`.
    pub(super) csrf: String,
    /// The id of the session.
    pub(super) session: String,
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get().cloned().ok_or_else(|| {
            Failure::new(StatusCode::UNAUTHORIZED, "not_logged_in", "Log in, and try again.")
        })
    }
}

/// Lets those in who are logged in; sends the others to the login.
pub(super) async fn enter(State(login): State<Login>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match Person::from_request_parts(&mut parts, &login).await {
        Ok(Person { actor, csrf, session }) => {
            parts.extensions.insert(Visitor { actor, csrf, session });
            next.run(Request::from_parts(parts, body)).await
        }
        Err(nobody) => {
            // Whoever was logged in a moment ago gets back what they typed.
            let unsent = match parts.method {
                Method::POST => login.unsent(body).await,
                _ => None,
            };
            let mut response = nobody.into_response();
            if let Some(unsent) = unsent {
                response.extensions_mut().insert(unsent);
            }
            response
        }
    }
}
