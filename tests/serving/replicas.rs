//! Two services on one PostgreSQL database.

use std::fs;

use super::*;
use crate::stores::cluster::{Database, private};
use crate::support::until;

/// A filled ground whose store is a database.
pub(super) fn ground(database: &Database, more: &str) -> Ground {
    let ground = Ground::new(&format!("{}{more}", database.section()));
    let directory = ground.sandbox.path(".config/qgis-secrets");
    fs::create_dir_all(&directory).unwrap();
    private(&directory.join("settings.toml"), &database.section());
    ground.fill();
    ground
}

#[test]
fn a_token_is_counted_by_all_replicas_together() {
    let database = Database::new();
    let ground = ground(&database, "");
    let replicas = [ground.serve(&[]), ground.serve(&[])];
    let token = ground.token(json!({}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |n: usize| replicas[n % 2].resolve(&token, json!({})).status;
        let all: Vec<_> = (0..20).map(|n| scope.spawn(move || ask(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(409)), (3, 17), "{statuses:?}");
    replicas.into_iter().for_each(|replica| drop(replica.stop()));
}

#[test]
fn a_replica_that_dies_costs_no_job() {
    let database = Database::new();
    let ground = ground(&database, "");
    let (first, second) = (ground.serve(&[]), ground.serve(&[]));
    let started = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..3)
            .map(|_| {
                let (first, second, ground, started) = (&first, &second, &ground, &started);
                scope.spawn(move || {
                    let worker = Sandbox::new();
                    for _ in 0..8 {
                        let token = ground.token(json!({}));
                        started.fetch_add(1, Ordering::SeqCst);
                        let job = json!({"require": ["pgservice:ninja"]});
                        Process::run(&[first, second], &worker, &token, job).success();
                    }
                })
            })
            .collect();
        until("jobs run", || started.load(Ordering::SeqCst) > 6);
        kill(first.pid(), Signal::SIGKILL).unwrap();
        assert!(started.load(Ordering::SeqCst) < 20, "it was killed too late to matter");
        jobs.into_iter().for_each(|job| job.join().unwrap());
    });
    first.kill();
    second.stop();
}

/// Whether somebody has a connection to a port of this machine that is not ended.
fn is_asked(address: &str) -> bool {
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    // The kernel's form: addresses and ports in hexadecimal digits; 01 is ESTABLISHED.
    let asked = format!("0100007F:{port:04X} 01");
    fs::read_to_string("/proc/net/tcp").unwrap().contains(&asked)
}

/// It has the request, and never answers it.
#[test]
fn a_replica_that_dies_with_a_request_costs_no_job() {
    let database = Database::new();
    let ground = ground(&database, "");
    let (first, second) = (ground.serve(&[]), ground.serve(&[]));
    first.signal(Signal::SIGSTOP);
    std::thread::scope(|scope| {
        let job = scope.spawn(|| {
            let job = json!({"require": ["pgservice:ninja"]});
            Process::run(&[&first, &second], &Sandbox::new(), &ground.token(json!({})), job)
        });
        until("it is asked", || is_asked(&first.address));
        first.signal(Signal::SIGKILL);
        let ended = job.join().unwrap().success();
        assert!(ended.stderr.contains("is asked again"), "{}", ended.stderr);
    });
    first.kill();
    second.stop();
}
