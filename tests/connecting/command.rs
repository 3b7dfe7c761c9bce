//! `check --connect`, as an operator runs it.

use serde_json::Value as Json;

use super::CANARY;
use super::server::Server;
use crate::support::Sandbox;

/// A sandbox whose project has a service for each of these roles.
fn with_services(server: &Server, roles: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    for role in roles {
        let section = server.service(role, role, &[]);
        let file = sandbox.write("section.conf", section);
        let add = ["secret", "add-service", "-P", "survey", "--from-file", file.to_str().unwrap()];
        sandbox.run(add).success();
    }
    sandbox
}

pub(super) fn shows_what_the_job_becomes(server: &Server) {
    let sandbox = with_services(server, &["reader", "root", "switcher"]);
    for level in ["namespace", "namespace-shared-proc", "process"] {
        let check = ["check", "--connect", "-P", "survey", "--containment", level];
        let ended = sandbox.run(check.iter().copied().chain(["--format", "json"])).success();
        assert!(!ended.stdout.contains(CANARY), "{}", ended.stdout);
        let found: Json = serde_json::from_str(&ended.stdout).unwrap();
        let services = found["services"].as_array().unwrap();
        let service = |name: &str| services.iter().find(|s| s["service"] == name).unwrap();
        let kinds = |name: &str| -> Vec<String> {
            let warnings = service(name)["warnings"].as_array().unwrap().iter();
            warnings.map(|warning| warning["kind"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(service("reader")["result"], "connected");
        assert_eq!(service("reader")["role"], "reader");
        assert_eq!(service("reader")["tls"], true);
        assert!(service("reader")["postgis_version"].is_string());
        assert_eq!(kinds("reader"), Vec::<String>::new());
        assert_eq!(kinds("root"), ["superuser"]);
        assert_eq!(service("switcher")["role"], "reader");
        assert_eq!(service("switcher")["session_role"], "switcher");

        let ended = sandbox.run(check).success();
        for words in ["SERVICE", "reader (logged in as switcher)", "TLSv1.3", "root: superuser: "] {
            assert!(ended.stdout.contains(words), "no `{words}` in\n{}", ended.stdout);
        }
    }
    a_service_that_cannot_be_reached_is_told(server);
}

fn a_service_that_cannot_be_reached_is_told(server: &Server) {
    let sandbox = with_services(server, &["reader"]);
    let wrong = server.service("wrong", "reader", &[("password", "Canary-of-Ada-8")]);
    let file = sandbox.write("section.conf", wrong);
    let add = ["secret", "add-service", "-P", "survey", "--from-file", file.to_str().unwrap()];
    sandbox.run(add).success();
    let ended = sandbox.run(["check", "--connect", "-P", "survey"]).fails(69);
    assert!(ended.stdout.contains("password authentication failed"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("Canary"), "{}", ended.stdout);
    assert!(ended.stdout.contains("reader"), "the other one is shown all the same");
}
