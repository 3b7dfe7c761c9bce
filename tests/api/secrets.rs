//! Adding, importing, listing, removing, explaining; and that values never come back.

use super::*;

const SURVEY: &str = "/v1/projects/survey/secrets";
const ORGANIZATION: &str = "/v1/organizations/org/secrets";

#[test]
fn a_secret_is_added_seen_and_removed() {
    let service = Service::new();
    let own = service.post(SURVEY, variable("API_KEY", "s3cr3t-key"));
    let added = own.with(201);
    let secret = &added["secrets"][0];
    let location = own.header("location").unwrap();
    assert_eq!(location, format!("/v1/secrets/{}", secret["id"].as_str().unwrap()));
    assert_eq!(added["warnings"], json!([]));
    let mut seen = service.get(location).with(200);
    assert_eq!(seen["dormant"], false);
    seen.as_object_mut().unwrap().remove("dormant");
    assert_eq!(seen, *secret);
    for (member, expected) in [
        ("kind", json!("envvar")),
        ("key", json!("API_KEY")),
        ("level", json!("project")),
        ("owner", json!("survey")),
        ("user", Json::Null),
        ("sensitive", json!(true)),
        ("created_by", json!(format!("operator (token:{})", &service.tokens["operator"][13..29]))),
    ] {
        assert_eq!(secret[member], expected, "{member}");
    }
    service.post(SURVEY, variable("API_KEY", "another")).problem(409, "secret_exists");
    let mut again = variable("API_KEY", "another");
    again["replace"] = true.into();
    let replaced = service.post(SURVEY, again).with(201);
    service.get(location).problem(404, "not_found");
    let id = replaced["secrets"][0]["id"].as_str().unwrap();
    let organizations = service.post(ORGANIZATION, variable("API_KEY", "of-all")).with(201);
    let removed = service.ask("operator", "DELETE", &format!("/v1/secrets/{id}"), None).with(200);
    assert_eq!(removed["instead"]["id"], organizations["secrets"][0]["id"]);
    assert!(removed["sentence"].as_str().unwrap().contains("the organization's"));
}

#[test]
fn a_service_comes_by_fields_or_by_text() {
    let service = Service::new();
    let fields = json!({
        "kind": "pgservice", "user": "ada", "fields": {
            "service": "ninja", "host": "db.example", "port": "5432", "dbname": "survey",
            "user": "ada", "password": "hunter2-hunter2", "sslmode": "verify-full",
            "extra": [{"key": "connect_timeout", "value": "10"}],
        },
    });
    let added = service.post(SURVEY, fields).with(201);
    assert_eq!(added["secrets"][0]["level"], "project_user");
    assert_eq!(added["secrets"][0]["user"], "ada");
    let text = json!({"kind": "pgservice", "text": "[ninja]\nhost=db.example\npassword=x-y-z-x\n"});
    let added = service.post(ORGANIZATION, text).with(201);
    assert_eq!(
        (&added["secrets"][0]["key"], &added["secrets"][0]["level"]),
        (&json!("ninja"), &json!("organization"))
    );
    let wrong = json!({"kind": "pgservice", "fields": {
        "service": "s", "host": "h", "extra": [{"key": "hots", "value": "hunter2"}],
    }});
    let problem = service.post(SURVEY, wrong).problem(422, "invalid");
    assert_eq!(problem["errors"][0]["field"], "fields.extra[0]");
    assert!(!problem.to_string().contains("hunter2"));
    let two = json!({"kind": "pgservice", "text": "[a]\nhost=h\n[b]\nhost=h\n"});
    service.post(SURVEY, two).problem(422, "invalid");
    let line = json!({"kind": "pgservice", "text": "[a]\nhost=h\nhots=hunter2\n"});
    let problem = service.post(SURVEY, line).problem(422, "invalid");
    assert_eq!(
        (&problem["errors"][0]["field"], &problem["errors"][0]["line"]),
        (&json!("text"), &json!(3))
    );
    for (body, field) in [
        (json!({"kind": "envvar", "key": "A"}), "value"),
        (json!({"kind": "envvar", "value": "x"}), "key"),
        (json!({"kind": "envvar", "key": "A", "value": "x", "text": "x"}), "text"),
        (json!({"kind": "pgservice", "key": "A", "text": "x"}), "key"),
        (json!({"kind": "pgservice", "sensitive": false, "text": "x"}), "sensitive"),
        (json!({"kind": "pgservice"}), "fields"),
        (json!({"kind": "pgservice", "text": "x", "fields": {"service": "s"}}), "fields"),
        (json!({"kind": "envvar", "key": "PATH", "value": "x"}), "value"),
        (json!({"kind": "envvar", "key": "A", "value": "x", "user": "bo"}), "user"),
    ] {
        let answer = service.post(SURVEY, body.clone());
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        let problem = answer.json();
        let blamed = &problem["errors"][0]["field"];
        // The name of a variable is refused with the variable.
        assert!(blamed == field || body["key"] == "PATH", "{body}: {problem}");
    }
}

#[test]
fn a_file_is_imported_whole_or_not_at_all() {
    let service = Service::new();
    let import = format!("{SURVEY}/import");
    service.post(SURVEY, variable("B", "there-already")).with(201);
    let rehearsal = json!({"format": "dotenv", "text": "A=one-one\nB=two-two\n", "dry_run": true});
    let would = service.post(&import, rehearsal).with(200);
    assert_eq!(
        would["secrets"],
        json!([
            {"kind": "envvar", "key": "A", "taken": false},
            {"kind": "envvar", "key": "B", "taken": true},
        ])
    );
    let file = json!({"format": "dotenv", "text": "A=one-one\nB=two-two\n"});
    service.post(&import, file).problem(409, "secret_exists");
    let listed = service.get(SURVEY).with(200);
    assert_eq!(listed["secrets"].as_array().unwrap().len(), 1);
    let file = json!({"format": "dotenv", "text": "A=one-one\nB=two-two\n", "replace": true});
    let answer = service.post(&import, file);
    assert_eq!(answer.with(201)["secrets"].as_array().unwrap().len(), 2);
    assert_eq!(answer.header("location"), Some(SURVEY));
    let file = json!({"format": "pg_service", "text": "[a]\nhost=h\n[b]\nhost=h\n", "user": "ada"});
    assert_eq!(service.post(&import, file).with(201)["secrets"][1]["level"], "project_user");
    let broken = json!({"format": "dotenv", "text": "A=fine\nhunter2\n"});
    let problem = service.post(&import, broken).problem(422, "invalid");
    assert_eq!(problem["errors"][0]["line"], 2);
    assert!(!problem.to_string().contains("hunter2"));
    let denied = json!({"format": "dotenv", "text": "A=one-one\n", "dry_run": true});
    service.ask("stranger", "POST", &import, Some(&denied)).problem(404, "not_found");
    service.ask("reader", "POST", &import, Some(&denied)).problem(403, "read_only");
}

#[test]
fn a_repeated_request_is_done_once() {
    let service = Service::new();
    let with = |key: &str, body: &Json| {
        let token = &service.tokens["operator"];
        let headers = format!("Authorization: Bearer {token}\r\nIdempotency-Key: {key}\r\n");
        service.send("POST", SURVEY, &headers, Some(&body.to_string()))
    };
    let body = variable("API_KEY", "s3cr3t-key");
    let (first, second) = (with("one", &body), with("one", &body));
    assert_eq!(first.with(201), second.with(201));
    assert_eq!(first.header("location"), second.header("location"));
    with("one", &variable("OTHER", "s3cr3t-key")).problem(422, "idempotency_mismatch");
    with("two", &body).problem(409, "secret_exists");
    with("a key", &body).problem(400, "request_invalid");
    with("a\r\nIdempotency-Key: b", &body).problem(400, "request_invalid");
    assert_eq!(service.get(SURVEY).with(200)["secrets"].as_array().unwrap().len(), 1);
}

#[test]
fn a_long_list_comes_in_parts() {
    let service = Service::new();
    let lines: String = (0..250).map(|n| format!("VARIABLE_{n:03}=value-{n}\n")).collect();
    let file = json!({"format": "dotenv", "text": lines});
    service.post(&format!("{SURVEY}/import"), file).with(201);
    let mut keys = Vec::new();
    let mut parts = Vec::new();
    let mut path = format!("{SURVEY}?limit=100");
    loop {
        let part = service.get(&path).with(200);
        let secrets = part["secrets"].as_array().unwrap();
        parts.push(secrets.len());
        keys.extend(secrets.iter().map(|secret| secret["key"].as_str().unwrap().to_owned()));
        let Some(next) = part["next"].as_str() else { break };
        path = format!("{SURVEY}?limit=100&after={next}");
    }
    assert_eq!(parts, [100, 100, 50]);
    let expected: Vec<String> = (0..250).map(|n| format!("VARIABLE_{n:03}")).collect();
    assert_eq!(keys, expected);
    assert_eq!(service.get(SURVEY).with(200)["secrets"].as_array().unwrap().len(), 100);
    for limit in ["0", "501", "-1", "x", ""] {
        let answer = service.get(&format!("{SURVEY}?limit={limit}"));
        assert_eq!(answer.problem(400, "request_invalid")["errors"][0]["field"], "limit");
    }
    service.get(&format!("{SURVEY}?after=nowhere!")).problem(422, "invalid");
}

#[test]
fn a_job_is_explained() {
    let service = Service::new();
    service.post(SURVEY, variable("API_KEY", "of-project")).with(201);
    service.post(ORGANIZATION, variable("API_KEY", "of-organization")).with(201);
    let path = "/v1/projects/survey/explain?user=ada&require=envvar:API_KEY&require=envvar:NONE";
    let explained = service.get(path).with(200);
    assert_eq!(explained["secrets"][0]["level"], "project");
    assert_eq!(explained["secrets"][0]["shadowed"][0]["level"], "organization");
    assert_eq!(
        explained["looked_at"][0],
        json!({"level": "project_user", "id": "survey", "user": "ada"})
    );
    assert_eq!(explained["missing"][0]["key"], "NONE");
    assert_eq!(explained["missing"].as_array().unwrap().len(), 1);
    assert_eq!(explained["refused"], Json::Null);
    let refused = service.get("/v1/projects/survey/explain?user=zoe").with(200);
    assert_eq!(refused["refused"]["kind"], "not_a_member");
    service.get("/v1/projects/survey/explain?require=API_KEY").problem(400, "request_invalid");
    // The registered organization may be named; a job that names another gets nothing.
    let path = "/v1/projects/survey/explain?user=ada";
    let explained = service.get(path).with(200);
    assert_eq!(service.get(&format!("{path}&organization=org")).with(200), explained);
    for other in ["other", "nowhere"] {
        let refused = service.get(&format!("{path}&organization={other}")).with(200);
        assert_eq!(refused["refused"]["kind"], "organization_mismatch");
        assert_eq!((&refused["secrets"], &refused["looked_at"]), (&json!([]), &json!([])));
    }
    let personal = service.get("/v1/projects/home/explain?organization=org").with(200);
    assert_eq!(personal["refused"]["kind"], "organization_mismatch");
}

#[test]
fn scopes_are_registered_and_deleted() {
    let service = Service::new();
    let put = |path: &str, body: Json| service.ask("operator", "PUT", path, Some(&body));
    let answer = put("/v1/organizations/a%2Fb", json!({"members": ["m"], "admins": []}));
    let organization = answer.with(201);
    assert_eq!(answer.header("location"), Some("/v1/organizations/a%2Fb"));
    assert_eq!(service.get("/v1/organizations/a%2Fb").with(200), organization);
    let project = json!({"organization": "a/b", "members": [], "admins": ["p"]});
    assert_eq!(put("/v1/projects/new", project.clone()).with(201)["admins"], json!(["p"]));
    assert_eq!(put("/v1/projects/new", project).status, 200);
    let lost = json!({"organization": "nowhere", "members": [], "admins": []});
    put("/v1/projects/new", lost).problem(422, "organization_unknown");
    let forgotten = json!({"members": [], "admins": []});
    put("/v1/projects/new", forgotten).problem(400, "request_invalid");
    let delete = |path: &str| service.ask("operator", "DELETE", path, None);
    delete("/v1/organizations/a%2Fb").problem(409, "organization_in_use");
    service.post("/v1/projects/new/secrets", variable("A", "kept-for-now")).with(201);
    assert_eq!(delete("/v1/projects/new").with(200)["dormant"], 1);
    service.get("/v1/projects/new").problem(404, "not_found");
    let gone = delete("/v1/projects/new?purge=true").with(200);
    assert_eq!(gone["purged"][0]["key"], "A");
    delete("/v1/organizations/a%2Fb").with(200);
    let page = service.get("/v1/projects?limit=2").with(200);
    assert_eq!(page["projects"].as_array().unwrap().len(), 2);
    assert!(page["next"].is_string());
}

/// Values are planted, and everything that can be asked is asked.
#[test]
fn no_answer_holds_a_value() {
    let service = Service::new();
    let canary = "canary-7f3a91";
    let mut answers = vec![
        service.post(SURVEY, variable("PLAIN", canary)),
        service.post(
            SURVEY,
            json!({"kind": "envvar", "key": "OPEN", "value": canary, "sensitive": false}),
        ),
        service.post(
            SURVEY,
            json!({"kind": "envvar", "key": "OF_ADA", "value": canary, "user": "ada"}),
        ),
        service.post(
            ORGANIZATION,
            json!({"kind": "pgservice", "fields": {
            "service": "ninja", "host": "h", "user": "u", "password": canary}}),
        ),
        service.post(
            &format!("{SURVEY}/import"),
            json!({"format": "dotenv", "text": format!("X={canary}\n")}),
        ),
    ];
    for answer in &answers {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    // Where a value can stand by mistake.
    for body in [
        variable("PLAIN", canary),
        variable("PATH", canary),
        variable(&format!("{canary} "), "x"),
        json!({"kind": canary}),
        json!({"kind": "envvar", canary: canary}),
        json!({"kind": "envvar", "key": "A", "value": {"v": canary}}),
        json!({"kind": "envvar", "key": "A", "value": canary, "user": format!(" {canary}")}),
        json!({"kind": "envvar", "key": "A", "value": canary, "sensitive": canary}),
        json!({"kind": "pgservice", "text": canary}),
        json!({"kind": "pgservice", "text": format!("[s]\npassword={canary}\npassword={canary}\n")}),
        json!({"kind": "pgservice", "text": format!("[s]\n{canary}\n")}),
        json!({"kind": "pgservice", "fields": {"service": "s", "port": canary, "password": format!("{canary} ")}}),
        json!({"kind": "pgservice", "fields": [canary]}),
        json!([canary]),
        json!(canary),
    ] {
        let answer = service.post(SURVEY, body.clone());
        assert!((400..500).contains(&answer.status), "{body}: {answer:?}");
        // A variable's name is no value, and is told.
        if body["key"].as_str().is_none_or(|key| !key.contains(canary)) {
            answers.push(answer);
        }
    }
    let token = &service.tokens["operator"];
    let headers = format!("Authorization: Bearer {token}\r\n");
    for text in [format!("{{\"value\":\"{canary}"), canary.to_owned(), format!("{{}}{canary}")] {
        answers.push(service.send("POST", SURVEY, &headers, Some(&text)));
    }
    answers.push(service.get(&format!("/v1/whoami?{canary}={canary}")));
    answers.push(service.get(&format!("{SURVEY}?limit={canary}")));
    let listed = service.get(SURVEY).with(200);
    for secret in listed["secrets"].as_array().unwrap() {
        answers.push(service.get(&format!("/v1/secrets/{}", secret["id"].as_str().unwrap())));
    }
    let mut paths: Vec<String> = ["/openapi.json", "/metrics", "/ready", "/live", "/login", "/"]
        .into_iter()
        .map(ToOwned::to_owned)
        .collect();
    // All that can be asked for, by the document.
    let first = listed["secrets"][0]["id"].as_str().unwrap();
    for (_, path, operation) in operations().iter().filter(|(method, ..)| method == "GET") {
        let path = path.replace("{organization}", "org").replace("{project}", "survey");
        let path = path.replace("{id}", first);
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let value = match parameter["name"].as_str().unwrap() {
                "limit" => "500",
                "user" => "ada",
                "require" => "envvar:NONE",
                "organization" => "org",
                "project" => "survey",
                "decision" => "denied",
                _ => canary,
            };
            paths.push(format!("{path}?{}={value}", parameter["name"].as_str().unwrap()));
        }
        paths.push(path);
    }
    assert!(paths.len() > 40, "{paths:?}");
    for path in &paths {
        answers.push(service.get(path));
    }
    for path in [
        format!("/v1/secrets/{}", listed["secrets"][0]["id"].as_str().unwrap()),
        format!("{SURVEY}?dry_run=true"),
        SURVEY.to_owned(),
        "/v1/users/ada/secrets".to_owned(),
        "/v1/organizations/org/secrets".to_owned(),
    ] {
        let answer = service.ask("operator", "DELETE", &path, None);
        assert_eq!(answer.status, 200, "{answer:?}");
        answers.push(answer);
    }
    for answer in answers {
        assert!(!answer.body.contains(canary) && !answer.head.contains(canary), "{answer:?}");
        assert!(!answer.body.contains(token), "{answer:?}");
    }
    assert!(!service.log().contains(canary), "{}", service.log());
    // Nor any column of the database, in whatever form a column could have it.
    let files = std::fs::read_dir(service.sandbox.store().parent().unwrap()).unwrap();
    let mut names = 0;
    for file in files {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for form in [canary.as_bytes(), b"Y2FuYXJ5LTdmM2E5M", b"63616e6172792d376633613931"] {
            let found = bytes.windows(form.len()).any(|window| window.eq_ignore_ascii_case(form));
            assert!(!found, "{}", path.display());
        }
        // What may be there is found where it is.
        names += bytes.windows(6).filter(|window| window == b"OF_ADA").count();
    }
    assert!(names > 0);
}

/// A key is of who sent it: nobody gets the answer that another got.
#[test]
fn an_idempotency_key_is_of_one_token() {
    let service = Service::new();
    let with = |token: &str, path: &str, body: &Json| {
        let token = &service.tokens[token];
        let headers = format!("Authorization: Bearer {token}\r\nIdempotency-Key: one\r\n");
        service.send("POST", path, &headers, Some(&body.to_string()))
    };
    let body = variable("API_KEY", "s3cr3t-key");
    let first = with("operator", SURVEY, &body).with(201);
    for token in ["delegate", "organization", "project"] {
        with(token, SURVEY, &body).problem(409, "secret_exists");
    }
    with("stranger", SURVEY, &body).problem(404, "not_found");
    with("reader", SURVEY, &body).problem(403, "read_only");
    with("revoked", SURVEY, &body).problem(401, "token_invalid");
    // Another's key is free for one's own.
    let own = with("project", SURVEY, &variable("OTHER", "s3cr3t-key")).with(201);
    assert_ne!(own["secrets"][0]["id"], first["secrets"][0]["id"]);
    // The same key is no way to the same answer at another place, or by another road.
    with("operator", ORGANIZATION, &body).problem(422, "idempotency_mismatch");
    let import = json!({"format": "dotenv", "text": "NEW=s3cr3t-key\n"});
    with("operator", &format!("{SURVEY}/import"), &import).problem(422, "idempotency_mismatch");
    assert_eq!(with("operator", SURVEY, &body).with(201), first);
}
