//! The job token: where it comes from, and who never sees it.

use super::*;
use crate::support::{inner, until};

/// The words without a token's file.
fn bare(ground: &Ground, members: Json) -> std::process::Command {
    let job = ground.job(members);
    let words = "--settings settings.toml run --report report.json".split(' ');
    ground.sandbox.command(words.chain([job.as_str()]))
}

#[test]
fn a_token_comes_by_environment_and_goes_no_further() {
    let ground = Ground::new([answer(json!({}))]);
    let script = "env > got; cat /proc/[0-9]*/environ > environs 2>&-; \
                  cat /proc/[0-9]*/cmdline > words 2>&-; echo \"$PPID\"; true";
    for pass in ["", "[environment]\ninherit = 'image'\n"] {
        let mut settings = fs::read_to_string(ground.sandbox.path("settings.toml")).unwrap();
        settings.push_str(pass);
        ground.sandbox.write("settings.toml", settings);
        for level in ["namespace", "namespace-shared-proc", "process"] {
            let mut command = bare(&ground, json!({"command": ["sh", "-c", script]}));
            let token = format!("{TOKEN}\n");
            command.env("QGIS_SECRETS_JOB_TOKEN", &token).env("QGIS_SECRETS_CONTAINMENT", level);
            let ended = end(command).success();
            ground.nothing_shown(&ended);
            for file in ["got", "environs", "words"] {
                let seen = fs::read(ground.sandbox.path(file)).unwrap();
                let seen = String::from_utf8_lossy(&seen);
                assert!(!seen.contains(TOKEN), "{level}: {file}: {seen}");
            }
            assert!(ground.got().contains(VALUE));
        }
    }
    let bearer = format!("Bearer {TOKEN}");
    let requests = ground.server.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests.iter().all(|request| request.header("Authorization") == Some(&bearer)));
}

/// From outside: neither process of the runner shows it.
#[test]
fn neither_process_of_the_runner_shows_the_token() {
    let ground = Ground::new([Answer::Silence]);
    let mut child = bare(&ground, json!({})).env("QGIS_SECRETS_JOB_TOKEN", TOKEN).spawn().unwrap();
    until("the service is asked", || ground.server.requests().len() == 1);
    let outer = nix::unistd::Pid::from_raw(child.id().cast_signed());
    for process in [outer, inner(outer).unwrap()] {
        for file in ["environ", "cmdline"] {
            // Of another owner, for it can't be looked into: then nobody else sees it either.
            let Ok(seen) = fs::read(format!("/proc/{process}/{file}")) else { continue };
            assert!(!String::from_utf8_lossy(&seen).contains(TOKEN), "{process} {file}");
        }
    }
    nix::sys::signal::kill(outer, nix::sys::signal::Signal::SIGTERM).unwrap();
    crate::support::finish_here(&mut child).fails(143);
}

#[test]
fn the_job_can_not_read_the_tokens_file() {
    let ground = Ground::new([answer(json!({}))]);
    let file = ground.sandbox.path("tokens/token").display().to_string();
    let script = format!("env > got; ! cat '{file}'; ls '{file}' && exit 3; true");
    for level in ["namespace", "namespace-shared-proc", "process"] {
        let mut command = ground.command(json!({"command": ["sh", "-c", script]}));
        command.env("QGIS_SECRETS_CONTAINMENT", level);
        let ended = end(command);
        // Landlock denies reading, not seeing.
        let ended = if level == "process" { ended.fails(3) } else { ended.success() };
        assert!(!ended.stdout.contains("***") && !ended.stdout.contains(TOKEN), "{level}");
    }
    // Where the job stands, it can't be hidden.
    let members = json!({"working_dir": ground.sandbox.path("tokens")});
    fs::remove_file(ground.sandbox.path("got")).unwrap();
    let ended = ground.run(members);
    ground.refused(ended, 78, "credentials_exposed", &["the job token", "its working directory"]);
}

#[test]
fn the_file_is_read_once_and_may_be_gone_when_the_job_runs() {
    let ground = Ground::new([Answer::status(503), answer(json!({}))]);
    let mut child = ground.command(json!({})).spawn().unwrap();
    until("the service is asked", || !ground.server.requests().is_empty());
    fs::remove_file(ground.sandbox.path("tokens/token")).unwrap();
    crate::support::finish_here(&mut child).success();
    assert_eq!(ground.server.requests().len(), 2);
}

#[test]
fn a_token_that_is_given_twice_or_not_at_all_is_told() {
    let ground = Ground::new([answer(json!({}))]);
    let mut twice = ground.command(json!({}));
    twice.env("QGIS_SECRETS_JOB_TOKEN", TOKEN);
    let ended = end(twice).error(64, "usage", "the job token is given twice");
    ground.nothing_shown(&ended);
    let words = ["--job-token-file", "`backend.service.token_file`", "QGIS_SECRETS_JOB_TOKEN"];
    ground.refused(end(bare(&ground, json!({}))), 78, "token_missing", &words);
    for bad in ["", " ", "two words", "\u{e9}"] {
        let mut command = bare(&ground, json!({}));
        command.env("QGIS_SECRETS_JOB_TOKEN", bad);
        ground.refused(end(command), 78, "token_invalid", &["must hold one token"]);
    }
    ground.sandbox.token("two words");
    ground.refused(ground.run(json!({})), 78, "token_invalid", &["tokens/token"]);
    fs::remove_file(ground.sandbox.path("tokens/token")).unwrap();
    ground.refused(ground.run(json!({})), 78, "token_unreadable", &["tokens/token"]);
    assert_eq!(ground.server.requests().len(), 0);
}

/// A token means a service: the store of this machine must not answer in its place.
#[test]
fn a_token_without_a_service_is_told() {
    let sandbox = Sandbox::new();
    sandbox.token(TOKEN);
    sandbox.add("-P survey", "API_KEY", VALUE);
    let words = "exec -P survey --job-token-file tokens/token -- true";
    sandbox.run(words.split(' ')).error(78, "settings_invalid", "a job token is for a service");
    let mut command = sandbox.command("exec -P survey -- sh -c env".split(' '));
    command.env("QGIS_SECRETS_JOB_TOKEN", TOKEN);
    let ended = end(command).success();
    assert!(ended.stderr.contains("QGIS_SECRETS_JOB_TOKEN is not used"), "{}", ended.stderr);
    assert!(!ended.stdout.contains(TOKEN), "{}", ended.stdout);
}

#[test]
fn no_address_sends_a_token_in_clear() {
    let sandbox = Sandbox::new();
    sandbox.token(TOKEN);
    let job = sandbox.job(json!({}));
    for url in ["http://secrets.example", "http://localhost:1", "http://10.0.0.1", "ftp://x"] {
        let words = ["run", "--service", url, "--job-token-file", "tokens/token"];
        let words = words.into_iter().chain([job.to_str().unwrap()]);
        let message = if url == "ftp://x" { "no URL that begins with" } else { "go in clear" };
        let ended = sandbox.run(words).error(78, "settings_invalid", message);
        assert!(!ended.stderr.contains(TOKEN));
    }
}
