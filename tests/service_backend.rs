//! Secrets from a secrets service: asked with a job token, over TLS, and of nobody else.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::http::{Answer, Server};
use crate::support::tls::{Authority, Like};
use crate::support::{Ended, Sandbox, end, json};

mod answers;
mod certificates;
mod checking;
mod failing;
mod running;
mod tokens;

/// The job token of these tests. It must not be seen anywhere.
const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJqb2IiOiI3YzFlIn0.c2lnbmF0dXJlLTlmM2E";

/// The value of the secret of [`secret`].
const VALUE: &str = "value-7d1c4e-of-the-service";

/// A secret of the answer, with the given members over it.
fn secret(members: Json) -> Json {
    over(
        json!({
            "id": "0199", "kind": "envvar", "key": "API_KEY", "level": "project",
            "owner": "survey", "assigned_to": null, "sensitive": true, "value": VALUE,
        }),
        members,
    )
}

/// The same without its value.
fn shadowed(members: Json) -> Json {
    let mut secret = secret(members);
    secret.as_object_mut().unwrap().remove("value");
    secret
}

/// The answer for the job of [`Sandbox::job`], with the given members over it.
fn answer(members: Json) -> Answer {
    let answer = json!({
        "version": 1, "job": {"id": "job-1", "attempt": 1}, "organization": "org",
        "project": "survey", "user": "ada", "secrets": [secret(json!({}))], "shadowed": [],
    });
    Answer::fine(over(answer, members).to_string())
}

fn over(mut json: Json, members: Json) -> Json {
    for (key, value) in members.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

/// A problem document, as a service refuses.
fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let problem = json!({"type": "about:blank", "title": "No", "status": status, "kind": kind,
                         "detail": detail});
    Answer::Headed(status, "Content-Type: application/problem+json", problem.to_string().into())
}

/// A service with TLS, and a sandbox that trusts it.
struct Ground {
    sandbox: Sandbox,
    server: Server,
    authority: Authority,
}

impl Ground {
    fn new(script: impl Into<Vec<Answer>>) -> Self {
        let authority = Authority::new();
        let server = Server::secure(script, authority.server(Like::Good));
        let sandbox = Sandbox::new();
        let ground = Self { sandbox, server, authority };
        ground.settings(&[ground.server.url("")], "");
        ground.sandbox.token(TOKEN);
        ground
    }

    /// Settings that name these addresses, and more of `[backend.service]`.
    fn settings(&self, urls: &[String], more: &str) {
        let ca = self.sandbox.write("ca.pem", self.authority.pem());
        let settings = format!(
            "[backend]\nkind = 'service'\n[backend.service]\nurl = {urls:?}\n\
             ca_file = '{}'\n{more}\n",
            ca.display()
        );
        self.sandbox.write("settings.toml", settings);
    }

    /// The words before a job's descriptor: a report, and the token's file.
    fn words(&self) -> Vec<&'static str> {
        "--settings settings.toml run --report report.json --job-token-file tokens/token"
            .split(' ')
            .collect()
    }

    /// Runs a job that leaves `got`: the proof that it was started, and what it saw.
    fn run(&self, members: Json) -> Ended {
        end(self.command(members))
    }

    fn command(&self, members: Json) -> std::process::Command {
        let job = self.job(members);
        self.sandbox.command(self.words().into_iter().chain([job.as_str()]))
    }

    fn job(&self, members: Json) -> String {
        let command = json!({"command": ["sh", "-c", "env > got; cat \"$PGSERVICEFILE\" >> got"]});
        self.sandbox.job(over(command, members)).to_str().unwrap().to_owned()
    }

    /// What the job of [`Self::run`] saw.
    fn got(&self) -> String {
        fs::read_to_string(self.sandbox.path("got")).unwrap()
    }

    /// The run was refused: code, kind and words; no job was started, nothing shown.
    #[track_caller]
    fn refused(&self, ended: Ended, code: i32, kind: &str, words: &[&str]) -> Ended {
        let ended = ended.error(code, kind, "");
        for word in words {
            assert!(ended.stderr.contains(word), "no `{word}` in\n{}", ended.stderr);
        }
        assert!(!self.sandbox.path("got").exists(), "the job was started");
        let report = json(&self.sandbox.path("report.json"));
        assert_eq!(report["outcome"]["reason"], kind);
        assert_eq!(report["backend"], "service");
        self.nothing_shown(&ended);
        ended
    }

    /// Neither token nor value is in what a run leaves.
    #[track_caller]
    fn nothing_shown(&self, ended: &Ended) {
        let report = fs::read_to_string(self.sandbox.path("report.json")).unwrap_or_default();
        for text in [&ended.stdout, &ended.stderr, &report] {
            for hidden in [TOKEN, VALUE] {
                assert!(!text.contains(hidden), "{hidden} in\n{text}");
            }
        }
    }
}
