//! What is sent: too much, nonsense, tricks.

use super::*;

const SURVEY: &str = "/v1/projects/survey/secrets";

#[test]
fn an_id_is_one_segment() {
    let service = Service::new();
    for path in ["ninja%2Ffield%40x%2B1", "ninja%2ffield@x+1", "%6Einja%2Ffield%40x%2B1"] {
        let answer = service.ask("stranger", "GET", &format!("/v1/projects/{path}/secrets"), None);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for (path, status, kind) in [
        ("ninja/field@x+1", 404, "not_found"),
        ("ninja%252Ffield@x+1", 400, "request_invalid"),
        ("..", 400, "request_invalid"),
        ("%2e%2e", 400, "request_invalid"),
        ("..%2Fsurvey", 400, "request_invalid"),
        ("survey%2F..%2Fsurvey", 400, "request_invalid"),
        ("survey%00", 400, "request_invalid"),
        ("%ff", 400, "request_invalid"),
        // `.` and `/` in more bytes than they need, and half a pair of UTF-16.
        ("%c0%ae%c0%ae", 400, "request_invalid"),
        ("survey%c0%af..", 400, "request_invalid"),
        ("%e0%80%ae%e0%80%ae", 400, "request_invalid"),
        ("%f0%80%80%ae", 400, "request_invalid"),
        ("%ed%a0%80", 400, "request_invalid"),
        ("%u002e%u002e", 400, "request_invalid"),
        ("%252e%252e", 400, "request_invalid"),
        ("..%5c..%5csurvey", 400, "request_invalid"),
        ("survey;x=1", 400, "request_invalid"),
        ("%", 400, "request_invalid"),
        ("%2", 400, "request_invalid"),
        ("survey%20", 400, "request_invalid"),
        ("sur%76ey%0a", 400, "request_invalid"),
        ("", 400, "request_invalid"),
        ("SURVEY", 404, "not_found"),
        ("survey/", 404, "not_found"),
    ] {
        let path = format!("/v1/projects/{path}/secrets");
        let answer = service.ask("project", "GET", &path, None);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.problem(status, kind);
    }
    let long = "x".repeat(256);
    service.get(&format!("/v1/projects/{long}/secrets")).problem(400, "request_invalid");
    service.get(&format!("/v1/secrets/{long}")).problem(404, "not_found");
    for id in ["%00", "..", "%27%20OR%201=1%20--", "019ab2c4%2F.."] {
        service.get(&format!("/v1/secrets/{id}")).problem(404, "not_found");
    }
}

#[test]
fn a_body_is_json_and_nothing_else() {
    let service = Service::new();
    let bearer = format!("Authorization: Bearer {}\r\n", service.tokens["operator"]);
    let post = |headers: &str, body: &str| {
        service.send("POST", SURVEY, &format!("{bearer}{headers}"), Some(body))
    };
    let fine = variable("A", "one-two-three").to_string();
    post("Content-Type: application/json; charset=utf-8\r\n", &fine).with(201);
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let answer = post(&format!("Content-Type: {media}\r\n"), &fine);
        answer.problem(415, "media_type");
    }
    for body in ["", "{", "null", "[]", "7", "{\"kind\":\"envvar\"}}", "\u{feff}{}", "{\"kind\":1}"]
    {
        let answer = post("", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        answer.problem(400, "request_invalid");
    }
    let twice = "{\"kind\":\"envvar\",\"key\":\"A\",\"key\":\"B\",\"value\":\"x\"}";
    let problem = post("", twice).problem(400, "request_invalid");
    assert!(problem["detail"].as_str().unwrap().contains("duplicate member `key`"), "{problem}");
    let nested =
        "{\"kind\":\"pgservice\",\"fields\":{\"service\":\"a\",\"host\":\"a\",\"host\":\"b\"}}";
    let problem = post("", nested).problem(400, "request_invalid");
    assert!(problem["detail"].as_str().unwrap().contains("duplicate member `host`"), "{problem}");
    for number in ["1e400", "99999999999999999999999999", "-1", "1.5", "-0.0", "1E+2", "01"] {
        let body = format!(
            "{{\"name\":\"t\",\"role\":\"project_admin\",\"project\":\"survey\",\"days\":{number}}}"
        );
        let bearer = format!("Authorization: Bearer {}\r\n", service.tokens["delegate"]);
        let answer = service.send("POST", "/v1/tokens", &bearer, Some(&body));
        assert_eq!(answer.status, 400, "{number}: {answer:?}");
        answer.problem(400, "request_invalid");
    }
    let wide = format!("{{{}\"kind\":\"envvar\"}}", "\"a\":1,".repeat(50_000));
    post("", &wide).problem(400, "request_invalid");
    let open = format!("{{\"kind\":{}1", "{\"a\":".repeat(100_000));
    post("", &open).problem(400, "request_invalid");
    let mistyped = "{\"kind\":\"envvar\",\"key\":\"A\",\"vlaue\":\"hunter2\"}";
    let problem = post("", mistyped).problem(400, "request_invalid");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`vlaue` is not known here") && detail.contains("`value`"), "{detail}");
    let pasted = "{\"kind\":\"envvar\",\"Hunter2 pasted\":\"x\"}";
    let problem = post("", pasted).problem(400, "request_invalid");
    assert!(!problem.to_string().contains("unter2"), "{problem}");
    let deep = format!("{{\"fields\":{}", "[".repeat(100_000));
    post("", &deep).problem(400, "request_invalid");
    let large = variable("A", &"x".repeat(1024 * 1024)).to_string();
    post("", &large).problem(413, "body_too_large");
    let nul = "{\"kind\":\"envvar\",\"key\":\"A\",\"value\":\"a\\u0000b\"}";
    post("", nul).problem(422, "invalid");
}

#[test]
fn a_query_holds_what_is_known() {
    let service = Service::new();
    for (path, field) in [
        ("/v1/whoami?limit=1", "limit"),
        ("/v1/projects/survey/secrets?limti=1", "limti"),
        ("/v1/projects/survey/secrets?limit=1&limit=2", "limit"),
        ("/v1/projects/survey/secrets?dry_run=true", "dry_run"),
        ("/v1/grants?organization=org&project=survey", "project"),
        ("/v1/grants?project=a%20b", "project"),
        ("/v1/grants?project=survey&all=true", "all"),
        ("/v1/tokens?all=yes", "all"),
        ("/v1/tokens?organization=org&project=survey", "project"),
        ("/v1/audit?organization=org&project=survey", "project"),
        ("/v1/grants?project=survey&project=home", "project"),
        ("/v1/projects/survey/explain?user=ada&user=bo", "user"),
        ("/v1/projects/survey/explain?organization=org&organization=other", "organization"),
        ("/v1/audit?limit=99999999999999999999999999", "limit"),
        ("/v1/audit?limit=1e2", "limit"),
        ("/v1/audit?limit=%2B5", "limit"),
        ("/v1/audit?limit=0x10", "limit"),
        ("/v1/audit?since=today", "since"),
        ("/v1/projects/survey/explain?user=%ff", "user"),
        ("/v1/whoami?Hunter2%20=x", "one"),
    ] {
        let problem = service.get(path).problem(400, "request_invalid");
        assert_eq!(problem["errors"][0]["field"], field, "{path}");
    }
    for path in [&format!("{SURVEY}?dry_run=yes"), "/v1/projects/gone?purge=1"] {
        service.ask("operator", "DELETE", path, None).problem(400, "request_invalid");
    }
    let long = "x".repeat(9000);
    service.get(&format!("/v1/audit?actor={long}")).problem(400, "request_invalid");
}

/// Text that is markup or SQL elsewhere is text here.
#[test]
fn hostile_text_is_text() {
    let service = Service::new();
    let name = "<script>alert(1)</script>' OR 1=1; DROP TABLE secret; --";
    let add = json!({"kind": "pgservice", "fields": {"service": name, "host": "h"}});
    let added = service.post(SURVEY, add).with(201);
    assert_eq!(added["secrets"][0]["key"], name);
    let listed = service.get(SURVEY);
    assert_eq!(listed.with(200)["secrets"][0]["key"], name);
    assert_eq!(listed.header("content-type"), Some("application/json"));
    assert_eq!(listed.header("x-content-type-options"), Some("nosniff"));
    for filter in ["actor", "action", "decision"] {
        let path = format!("/v1/audit?{filter}=%27%20OR%201=1%20--%20%3Cb%3E");
        assert_eq!(service.get(&path).with(200)["rows"], json!([]));
    }
    service.get("/v1/projects?after=%27%20OR%201=1").problem(422, "invalid");
    let (_, text) = service.issue("<img src=x onerror=alert(1)>'", Grant::Operator, Access::Read);
    let headers = format!("Authorization: Bearer {text}\r\n");
    let me = service.send("GET", "/v1/whoami", &headers, None).with(200);
    assert_eq!(me["name"], "<img src=x onerror=alert(1)>'");
    assert_eq!(service.get(SURVEY).with(200)["secrets"].as_array().unwrap().len(), 1);
}

#[test]
fn other_methods_and_addresses_are_problems() {
    let service = Service::new();
    let answer = service.ask("operator", "PATCH", SURVEY, None);
    answer.problem(405, "method_not_allowed");
    let allowed = answer.header("allow").unwrap();
    assert!(allowed.contains("POST") && allowed.contains("DELETE"), "{allowed}");
    service.get("/v1/nothing").problem(404, "not_found");
    service.get("/v1").problem(404, "not_found");
    let document = service.send("GET", "/openapi.json", "", None).with(200);
    assert_eq!(document["openapi"], "3.1.0");
}

/// One token's flood is bounded, and another's requests go on.
#[test]
fn a_flood_of_one_token_is_bounded() {
    let settings = "[service.membership]\nmode = 'registered'\n\
                    [service.limits]\nrequests_per_second = 1\n";
    let service = Service::with(settings);
    let limited = (0..20).map(|_| service.ask("project", "GET", "/v1/whoami", None));
    let limited: Vec<Answer> = limited.filter(|answer| answer.status != 200).collect();
    assert!(!limited.is_empty());
    for answer in limited {
        answer.problem(429, "rate_limited");
        assert!(answer.header("retry-after").is_some());
    }
    service.ask("organization", "GET", "/v1/whoami", None).with(200);
}

/// What is SQL elsewhere, in each parameter and each member of each body that the document has.
#[test]
fn sql_is_text_in_every_field() {
    let service = Service::new();
    // What a project's admin never sees, and would if a condition were widened.
    let foreign = "FOREIGN_CANARY";
    for path in ["/v1/projects/home/secrets", "/v1/organizations/org/secrets"] {
        service.post(path, variable(foreign, "not-to-be-seen")).with(201);
    }
    let organizations = Grant::OrganizationAdmin(id("org"));
    let given = service.administration.grant(&service.operator, foreign, &organizations);
    service.runtime.block_on(given).unwrap();
    service.issue(foreign, organizations, Access::Read);
    let own = service.post(SURVEY, variable("OWN", "one-two-three")).with(201);
    let own = own["secrets"][0]["id"].as_str().unwrap().to_owned();
    let before = counts(&service);
    let mut sent = 0;
    for sql in [
        "' OR '1'='1",
        "'; DROP TABLE secret; DELETE FROM api_token; --",
        "\"; DELETE FROM audit; --",
        "x' UNION SELECT id, digest, name FROM api_token --",
        "x' UNION ALL SELECT key FROM secret --",
        "'",
        "'OR'1'='1",
        "'--",
        "$1",
        "?1",
        "%",
        "\\' OR 1=1 --",
    ] {
        for (method, path, body) in requests(sql) {
            let path = path.replace("{organization}", "org").replace("{project}", "survey");
            let path = path.replace("{id}", "none").replace("{user}", "nobody");
            let answer = service.ask("project-delegate", &method, &path, body.as_ref());
            assert!(answer.status < 500, "{method} {path} {body:?}: {answer:?}");
            assert!(!answer.body.contains(foreign), "{method} {path} {body:?}: {answer:?}");
            sent += 1;
        }
        let bearer = service.tokens["project-delegate"].clone();
        for headers in [
            format!("Authorization: Bearer {bearer}{sql}\r\n"),
            format!("Authorization: Bearer {}{sql}\r\n", &bearer[..29]),
        ] {
            let answer = service.send("GET", "/v1/whoami", &headers, None);
            assert_eq!(answer.status, 401, "{headers}: {answer:?}");
        }
        let key = sql.replace(' ', "/**/");
        let headers = format!("Authorization: Bearer {bearer}\r\nIdempotency-Key: {key}\r\n");
        let add = variable("KEYED", "one-two-three").to_string();
        let answer = service.send("POST", SURVEY, &headers, Some(&add));
        assert!([201, 409].contains(&answer.status), "{key}: {answer:?}");
    }
    assert!(sent > 500, "{sent}");
    // All that was there is there still, and is what it was.
    service.get(&format!("/v1/secrets/{own}")).with(200);
    for (table, had, has) in
        before.iter().zip(counts(&service)).map(|((table, had), (_, has))| (table, *had, has))
    {
        assert!(has >= had, "{table}: {had}, {has}");
        if ["organization", "project", "member", "recipient"].contains(&table.as_str()) {
            assert_eq!(has, had, "{table}");
        }
    }
}

/// How many rows each table has; the database is whole.
fn counts(service: &Service) -> Vec<(String, i64)> {
    let database = rusqlite::Connection::open(service.sandbox.store()).unwrap();
    let whole: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let tables = qgis_secrets::store::schema::tables(qgis_secrets::store::schema::VERSION);
    let count = |name: &str| {
        let sql = format!("SELECT count(*) FROM {name}");
        database.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    tables.iter().map(|table| (table.name.to_owned(), count(table.name))).collect()
}

/// Requests with `text` at one place each: every parameter of every path and query, and every text
/// in the examples of every body.
fn requests(text: &str) -> Vec<(String, String, Option<Json>)> {
    let encoded = qgis_secrets::wire::management::segment(text);
    let mut all = Vec::new();
    for (method, path, operation) in operations() {
        let examples = &operation["requestBody"]["content"]["application/json"]["examples"];
        let examples: Vec<Json> = examples
            .as_object()
            .map(|named| named.values().map(|example| example["value"].clone()).collect())
            .unwrap_or_default();
        let body = examples.first().cloned();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let path = match parameter["in"].as_str().unwrap() {
                "path" => path.replace(&format!("{{{name}}}"), &encoded),
                "query" => format!("{path}?{name}={encoded}"),
                _ => continue,
            };
            all.push((method.clone(), path, body.clone()));
        }
        for example in examples {
            let mut places = Vec::new();
            texts(&example, &mut String::new(), &mut places);
            for place in places {
                let mut body = example.clone();
                *body.pointer_mut(&place).unwrap() = text.into();
                all.push((method.clone(), path.clone(), Some(body)));
            }
        }
    }
    all
}

/// Where texts stand in a document, as JSON pointers.
fn texts(value: &Json, at: &mut String, found: &mut Vec<String>) {
    let length = at.len();
    match value {
        Json::String(_) => found.push(at.clone()),
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push_str(&format!("/{index}"));
                texts(item, at, found);
                at.truncate(length);
            }
        }
        Json::Object(members) => {
            for (name, member) in members {
                at.push_str(&format!("/{name}"));
                texts(member, at, found);
                at.truncate(length);
            }
        }
        _ => {}
    }
}
