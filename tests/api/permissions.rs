//! Every route with every kind of token; the routes of jobs and people with none of them.

use std::collections::BTreeSet;

use super::*;
use crate::stores::cluster::private;

/// Who asks, in the order of the columns: an operator, an admin of the organization `org`, an admin
/// of its project `survey`, an admin of another organization's project, an admin of that
/// organization.
fn callers() -> [(&'static str, Grant); 5] {
    [
        ("operator", Grant::Operator),
        ("organization", Grant::OrganizationAdmin(id("org"))),
        ("project", Grant::ProjectAdmin(id("survey"))),
        ("stranger", Grant::ProjectAdmin(id(AWKWARD))),
        ("other", Grant::OrganizationAdmin(id("other"))),
    ]
}

/// What a row needs, and what each caller gets whose token has that access. Whose hasn't, gets 403
/// where these have a success, and else the same.
type Cells = (Access, [u16; 5]);

const EVERYBODY: Cells = (Access::Read, [200; 5]);
const OPERATOR: Cells = (Access::Manage, [200, 403, 403, 403, 403]);
const SEES_ORGANIZATION: Cells = (Access::Read, [200, 200, 404, 404, 404]);
const SEES_PROJECT: Cells = (Access::Read, [200, 200, 200, 404, 404]);
const CHANGES_ORGANIZATION: Cells = (Access::Manage, [200, 200, 404, 404, 404]);
const CHANGES_PROJECT: Cells = (Access::Manage, [200, 200, 200, 404, 404]);
const ADDS_TO_ORGANIZATION: Cells = (Access::Manage, [201, 201, 404, 404, 404]);
const ADDS_TO_PROJECT: Cells = (Access::Manage, [201, 201, 201, 404, 404]);
const GIVES: Cells = (Access::Delegate, [201, 201, 201, 404, 404]);
const TAKES: Cells = (Access::Delegate, [200, 200, 200, 404, 404]);

/// A row: the route, the path that is asked (`@secret`, `@grant` and `@token` are new ones of the
/// project `survey`), the body, and what each caller gets.
type Row = (&'static str, &'static str, String, Json, Cells);

fn rows() -> Vec<Row> {
    let add = json!({"kind": "envvar", "key": "API_KEY", "value": "s3cr3t-key", "replace": true});
    let import = json!({"format": "dotenv", "text": "A=one-two-three\n", "replace": true});
    let grant = json!({"subject": "eve", "role": "project_admin", "project": "survey"});
    let token = json!({"name": "t", "role": "project_admin", "project": "survey"});
    let organization = json!({"members": ["ada", "bo"], "admins": ["olga"]});
    let project = json!({"organization": "org", "members": ["ada"], "admins": ["pia"]});
    let none = Json::Null;
    let organizations = "/v1/organizations/{organization}";
    let projects = "/v1/projects/{project}";
    let row = |method, route, path: &str, body: &Json, expected| {
        (method, route, path.to_owned(), body.clone(), expected)
    };
    let secrets = |of: &'static str| -> &'static str {
        if of == organizations {
            "/v1/organizations/{organization}/secrets"
        } else {
            "/v1/projects/{project}/secrets"
        }
    };
    vec![
        row("GET", "/v1/whoami", "/v1/whoami", &none, EVERYBODY),
        row(
            "GET",
            secrets(organizations),
            "/v1/organizations/org/secrets",
            &none,
            SEES_ORGANIZATION,
        ),
        row(
            "POST",
            secrets(organizations),
            "/v1/organizations/org/secrets",
            &add,
            ADDS_TO_ORGANIZATION,
        ),
        row(
            "DELETE",
            secrets(organizations),
            "/v1/organizations/org/secrets",
            &none,
            CHANGES_ORGANIZATION,
        ),
        row(
            "POST",
            "/v1/organizations/{organization}/secrets/import",
            "/v1/organizations/org/secrets/import",
            &import,
            ADDS_TO_ORGANIZATION,
        ),
        row("GET", secrets(projects), "/v1/projects/survey/secrets", &none, SEES_PROJECT),
        row("POST", secrets(projects), "/v1/projects/survey/secrets", &add, ADDS_TO_PROJECT),
        row("DELETE", secrets(projects), "/v1/projects/survey/secrets", &none, CHANGES_PROJECT),
        row(
            "POST",
            "/v1/projects/{project}/secrets/import",
            "/v1/projects/survey/secrets/import",
            &import,
            ADDS_TO_PROJECT,
        ),
        row("GET", "/v1/secrets/{id}", "/v1/secrets/@secret", &none, SEES_PROJECT),
        row("DELETE", "/v1/secrets/{id}", "/v1/secrets/@secret", &none, CHANGES_PROJECT),
        row("DELETE", "/v1/users/{user}/secrets", "/v1/users/ada/secrets", &none, OPERATOR),
        row(
            "GET",
            "/v1/projects/{project}/explain",
            "/v1/projects/survey/explain?user=ada",
            &none,
            SEES_PROJECT,
        ),
        row("GET", "/v1/grants", "/v1/grants?project=survey", &none, CHANGES_PROJECT),
        row("GET", "/v1/grants", "/v1/grants", &none, OPERATOR),
        row("GET", "/v1/grants", "/v1/grants?all=true", &none, OPERATOR),
        row("POST", "/v1/grants", "/v1/grants", &grant, GIVES),
        row("DELETE", "/v1/grants/{id}", "/v1/grants/@grant", &none, TAKES),
        row("GET", "/v1/tokens", "/v1/tokens?project=survey", &none, CHANGES_PROJECT),
        row("GET", "/v1/tokens", "/v1/tokens", &none, OPERATOR),
        row("GET", "/v1/tokens", "/v1/tokens?all=true", &none, OPERATOR),
        row("POST", "/v1/tokens", "/v1/tokens", &token, GIVES),
        row("DELETE", "/v1/tokens/{id}", "/v1/tokens/@token", &none, TAKES),
        row("GET", "/v1/organizations", "/v1/organizations", &none, OPERATOR),
        row("GET", organizations, "/v1/organizations/org", &none, OPERATOR),
        row("PUT", organizations, "/v1/organizations/org", &organization, OPERATOR),
        row("DELETE", organizations, "/v1/organizations/gone", &none, OPERATOR),
        row("GET", "/v1/projects", "/v1/projects", &none, OPERATOR),
        row("GET", projects, "/v1/projects/survey", &none, OPERATOR),
        row("PUT", projects, "/v1/projects/survey", &project, OPERATOR),
        row("DELETE", projects, "/v1/projects/gone", &none, OPERATOR),
        row("GET", "/v1/audit", "/v1/audit?project=survey", &none, CHANGES_PROJECT),
        row("GET", "/v1/audit", "/v1/audit", &none, OPERATOR),
    ]
}

/// The path with what it names made anew, for it may be gone by now.
fn prepared(service: &Service, path: &str) -> String {
    let made = if path.contains("@secret") {
        let add = json!({"kind": "envvar", "key": "MADE", "value": "made-anew", "replace": true});
        let added = service.post("/v1/projects/survey/secrets", add).with(201);
        added["secrets"][0]["id"].as_str().unwrap().to_owned()
    } else if path.contains("@grant") {
        service.grant("eve")
    } else if path.contains("@token") {
        service.issue("t", Grant::ProjectAdmin(id("survey")), Access::Manage).0
    } else {
        String::new()
    };
    path.replace("@secret", &made).replace("@grant", &made).replace("@token", &made)
}

#[test]
fn the_matrix() {
    is_the_matrix(&Service::new());
}

#[test]
fn the_matrix_on_postgres() {
    let database = crate::stores::cluster::Database::new();
    let sandbox = Sandbox::new();
    let directory = sandbox.path(".config/qgis-secrets");
    std::fs::create_dir_all(&directory).unwrap();
    private(&directory.join("settings.toml"), &database.section());
    let place = settings::Place::Postgres(Box::new(database.settings()));
    let settings = format!("{}{SETTINGS}", database.section());
    is_the_matrix(&Service::at(place, sandbox, &settings));
}

fn is_the_matrix(service: &Service) {
    let mut tokens = Vec::new();
    for (caller, grant) in callers() {
        for access in Access::ALL {
            tokens.push((caller, access, service.issue(caller, grant.clone(), access).1));
        }
    }
    let mut wrong = Vec::new();
    for (method, _, path, body, (needs, expected)) in rows() {
        for (index, (caller, access, token)) in tokens.iter().enumerate() {
            let path = prepared(service, &path);
            let body = Some(&body).filter(|body| !body.is_null());
            let answer = service.bearing(token, method, &path, body);
            let expected = match expected[index / Access::ALL.len()] {
                200..300 if *access < needs => 403,
                status => status,
            };
            if answer.status != expected {
                wrong.push(format!("{caller}, {access}, {method} {path}: {expected}: {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whoever has no token that works gets 401, whatever else they bring, and nothing is done.
#[test]
fn without_a_token_nothing_is_answered() {
    let service = Service::new();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let token = service.tokens["operator"].clone();
    let job = job_token(&service, "1");
    let mut changed = token.clone();
    changed.replace_range(token.len() - 1.., if token.ends_with('0') { "1" } else { "0" });
    let callers = [
        ("none", String::new(), "unauthenticated"),
        ("garbage", bearer("garbage"), "token_invalid"),
        ("empty", bearer(""), "unauthenticated"),
        ("a job's token, which is right", bearer(&job), "token_invalid"),
        ("expired", bearer(&service.tokens["expired"]), "token_invalid"),
        ("revoked", bearer(&service.tokens["revoked"]), "token_invalid"),
        ("one digit off", bearer(&changed), "token_invalid"),
        ("other scheme", format!("Authorization: Basic {token}\r\n"), "unauthenticated"),
        ("two", bearer(&token).repeat(2), "unauthenticated"),
        (
            "cookie",
            format!("Cookie: session={token}; __Host-session={token}\r\n"),
            "unauthenticated",
        ),
    ];
    for (method, _, path, body, _) in rows() {
        let path = prepared(&service, &path);
        let body = Some(body.to_string()).filter(|body| body != "null");
        for (caller, headers, kind) in &callers {
            let answer = service.send(method, &path, headers, body.as_deref());
            assert_eq!(answer.status, 401, "{caller} {method} {path}: {answer:?}");
            answer.problem(401, kind);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    // Not in the address either.
    let answer = service.send("GET", &format!("/v1/whoami?access_token={token}"), "", None);
    answer.problem(401, "unauthenticated");
    assert!(!service.log().contains(&token));
    let made = service.get("/v1/audit?action=secret.purge").with(200);
    assert_eq!(made["rows"], json!([]));
}

/// The token of a job of `survey` for ada.
fn job_token(service: &Service, jti: &str) -> String {
    service.orchestrator.claiming(json!({
        "aud": "qgis-secrets", "exp": jiff::Timestamp::now().as_second() + 600, "jti": jti,
        "job": "job-1", "organization": "org", "project": "survey", "user": "ada",
    }))
}

/// Jobs get their secrets by their own tokens. Whoever administers them gets none.
#[test]
fn no_api_token_is_a_jobs() {
    let service = Service::new();
    let value = "known-to-jobs-9a1";
    service.post("/v1/projects/survey/secrets", variable("API_KEY", value)).with(201);
    let request = json!({
        "version": 1, "job": {"id": "job-1", "attempt": 1}, "organization": "org",
        "project": "survey", "user": "ada", "require": [],
    });
    let resolve = |token: &str| service.bearing(token, "POST", "/v1/resolve", Some(&request));
    let mut tokens = vec![String::new()];
    for (caller, grant) in callers() {
        for access in Access::ALL {
            tokens.push(service.issue(caller, grant.clone(), access).1);
        }
    }
    tokens.extend(service.tokens.values().cloned());
    for token in &tokens {
        let answer = resolve(token);
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(!answer.body.contains(value), "{answer:?}");
    }
    // The same request with a job's token.
    let answer = resolve(&job_token(&service, "1"));
    assert!(answer.status == 200 && answer.body.contains(value), "{answer:?}");
    for method in ["GET", "PUT", "DELETE"] {
        let answer = service.bearing(&tokens[1], method, "/v1/resolve", None);
        assert!([404, 405].contains(&answer.status), "{answer:?}");
    }
}

/// The page is for people who logged in: no token opens any of its routes.
#[test]
fn no_token_opens_the_page() {
    let service = Service::new();
    let value = "known-to-jobs-9a1";
    let added = service.post("/v1/projects/survey/secrets", variable("API_KEY", value)).with(201);
    let secret = added["secrets"][0]["id"].as_str().unwrap();
    let routes = people::routes();
    assert!(routes.len() > 30, "{routes:?}");
    for (route, post) in routes {
        let place = if route.starts_with("/projects") { "survey" } else { "org" };
        let path = route.replace("{id}", place).replace("{item}", secret);
        for token in [&service.tokens["delegate"], &job_token(&service, "1")] {
            for headers in [
                format!("Authorization: Bearer {token}\r\n"),
                format!("Cookie: qgis_secrets={token}\r\n"),
                format!("Accept: text/html\r\nAuthorization: Bearer {token}\r\n"),
            ] {
                let method = if post { "POST" } else { "GET" };
                let form = "Content-Type: application/x-www-form-urlencoded\r\n";
                let headers = format!("{headers}{}", if post { form } else { "" });
                let body = post.then_some("csrf=x&subject=eve&name=t&access=delegate&days=1");
                let answer = service.send_to(&service.address, method, &path, &headers, body);
                let login = answer.header("location").is_some_and(|to| to.starts_with("/login"));
                let refused = (400..500).contains(&answer.status);
                assert!(refused || answer.status == 303 && login, "{path}: {answer:?}");
                assert!(!answer.body.contains(value) && !answer.body.contains("API_KEY"), "{path}");
            }
        }
    }
    assert_eq!(service.get(&format!("/v1/secrets/{secret}")).with(200)["key"], "API_KEY");
    assert_eq!(service.get("/v1/grants?project=survey").with(200)["grants"], json!([]));
}

/// What somebody may not see is answered, byte by byte, as what isn't there.
#[test]
fn nobody_learns_what_there_is() {
    let service = Service::new();
    let added =
        service.post("/v1/projects/survey/secrets", variable("API_KEY", "s3cr3t")).with(201);
    let secret = added["secrets"][0]["id"].as_str().unwrap();
    let grant = service.grant("eve");
    let token = service.issue("t", Grant::Operator, Access::Manage).0;
    let absent = "019ab2c4-0000-7000-8000-000000000000";
    for (there, not_there) in [
        ("/v1/projects/survey/secrets".to_owned(), "/v1/projects/nowhere/secrets".to_owned()),
        ("/v1/organizations/org/secrets".into(), "/v1/organizations/nowhere/secrets".into()),
        ("/v1/projects/survey/explain".into(), "/v1/projects/nowhere/explain".into()),
        (format!("/v1/secrets/{secret}"), format!("/v1/secrets/{absent}")),
        ("/v1/grants?project=survey".into(), "/v1/grants?project=nowhere".into()),
        ("/v1/tokens?organization=org".into(), "/v1/tokens?organization=nowhere".into()),
        ("/v1/audit?project=survey".into(), "/v1/audit?project=nowhere".into()),
    ] {
        let (one, other) = (
            service.ask("stranger", "GET", &there, None),
            service.ask("stranger", "GET", &not_there, None),
        );
        one.problem(404, "not_found");
        assert_eq!((one.status, one.body), (other.status, other.body), "{there}");
    }
    for (there, not_there) in [
        (format!("/v1/secrets/{secret}"), format!("/v1/secrets/{absent}")),
        (format!("/v1/grants/{grant}"), format!("/v1/grants/{absent}")),
        (format!("/v1/tokens/{token}"), "/v1/tokens/0123456789abcdef".into()),
    ] {
        let (one, other) = (
            service.ask("stranger", "DELETE", &there, None),
            service.ask("stranger", "DELETE", &not_there, None),
        );
        one.problem(404, "not_found");
        assert_eq!((one.status, one.body), (other.status, other.body), "{there}");
    }
}

/// The matrix has every route of the document, and no other.
#[test]
fn no_route_is_left_out() {
    let documented: BTreeSet<(String, String)> =
        operations().into_iter().map(|(method, path, _)| (method, path)).collect();
    let tried: BTreeSet<(String, String)> =
        rows().into_iter().map(|(method, route, ..)| (method.into(), route.into())).collect();
    assert_eq!(tried, documented);
}

/// A token that lost its rights has lost them at once.
#[test]
fn a_revoked_token_works_no_more() {
    let service = Service::new();
    let (id, text) = service.issue("t", Grant::ProjectAdmin(id("survey")), Access::Manage);
    let headers = format!("Authorization: Bearer {text}\r\n");
    let ask = || service.send("GET", "/v1/projects/survey/secrets", &headers, None);
    assert_eq!(ask().status, 200);
    service.ask("project-delegate", "DELETE", &format!("/v1/tokens/{id}"), None).with(200);
    ask().problem(401, "token_invalid");
}
