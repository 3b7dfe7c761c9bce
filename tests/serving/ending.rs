//! What is running when a service is told to end, or is killed.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::support::until;

/// A request whose body comes late is answered; nobody else gets in meanwhile.
#[test]
fn a_running_request_is_answered_and_new_ones_are_not() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    let token = ground.token(json!({}));
    let body = request(json!({})).to_string();
    let mut stream = TcpStream::connect(&service.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It says that it is reading, so that it is known to run.
    let head = format!(
        "POST /v1/resolve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100");
    service.signal(Signal::SIGTERM);
    until("nobody gets in", || TcpStream::connect(&service.address).is_err());
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 200 OK") && answer.contains("password-of-ninja"), "{answer}");
    service.stop();
}

/// What was acknowledged is there; what was not is whole or absent.
#[test]
fn a_killed_service_keeps_what_it_acknowledged() {
    let ground = Ground::new("");
    ground.fill();
    let operator = ground.operator();
    for round in 0..3 {
        let service = ground.serve(&[]);
        let over = AtomicBool::new(false);
        // By name: true if it was added and not removed, false if it was removed.
        let mut known: BTreeMap<String, Option<bool>> = BTreeMap::new();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|client| {
                    let (service, operator, over) = (&service, &operator, &over);
                    scope.spawn(move || changes(service, operator, (round, client), over))
                })
                .collect();
            until("much is acknowledged", || secrets(&ground) > 30 * (round + 1));
            kill(service.pid(), Signal::SIGKILL).unwrap();
            over.store(true, Ordering::SeqCst);
            for client in clients {
                known.extend(client.join().unwrap());
            }
        });
        service.kill();
        let service = ground.serve(&[]);
        let answer = service.resolve(&ground.token(json!({})), json!({})).with(200);
        let there: BTreeMap<&str, &str> = answer["secrets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["key"].as_str().unwrap(), s["value"].as_str().unwrap()))
            .collect();
        assert!(known.len() > 8, "{known:?}");
        for (name, acknowledged) in &known {
            match acknowledged {
                Some(true) => assert_eq!(there[name.as_str()], format!("value-of-{name}")),
                Some(false) => assert_eq!(there.get(name.as_str()), None, "{name}"),
                None => {
                    let value = there.get(name.as_str());
                    assert!(value.is_none_or(|v| *v == format!("value-of-{name}")), "{name}");
                }
            }
        }
        service.stop();
    }
}

/// How many secrets the project has, by the store itself.
fn secrets(ground: &Ground) -> usize {
    let listed = ground.sandbox.run("secret list -P survey --format json".split(' '));
    listed.stdout.matches("\"K").count()
}

/// Adds, and removes every third, until the service is gone: what was acknowledged.
fn changes(
    service: &Process,
    operator: &str,
    (round, client): (usize, usize),
    over: &AtomicBool,
) -> BTreeMap<String, Option<bool>> {
    let mut known = BTreeMap::new();
    for n in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("K{round}_{client}_{n}");
        known.insert(name.clone(), None);
        let Some(added) = service.add(operator, &name, &format!("value-of-{name}")) else { break };
        let added = added.with(201);
        known.insert(name.clone(), Some(true));
        if n % 3 == 0 {
            known.insert(name.clone(), None);
            let id = added["secrets"][0]["id"].as_str().unwrap();
            let path = format!("/v1/secrets/{id}");
            let Some(removed) = service.try_send("DELETE", &path, operator, None) else { break };
            assert_eq!(removed.status, 200, "{removed:?}");
            known.insert(name, Some(false));
        }
    }
    known
}
