//! Services whose roles in the database have the rights that docs/store.md lists, and no more.

use super::*;
use crate::stores::cluster::Database;
use crate::support::until;

/// Settings for one role: all but the section of the store are the same.
fn settings(ground: &Ground, database: &Database, role: &str) {
    let audit = "[service.audit]\nkeep_days = 2\n";
    ground.settings(&format!("{}{audit}", database.section_of(role)));
}

#[test]
fn services_need_no_more_than_the_documented_rights() {
    let database = Database::new();
    let ground = replicas::ground(&database, "");
    let operator = ground.operator();
    let [admin_role, resolve_role, runner_role] = database.roles();
    let public = ground.sandbox.run(["key", "public"]).success().stdout;
    let public = ground.sandbox.write("key.pub", public).display().to_string();
    settings(&ground, &database, &admin_role);
    let admin = ground.serve(&["--role", "admin", "--public-key", &public]);
    settings(&ground, &database, &resolve_role);
    let resolve = ground.serve(&["--role", "resolve"]);
    for service in [&admin, &resolve] {
        until("it is ready", || service.send("GET", "/ready", "", None).status == 200);
    }

    let send = |method: &str, path: &str, body: Json| {
        let body = Some(&body).filter(|body| !body.is_null());
        let answer = admin.send(method, path, &operator, body);
        assert!([200, 201].contains(&answer.status), "{method} {path}: {answer:?}");
        serde_json::from_str::<Json>(&answer.body).unwrap()
    };
    let added = admin.add(&operator, "LATE", "added-later").unwrap().with(201);
    let replacement = json!({"kind": "envvar", "key": "LATE", "value": "later", "replace": true});
    send("POST", "/v1/projects/survey/secrets", replacement);
    let gone = admin.add(&operator, "GONE", "removed-again").unwrap().with(201);
    let gone = gone["secrets"][0]["id"].as_str().unwrap();
    send("DELETE", &format!("/v1/secrets/{gone}"), Json::Null);
    assert_ne!(added["secrets"][0]["id"], Json::Null);
    send("GET", "/v1/projects/survey/secrets", Json::Null);
    send("GET", "/v1/projects/survey/explain?user=ada", Json::Null);
    send("GET", "/v1/audit", Json::Null);
    send("GET", "/v1/tokens", Json::Null);
    send("GET", "/v1/grants", Json::Null);

    let answer = resolve.resolve(&ground.token(json!({})), json!({})).with(200);
    let secrets = answer["secrets"].as_array().unwrap();
    assert!(secrets.iter().any(|secret| secret["value"] == "later"), "{answer}");
    // A token is counted, and what is refused is written down.
    resolve
        .resolve(&ground.token(json!({"project": "other"})), json!({}))
        .problem(403, "identity_mismatch");

    // What is in the audit stays there, unless a role was given the right to remove it.
    for service in [admin, resolve] {
        let log = service.stop();
        assert!(log.contains("old rows of the audit could not be removed"), "{log}");
        assert!(log.contains("docs/store.md"), "{log}");
    }
    // A runner that reads the store itself.
    let section = database.section_of(&runner_role);
    let key = ground.sandbox.key().display().to_string();
    crate::stores::cluster::private(
        &ground.sandbox.path(".config/qgis-secrets/settings.toml"),
        &format!("{section}key = '{key}'\n"),
    );
    assert_eq!(ground.sandbox.printed("printf %s \"$LATE\""), "later");
}
