//! The command line, with `--server` and without.

use std::path::PathBuf;

use super::*;
use crate::support::http::{self, Answer as Scripted};
use crate::support::{Ended, end};

impl Service {
    fn token_file(&self, token: &str) -> PathBuf {
        let name = format!("{token}.token");
        self.sandbox.write(&name, &self.tokens[token])
    }

    /// The program's arguments for asking as the holder of a token.
    fn arguments(&self, token: &str, command: &str) -> Vec<String> {
        let file = self.token_file(token).display().to_string();
        let mut arguments: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
        let server = format!("http://{}", self.address);
        arguments.extend(["--server".into(), server, "--token-file".into(), file]);
        arguments
    }

    /// Runs a command at the service.
    fn run(&self, token: &str, command: &str, input: &str) -> Ended {
        self.sandbox.run_with(self.arguments(token, command), input)
    }

    /// Runs a command on the store itself, with the service's settings.
    fn here(&self, command: &str) -> Ended {
        let settings = self.sandbox.path("settings.toml").display().to_string();
        let mut arguments = vec!["--settings", &settings];
        arguments.extend(command.split(' '));
        self.sandbox.run(arguments)
    }
}

#[test]
fn secrets_are_administered_from_afar() {
    let service = Service::new();
    let added = service.run("project", "secret add API_KEY -P survey -U ada", "s3cr3t-key");
    let added = added.success().stdout;
    assert!(added.starts_with("added envvar:API_KEY to project survey, user ada, id "), "{added}");
    let id = added.trim().rsplit(' ').next().unwrap().to_owned();
    service.run("project", "secret add API_KEY -P survey -U ada", "other").error(
        65,
        "request_refused",
        "409 secret_exists",
    );
    let fields = "secret add-service -P survey --service ninja --db-host h --password-stdin";
    service.run("project", fields, "hunter2-hunter2").success();
    let file = service.sandbox.write("import.env", "A=one-two\nB=two-three\n");
    let import = format!("secret import {} -P survey --yes", file.display());
    let imported = service.run("project", &import, "").success().stdout;
    assert!(imported.ends_with("added 2 secrets to project survey\n"), "{imported}");
    service.run("project", &import, "").error(65, "request_refused", "secret_exists");
    // The same table and the same JSON as where the store is.
    let listed = service.run("project", "secret list -P survey", "").success().stdout;
    assert_eq!(listed, service.here("secret list -P survey").success().stdout);
    assert!(listed.contains(&id), "{listed}");
    let json = service.run("project", "secret list -P survey --format json", "").success().stdout;
    assert_eq!(json, service.here("secret list -P survey --format json").success().stdout);
    let own = service.run("project", "secret list -P survey -U ada", "").success().stdout;
    assert_eq!(own.lines().count(), 2, "{own}");
    let removed = service.run("project", "secret remove envvar:API_KEY -P survey -U ada", "");
    let removed = removed.success().stdout;
    assert!(
        removed.starts_with("removed envvar:API_KEY of project survey, user ada\n"),
        "{removed}"
    );
    assert!(removed.contains("get none"), "{removed}");
    service.run("project", &format!("secret remove {id}"), "").error(65, "request_refused", "404");
    let asked = service.run("project", "secret purge -P survey", "").success();
    assert!(asked.stderr.contains("nothing was removed"), "{}", asked.stderr);
    let purged = service.run("project", "secret purge -P survey --yes", "").success().stdout;
    assert!(purged.ends_with("removed 3 secrets\n"), "{purged}");
}

#[test]
fn a_job_is_explained_from_afar() {
    let service = Service::new();
    service.run("organization", "secret add API_KEY -O org", "of-organization").success();
    service.run("organization", "secret add API_KEY -P survey", "of-project").success();
    // The registered organization counts.
    let explain = "explain -P survey -U ada --format json";
    let afar = service.run("project", explain, "").success();
    let here = service.here("explain -O org -P survey -U ada --format json").success();
    assert_eq!(afar.stdout, here.stdout);
    assert!(afar.stderr.contains("registered as org"), "{}", afar.stderr);
    let other = service.run("project", "explain -O other -P survey -U ada", "").fails(77);
    assert!(other.stderr.contains("organization_mismatch"), "{}", other.stderr);
    let refused = service.run("project", "explain -P survey -U zoe", "").fails(77);
    assert!(refused.stderr.contains("not_a_member"), "{}", refused.stderr);
    let job = service.sandbox.job(json!({"require": ["envvar:NONE"]}));
    let missing = service.run("project", &format!("explain {}", job.display()), "").fails(66);
    assert!(missing.stderr.contains("envvar:NONE"), "{}", missing.stderr);
}

#[test]
fn what_lies_dormant_is_marked() {
    let service = Service::new();
    let list = |format: &str| {
        let command = format!("secret list -P survey{format}");
        service.run("project", &command, "").success()
    };
    service.run("project", "secret add API_KEY -P survey", "of-everybody").success();
    service.run("project", "secret add API_KEY -P survey -U ada", "of-ada-alone").success();
    let awake = list("");
    assert!(!awake.stdout.contains("dormant") && awake.stderr.is_empty(), "{}", awake.stdout);
    assert!(!list(" --format json").stdout.contains("dormant"));

    let alone = json!({"organization": "org", "members": [], "admins": []});
    service.ask("operator", "PUT", "/v1/projects/survey", Some(&alone)).with(200);
    let asleep = list("");
    let marked: Vec<&str> =
        asleep.stdout.lines().filter(|line| line.contains("(dormant)")).collect();
    assert!(marked.len() == 1 && marked[0].contains(" ada "), "{}", asleep.stdout);
    assert!(asleep.stderr.contains("its user is no member"), "{}", asleep.stderr);
    let json: Json = serde_json::from_str(&list(" --format json").stdout).unwrap();
    for secret in json["secrets"].as_array().unwrap() {
        assert_eq!(secret["dormant"] == true, secret["user"] == "ada", "{secret}");
    }
}

/// The descriptor's token is for who has the descriptor, and the API token for the service.
#[test]
fn each_token_goes_to_its_own_server() {
    let service = Service::new();
    let job = service.sandbox.job(json!({}));
    let descriptor = std::fs::read(job).unwrap();
    let orchestrator = http::Server::new([Scripted::fine(descriptor)]);
    service.sandbox.write("descriptor.token", "token-of-the-descriptor");
    let explain = format!("explain {}", orchestrator.url("/job.json"));
    let (words, file) = (service.arguments("operator", &explain), service.token_file("operator"));
    let asked = |environment: &[(&str, &str)], words: &[String]| {
        let mut command = service.sandbox.command(words);
        command.envs(environment.iter().copied());
        end(command).success();
        let requests = orchestrator.requests();
        requests.last().unwrap().header("Authorization").map(ToOwned::to_owned)
    };
    let path = service.sandbox.path("descriptor.token").display().to_string();
    let of_descriptor = ("QGIS_SECRETS_TOKEN_FILE", path.as_str());
    let bearer = Some("Bearer token-of-the-descriptor".to_owned());
    assert_eq!(asked(&[], &words), None);
    assert_eq!(asked(&[of_descriptor], &words), bearer);
    // Without the option, both come by environment.
    let without: Vec<String> =
        words.iter().filter(|word| !word.contains("token")).cloned().collect();
    let file = file.display().to_string();
    assert_eq!(asked(&[of_descriptor, ("QGIS_SECRETS_API_TOKEN_FILE", &file)], &without), bearer);
    let token = service.tokens["operator"].as_str();
    assert_eq!(asked(&[of_descriptor, ("QGIS_SECRETS_API_TOKEN", token)], &without), bearer);
    // Where nothing but the descriptor is asked for, the option is its own.
    let own = ["explain", &orchestrator.url("/job.json"), "--token-file", &path];
    assert_eq!(asked(&[], &own.map(ToOwned::to_owned)), bearer);
}

#[test]
fn what_a_service_refuses_is_said() {
    let service = Service::new();
    let add = "secret add A -P survey";
    service.run("reader", add, "one-two").error(77, "request_denied", "403 read_only");
    service.run("revoked", add, "one-two").error(77, "request_denied", "401 token_invalid");
    service.run("stranger", add, "one-two").error(65, "request_refused", "404 not_found");
    service.run("operator", "secret add A -P nowhere", "one-two").error(
        65,
        "request_refused",
        "422 not_registered",
    );
    let grant = "grant add eve -P survey";
    service.run("operator", grant, "").error(77, "request_denied", "403 no_delegation");
    let sandbox = &service.sandbox;
    let list = |server: &str| sandbox.run(["secret", "list", "-P", "survey", "--server", server]);
    list("http://192.0.2.1").error(64, "usage", "in clear");
    list("ftp://x").error(64, "usage", "no URL");
    list("https://127.0.0.1:1").error(78, "token_missing", "--token-file");
    let file = service.token_file("operator").display().to_string();
    let gone = ["secret", "list", "-P", "survey", "--patience", "1", "--token-file", &file];
    let gone = gone.into_iter().chain(["--server", "http://127.0.0.1:1"]);
    sandbox.run(gone).error(69, "backend_unavailable", "refused");
}

/// The token by environment is used, and nothing that the program starts has it.
#[test]
fn a_token_comes_by_environment() {
    let service = Service::new();
    let server = format!("http://{}", service.address);
    let mut list = service.sandbox.command(["secret", "list", "-P", "survey"]);
    list.env("QGIS_SECRETS_SERVER", &server);
    list.env("QGIS_SECRETS_API_TOKEN", &service.tokens["project"]);
    end(list).success();
    let script = "test -z \"$QGIS_SECRETS_API_TOKEN\"";
    let mut job = service.sandbox.command(["exec", "-P", "survey", "--", "sh", "-c", script]);
    job.env("QGIS_SECRETS_API_TOKEN", &service.tokens["project"]);
    end(job).success();
}

#[test]
fn only_what_may_be_done_twice_is_asked_again() {
    let sandbox = Sandbox::new();
    let token = sandbox.token("qgis_secrets_x");
    let token = token.to_str().unwrap();
    let added = json!({"warnings": [], "secrets": [{
        "id": "1", "kind": "envvar", "key": "A", "level": "project", "owner": "survey",
        "user": null, "sensitive": true, "created_at": "now", "created_by": "ada",
    }]});
    let script = [Scripted::status(503), Scripted::Status(201, added.to_string().into())];
    let server = http::Server::new(script);
    let add = ["secret", "add", "A", "-P", "survey", "--token-file", token, "--server"];
    let url = server.url("");
    sandbox.run_with(add.into_iter().chain([url.as_str()]), "one-two").success();
    let requests = server.requests();
    let keys: Vec<_> = requests.iter().map(|request| request.header("Idempotency-Key")).collect();
    assert_eq!(keys.len(), 2);
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
    assert_eq!(requests[0].header("Authorization"), Some("Bearer qgis_secrets_x"));
    assert_eq!(requests[0].body, requests[1].body);

    let server = http::Server::new([Scripted::status(503)]);
    let remove = ["secret", "remove", "1", "--token-file", token, "--server"];
    let url = server.url("");
    let ended = sandbox.run(remove.into_iter().chain([url.as_str()]));
    ended.error(69, "backend_unavailable", "may have done it");
    assert_eq!(server.requests().len(), 1);

    // A token that was made twice would be known to nobody once.
    let server = http::Server::new([Scripted::status(503)]);
    let create = "api-token create x -P survey --token-file".split(' ').chain([token, "--server"]);
    let url = server.url("");
    let ended = sandbox.run(create.chain([url.as_str()]));
    ended.error(69, "backend_unavailable", "may have done it");
    assert_eq!(server.requests().len(), 1);

    // What the service says that it hasn't done is done again, where that helps.
    let said =
        |status, kind: &str| Scripted::Status(status, json!({"kind": kind}).to_string().into());
    let removed = json!({"removed": "1"}).to_string();
    let server =
        http::Server::new([said(503, "store_busy"), Scripted::Status(409, removed.into())]);
    let url = server.url("");
    let ended = sandbox.run(remove.into_iter().chain([url.as_str()]));
    ended.error(65, "request_refused", "409");
    assert_eq!(server.requests().len(), 2);
    for (status, kind, doubt) in [
        (500, "key_of_another_store", false),
        (503, "store_commit_unknown", true),
        (500, "internal", true),
    ] {
        let server = http::Server::new([said(status, kind)]);
        let url = server.url("");
        let ended = sandbox.run(remove.into_iter().chain([url.as_str()]));
        let ended = ended.error(69, "backend_unavailable", kind);
        assert_eq!(ended.stderr.contains("may have done it"), doubt, "{kind}: {}", ended.stderr);
        assert_eq!(server.requests().len(), 1);
    }

    // A service that repeats what it was sent doesn't make it known.
    let echo = "{\"kind\":\"x\",\"detail\":\"Bearer qgis_secrets_x \\u001b[2J\"}";
    let server = http::Server::new([Scripted::Status(400, echo.into())]);
    let url = server.url("");
    let ended = sandbox.run(remove.into_iter().chain([url.as_str()]));
    let ended = ended.error(65, "request_refused", "400 x");
    assert!(!ended.stderr.contains("qgis_secrets_x") && !ended.stderr.contains('\u{1b}'));
}

#[test]
fn the_first_token_is_made_where_the_store_is() {
    let service = Service::new();
    let created = service.here("api-token create first -P survey --days 2").success();
    let token = created.stdout.trim();
    assert!(token.starts_with("qgis_secrets_") && token.len() == 94, "{token}");
    let headers = format!("Authorization: Bearer {token}\r\n");
    let path = "/v1/projects/survey/secrets";
    assert_eq!(service.send("GET", path, &headers, None).status, 200);
    let listed = service.here("api-token list -P survey").success().stdout;
    assert!(listed.contains("first") && !listed.contains(token), "{listed}");
    let afar = service.run("project", "api-token list -P survey --format json", "").success();
    let afar: Json = serde_json::from_str(&afar.stdout).unwrap();
    assert!(afar["tokens"].as_array().unwrap().iter().any(|token| token["name"] == "first"));
    let revoke = format!("api-token revoke {}", &token[13..29]);
    service.run("project", &revoke, "").error(77, "request_denied", "403 no_delegation");
    service.run("project-delegate", &revoke, "").success();
    assert_eq!(service.send("GET", path, &headers, None).status, 401);
    service.here("api-token create x -P nowhere").error(65, "input_refused", "not registered");

    let given = service.here("grant add eve -P survey").success().stdout;
    assert!(given.starts_with("eve is admin of project survey, id "), "{given}");
    let id = given.trim().rsplit(' ').next().unwrap();
    let listed = service.run("operator", "grant list -P survey", "").success().stdout;
    assert!(listed.contains("eve") && listed.contains("local:"), "{listed}");
    let remove = format!("grant remove {id}");
    service.run("operator", &remove, "").error(77, "request_denied", "403 no_delegation");
    let taken = service.run("delegate", &remove, "").success().stdout;
    assert_eq!(taken, "eve is no project_admin of survey any more\n");
    service.here(&format!("grant remove {id}")).fails(65);
}

#[test]
fn the_audit_is_exported_whole() {
    let service = Service::new();
    let lines: String = (0..3).map(|n| format!("V{n}=value-{n}\n")).collect();
    let file = json!({"format": "dotenv", "text": lines});
    service.post("/v1/projects/survey/secrets/import", file).with(201);
    // More than fit into one part.
    for _ in 0..520 {
        service.ask("stranger", "GET", "/v1/projects/survey/secrets", None);
    }
    let afar = service.run("operator", "audit export -P survey", "").success().stdout;
    let rows: Vec<Json> = afar.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() > 520, "{}", rows.len());
    assert!(rows.iter().any(|row| row["action"] == "secret.add" && row["decision"] == "allowed"));
    assert!(rows.iter().all(|row| row["owner"] == "survey"));
    assert!(!afar.contains("value-1"));
    assert_eq!(afar, service.here("audit export -P survey").success().stdout);
    let csv = service.here("audit export -P survey --format csv").success().stdout;
    assert_eq!(csv.lines().count(), rows.len() + 1);
    assert!(csv.starts_with("id,at,actor,action,decision,reason,"), "{csv}");
    let none = "audit export --since 2999-01-01T00:00:00Z";
    assert_eq!(service.here(none).success().stdout, "");
    assert_eq!(service.run("operator", none, "").success().stdout, "");
    let all = "audit export -P survey --since 2000-01-01T00:00:00Z";
    assert_eq!(service.run("operator", all, "").success().stdout, afar);
}

#[test]
fn everybodys_grants_and_tokens_are_listed() {
    let service = Service::new();
    let none = service.here("grant list").success().stderr;
    assert!(none.contains("no operator's grants; --all lists"), "{none}");
    service.here("grant add olga --operator").success();
    service.here("grant add oskar -O org").success();
    service.here("grant add paula -P survey").success();
    // When a token was last used changes meanwhile.
    let unused = |mut items: Vec<Json>| {
        items.iter_mut().for_each(|item| drop(item.as_object_mut().unwrap().remove("used_at")));
        items
    };
    let listed = |ended: Ended, member: &str| {
        let listed: Json = serde_json::from_str(&ended.success().stdout).unwrap();
        unused(listed[member].as_array().unwrap().clone())
    };
    for (command, member, names) in [
        ("grant list --all", "grants", ["olga", "oskar", "paula"]),
        // Of the tokens that these tests have.
        ("api-token list --all", "tokens", ["operator", "organization", "stranger"]),
    ] {
        for table in [service.here(command), service.run("operator", command, "")] {
            let table = table.success().stdout;
            for name in names {
                let first = |line: &str| line.split_whitespace().next() == Some(name);
                assert_eq!(table.lines().filter(|line| first(line)).count(), 1, "{name}: {table}");
            }
        }
        let json = format!("{command} --format json");
        let here = listed(service.here(&json), member);
        assert_eq!(listed(service.run("operator", &json, ""), member), here);
        let (mut parts, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/{member}?all=true&limit=2{after}");
            let part = service.get(&path).with(200);
            parts.extend(part[member].as_array().unwrap().clone());
            let Some(next) = part["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(unused(parts), here);
        service.run("organization", command, "").error(77, "request_denied", "403 operator_only");
        service.here(&format!("{command} -P survey")).fails(64);
    }
    for (command, words) in
        [("grant list -P home", "no grants here"), ("api-token list -O none", "no tokens here")]
    {
        let ended = service.here(command).success();
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

/// What was promised of `--server` for grants and tokens, with a token that was made for it.
#[test]
fn access_is_given_from_afar() {
    let service = Service::new();
    let made = service.here("api-token create deputy -P survey --delegate --days 2").success();
    let deputy = made.stdout.trim().to_owned();
    service.sandbox.write("deputy.token", &deputy);
    let server = format!("http://{}", service.address);
    let file = service.sandbox.path("deputy.token").display().to_string();
    let run = |command: &str| {
        let at = ["--server", &server, "--token-file", &file];
        service.sandbox.run(command.split(' ').chain(at))
    };
    let given = run("grant add eve -P survey").success().stdout;
    assert!(given.starts_with("eve is admin of project survey, id "), "{given}");
    let listed = run("grant list -P survey --format json").success().stdout;
    let listed: Json = serde_json::from_str(&listed).unwrap();
    let by = format!("token:{}", &deputy[13..29]);
    assert_eq!(listed["grants"][0]["granted_by"], by);
    let id = given.trim().rsplit(' ').next().unwrap();
    run(&format!("grant remove {id}")).success();

    let child = run("api-token create child -P survey --read-only").success();
    let child = child.stdout.trim().to_owned();
    let secrets =
        |token: &str| service.bearing(token, "GET", "/v1/projects/survey/secrets", None).status;
    assert_eq!(secrets(&child), 200);
    let grandchild = run("api-token create grandchild -P survey --delegate --days 1").success();
    let grandchild = grandchild.stdout.trim().to_owned();
    run("api-token create x -P survey --days 3").error(65, "request_refused", "can't outlive it");
    run("api-token create x -O org").error(65, "request_refused", "404 not_found");
    run("api-token create x --operator").error(77, "request_denied", "403 operator_only");
    let both = run("api-token create x -P survey --read-only --delegate").fails(64);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
    run("grant add eve -O org").error(65, "request_refused", "404 not_found");

    let ended = service.here(&format!("api-token revoke {}", &deputy[13..29])).success().stdout;
    assert_eq!(ended.lines().count(), 3, "{ended}");
    assert!(ended.contains(&format!("{} (child), made by {by}", &child[13..29])), "{ended}");
    for token in [&deputy, &child, &grandchild] {
        assert_eq!(secrets(token), 401);
    }
}
