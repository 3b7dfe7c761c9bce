//! Many connections, and what happens when there can be no more.

use std::fs::File;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

/// Says to a test that it is the child, and may change limits of its process.
const ALONE: &str = "QGIS_SECRETS_TEST_ALONE";

/// Runs the test again, in a process of its own. True in there.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(ALONE, "1").stdin(Stdio::null());
    child.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = crate::support::end(child);
    assert!(
        ended.code == 0 && ended.stdout.contains("1 passed"),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    false
}

fn limit_descriptors(soft: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard).unwrap();
}

#[test]
fn a_thousand_idle_connections_hinder_nobody() {
    if !alone("listening::connections::a_thousand_idle_connections_hinder_nobody") {
        return;
    }
    // Both ends are in this process.
    limit_descriptors(4096);
    let limits = Limits { head: PATIENCE, ..Limits::default() };
    let service = Service::new(limits);
    let idle: Vec<Client> = (0..1000).map(|_| service.open()).collect();
    until("all are there", || service.metric("qgis_secrets_connections") == 1001);
    for _ in 0..100 {
        assert_eq!(service.get("/hello").body, "hello");
    }
    drop(idle);
    until("all are gone", || service.metric("qgis_secrets_connections") == 1);
}

#[test]
fn a_connection_too_many_waits_for_its_turn() {
    let service = Service::new(Limits { connections: 2, ..Limits::default() });
    let mut first = service.open();
    first.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(first.answer().status, 200);
    let mut second = service.open();
    second.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(second.answer().status, 200);
    let mut third = service.open();
    third.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    third.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.stream.read(&mut [0]).is_err(), "it was answered out of turn");
    assert_eq!(service.stage.reached(), 2);
    drop(first);
    third.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(third.answer().body, "hello");
}

#[test]
fn without_descriptors_it_waits_and_goes_on() {
    if !alone("listening::connections::without_descriptors_it_waits_and_goes_on") {
        return;
    }
    limit_descriptors(512);
    let service = Service::new(Limits::default());
    let mut standing = service.open();
    standing.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(standing.answer().status, 200);
    let mut waiting = service.open();
    // This end exists; of the other one's there shall be none.
    waiting.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(waiting.answer().status, 200);
    drop(waiting);
    until("it is gone", || service.metric("qgis_secrets_connections") == 1 + 1);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    // One descriptor for the client; its peer can't be accepted.
    drop(taken.pop());
    let before = cpu_time();
    let begin = Instant::now();
    let mut late = service.open();
    late.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    late.stream.set_read_timeout(Some(Duration::from_millis(1000))).unwrap();
    assert!(late.stream.read(&mut [0]).is_err(), "it was accepted without a descriptor");
    let (spent, waited) = (cpu_time() - before, begin.elapsed());
    assert!(spent < waited / 4, "{spent:?} of {waited:?} were spent waiting");
    // Whoever is there already is served all the while.
    standing.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(standing.answer().status, 200);
    drop(taken);
    late.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(late.answer().body, "hello");
}

/// Of this process, all threads.
fn cpu_time() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let duration = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)
    };
    duration(usage.user_time()) + duration(usage.system_time())
}

#[test]
fn connections_fit_the_descriptors() {
    if !alone("listening::connections::connections_fit_the_descriptors") {
        return;
    }
    // 64 are kept for the rest: 36 connections. A client has a descriptor as well, so that 100
    // would be used up by 18 of both; 200 are given once the service counted.
    limit_descriptors(100);
    let service = Service::new(Limits { head: PATIENCE, ..Limits::default() });
    until("it runs", || service.get("/hello").status == 200);
    limit_descriptors(400);
    let mut clients: Vec<Client> = (0..36).map(|_| service.open()).collect();
    for client in &mut clients {
        client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    let mut late = service.open();
    late.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    late.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(late.stream.read(&mut [0]).is_err(), "it was accepted beyond the reserve");
    drop(clients);
    late.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(late.answer().body, "hello");
}
