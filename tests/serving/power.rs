//! SIGKILL of a service at any instant, while many add, import, replace and remove: what was
//! acknowledged is there and in the audit, what was not is whole or absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::stores::cluster::Database;
use crate::support::until;

/// How often a service is killed.
const ROUNDS: usize = 8;

#[test]
fn a_killed_service_keeps_what_it_acknowledged_in_a_file() {
    let ground = Ground::new("");
    ground.fill();
    killed_again_and_again(&ground);
}

#[test]
fn a_killed_service_keeps_what_it_acknowledged_in_a_database() {
    let database = Database::new();
    killed_again_and_again(&replicas::ground(&database, ""));
}

/// What one client knows.
#[derive(Default)]
struct Known {
    /// By name: the values that a secret can have now, `None` for none. One, once it is
    /// acknowledged.
    values: BTreeMap<String, Vec<Option<String>>>,
    /// Names that are there together or not at all.
    together: Vec<[String; 3]>,
    /// Ids of which a change was acknowledged, with the change.
    recorded: Vec<(&'static str, String)>,
}

/// A client of one round.
struct Client<'a> {
    service: &'a Process,
    operator: &'a str,
    /// Begins its names.
    prefix: String,
    over: &'a AtomicBool,
    acknowledged: &'a AtomicUsize,
    known: Known,
}

fn killed_again_and_again(ground: &Ground) {
    let operator = ground.operator();
    let mut service = ground.serve(&[]);
    for round in 0..ROUNDS {
        let over = AtomicBool::new(false);
        let acknowledged: [AtomicUsize; 4] = Default::default();
        let all: Vec<Known> = std::thread::scope(|scope| {
            let works: [fn(&mut Client<'_>, usize) -> Option<()>; 4] =
                [|c, n| c.adds(n), |c, n| c.adds(n), |c, n| c.imports(n), |c, n| c.replaces(n)];
            let clients = works.into_iter().enumerate().map(|(number, work)| {
                let mut client = Client {
                    service: &service,
                    operator: &operator,
                    prefix: format!("K{round}_{number}"),
                    over: &over,
                    acknowledged: &acknowledged[number],
                    known: Known::default(),
                };
                scope.spawn(move || {
                    (0..).try_for_each(|n| work(&mut client, n));
                    client.known
                })
            });
            let clients: Vec<_> = clients.collect();
            // Not after the same number each time, which could be the same instant of their work.
            until("much is acknowledged", || {
                let counts = acknowledged.each_ref().map(|count| count.load(Ordering::SeqCst));
                let enough = counts.iter().all(|count| *count > 1);
                enough && counts.iter().sum::<usize>() > 20 + 7 * round
                    || clients.iter().any(|client| client.is_finished())
            });
            kill(service.pid(), Signal::SIGKILL).unwrap();
            over.store(true, Ordering::SeqCst);
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        service.kill();
        service = ground.serve(&[]);
        check(ground, &service, &all);
    }
    service.stop();
}

impl Client<'_> {
    /// What a request gave; nothing if the service was gone before it answered.
    fn ask(&self, method: &str, path: &str, body: Option<&Json>) -> Option<Json> {
        if self.over.load(Ordering::SeqCst) {
            return None;
        }
        let answer = self.service.try_send(method, path, self.operator, body)?;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        // One that was cut off is none.
        let body = serde_json::from_str(&answer.body).ok()?;
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        Some(body)
    }

    /// From now on it can have one of these values.
    fn can_be(&mut self, name: &str, values: &[Option<&str>]) {
        let values = values.iter().map(|value| value.map(str::to_owned)).collect();
        self.known.values.insert(name.to_owned(), values);
    }

    /// One at a time; each third is removed again.
    fn adds(&mut self, n: usize) -> Option<()> {
        let name = format!("{}_{n}", self.prefix);
        let value = format!("value-of-{name}");
        self.can_be(&name, &[None, Some(&value)]);
        let body = json!({"kind": "envvar", "key": name, "value": value});
        let added = self.ask("POST", "/v1/projects/survey/secrets", Some(&body))?;
        self.can_be(&name, &[Some(&value)]);
        let id = added["secrets"][0]["id"].as_str().unwrap().to_owned();
        self.known.recorded.push(("secret.add", id.clone()));
        if n.is_multiple_of(3) {
            self.can_be(&name, &[Some(&value), None]);
            self.ask("DELETE", &format!("/v1/secrets/{id}"), None)?;
            self.can_be(&name, &[None]);
            self.known.recorded.push(("secret.remove", id));
        }
        Some(())
    }

    /// Three at once.
    fn imports(&mut self, n: usize) -> Option<()> {
        let names = [0, 1, 2].map(|third| format!("{}_{n}_{third}", self.prefix));
        let value = |name: &str| format!("value-of-{name}");
        for name in &names {
            self.can_be(name, &[None, Some(&value(name))]);
        }
        self.known.together.push(names.clone());
        let text: String = names.iter().map(|name| format!("{name}={}\n", value(name))).collect();
        let body = json!({"format": "dotenv", "text": text});
        let added = self.ask("POST", "/v1/projects/survey/secrets/import", Some(&body))?;
        for (name, secret) in names.iter().zip(added["secrets"].as_array().unwrap()) {
            self.can_be(name, &[Some(&value(name))]);
            let id = secret["id"].as_str().unwrap().to_owned();
            self.known.recorded.push(("secret.add", id));
        }
        Some(())
    }

    /// The same name, again and again: there is always one.
    fn replaces(&mut self, n: usize) -> Option<()> {
        let name = format!("{}_SAME", self.prefix);
        let before = n.checked_sub(1).map(|n| format!("value-{n}-of-{name}"));
        let value = format!("value-{n}-of-{name}");
        self.can_be(&name, &[before.as_deref(), Some(&value)]);
        let body = json!({"kind": "envvar", "key": name, "value": value, "replace": true});
        let added = self.ask("POST", "/v1/projects/survey/secrets", Some(&body))?;
        self.can_be(&name, &[Some(&value)]);
        let id = added["secrets"][0]["id"].as_str().unwrap().to_owned();
        self.known.recorded.push(("secret.add", id));
        Some(())
    }
}

/// What is there, by a job and by the audit, is what the clients know.
fn check(ground: &Ground, service: &Process, all: &[Known]) {
    let answer = service.resolve(&ground.token(json!({})), json!({})).with(200);
    let secrets = answer["secrets"].as_array().unwrap();
    let text = |secret: &Json, member: &str| secret[member].as_str().unwrap().to_owned();
    let there: BTreeMap<String, String> =
        secrets.iter().map(|secret| (text(secret, "key"), text(secret, "value"))).collect();
    let audit: BTreeSet<(String, String)> = ground
        .audit()
        .iter()
        .flat_map(|row| {
            let secrets = ["added", "removed"].map(|member| &row["detail"][member]["secrets"]);
            let secrets = secrets.into_iter().filter_map(Json::as_array).flatten();
            secrets.map(|secret| (text(row, "action"), text(secret, "id"))).collect::<Vec<_>>()
        })
        .collect();
    for known in all {
        assert!(known.recorded.len() > 1, "a client did nothing");
        for (name, values) in &known.values {
            let value = there.get(name).cloned();
            assert!(values.contains(&value), "{name}: {value:?} is none of {values:?}");
        }
        for names in &known.together {
            let count = names.iter().filter(|name| there.contains_key(*name)).count();
            assert!([0, 3].contains(&count), "{count} of {names:?}");
        }
        for (action, id) in &known.recorded {
            let row = ((*action).to_owned(), id.clone());
            assert!(audit.contains(&row), "{row:?} is not in the audit");
        }
    }
    // Nor is anything there that is not in the audit.
    for secret in secrets.iter().filter(|secret| text(secret, "key").starts_with('K')) {
        let row = ("secret.add".to_owned(), text(secret, "id"));
        assert!(audit.contains(&row), "{row:?} is there and not in the audit");
    }
}
