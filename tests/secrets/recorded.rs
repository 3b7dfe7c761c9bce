//! What is done in the store itself is in its audit, without a service.

use serde_json::{Value as Json, json};

use crate::support::Sandbox;

/// The rows of the audit, the oldest first: action, level, owner and user, and how many secrets.
fn audit(sandbox: &Sandbox) -> Vec<Json> {
    let exported = sandbox.run(["audit", "export"]).success().stdout;
    let mut rows: Vec<Json> = exported
        .lines()
        .map(|line| {
            let row: Json = serde_json::from_str(line).unwrap();
            assert!(row["actor"].as_str().unwrap().starts_with("local:"), "{row}");
            assert_eq!(row["decision"], "allowed", "{row}");
            let counted = |what: &str| row["detail"][what]["count"].clone();
            json!([
                row["action"],
                row["level"],
                row["owner"],
                row["user"],
                [counted("added"), counted("replaced"), counted("removed")]
            ])
        })
        .collect();
    rows.reverse();
    rows
}

#[test]
fn each_change_in_the_store_itself_has_its_row() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "KEY", "canary-one");
    let add = ["secret", "add", "KEY", "-P", "survey"];
    sandbox.run_with(add, "canary-two").error(65, "secret_exists", "KEY");
    let replace = add.into_iter().chain(["--replace"]);
    sandbox.run_with(replace, "canary-two").success();
    let file = sandbox.write("two.env", "A=canary-three\nB=canary-four\n");
    let import = ["secret", "import", "-P", "survey", "-U", "ann", "--yes", file.to_str().unwrap()];
    sandbox.run(import).success();
    sandbox.add("-O org -U ann", "KEY", "canary-five");
    sandbox.run(["secret", "remove", "envvar:KEY", "-P", "survey"]).success();
    sandbox.run(["secret", "purge", "-U", "ann"]).success();
    sandbox.run(["secret", "purge", "-U", "ann", "--yes"]).success();
    let (of_survey, of_org) = ("project_user", "organization_user");
    assert_eq!(
        audit(&sandbox),
        [
            json!(["secret.add", "project", "survey", null, [1, 0, null]]),
            json!(["secret.add", "project", "survey", null, [1, 1, null]]),
            json!(["secret.add", of_survey, "survey", "ann", [2, 0, null]]),
            json!(["secret.add", of_org, "org", "ann", [1, 0, null]]),
            json!(["secret.remove", "project", "survey", null, [null, null, 1]]),
            json!(["secret.purge", of_org, "org", "ann", [null, null, 1]]),
            json!(["secret.purge", of_survey, "survey", "ann", [null, null, 2]]),
        ]
    );
    let exported = sandbox.run(["audit", "export"]).success().stdout;
    assert!(!exported.contains("canary"), "{exported}");
}
