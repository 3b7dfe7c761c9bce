//! Many connections, and what happens when there can be no more.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

/// Says to a test that it is the child, and may change limits of its process.
const ALONE: &str = "QGIS_SECRETS_TEST_ALONE";

const GET: &str = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

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

/// As systemd does it: descriptor 3, and two variables that say so.
#[test]
fn a_socket_is_taken_over() {
    if std::env::var_os(ALONE).is_some() {
        let service =
            Service::start(Setup { address: Some("systemd".parse().unwrap()), ..Setup::default() });
        let path = match &service.address {
            Listen::Tcp(_) => {
                assert_eq!(service.get("/hello").body, "hello");
                None
            }
            Listen::Unix(path) => Some(path.clone()),
            Listen::Inherited => panic!("it has no address"),
        };
        if let Some(path) = &path {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            stream.write_all(GET.as_bytes()).unwrap();
            assert_eq!(answer(&mut stream).body, "hello");
        }
        let again = service.runtime.block_on(Listener::bind(&Listen::Inherited));
        assert_eq!(again.unwrap_err().why().kind(), "listen_failed");
        service.end();
        // It is systemd's, who will start the service again.
        assert!(path.is_none_or(|path| path.exists()));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let unix = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for socket in [OwnedFd::from(unix), OwnedFd::from(tcp)] {
        let mut child = Command::new("sh");
        let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 </dev/null"#;
        child.arg("-c").arg(script).arg(std::env::current_exe().unwrap());
        child.args(["--exact", "listening::connections::a_socket_is_taken_over"]);
        child.env(ALONE, "1").stdin(socket).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = crate::support::end(child);
        assert!(ended.stdout.contains("1 passed"), "{}{}", ended.stdout, ended.stderr);
    }
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
    let limits = Limits { head: PATIENCE, connections_per_peer: 2000, ..Limits::default() };
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
    first.send(GET);
    assert_eq!(first.answer().status, 200);
    let mut second = service.open();
    second.send(GET);
    assert_eq!(second.answer().status, 200);
    let mut third = service.open();
    third.send(GET);
    third.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.stream.read(&mut [0]).is_err(), "it was answered out of turn");
    assert_eq!(service.stage.reached(), 2);
    drop(first);
    third.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(third.answer().body, "hello");
}

/// A connection from another address of this machine.
fn open_from(service: &Service, address: [u8; 4]) -> Client {
    let stream = service.runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        socket.connect(service.address()).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client { stream }
}

#[test]
fn one_peer_does_not_take_all_connections() {
    let limits = Limits { connections_per_peer: 2, ..Limits::default() };
    for trusted in [false, true] {
        let proxies = trusted.then(|| "127.0.0.1/32".parse().unwrap()).into_iter().collect();
        let service = Service::start(Setup { limits: limits.clone(), proxies, ..Setup::default() });
        let mut standing = [service.open(), service.open()];
        for client in &mut standing {
            client.send(GET);
            assert_eq!(client.answer().status, 200);
        }
        let mut other = open_from(&service, [127, 0, 0, 2]);
        other.send(GET);
        assert_eq!(other.answer().status, 200);
        let mut more = service.open();
        if trusted {
            more.send(GET);
            assert_eq!(more.answer().status, 200);
        } else {
            assert_eq!(more.rest(), b"");
            drop(standing);
            until("there is a place again", || {
                let mut more = service.open();
                drop(more.stream.write_all(GET.as_bytes()));
                more.stream.read(&mut [0]).is_ok_and(|read| read == 1)
            });
        }
    }
}

#[test]
fn without_descriptors_it_waits_and_goes_on() {
    if !alone("listening::connections::without_descriptors_it_waits_and_goes_on") {
        return;
    }
    limit_descriptors(512);
    let service = Service::new(Limits::default());
    let mut standing = service.open();
    standing.send(GET);
    assert_eq!(standing.answer().status, 200);
    let mut waiting = service.open();
    // This end exists; of the other one's there shall be none.
    waiting.send(GET);
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
    late.send(GET);
    late.stream.set_read_timeout(Some(Duration::from_millis(1000))).unwrap();
    assert!(late.stream.read(&mut [0]).is_err(), "it was accepted without a descriptor");
    let (spent, waited) = (cpu_time() - before, begin.elapsed());
    assert!(spent < waited / 4, "{spent:?} of {waited:?} were spent waiting");
    // Whoever is there already is served all the while.
    standing.send(GET);
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
        client.send(GET);
        assert_eq!(client.answer().status, 200);
    }
    let mut late = service.open();
    late.send(GET);
    late.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(late.stream.read(&mut [0]).is_err(), "it was accepted beyond the reserve");
    drop(clients);
    late.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(late.answer().body, "hello");
}
