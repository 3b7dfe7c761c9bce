//! The management API, through `qgis-secrets serve`.
//!
//! - `client`: the command line, with `--server` and without
//! - `delegation`: what tokens that give on can't do
//! - `documented`: requests made from the document, and answers that it doesn't have
//! - `inputs`: what is sent: too much, nonsense, tricks
//! - `people`: every route of the page with everybody who logs in
//! - `permissions`: every route with every kind of token
//! - `secrets`: adding, importing, listing, removing; values never come back

mod client;
mod delegation;
mod documented;
mod inputs;
mod people;
mod permissions;
mod secrets;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qgis_secrets::access::{Access, Actor, Grant, Via};
use qgis_secrets::membership::{Membership, NonMember};
use qgis_secrets::secret::{Id, Value};
use qgis_secrets::server::administration::{
    Administration, Organization, Policy, Project, TokenRequest,
};
use qgis_secrets::settings;
use qgis_secrets::store::database::{Database, Mode, transaction};
use qgis_secrets::store::pool::Pool;
use qgis_secrets::store::{Keyring, Store, access};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use crate::job_tokens::{Forger, jwks};
use crate::support::Sandbox;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A project whose id has everything in it that an address could misread.
const AWKWARD: &str = "ninja/field@x+1";

/// Nothing of a test's many requests is to fail for being one of many.
const SETTINGS: &str = "
    [service.membership]
    mode = 'registered'
    organization_user = true
    [service.limits]
    requests_per_second = 10000
    failures_per_minute = 1000000
";

/// A service on a port of its own, with two organizations, three projects, and tokens:
///
/// | project | organization | members | admins |
/// | --- | --- | --- | --- |
/// | `survey` | `org` (`ada`, `bo`; admin `olga`) | `ada` | `pia` |
/// | [`AWKWARD`] | `other` (admin `otto`) | `zoe` | |
/// | `home` | | `ada` | |
struct Service {
    sandbox: Sandbox,
    /// Who signs the tokens of jobs.
    orchestrator: Forger,
    store: settings::Store,
    runtime: Runtime,
    administration: Administration,
    operator: Actor,
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
    tokens: BTreeMap<&'static str, String>,
}

/// What the service answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Checks the status, and gives the body.
    #[track_caller]
    fn with(&self, status: u16) -> Json {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// Checks that it is a problem with this status and word.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) -> Json {
        let problem = self.with(status);
        assert_eq!(problem["kind"], kind, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        problem
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn ids(texts: &[&str]) -> Vec<Id> {
    texts.iter().map(|text| id(text)).collect()
}

impl Service {
    fn new() -> Self {
        Self::with(SETTINGS)
    }

    fn with(settings: &str) -> Self {
        let sandbox = Sandbox::new();
        let place = settings::Place::File(sandbox.store());
        Self::at(place, sandbox, settings)
    }

    /// On a store elsewhere, which the sandbox's own settings name too.
    fn at(place: settings::Place, sandbox: Sandbox, settings: &str) -> Self {
        // Makes the store and its key.
        sandbox.add("-O elsewhere", "FIRST", "x");
        let store = settings::Store { place, key: sandbox.key(), public_key: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool = runtime.block_on(async { Pool::open(&store.place, 1) }).unwrap();
        let key = Keyring::read(&sandbox.key()).unwrap().current().public().clone();
        let membership = Membership::Registered { non_member: NonMember::Deny };
        let policy = Policy { membership, organization_user: true, oldest_libpq: 13 };
        let administration = Administration::new(pool, key, policy);
        let operator = Actor {
            subject: "root".into(),
            name: "Root".into(),
            claimed: vec![Grant::Operator],
            grants: vec![Grant::Operator],
            access: Access::Delegate,
            via: Via::Link,
        };
        runtime.block_on(register(&administration, &operator));
        let orchestrator = Forger::ed25519("o");
        let keys = sandbox.write("orchestrator.jwks", jwks(&[&orchestrator]));
        let keys = format!("[service.job_tokens]\nkeys_files = ['{}']\n", keys.display());
        let settings = sandbox.write("settings.toml", format!("{settings}\n{keys}"));
        let mut command = sandbox.command(["serve", "--listen", "127.0.0.1:0", "--settings"]);
        command.arg(settings).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (address, log) = listen(&mut child);
        let address = address.recv_timeout(PATIENCE).unwrap();
        let tokens = BTreeMap::new();
        let mut service = Self {
            sandbox,
            store,
            orchestrator,
            runtime,
            administration,
            operator,
            child,
            address,
            log,
            tokens,
        };
        for (name, grant, access) in [
            ("operator", Grant::Operator, Access::Manage),
            ("organization", Grant::OrganizationAdmin(id("org")), Access::Manage),
            ("project", Grant::ProjectAdmin(id("survey")), Access::Manage),
            ("stranger", Grant::ProjectAdmin(id(AWKWARD)), Access::Manage),
            ("reader", Grant::Operator, Access::Read),
            ("delegate", Grant::Operator, Access::Delegate),
            ("project-delegate", Grant::ProjectAdmin(id("survey")), Access::Delegate),
            ("revoked", Grant::Operator, Access::Delegate),
            ("expired", Grant::Operator, Access::Delegate),
        ] {
            let (id, text) = service.issue(name, grant, access);
            match name {
                "revoked" => service.revoke(&id),
                "expired" => service.expire(&id),
                _ => {}
            }
            service.tokens.insert(name, text);
        }
        service
    }

    /// Makes a token: its id and its text.
    fn issue(&self, name: &str, grant: Grant, access: Access) -> (String, String) {
        let request = TokenRequest { name: name.into(), grant, access, days: Some(1) };
        let made = self.administration.issue_api_token(&self.operator, &request);
        let (token, text) = self.runtime.block_on(made).unwrap();
        (token.id, text_of(&text))
    }

    fn revoke(&self, token: &str) {
        let revoked = self.administration.revoke_api_token(&self.operator, token);
        self.runtime.block_on(revoked).unwrap();
    }

    fn expire(&self, token: &str) {
        let mut database = Store::from_settings(&self.store).unwrap().into_database();
        let expire = |database: &mut dyn Database| {
            let found = access::find_token(database, token)?.unwrap();
            let sql = "UPDATE api_token SET expires_at = $2 WHERE id = $1";
            let past = found.expires_at - 3 * 24 * 3600;
            database.execute(sql, &[token.into(), past.into()])
        };
        transaction(&mut *database, Mode::Write, expire).unwrap();
    }

    /// Gives `subject` the administration of the project `survey`: the grant's id.
    fn grant(&self, subject: &str) -> String {
        let grant = Grant::ProjectAdmin(id("survey"));
        let given = self.administration.grant(&self.operator, subject, &grant);
        self.runtime.block_on(given).unwrap().id
    }

    /// Sends a request as the holder of one of the tokens.
    fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Json>) -> Answer {
        self.bearing(&self.tokens[token], method, path, body)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("operator", "GET", path, None)
    }

    fn post(&self, path: &str, body: Json) -> Answer {
        self.ask("operator", "POST", path, Some(&body))
    }

    fn post_as(&self, token: &str, path: &str, body: Json) -> Answer {
        self.ask(token, "POST", path, Some(&body))
    }

    /// Sends a request with these header lines; a body is JSON unless they say otherwise.
    fn send(&self, method: &str, path: &str, headers: &str, body: Option<&str>) -> Answer {
        self.send_to("x", method, path, headers, body)
    }

    /// The same under a name of the service's own, as browsers do.
    fn send_to(
        &self,
        host: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&str>,
    ) -> Answer {
        let line = format!("{method} {path} HTTP/1.1\r\n");
        let mut head = format!("{line}Host: {host}\r\nConnection: close\r\n");
        head.push_str(headers);
        if let Some(body) = body {
            if !headers.contains("Content-Type:") {
                head.push_str("Content-Type: application/json\r\n");
            }
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A service that refuses a body early closes the connection.
        drop(stream.write_all(body.unwrap_or_default().as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Sends a request with this token, known to the harness or not.
    fn bearing(&self, token: &str, method: &str, path: &str, body: Option<&Json>) -> Answer {
        let authorization = format!("Authorization: Bearer {token}\r\n");
        self.send(method, path, &authorization, body.map(Json::to_string).as_deref())
    }

    /// What it said of itself so far.
    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap_or_default();
        let ended = self.child.wait().unwrap();
        if !std::thread::panicking() {
            assert!(ended.success(), "{ended:?}: {}", self.log());
        }
    }
}

fn text_of(value: &Value) -> String {
    String::from_utf8(value.expose().to_vec()).unwrap()
}

async fn register(administration: &Administration, operator: &Actor) {
    for (name, members, admins) in
        [("org", ids(&["ada", "bo"]), ids(&["olga"])), ("other", vec![], ids(&["otto"]))]
    {
        let content = Organization { members, admins };
        assert!(administration.put_organization(operator, &id(name), &content).await.unwrap().1);
    }
    for (name, organization, members, admins) in [
        ("survey", Some(id("org")), ids(&["ada"]), ids(&["pia"])),
        (AWKWARD, Some(id("other")), ids(&["zoe"]), vec![]),
        ("home", None, ids(&["ada"]), vec![]),
    ] {
        let content = Project { organization, members, admins };
        assert!(administration.put_project(operator, &id(name), &content).await.unwrap().1);
    }
}

/// Reads what the service says; where it listens comes through the channel.
fn listen(child: &mut Child) -> (Receiver<String>, Arc<Mutex<String>>) {
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let log = Arc::new(Mutex::new(String::new()));
    let (sender, receiver) = channel();
    let lines = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("listening at http://") {
                drop(sender.send(address.trim().to_owned()));
            }
            lines.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
    (receiver, log)
}

/// The OpenAPI document, as it is committed.
fn document() -> Json {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/openapi.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every operation of the document that needs a token: method, path, and the operation.
fn operations() -> Vec<(String, String, Json)> {
    let mut all = Vec::new();
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if path != "/openapi.json" {
                all.push((method.to_uppercase(), path.clone(), operation.clone()));
            }
        }
    }
    all
}

/// An environment variable to add.
fn variable(key: &str, value: &str) -> Json {
    json!({ "kind": "envvar", "key": key, "value": value })
}
