//! What the orchestrator registers: organizations, projects, and who belongs to them.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::caller::Caller;
use super::forms::{PutOrganization, PutProject};
use super::input::{Asked, Sent, There, id, ids};
use super::refused::Refused;
use super::shapes;
use crate::access::Scope;
use crate::server::administration::{Administration, Deleted, Organization, Page, Project};
use crate::wire::management as wire;

type Answer = Result<Response, Refused>;

/// `GET /v1/organizations`
pub(super) async fn organizations(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    uri: Uri,
) -> Answer {
    let page = Asked::read(&uri, &["limit", "after"])?.page()?;
    let Page { items, next } = administration.organizations(&actor, page).await?;
    let organizations = items.into_iter().map(shapes::organization).collect();
    Ok(shapes::ok(&wire::Organizations { organizations, next }))
}

/// `GET /v1/organizations/{organization}`
pub(super) async fn organization(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
) -> Answer {
    Asked::nothing(&uri)?;
    let registered = administration.organization(&actor, scope.id()).await?;
    Ok(shapes::ok(&shapes::organization(registered)))
}

/// `PUT /v1/organizations/{organization}`
pub(super) async fn put_organization(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
    Sent(PutOrganization { members, admins }): Sent<PutOrganization>,
) -> Answer {
    Asked::nothing(&uri)?;
    let content =
        Organization { members: ids("members", &members)?, admins: ids("admins", &admins)? };
    let (registered, new) = administration.put_organization(&actor, scope.id(), &content).await?;
    Ok(put(&scope, new, &shapes::organization(registered)))
}

/// `GET /v1/projects`
pub(super) async fn projects(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    uri: Uri,
) -> Answer {
    let page = Asked::read(&uri, &["limit", "after"])?.page()?;
    let Page { items, next } = administration.projects(&actor, page).await?;
    let projects = items.into_iter().map(shapes::project).collect();
    Ok(shapes::ok(&wire::Projects { projects, next }))
}

/// `GET /v1/projects/{project}`
pub(super) async fn project(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
) -> Answer {
    Asked::nothing(&uri)?;
    let registered = administration.project(&actor, scope.id()).await?;
    Ok(shapes::ok(&shapes::project(registered)))
}

/// `PUT /v1/projects/{project}`
pub(super) async fn put_project(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
    Sent(PutProject { organization, members, admins }): Sent<PutProject>,
) -> Answer {
    Asked::nothing(&uri)?;
    let content = Project {
        organization: organization.map(|text| id("organization", &text)).transpose()?,
        members: ids("members", &members)?,
        admins: ids("admins", &admins)?,
    };
    let (registered, new) = administration.put_project(&actor, scope.id(), &content).await?;
    Ok(put(&scope, new, &shapes::project(registered)))
}

fn put(scope: &Scope, new: bool, registered: &impl Serialize) -> Response {
    match new {
        true => shapes::created(shapes::path(scope), registered),
        false => shapes::ok(registered),
    }
}

/// `DELETE /v1/organizations/{organization}` and `DELETE /v1/projects/{project}`
pub(super) async fn delete(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
) -> Answer {
    let purge = Asked::read(&uri, &["purge"])?.flag("purge")?;
    let Deleted { purged, dormant } = match &scope {
        Scope::Organization(id) => administration.delete_organization(&actor, id, purge).await?,
        Scope::Project(id) => administration.delete_project(&actor, id, purge).await?,
    };
    Ok(shapes::ok(&wire::Deleted { purged: shapes::secrets(purged), dormant }))
}
