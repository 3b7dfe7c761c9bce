//! Clients that take their time.

use super::*;

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_head_that_drips_is_not_waited_for() {
    let service = Service::new(Limits { head: SHORT, ..Limits::default() });
    let mut client = service.open();
    client.send("GET /hello HTTP/1.1\r\nX: ");
    client.drip(b'x');
    assert_eq!(service.get("/hello").status, 200);
}

#[test]
fn a_later_head_that_drips_is_not_waited_for() {
    let service = Service::new(Limits { head: SHORT, ..Limits::default() });
    let mut client = service.open();
    client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("GET /hello HTTP/1.1\r\nX: ");
    client.drip(b'x');
}

#[test]
fn silence_is_not_waited_for() {
    let service = Service::new(Limits { head: SHORT, idle: SHORT, ..Limits::default() });
    assert_eq!(service.open().rest(), b"");
    // After a request it is the idle time that counts.
    let mut client = service.open();
    client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_connection_is_kept_longer_than_a_head_may_take() {
    let service = Service::new(Limits { head: SHORT, ..Limits::default() });
    let mut client = service.open();
    client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    // Another one, opened later, has gone for its silence.
    assert_eq!(service.open().rest(), b"");
    client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_body_that_drips_is_refused() {
    let service = Service::new(Limits { body: SHORT, ..Limits::default() });
    let mut client = service.open();
    client.send("POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx");
    let answer = client.answer();
    assert_eq!((answer.status, answer.kind().as_str()), (408, "body_too_slow"));
    assert_eq!(client.rest(), b"");
    assert_eq!(service.stage.reached(), 0);
}

#[test]
fn a_request_that_takes_too_long_is_stopped() {
    let service = Service::new(Limits { request: SHORT, ..Limits::default() });
    let answer = service.get("/gate");
    assert_eq!((answer.status, answer.kind().as_str()), (503, "timeout"));
}

#[test]
fn an_answer_that_nobody_takes_is_dropped() {
    let limits = Limits { answer: SHORT, request: SHORT, idle: SHORT, ..Limits::default() };
    let service = Service::new(limits);
    // All of it is with the kernel and in buffers, or the rest is still to be made.
    for path in ["/much", "/endless"] {
        let mut client = service.open();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(client.stream.read(&mut [0]).unwrap(), 1);
        // The one that asks is a connection itself.
        until("the connection ends", || service.metric("qgis_secrets_connections") == 1);
    }
}

#[test]
fn an_http2_connection_that_only_pings_is_closed() {
    let service = Service::new(Limits { head: SHORT, ..Limits::default() });
    let mut client = service.open();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut ping = vec![0, 0, 8, 6, 0, 0, 0, 0, 0];
    ping.extend_from_slice(&[7; 8]);
    let begin = Instant::now();
    let mut buffer = [0; 4096];
    client.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    loop {
        assert!(begin.elapsed() < PATIENCE, "a connection that only pings stays open");
        match client.stream.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
        if client.stream.write_all(&ping).is_err() {
            return;
        }
    }
}
