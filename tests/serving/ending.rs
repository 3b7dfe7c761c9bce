//! What is running when a service is told to end.

use super::*;
use crate::support::until;

/// Begins to ask for a job's secrets: all but the body.
fn begun(ground: &Ground, service: &Process, body: &str) -> TcpStream {
    let token = ground.token(json!({}));
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
    stream
}

/// A request whose body comes late is answered; nobody else gets in meanwhile.
#[test]
fn a_running_request_is_answered_and_new_ones_are_not() {
    let ground = Ground::new("");
    ground.fill();
    let service = ground.serve(&[]);
    let body = request(json!({})).to_string();
    let mut stream = begun(&ground, &service, &body);
    service.signal(Signal::SIGTERM);
    until("nobody gets in", || TcpStream::connect(&service.address).is_err());
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 200 OK") && answer.contains("password-of-ninja"), "{answer}");
    service.stop();
}

#[test]
fn who_is_cut_off_is_said_once() {
    let ground = Ground::new("");
    let file = ground.sandbox.path("serve.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    ground.sandbox.write("serve.toml", format!("{settings}grace_s = 0.2\n"));
    let service = ground.serve(&[]);
    let stream = begun(&ground, &service, "a body that never comes");
    let log = service.stop();
    assert_eq!(log.matches("cut off at the grace period's end").count(), 1, "{log}");
    drop(stream);
}
