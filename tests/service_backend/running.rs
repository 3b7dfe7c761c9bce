//! Whole runs.

use super::*;
use crate::support::http::NOBODY;

/// Five secrets of four levels, and one that is beaten.
fn five() -> Answer {
    five_for(1)
}

fn five_for(attempt: u32) -> Answer {
    answer(json!({
        "job": {"id": "job-1", "attempt": attempt},
        "secrets": [
            secret(json!({"key": "USER_KEY", "level": "project_user", "assigned_to": "ada",
                          "value": "value-of-ada"})),
            secret(json!({"key": "PROJECT_KEY", "value": "line 1\nline \"2\"\u{e9}\n"})),
            secret(json!({"key": "MEMBER_KEY", "level": "organization_user", "owner": "org",
                          "assigned_to": "ada", "value": "value-of-the-member"})),
            secret(json!({"key": "ORG_KEY", "level": "organization", "owner": "org",
                          "sensitive": false, "value": "EPSG:2056"})),
            secret(json!({"kind": "pgservice", "key": "ninja",
                          "value": "[ninja]\nhost=db.example\nuser=ada\npassword=pass-3f81\n"})),
        ],
        "shadowed": [shadowed(json!({"id": "2", "key": "USER_KEY"}))],
    }))
}

#[test]
fn a_job_gets_its_secrets_from_the_service() {
    let ground = Ground::new([five_for(3)]);
    let require = json!({"require": ["pgservice:ninja", "envvar:USER_KEY"], "attempt": 3});
    let ended = ground.run(require).success();
    let got = ground.got();
    for line in [
        "USER_KEY=value-of-ada",
        "PROJECT_KEY=line 1\nline \"2\"\u{e9}\n",
        "MEMBER_KEY=value-of-the-member",
        "ORG_KEY=EPSG:2056",
        "[ninja]\nhost=db.example\nuser=ada\npassword=pass-3f81\n",
    ] {
        assert!(got.contains(line), "no {line} in\n{got}");
    }
    assert!(!got.contains(TOKEN) && !got.contains("QGIS_SECRETS"), "{got}");
    ground.nothing_shown(&ended);

    let requests = ground.server.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert!(request.line.starts_with("POST /v1/resolve "), "{}", request.line);
    assert_eq!(request.header("Authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(request.header("Content-Type"), Some("application/json"));
    let asked: Json = serde_json::from_slice(&request.body).unwrap();
    let expected = json!({
        "version": 1, "job": {"id": "job-1", "attempt": 3}, "organization": "org",
        "project": "survey", "user": "ada", "require": ["pgservice:ninja", "envvar:USER_KEY"],
    });
    assert_eq!(asked, expected);

    let report = json(&ground.sandbox.path("report.json"));
    assert_eq!(report["backend"], "service");
    let secrets = report["secrets"].as_array().unwrap();
    let facts: Vec<String> =
        secrets.iter().map(|s| format!("{} {}", s["key"], s["level"])).collect();
    let expected = [
        "\"MEMBER_KEY\" \"organization_user\"",
        "\"ORG_KEY\" \"organization\"",
        "\"PROJECT_KEY\" \"project\"",
        "\"USER_KEY\" \"project_user\"",
        "\"ninja\" \"project\"",
    ];
    assert_eq!(facts, expected);
    assert_eq!(secrets[3]["shadowed"].as_array().unwrap().len(), 1);
}

#[test]
fn what_the_service_sent_is_masked_and_so_is_the_token() {
    let ground = Ground::new([five()]);
    let script = format!("echo \"$USER_KEY $ORG_KEY {TOKEN}\"; cat \"$PGSERVICEFILE\"");
    let ended = ground.run(json!({"command": ["sh", "-c", script]})).success();
    let expected = "*** EPSG:2056 ***\n[ninja]\nhost=db.example\nuser=ada\npassword=***\n";
    assert_eq!(ended.stdout, expected);
    let report = json(&ground.sandbox.path("report.json"));
    assert_eq!(report["masked"]["runner:service_token"], 1);
}

#[test]
fn the_audit_names_the_backend_and_no_value() {
    let ground = Ground::new([five(), problem(403, "identity_mismatch", "no")]);
    let audit = ground.sandbox.home().join("audit");
    fs::create_dir(&audit).unwrap();
    let file = audit.join("log");
    let mut settings = fs::read_to_string(ground.sandbox.path("settings.toml")).unwrap();
    settings.push_str(&format!("[audit]\nfile = '{}'\n", file.display()));
    ground.sandbox.write("settings.toml", settings);
    ground.run(json!({})).success();
    ground.run(json!({})).fails(77);
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decisions: Vec<_> = lines.iter().map(|l| (&l["decision"], &l["backend"])).collect();
    let service = json!("service");
    assert_eq!(decisions, [(&json!("given"), &service), (&json!("denied"), &service)]);
    assert_eq!(lines[1]["reason"], "backend_denied");
    assert!(!text.contains("value-of") && !text.contains(TOKEN));
}

#[test]
fn a_required_secret_that_the_service_has_not_stops_the_job() {
    let ground = Ground::new([five()]);
    let ended = ground.run(json!({"require": ["envvar:MISSING"]}));
    ground.refused(ended, 66, "secret_missing", &["envvar:MISSING", "project_user"]);
}

#[test]
fn a_socket_and_a_loopback_address_need_no_tls() {
    for unix in [false, true] {
        let sandbox = Sandbox::new();
        let server = if unix {
            Server::unix([five()], &sandbox.path("service.sock"))
        } else {
            Server::new([five()])
        };
        sandbox.token(TOKEN);
        let job = sandbox.job(json!({"command": ["sh", "-c", "test \"$ORG_KEY\" = EPSG:2056"]}));
        let url = server.url("");
        let words = ["run", "--service", &url, "--job-token-file", "tokens/token"];
        let mut command = sandbox.command(words);
        command.arg(job);
        // A proxy would see the token.
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
            command.env(name, NOBODY);
        }
        end(command).success();
        assert_eq!(server.requests().len(), 1, "{url}");
    }
}

/// Through a proxy HTTPS is a tunnel: the proxy sees the host's name and nothing else.
#[test]
fn https_goes_through_the_proxy_of_the_environment() {
    let ground = Ground::new([five()]);
    let proxy = Server::new([Answer::status(502)]);
    let mut settings = fs::read_to_string(ground.sandbox.path("settings.toml")).unwrap();
    settings.push_str("deadline_s = 1\n");
    ground.sandbox.write("settings.toml", settings);
    let mut command = ground.command(json!({}));
    command.env("HTTPS_PROXY", proxy.url(""));
    let ended = end(command);
    ground.refused(ended, 69, "backend_unavailable", &[]);
    let requests = proxy.requests();
    let connect = format!("CONNECT {} ", ground.server.authority());
    assert!(requests[0].line.starts_with(&connect), "{}", requests[0].line);
    assert!(requests.iter().all(|request| request.header("Authorization").is_none()));
    assert_eq!(ground.server.requests().len(), 0);

    let mut command = ground.command(json!({}));
    command.env("HTTPS_PROXY", proxy.url("")).env("NO_PROXY", "127.0.0.1");
    end(command).success();
    assert_eq!(ground.server.requests().len(), 1);
}

#[test]
fn a_command_is_a_job_of_the_token_too() {
    let ground = Ground::new([five()]);
    let exec = |more: &[&str]| {
        let words = "--settings settings.toml exec -P survey -O org -U ada --job-token-file";
        let command = ["--", "sh", "-c", "test \"$USER_KEY\" = value-of-ada"];
        let words = words.split(' ').chain(["tokens/token"]).chain(more.iter().copied());
        ground.sandbox.run(words.chain(command))
    };
    exec(&[]).error(64, "usage", "give its id with --job-id");
    assert_eq!(ground.server.requests().len(), 0);
    exec(&["--job-id", "job-1"]).success();
    assert_eq!(ground.server.requests().len(), 1);
}

/// The outer process reports in the place of one that was killed.
#[test]
fn a_killed_runner_names_its_backend_too() {
    let ground = Ground::new([Answer::Silence]);
    let mut child = ground.command(json!({})).spawn().unwrap();
    crate::support::until("the service is asked", || ground.server.requests().len() == 1);
    let outer = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let inner = crate::support::inner(outer).unwrap();
    nix::sys::signal::kill(inner, nix::sys::signal::Signal::SIGKILL).unwrap();
    let ended = crate::support::finish_here(&mut child);
    ground.refused(ended, 137, "runner_killed", &["SIGKILL"]);
}

/// An order to end counts while the service is waited for.
#[test]
fn a_run_that_waits_for_the_service_can_be_ended() {
    let ground = Ground::new([Answer::Silence]);
    let mut child = ground.command(json!({})).spawn().unwrap();
    crate::support::until("the service is asked", || ground.server.requests().len() == 1);
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = crate::support::finish_here(&mut child);
    ground.refused(ended, 143, "cancelled", &["SIGTERM"]);
}
