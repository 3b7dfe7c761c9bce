//! What HTTP/2 lets a client do that costs a server more than the client.

use super::*;

const CONTINUATION: u8 = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM_AND_HEADERS: u8 = 5;

/// A frame: RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET /gate` of host `x`, by the static table of RFC 7541.
fn get() -> Vec<u8> {
    let mut fields = vec![0x82, 0x86, 0x04, 5];
    fields.extend_from_slice(b"/gate");
    fields.extend_from_slice(&[0x01, 1, b'x']);
    fields
}

fn open(service: &Service) -> Client {
    let mut client = service.open();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    client
}

/// Sends again and again until the service closes.
fn is_cut_off(mut client: Client, mut next: impl FnMut() -> Vec<u8>) {
    let begin = Instant::now();
    let mut buffer = [0; 4096];
    client.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    while begin.elapsed() < Duration::from_secs(8) {
        if client.stream.write_all(&next()).is_err() {
            return;
        }
        match client.stream.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
    panic!("it goes on and on");
}

/// VU#421644: a head without an end.
#[test]
fn a_head_without_end_is_cut_off() {
    let service = Service::new(Limits { head: PATIENCE, ..Limits::default() });
    let mut client = open(&service);
    client.send(frame(HEADERS, 0, 1, &get()));
    is_cut_off(client, || frame(CONTINUATION, 0, 1, &[0x00, 1, b'a', 1, b'b'].repeat(1000)));
    assert_eq!(service.stage.reached(), 0);
}

/// CVE-2023-44487: requests that are taken back at once.
#[test]
fn requests_that_are_taken_back_are_not_taken_for_ever() {
    let service = Service::new(Limits::default());
    let client = open(&service);
    let mut stream = 1;
    is_cut_off(client, || {
        let mut burst = Vec::new();
        for _ in 0..200 {
            burst.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &get()));
            burst.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
            stream += 2;
        }
        burst
    });
    assert_eq!(service.get("/hello").status, 200);
}
