//! Who may do what: grants and API tokens.
//!
//! Invariant: the text of an API token is in one answer, to whoever made it.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::forms::{NewGrant, NewToken};
use super::input::{Asked, Named, Sent, Whose, id};
use super::refused::Refused;
use super::shapes;
use crate::access::{Access, Actor, Grant, Role};
use crate::secret::{Value, ValueBuf};
use crate::server::administration::{Administration, ApiToken, Page, TokenRequest};
use crate::wire::management as wire;

type Answer = Result<Response, Refused>;

/// `GET /v1/whoami`
pub(super) async fn whoami(Caller(actor): Caller, uri: Uri) -> Answer {
    Asked::nothing(&uri)?;
    let Actor { subject, name, grants, access, .. } = actor;
    let grants = grants.iter().map(shapes::role).collect();
    Ok(shapes::ok(&wire::Whoami { subject, name, access: access.to_string(), grants }))
}

const LIST: [&str; 5] = ["organization", "project", "all", "limit", "after"];

/// `GET /v1/grants`
pub(super) async fn grants(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    uri: Uri,
) -> Answer {
    let asked = Asked::read(&uri, &LIST)?;
    let page = asked.page()?;
    let Page { items, next } = match asked.whose()? {
        Whose::All => administration.all_grants(&actor, page).await?,
        Whose::Of(scope) => administration.grants(&actor, scope.as_ref(), page).await?,
    };
    let grants = items.into_iter().map(shapes::granted).collect();
    Ok(shapes::ok(&wire::Grants { grants, next }))
}

/// `POST /v1/grants`
pub(super) async fn grant(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    uri: Uri,
    Sent(new): Sent<NewGrant>,
) -> Answer {
    Asked::nothing(&uri)?;
    let NewGrant { subject, role, organization, project } = new;
    let grant = granted(&role, organization.as_deref(), project.as_deref())?;
    let granted = administration.grant(&actor, &subject, &grant).await?;
    let location = format!("/v1/grants/{}", wire::segment(&granted.id));
    Ok(shapes::created(location, &shapes::granted(granted)))
}

/// `DELETE /v1/grants/{id}`
pub(super) async fn revoke_grant(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    Named(id): Named,
    uri: Uri,
) -> Answer {
    Asked::nothing(&uri)?;
    let revoked = administration.revoke_grant(&actor, &id).await?;
    Ok(shapes::ok(&shapes::revoked(revoked)))
}

/// `GET /v1/tokens`
pub(super) async fn tokens(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    uri: Uri,
) -> Answer {
    let asked = Asked::read(&uri, &LIST)?;
    let page = asked.page()?;
    let Page { items, next } = match asked.whose()? {
        Whose::All => administration.all_api_tokens(&actor, page).await?,
        Whose::Of(scope) => administration.api_tokens(&actor, scope.as_ref(), page).await?,
    };
    let tokens = items.into_iter().map(shapes::token).collect();
    Ok(shapes::ok(&wire::Tokens { tokens, next }))
}

/// `POST /v1/tokens`
pub(super) async fn issue(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    uri: Uri,
    Sent(new): Sent<NewToken>,
) -> Answer {
    Asked::nothing(&uri)?;
    let NewToken { name, role, organization, project, access, days } = new;
    let access = match access.as_deref() {
        None => Access::Manage,
        Some(word) => word
            .parse()
            .map_err(|why: crate::secret::UnknownWord| Refused::form("access", why.to_string()))?,
    };
    let grant = granted(&role, organization.as_deref(), project.as_deref())?;
    let request = TokenRequest { name, grant, access, days };
    let (token, text) = administration.issue_api_token(&actor, &request).await?;
    Ok(issued(token, &text))
}

/// `DELETE /v1/tokens/{id}`
pub(super) async fn revoke_token(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    Named(id): Named,
    uri: Uri,
) -> Answer {
    Asked::nothing(&uri)?;
    let ended = administration.revoke_api_token(&actor, &id).await?;
    Ok(shapes::ok(&shapes::ended(ended)))
}

/// A role that was sent.
fn granted(
    role: &str,
    organization: Option<&str>,
    project: Option<&str>,
) -> Result<Grant, Refused> {
    let role: Role = role
        .parse()
        .map_err(|why: crate::secret::UnknownWord| Refused::form("role", why.to_string()))?;
    let organization = organization.map(|text| id("organization", text)).transpose()?;
    let project = project.map(|text| id("project", text)).transpose()?;
    let grant = match (role, organization, project) {
        (Role::OrganizationAdmin, id, None) | (Role::ProjectAdmin, None, id) => {
            Grant::new(role, id)
        }
        (Role::Operator, None, None) => Some(Grant::Operator),
        _ => None,
    };
    grant.ok_or_else(|| {
        let why = "an organization_admin has an `organization`, a project_admin a `project`, an \
                   operator neither";
        Refused::form("role", why)
    })
}

/// The facts of a new token, and its text as `token`: once, and kept by nobody between.
pub(super) fn issued(token: ApiToken, text: &Value) -> Response {
    let facts = shapes::token(token);
    let location = format!("/v1/tokens/{}", wire::segment(&facts.id));
    let facts = serde_json::to_string(&facts).unwrap_or_default();
    let mut body = ValueBuf::new();
    body.push(facts.strip_suffix('}').unwrap_or_default().as_bytes());
    body.push(b",\"token\":\"");
    // Letters, digits and `_`.
    body.push(text.expose());
    body.push(b"\"}");
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (LOCATION, location),
    ];
    // The response's own copy is overwritten when it is freed, as all that is.
    (StatusCode::CREATED, headers, Bytes::copy_from_slice(body.as_slice())).into_response()
}
