//! Who asks: the API token of the request.
//!
//! Invariants: nothing else counts, no cookie and no job token; a token is looked up for each
//! request, so that one that was revoked works no more.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::refused::Refused;
use crate::access::Actor;
use crate::server::administration::Administration;
use crate::server::limits::Rates;
use crate::server::resolve::bearer;

/// Whoever the token belongs to. It stands first among a handler's arguments: before that, nothing
/// of a request is looked at.
pub(super) struct Caller(pub(super) Actor);

impl FromRequestParts<Administration> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        administration: &Administration,
    ) -> Result<Self, Refused> {
        let token = bearer(&parts.headers).ok_or_else(Refused::no_token)?;
        let actor = administration.authenticate_token(&token).await?;
        if let Some(rates) = parts.extensions.get::<Rates>() {
            rates.request(&actor.subject)?;
        }
        Ok(Self(actor))
    }
}
