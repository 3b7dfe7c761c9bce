//! The OpenAPI document: made from the types and this table, committed, and compared with the
//! routes.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use utoipa::OpenApi as _;

use super::examples;
use super::parameters::{in_path, in_query};
use crate::server::api::{DOCUMENT, forms, refused, routes};
use crate::wire::management as wire;

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    forms::Import,
    forms::NewGrant,
    forms::NewSecret,
    forms::NewToken,
    forms::PutOrganization,
    forms::PutProject,
    refused::Members<'_>,
    wire::Added,
    wire::Audit,
    wire::Deleted,
    wire::EndedToken,
    wire::Explanation,
    wire::Grants,
    wire::Organizations,
    wire::Projects,
    wire::Purged,
    wire::Rehearsed,
    wire::Removed,
    wire::Revoked,
    wire::Secrets,
    wire::Tokens,
    wire::Whoami,
)))]
struct Types;

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    /// Its name, in camel case, for generated clients.
    id: &'static str,
    summary: &'static str,
    /// Names of [`in_query`]'s of the query.
    query: &'static [&'static str],
    /// The type of its body.
    body: Option<&'static str>,
    /// The type of the answer 200, if there is one.
    done: Option<&'static str>,
    /// The type of the answer 201, if there is one.
    made: Option<&'static str>,
    /// Statuses of problems besides those that every operation has.
    problems: &'static [u16],
}

const PAGE: [&str; 2] = ["limit", "after"];
const ACCESS: [&str; 5] = ["organization", "project", "all", "limit", "after"];
const FILTER: [&str; 7] =
    ["organization", "project", "actor", "action", "decision", "limit", "after"];

/// In the order of the document.
#[rustfmt::skip]
const OPERATIONS: &[Operation] = &[
    get("/v1/whoami", "whoami", "Whose token this is, and what it may do", &[], "Whoami", &[]),
    get("/v1/organizations/{organization}/secrets", "listOrganizationSecrets",
        "The organization's secrets, without values", &PAGE, "Secrets", &[404, 422]),
    post("/v1/organizations/{organization}/secrets", "addOrganizationSecret",
        "Add a secret of the organization", "NewSecret", None, "Added", &[403, 404, 409]),
    delete("/v1/organizations/{organization}/secrets", "purgeOrganization",
        "Remove all that stands at the organization; what its projects have stays", &["dry_run"],
        "Purged", &[403, 404]),
    post("/v1/organizations/{organization}/secrets/import", "importOrganizationSecrets",
        "Add all of a file to the organization, or nothing", "Import",
        Some("Rehearsed"), "Added", &[403, 404, 409]),
    get("/v1/projects/{project}/secrets", "listProjectSecrets",
        "The project's secrets, user-assigned ones too, without values", &PAGE, "Secrets",
        &[404, 422]),
    post("/v1/projects/{project}/secrets", "addProjectSecret", "Add a secret of the project",
        "NewSecret", None, "Added", &[403, 404, 409]),
    delete("/v1/projects/{project}/secrets", "purgeProject",
        "Remove all of the project, user-assigned secrets too", &["dry_run"], "Purged",
        &[403, 404]),
    post("/v1/projects/{project}/secrets/import", "importProjectSecrets",
        "Add all of a file to the project, or nothing", "Import",
        Some("Rehearsed"), "Added", &[403, 404, 409]),
    get("/v1/projects/{project}/explain", "explain",
        "Which secrets a job of the project would get, and why",
        &["explain_organization", "user", "require"], "Explanation", &[404]),
    get("/v1/secrets/{id}", "seeSecret", "One secret, without its value", &[], "Secret", &[404]),
    delete("/v1/secrets/{id}", "removeSecret",
        "Remove a secret; the answer says what becomes effective instead", &[], "Removed",
        &[403, 404]),
    delete("/v1/users/{user}/secrets", "purgeUser",
        "Remove all that is for one user, wherever it stands", &["dry_run"], "Purged", &[403]),
    get("/v1/grants", "listGrants",
        "Who was given the administration of an organization or a project, or of everything",
        &ACCESS, "Grants", &[403, 404, 422]),
    post("/v1/grants", "giveGrant",
        "Give somebody a grant; one that is there stays as it is. The token's access is `delegate`",
        "NewGrant", None, "Grant", &[403, 404]),
    delete("/v1/grants/{id}", "revokeGrant",
        "Take a grant away. The token's access is `delegate`", &[], "Revoked", &[403, 404]),
    get("/v1/tokens", "listTokens",
        "API tokens for an organization or a project, or for everything", &ACCESS, "Tokens",
        &[403, 404, 422]),
    post("/v1/tokens", "issueToken",
        "Make an API token, whose text is in this answer only. It falls with the token that asks, \
         whose access is `delegate`",
        "NewToken", None, "IssuedToken", &[403, 404]),
    delete("/v1/tokens/{id}", "revokeToken",
        "End an API token, with those that it made. The access of the token that asks is \
         `delegate`, or it ends itself", &[], "EndedToken", &[403, 404]),
    get("/v1/organizations", "listOrganizations", "The registered organizations", &PAGE,
        "Organizations", &[403, 422]),
    get("/v1/organizations/{organization}", "seeOrganization", "A registered organization", &[],
        "Organization", &[403, 404]),
    put("/v1/organizations/{organization}", "putOrganization",
        "Register an organization, in place of what was registered", "PutOrganization",
        Some("Organization"), "Organization", &[403, 404, 409]),
    delete("/v1/organizations/{organization}", "deleteOrganization",
        "End a registration; secrets lie dormant, or go with `purge`", &["purge"], "Deleted",
        &[403, 409]),
    get("/v1/projects", "listProjects", "The registered projects", &PAGE, "Projects", &[403, 422]),
    get("/v1/projects/{project}", "seeProject", "A registered project", &[], "Project",
        &[403, 404]),
    put("/v1/projects/{project}", "putProject",
        "Register a project, in place of what was registered", "PutProject",
        Some("Project"), "Project", &[403, 404, 409]),
    delete("/v1/projects/{project}", "deleteProject",
        "End a registration; secrets lie dormant, or go with `purge`", &["purge"], "Deleted",
        &[403, 409]),
    get("/v1/audit", "readAudit", "What was done and what was denied, the newest first", &FILTER,
        "Audit", &[403, 404, 422]),
];

type Query = &'static [&'static str];

const fn plain(method: &'static str, path: &'static str, id: &'static str) -> Operation {
    Operation {
        method,
        path,
        id,
        summary: "",
        query: &[],
        body: None,
        done: None,
        made: None,
        problems: &[],
    }
}

const fn get(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    query: Query,
    of: &'static str,
    problems: &'static [u16],
) -> Operation {
    Operation { summary, query, done: Some(of), problems, ..plain("get", path, id) }
}

const fn delete(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    query: Query,
    of: &'static str,
    problems: &'static [u16],
) -> Operation {
    Operation { summary, query, done: Some(of), problems, ..plain("delete", path, id) }
}

const fn post(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: &'static str,
    done: Option<&'static str>,
    made: &'static str,
    problems: &'static [u16],
) -> Operation {
    Operation {
        summary,
        body: Some(body),
        done,
        made: Some(made),
        problems,
        ..plain("post", path, id)
    }
}

const fn put(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: &'static str,
    done: Option<&'static str>,
    made: &'static str,
    problems: &'static [u16],
) -> Operation {
    Operation {
        summary,
        body: Some(body),
        done,
        made: Some(made),
        problems,
        ..plain("put", path, id)
    }
}

/// What a problem's kinds are, by its status.
fn kinds(status: u16) -> &'static [&'static str] {
    match status {
        400 => &["request_invalid"],
        401 => &["unauthenticated", "token_invalid"],
        403 => &["read_only", "operator_only", "no_delegation"],
        404 => &["not_found"],
        408 => &["body_too_slow"],
        409 => &["secret_exists", "organization_in_use", "registration_off"],
        411 => &["length_required"],
        413 => &["body_too_large"],
        415 => &["media_type"],
        422 => &[
            "invalid",
            "level_disabled",
            "not_registered",
            "not_a_member",
            "organization_unknown",
            "secret_twice",
            "idempotency_mismatch",
        ],
        429 => &["rate_limited"],
        500 => &[
            "internal",
            "store_damaged",
            "store_failed",
            "store_missing",
            "store_replaced",
            "store_read_only",
            "store_forbidden",
            "store_commit_unknown",
            "key_of_another_store",
            "secret_damaged",
        ],
        503 => &[
            "timeout",
            "store_locked",
            "store_contended",
            "store_unreachable",
            "store_full",
            "store_busy",
            "secret_gone",
        ],
        _ => panic!("{status}"),
    }
}

fn reference(schema: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn operation(of: &Operation) -> Json {
    let mut parameters = in_path(of.path);
    parameters.extend(of.query.iter().map(|name| in_query(name)));
    let mut responses = serde_json::Map::new();
    let successes = [(200, of.done), (201, of.made)];
    for (status, schema) in successes.into_iter().filter_map(|(status, of)| Some((status, of?))) {
        let mut response = json!({
            "description": if status == 201 { "Made" } else { "Done" },
            "content": {"application/json": {
                "schema": reference(schema), "example": examples::of(schema),
            }},
        });
        if status == 201 {
            let text = json!({ "type": "string" });
            response["headers"] =
                json!({"Location": {"schema": text, "description": "Where it is"}});
        }
        responses.insert(status.to_string(), response);
    }
    let mut problems: BTreeSet<u16> = [400, 401, 429, 500, 503].into();
    problems.extend(of.problems);
    if of.body.is_some() {
        problems.extend([408, 411, 413, 415, 422]);
    }
    for status in problems {
        let reference = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.insert(status.to_string(), reference);
    }
    let mut operation = json!({
        "operationId": of.id, "summary": of.summary, "responses": responses,
    });
    if let Some(body) = of.body {
        let content = json!({ "schema": reference(body), "examples": examples::requests(body) });
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": content } });
        if matches!(body, "NewSecret" | "Import") {
            parameters.push(json!({
                "in": "header", "name": wire::IDEMPOTENCY_KEY,
                "description": "Marks repetitions of one request: within 24 hours they get the \
                                first one's answer. What makes requests the same is all but the \
                                values",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            }));
        }
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    operation
}

fn document() -> Json {
    let types = serde_json::to_value(Types::openapi()).unwrap();
    let mut schemas = types["components"]["schemas"].clone();
    schemas["IssuedToken"] = json!({
        "description": "A new API token: its facts and, this once, its text.",
        "allOf": [reference("Token"), {
            "type": "object", "required": ["token"],
            "properties": {"token": {"type": "string", "description": "The token itself"}},
        }],
    });
    let mut paths = json!({"/openapi.json": {"get": {
        "operationId": "document", "summary": "This document", "security": [],
        "responses": {"200": {"description": "It", "content": {"application/json": {
            "schema": {"type": "object"},
        }}}},
    }}});
    for of in OPERATIONS {
        paths[of.path][of.method] = operation(of);
    }
    let mut responses = serde_json::Map::new();
    for status in [400, 401, 403, 404, 408, 409, 411, 413, 415, 422, 429, 500, 503] {
        let known: Vec<String> = kinds(status).iter().map(|kind| format!("`{kind}`")).collect();
        let title = axum::http::StatusCode::from_u16(status).unwrap();
        let title = title.canonical_reason().unwrap();
        let example = json!({
            "type": "about:blank", "title": title, "status": status, "detail": "…",
            "kind": kinds(status)[0],
        });
        let content = json!({ "schema": reference("Problem"), "example": example });
        let mut response = json!({
            "description": format!("{title}; `kind` is {}", known.join(", ")),
            "content": { "application/problem+json": content },
        });
        if matches!(status, 429 | 503) {
            response["headers"] = json!({"Retry-After": {
                "schema": {"type": "integer"}, "description": "Seconds to wait",
            }});
        }
        responses.insert(status.to_string(), response);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "qgis-secrets", "version": env!("CARGO_PKG_VERSION"),
            "description": "Adds, lists and removes the secrets of headless QGIS jobs. No answer \
                            ever holds a secret's value.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "An API token: `qgis_secrets_…`",
            }},
        },
    })
}

/// `UPDATE=1 cargo test --lib the_document` writes it.
#[test]
fn the_document_is_the_committed_one() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        use std::io::Write as _;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/openapi.json");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        return;
    }
    assert_eq!(DOCUMENT, text);
}

#[test]
fn routes_and_document_agree() {
    let routed: BTreeSet<(String, String)> = routes()
        .into_iter()
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    let document = document();
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(routed, documented);
}

/// Every reference leads somewhere.
#[test]
fn references_are_resolved() {
    fn walk(at: &Json, document: &Json) {
        match at {
            Json::Object(members) => {
                if let Some(Json::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|member| walk(member, document));
            }
            Json::Array(items) => items.iter().for_each(|item| walk(item, document)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
}
