//! Who asks for a page.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::failure::Failure;
use crate::access::Actor;

/// A person who is logged in. Whoever lets requests through to the page's routes puts it into
/// their extensions, and has checked the token of a form by then.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Who it is, and what they may do.
    pub actor: Actor,
    /// The token that this session's forms carry, in a field called `csrf`.
    pub csrf: String,
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get().cloned().ok_or_else(|| {
            Failure::new(
                StatusCode::UNAUTHORIZED,
                "not_logged_in",
                "Log in, and try again. Nothing was saved.",
            )
        })
    }
}
