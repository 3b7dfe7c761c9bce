//! What changes for jobs when the orchestrator registers something else.

use super::*;

const REGISTERED: &str = "[service.membership]\nmode = 'registered'\n";

/// A service, and the orchestrator that registers by its API.
struct Orchestrated {
    ground: Ground,
    service: Process,
    operator: String,
}

impl Orchestrated {
    /// `survey` belongs to `org`, and ada is its member.
    fn new(more: &str) -> Self {
        let ground = Ground::new(&format!("{REGISTERED}{more}"));
        ground.fill();
        ground.sandbox.add("-O org-2", "EVERYWHERE", "of-the-second-organization");
        let operator = ground.operator();
        let service = ground.serve(&[]);
        let this = Self { ground, service, operator };
        for organization in ["org", "org-2"] {
            this.put("organizations", organization, json!({"members": [], "admins": []}), 201);
        }
        this.project("org", &["ada"], 201);
        this
    }

    fn put(&self, what: &str, id: &str, content: Json, status: u16) {
        let path = format!("/v1/{what}/{id}");
        self.service.send("PUT", &path, &self.operator, Some(&content)).with(status);
    }

    fn project(&self, organization: &str, members: &[&str], status: u16) {
        let content = json!({"organization": organization, "members": members, "admins": []});
        self.put("projects", "survey", content, status);
    }

    /// A job with these claims asks: `KEY value` of each secret, in their order.
    fn gets(&self, claims: Json) -> Vec<String> {
        let answer = self.ask(claims).with(200);
        let secrets = answer["secrets"].as_array().unwrap().iter();
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let mut all: Vec<String> =
            secrets.map(|s| format!("{} {}", text(&s["key"]), text(&s["value"]))).collect();
        all.retain(|line| line.starts_with("OWN") || line.starts_with("EVERYWHERE"));
        all.sort();
        all
    }

    fn ask(&self, claims: Json) -> Answer {
        let mut members = claims.clone();
        members.as_object_mut().unwrap().retain(|name, _| name != "attempt");
        self.service.resolve(&self.ground.token(claims), members)
    }
}

#[test]
fn what_is_registered_decides() {
    let this = Orchestrated::new("");
    let all = ["EVERYWHERE of-the-organization", "OWN of-ada-alone"];
    assert_eq!(this.gets(json!({})), all);
    this.ask(json!({"project": "nowhere"})).problem(403, "project_unknown");
    this.ask(json!({"organization": "org-2"})).problem(403, "organization_mismatch");
    this.ask(json!({"organization": null})).problem(403, "organization_mismatch");
    this.ask(json!({"user": "zoe"})).problem(403, "not_a_member");
    // A job of nobody in particular gets what is for everybody.
    assert_eq!(this.gets(json!({"user": null})), all[..1]);

    // Who leaves: what was assigned lies dormant, and is there again afterwards.
    this.project("org", &[], 200);
    this.ask(json!({})).problem(403, "not_a_member");
    let listed = this.service.send("GET", "/v1/projects/survey/secrets", &this.operator, None);
    let listed = listed.with(200);
    let own = |s: &&Json| s["key"] == "OWN" && s["user"] == "ada";
    let own = listed["secrets"].as_array().unwrap().iter().find(own).unwrap();
    assert_eq!(own["dormant"], true, "{own}");
    this.project("org", &["ada"], 200);
    assert_eq!(this.gets(json!({})), all);

    // Another organization, with its own secrets.
    this.project("org-2", &["ada"], 200);
    this.ask(json!({})).problem(403, "organization_mismatch");
    assert_eq!(
        this.gets(json!({"organization": "org-2"})),
        ["EVERYWHERE of-the-second-organization", "OWN of-ada-alone"]
    );

    let delete = |path: &str| this.service.send("DELETE", path, &this.operator, None);
    delete("/v1/organizations/org-2").problem(409, "organization_in_use");
    assert_eq!(delete("/v1/projects/survey").status, 200);
    this.ask(json!({"organization": "org-2"})).problem(403, "project_unknown");
    this.project("org", &["ada"], 201);
    assert_eq!(this.gets(json!({})), all);
    let reasons: Vec<String> =
        this.ground.audit().iter().map(|row| row["reason"].to_string()).collect();
    for reason in ["project_unknown", "organization_mismatch", "not_a_member"] {
        assert!(reasons.contains(&format!("\"{reason}\"")), "{reasons:?}");
    }
    this.service.stop();
}

#[test]
fn a_public_projects_visitors_get_what_is_for_everybody() {
    let this = Orchestrated::new("non_member = 'unassigned'\n");
    assert_eq!(this.gets(json!({"user": "zoe"})), ["EVERYWHERE of-the-organization"]);
    // Eve has a secret, but is no member any more.
    assert_eq!(this.gets(json!({"user": "eve"})), ["EVERYWHERE of-the-organization"]);
    this.project("org", &["ada", "eve"], 200);
    let both = ["EVERYWHERE of-the-organization", "OWN of-eve-alone"];
    assert_eq!(this.gets(json!({"user": "eve"})), both);
    this.service.stop();
}
