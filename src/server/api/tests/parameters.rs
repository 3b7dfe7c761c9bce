//! Parameters of the document's operations.

use serde_json::{Value as Json, json};

const ID: &str = "^[A-Za-z0-9][A-Za-z0-9._@+/-]{0,254}$";

/// A parameter of a query.
pub(super) fn in_query(name: &str) -> Json {
    let text = json!({ "type": "string", "maxLength": 300 });
    let id = json!({ "type": "string", "pattern": ID });
    let flag = json!({ "type": "boolean", "default": false });
    let of = |name: &str, description: &str, schema: Json| json!({ "in": "query", "name": name, "description": description, "schema": schema });
    match name {
        "limit" => of(
            name,
            "How many at most",
            json!({
                "type": "integer", "minimum": 1, "maximum": 500, "default": 100,
            }),
        ),
        "after" => of(name, "The `next` of the part before", text),
        "dry_run" => of(name, "Only say what would be removed", flag),
        "purge" => of(name, "Remove its secrets, grants and tokens too", flag),
        "organization" => of(name, "Of this organization; not beside `project`", id),
        "project" => of(name, "Of this project; not beside `organization`", id),
        "all" => of(
            name,
            "Everybody's, not only operators': of all organizations and projects too; not beside \
             `organization` or `project`",
            flag,
        ),
        "explain_organization" => of(
            "organization",
            "The organization that the job names. Where projects are registered: none is the \
             registered one, and a job that names another is refused",
            id,
        ),
        "user" => of(name, "The user that the job runs for; none: a system job", id),
        "require" => {
            let names = json!({"type": "string", "pattern": "^(envvar|pgservice):.+$"});
            of(
                name,
                "What the job requires, as `envvar:NAME` or `pgservice:NAME`",
                json!({"type": "array", "items": names}),
            )
        }
        "actor" => of(name, "Who did it, by subject", text),
        "action" => of(name, "What was done", text),
        "decision" => of(name, "`allowed` or `denied`", text),
        other => panic!("{other}"),
    }
}

/// The parameters of a path.
pub(super) fn in_path(path: &str) -> Vec<Json> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = match name {
                "id" => json!({ "type": "string", "minLength": 1 }),
                _ => json!({ "type": "string", "pattern": ID }),
            };
            json!({
                "in": "path", "name": name, "required": true, "schema": schema,
                "description": "One percent-encoded segment: `/` is `%2F`",
            })
        })
        .collect()
}
