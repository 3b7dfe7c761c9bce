//! Tokens that give grants and make tokens: what was tried to get more out of them.

use super::*;

/// Makes a token with another: its id and its text.
fn made(service: &Service, by: &str, body: Json) -> (String, String) {
    let made = service.bearing(by, "POST", "/v1/tokens", Some(&body)).with(201);
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

fn of_survey(access: &str) -> Json {
    json!({"name": "t", "role": "project_admin", "project": "survey", "access": access})
}

fn admin_of_survey(subject: &str) -> Json {
    json!({"subject": subject, "role": "project_admin", "project": "survey"})
}

/// Delegation is asked for by its word, and is nothing that a token gets by default.
#[test]
fn a_token_that_was_not_made_to_gives_nothing() {
    let service = Service::new();
    let deputy = &service.tokens["project-delegate"];
    let plain = json!({"name": "t", "role": "project_admin", "project": "survey"});
    let (_, plain) = made(&service, deputy, plain);
    assert_eq!(service.bearing(&plain, "GET", "/v1/whoami", None).with(200)["access"], "manage");
    for (token, kind) in [
        (&plain, "no_delegation"),
        (&made(&service, deputy, of_survey("manage")).1, "no_delegation"),
        (&made(&service, deputy, of_survey("read")).1, "read_only"),
        (&service.tokens["operator"], "no_delegation"),
        (&service.tokens["reader"], "read_only"),
    ] {
        let ask = |method: &str, path: &str, body: Option<Json>| {
            service.bearing(token, method, path, body.as_ref())
        };
        let (grant, other) = (service.grant("eve"), service.issue("t", admin(), Access::Read).0);
        ask("POST", "/v1/grants", Some(admin_of_survey("mallory"))).problem(403, kind);
        ask("POST", "/v1/tokens", Some(of_survey("read"))).problem(403, kind);
        ask("POST", "/v1/tokens", Some(of_survey("delegate"))).problem(403, kind);
        ask("DELETE", &format!("/v1/grants/{grant}"), None).problem(403, kind);
        ask("DELETE", &format!("/v1/tokens/{other}"), None).problem(403, kind);
    }
    for word in ["admin", "DELEGATE", "delegate ", "manage,delegate", ""] {
        let answer = service.bearing(deputy, "POST", "/v1/tokens", Some(&of_survey(word)));
        answer.problem(400, "request_invalid");
    }
    let grants = service.get("/v1/grants?project=survey").with(200);
    let subjects: Vec<_> = grants["grants"].as_array().unwrap().iter().collect();
    assert!(subjects.iter().all(|grant| grant["subject"] == "eve"), "{grants}");
}

fn admin() -> Grant {
    Grant::ProjectAdmin(id("survey"))
}

/// A project's token gives nothing for its organization, another's project, or everything.
#[test]
fn nothing_is_given_beyond_ones_own() {
    let service = Service::new();
    let beyond = [
        (json!({"role": "organization_admin", "organization": "org"}), 404),
        (json!({"role": "organization_admin", "organization": "survey"}), 404),
        (json!({"role": "project_admin", "project": AWKWARD}), 404),
        (json!({"role": "project_admin", "project": "home"}), 404),
        (json!({"role": "project_admin", "project": "nowhere"}), 404),
        (json!({"role": "operator"}), 403),
        // The words of one and the id of another.
        (json!({"role": "operator", "project": "survey"}), 400),
        (json!({"role": "organization_admin", "project": "survey"}), 400),
        (json!({"role": "project_admin", "project": "survey", "organization": "org"}), 400),
        (json!({"role": "project_admin", "project": "survey/../home"}), 400),
    ];
    for (mut body, status) in beyond {
        body["subject"] = "mallory".into();
        let given = service.ask("project-delegate", "POST", "/v1/grants", Some(&body));
        assert_eq!(given.status, status, "{body}: {given:?}");
        let members = body.as_object_mut().unwrap();
        members.remove("subject");
        members.insert("name".into(), "t".into());
        let issued = service.ask("project-delegate", "POST", "/v1/tokens", Some(&body));
        assert_eq!(issued.status, status, "{body}: {issued:?}");
    }
    // Nor to a token, which would have it beside its own.
    let token = format!("token:{}", &service.tokens["project"][13..29]);
    let to_token = service.post_as("project-delegate", "/v1/grants", admin_of_survey(&token));
    assert_eq!(to_token.problem(422, "invalid")["errors"][0]["field"], "subject");
    // What stands elsewhere can't be taken away, and isn't told.
    let organizations = Grant::OrganizationAdmin(id("org"));
    let elsewhere = service.issue("t", organizations.clone(), Access::Read).0;
    let given = service.administration.grant(&service.operator, "eve", &organizations);
    let given = service.runtime.block_on(given).unwrap().id;
    for path in [format!("/v1/tokens/{elsewhere}"), format!("/v1/grants/{given}")] {
        service.ask("project-delegate", "DELETE", &path, None).problem(404, "not_found");
    }
    let rows = service.get("/v1/audit?action=grant.give&decision=allowed").with(200);
    let given: Vec<_> = rows["rows"].as_array().unwrap().iter().collect();
    assert!(given.iter().all(|row| row["detail"]["subject"] == "eve"), "{rows}");
}

#[test]
fn no_token_works_longer_than_the_one_that_made_it() {
    let service = Service::new();
    // The harness's tokens work for one day.
    let deputy = &service.tokens["project-delegate"];
    let mut body = of_survey("delegate");
    for days in [2, 90, 365] {
        body["days"] = days.into();
        let answer = service.bearing(deputy, "POST", "/v1/tokens", Some(&body));
        assert_eq!(answer.problem(422, "invalid")["errors"][0]["field"], "days");
    }
    body.as_object_mut().unwrap().remove("days");
    let (child, text) = made(&service, deputy, body.clone());
    let (grandchild, _) = made(&service, &text, body);
    let tokens = service.get("/v1/tokens?project=survey").with(200);
    let ends = |id: &str| {
        let mut all = tokens["tokens"].as_array().unwrap().iter();
        all.find(|token| token["id"] == id).unwrap()["expires_at"].clone()
    };
    let own = ends(&deputy[13..29]);
    assert_eq!((ends(&child), ends(&grandchild)), (own.clone(), own));
    // After its own end it makes none, and what it made works no more.
    service.expire(&deputy[13..29]);
    service.expire(&child);
    for token in [deputy, &text] {
        let answer = service.bearing(token, "POST", "/v1/tokens", Some(&of_survey("read")));
        answer.problem(401, "token_invalid");
        let answer = service.bearing(token, "POST", "/v1/grants", Some(&admin_of_survey("eve")));
        answer.problem(401, "token_invalid");
    }
}

#[test]
fn a_revoked_token_takes_with_it_what_it_made() {
    let service = Service::new();
    let deputy = &service.tokens["project-delegate"];
    let (child, child_text) = made(&service, deputy, of_survey("delegate"));
    let (grandchild, grandchild_text) = made(&service, &child_text, of_survey("manage"));
    let grant = service.bearing(&child_text, "POST", "/v1/grants", Some(&admin_of_survey("eve")));
    let grant = grant.with(201);
    let ended = service.ask("delegate", "DELETE", &format!("/v1/tokens/{}", &deputy[13..29]), None);
    let ended = ended.with(200);
    let mut made: Vec<&str> = ended["made"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["id"].as_str().unwrap())
        .collect();
    made.sort_unstable();
    let mut expected = [child.as_str(), &grandchild];
    expected.sort_unstable();
    assert_eq!(made, expected);
    for token in [deputy, &child_text, &grandchild_text] {
        service.bearing(token, "GET", "/v1/whoami", None).problem(401, "token_invalid");
    }
    // What was given to a person stays, with who gave it.
    let grants = service.get("/v1/grants?project=survey").with(200);
    assert_eq!(grants["grants"][0]["id"], grant["id"]);
    assert_eq!(grants["grants"][0]["granted_by"], format!("token:{child}"));
    let rows = service.get("/v1/audit?action=token.revoke&project=survey").with(200);
    assert_eq!(rows["rows"].as_array().unwrap().len(), 3, "{rows}");
}
