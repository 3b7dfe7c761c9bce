//! Commands that fail, with a canary where the failure is: no message holds it.

use serde_json::json;

use super::canaries::{QUOTES, SPECIAL, TOKEN};
use super::ground::Ground;
use crate::support::http::{Answer, Server};
use crate::support::{Ended, finish};

/// The program with something on standard input, in the environment of the ground.
fn given(ground: &Ground, words: &[&str], input: &str) -> Ended {
    use std::io::Write;
    let mut child = ground.command(words).stdin(std::process::Stdio::piped()).spawn().unwrap();
    // A program that refuses its input early closes the pipe.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    finish(child)
}

#[test]
fn what_cannot_be_added_is_not_shown() {
    let mut ground = Ground::new(&[200]);
    let canary = ground.canary("input", TOKEN);
    let special = ground.canary("special", QUOTES);
    let add_service = ["secret", "add-service", "-P", "survey", "--from-file", "-"];
    let add = ["secret", "add", "-P", "survey"];
    let import = |format| ["secret", "import", "-", "-P", "survey", "--format", format];
    for (words, input) in [
        ([&add[..], &["PATH"]].concat(), canary.clone()),
        ([&add[..], &["bad name"]].concat(), canary.clone()),
        ([&add[..], &["HUNT_USER"]].concat(), canary.clone()),
        ([&add[..], &["NUL"]].concat(), format!("{canary}\0")),
        (add_service.to_vec(), canary.clone()),
        (add_service.to_vec(), format!("[a]\nhost=db\npassword {canary}\n")),
        (add_service.to_vec(), format!("[a]\nhost=db\npasword={special}\n")),
        (add_service.to_vec(), format!("[a]\npassword={canary}\npassword={special}\n")),
        (add_service.to_vec(), format!("[a]\nport={canary}\n")),
        (add_service.to_vec(), format!("[a]\nservice={canary}\npassword={canary}\n")),
        (import("pg-service").to_vec(), format!("[a]\nhost=db\n{canary}\n[b]\n{special}")),
        (import("pg-service").to_vec(), format!("password={canary}\n[a]\nhost=db\n")),
        (import("pg-service").to_vec(), format!("[a]\npassword={}{canary}\n", "x".repeat(2000))),
        (import("env").to_vec(), format!("A={canary}\n{special}\n")),
        (import("env").to_vec(), format!("A='{canary}\n")),
        (import("env").to_vec(), format!("A=\"{canary}\" x\nLD_PRELOAD={canary}\n")),
    ] {
        let ended = given(&ground, &words, &input);
        ground.is_clean(&format!("{words:?}"), &ended);
        assert_ne!(ended.code, 0, "{words:?}");
        let rule = ended.stderr.lines().any(|line| line.starts_with("error["));
        assert!(rule, "{words:?}: {}", ended.stderr);
    }
    for words in [&["secret", "list"][..], &["secret", "remove", "-P", "survey", "HUNT_USER"]] {
        let ended = given(&ground, words, "");
        ground.is_clean(&format!("{words:?}"), &ended);
    }
}

/// A descriptor that is broken just where a value is.
#[test]
fn a_broken_descriptor_is_not_shown() {
    let mut ground = Ground::new(&[200]);
    let canary = ground.canary("descriptor", SPECIAL);
    let value = json!(canary).to_string();
    let good = r#""version": 1, "id": "a", "project": "survey", "command": ["true"]"#;
    for text in [
        value.clone(),
        format!("{{{good}, \"env\": {{\"A\": {value}}}"),
        format!("{{{good}, \"env\": {{\"A\": {value} x}}}}"),
        format!("{{{good}, \"env\": {value}}}"),
        format!("{{{good}, \"timeout_s\": {value}}}"),
        format!("{{{good}, \"version\": {value}}}"),
        format!("{{{good}, \"env\": {{\"LD_PRELOAD\": {value}}}}}"),
        format!("{{{good}, \"env\": {{\"A\": {value}, \"A\": {value}}}}}"),
        format!("{{{good}, \"mask_env\": [{value}]}}"),
        format!("{{{good}, \"env\": {{\"A\": \"\\ud800{canary}\"}}}}"),
        canary,
    ] {
        for command in ["run", "explain", "check"] {
            let ended = given(&ground, &[command, "-"], &text);
            assert_eq!(ended.code, 65, "{command}, {text}\n{}", ended.stderr);
            ground.is_clean(&format!("{command}, {text}"), &ended);
        }
    }
}

/// What a server says is no more to be shown than what it was told: it may say it again.
#[test]
fn what_a_server_answers_is_not_shown() {
    let mut ground = Ground::new(&[200]);
    let canary = ground.canary("body", SPECIAL);
    for status in [200, 400, 401, 403, 404, 409, 418, 429, 500, 503] {
        let body = format!("Bearer {canary}\n{{\"env\": {{\"A\": \"{canary}\"}}");
        let server = Server::new([Answer::Status(status, body.into_bytes())]);
        let ended = given(&ground, &["run", "--report", "report.json", &server.url("/job")], "");
        assert_ne!(ended.code, 0, "{status}");
        assert!(ended.stderr.contains("error["), "{status}: {}", ended.stderr);
        let token = server.requests()[0].header("authorization").unwrap().to_owned();
        assert!(!ground.hunter().find(token.as_bytes()).is_empty(), "the token was sent: {token}");
        ground.is_clean(&format!("{status}"), &ended);
    }
    // The reports' server, too.
    let server = Server::new([Answer::Status(400, canary.into_bytes())]);
    let text = std::fs::read_to_string(ground.sandbox.path("settings.toml")).unwrap();
    let text = text.replace(&ground.server.url("/reports"), &server.url("/reports"));
    ground.sandbox.write("settings.toml", text);
    let ended = ground.run("plain", &json!({}), &[]).success();
    assert!(server.requests().len() >= 2);
    ground.is_clean("reports", &ended);
}

/// Known values are masked in what the runner says, whatever it is about.
#[test]
fn a_value_as_a_name_is_masked() {
    let mut ground = Ground::new(&[200]);
    // As both the value of a secret, and a word of the job.
    let canary = ground.canary("word", TOKEN);
    ground.sandbox.add_sensitive("-P survey", "HUNT_WORD", &canary);
    for level in ["namespace", "process"] {
        for members in [
            json!({"command": [canary]}),
            json!({"command": [format!("/nowhere/{canary}")]}),
            json!({"command": ["sh", "-c", format!("echo {canary}; echo {canary} >&2; exit 3")]}),
            json!({"command": ["printf", "%s", canary]}),
            json!({"command": ["true"], "feedback": format!("/nowhere/{canary}")}),
        ] {
            let ended = ground.run("", &members, &["--containment", level]);
            assert!([0, 1, 3, 65, 127].contains(&ended.code), "{members}\n{}", ended.stderr);
            ground.is_clean(&format!("{members}"), &ended);
        }
    }
}

/// A project file that holds a password of its own.
#[test]
fn explaining_a_project_shows_no_password_in_it() {
    let mut ground = Ground::new(&[200]);
    let canary = ground.canary("project", TOKEN);
    let source = format!("dbname='gis' host=db user='ada' password='{canary}' table=\"a\".\"b\"");
    let project = |source: &str| {
        format!(
            "<qgis version='3.40'><projectlayers><maplayer><id>a</id><layername>a</layername>\
             <provider>postgres</provider><datasource>{source}</datasource></maplayer>\
             </projectlayers></qgis>"
        )
    };
    let file = ground.sandbox.path("survey.qgs");
    for (text, good) in [
        (project(&source), true),
        (project(&source.replace('\'', "&apos;")), true),
        (project(&source.replacen("password='", "password='\\'", 1)), true),
        (project(&format!("{source} <")), false),
        (format!("{canary}<"), false),
    ] {
        ground.sandbox.write("survey.qgs", text);
        for format in ["table", "json"] {
            let words = ["explain", "-P", "survey", "--qgis-project", file.to_str().unwrap()];
            let ended = given(&ground, &[&words[..], &["--format", format]].concat(), "");
            std::fs::rename(&file, ground.sandbox.path("aside")).unwrap();
            std::fs::remove_file(ground.sandbox.path("aside")).unwrap();
            let found = ground.hunter().hunt(&ground.evidence(&ended));
            assert!(found.is_empty(), "{found:?}\n{}{}", ended.stdout, ended.stderr);
            assert!(!good || ended.code == 0, "{}", ended.stderr);
            ground.sandbox.write("survey.qgs", project(&source));
        }
    }
}
