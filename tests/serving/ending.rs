//! What is running when a service is told to end.

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
