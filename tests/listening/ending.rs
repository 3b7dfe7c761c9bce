//! How the service ends.

use super::*;

const GATE: &str = "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_running_request_is_finished() {
    let mut service = Service::new(Limits::default());
    let (mut idle, mut fresh, mut running) = (service.open(), service.open(), service.open());
    idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    running.send(GATE);
    until("both requests run", || service.stage.reached() == 2);
    service.begin_to_end();
    // Idle ones are closed while the other one still runs, and nobody is let in.
    assert_eq!(idle.rest(), b"");
    assert_eq!(fresh.rest(), b"");
    until("the door is shut", || TcpStream::connect(service.address()).is_err());
    service.stage.gate.add_permits(1);
    let answer = running.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "passed"));
    // It says so: a client would send its next request into the void.
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(running.rest(), b"");
    assert_eq!(service.end(), Served { cut_off: 0 });
}

#[test]
fn grace_has_an_end() {
    let limits = Limits { grace: Duration::from_millis(200), ..Limits::default() };
    let service = Service::new(limits);
    let mut running = service.open();
    running.send(GATE);
    until("the request runs", || service.stage.reached() == 1);
    assert_eq!(service.end(), Served { cut_off: 1 });
    assert_eq!(running.rest(), b"");
}

#[test]
fn an_http2_request_is_finished_as_well() {
    let mut service = Service::new(Limits::default());
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let running = service.runtime.spawn(client.get(service.url("http", "/gate")).send());
    until("the request runs", || service.stage.reached() == 1);
    service.begin_to_end();
    until("the door is shut", || TcpStream::connect(service.address()).is_err());
    service.stage.gate.add_permits(1);
    let answer = service.runtime.block_on(running).unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(service.end(), Served { cut_off: 0 });
}
