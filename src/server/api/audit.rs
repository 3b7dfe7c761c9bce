//! The audit.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::caller::Caller;
use super::input::Asked;
use super::refused::Refused;
use super::shapes;
use crate::server::administration::{Administration, AuditFilter, Page};
use crate::wire::management as wire;

/// What a question may hold.
const KNOWN: [&str; 7] =
    ["organization", "project", "actor", "action", "decision", "limit", "after"];

/// `GET /v1/audit`
pub(super) async fn rows(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    uri: Uri,
) -> Result<Response, Refused> {
    let asked = Asked::read(&uri, &KNOWN)?;
    let word = |name| asked.text(name).map(ToOwned::to_owned);
    let filter = AuditFilter {
        scope: asked.scope()?,
        actor: word("actor"),
        action: word("action"),
        decision: word("decision"),
    };
    let Page { items, next } = administration.audit(&actor, &filter, asked.page()?).await?;
    let rows = items.into_iter().map(shapes::audit_row).collect();
    Ok(shapes::ok(&wire::Audit { rows, next }))
}
