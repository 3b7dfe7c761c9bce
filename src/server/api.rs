//! The management API: JSON over HTTP, for programs and for the command line.
//!
//! Invariants: every route but the document's asks for an API token first, and decides nothing by
//! itself, for all that is done goes through [`Administration`]; no answer holds a secret's value;
//! what is not known (a member, a parameter) is refused, and named only if it looks like a name.
//!
//! An id in a path is one percent-encoded segment, so that `ninja/survey` is `ninja%2Fsurvey`.

mod access;
mod audit;
mod caller;
mod forms;
mod input;
mod refused;
mod registration;
mod secrets;
pub(crate) mod shapes;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};

use super::administration::Administration;

/// The document of this API: OpenAPI 3.1.
pub const DOCUMENT: &str = include_str!("../../config/openapi.json");

/// One method at one path.
struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the document"))]
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Administration>,
}

/// Every route. The document has the same; a test compares them.
fn routes() -> Vec<Route> {
    let route = |method, path, handler| Route { method, path, handler };
    vec![
        route("GET", "/openapi.json", get(document)),
        route("GET", "/v1/whoami", get(access::whoami)),
        route("GET", "/v1/organizations/{organization}/secrets", get(secrets::list)),
        route("POST", "/v1/organizations/{organization}/secrets", post(secrets::add)),
        route("DELETE", "/v1/organizations/{organization}/secrets", delete(secrets::purge)),
        route("POST", "/v1/organizations/{organization}/secrets/import", post(secrets::import)),
        route("GET", "/v1/projects/{project}/secrets", get(secrets::list)),
        route("POST", "/v1/projects/{project}/secrets", post(secrets::add)),
        route("DELETE", "/v1/projects/{project}/secrets", delete(secrets::purge)),
        route("POST", "/v1/projects/{project}/secrets/import", post(secrets::import)),
        route("GET", "/v1/secrets/{id}", get(secrets::see)),
        route("DELETE", "/v1/secrets/{id}", delete(secrets::remove)),
        route("DELETE", "/v1/users/{user}/secrets", delete(secrets::purge_user)),
        route("GET", "/v1/projects/{project}/explain", get(secrets::explain)),
        route("GET", "/v1/grants", get(access::grants)),
        route("POST", "/v1/grants", post(access::grant)),
        route("DELETE", "/v1/grants/{id}", delete(access::revoke_grant)),
        route("GET", "/v1/tokens", get(access::tokens)),
        route("POST", "/v1/tokens", post(access::issue)),
        route("DELETE", "/v1/tokens/{id}", delete(access::revoke_token)),
        route("GET", "/v1/organizations", get(registration::organizations)),
        route("GET", "/v1/organizations/{organization}", get(registration::organization)),
        route("PUT", "/v1/organizations/{organization}", put(registration::put_organization)),
        route("DELETE", "/v1/organizations/{organization}", delete(registration::delete)),
        route("GET", "/v1/projects", get(registration::projects)),
        route("GET", "/v1/projects/{project}", get(registration::project)),
        route("PUT", "/v1/projects/{project}", put(registration::put_project)),
        route("DELETE", "/v1/projects/{project}", delete(registration::delete)),
        route("GET", "/v1/audit", get(audit::rows)),
    ]
}

/// The routes.
pub fn router(administration: Administration) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, Route { path, handler, .. }| router.route(path, handler))
        .with_state(administration)
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests;
