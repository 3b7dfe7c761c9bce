//! A client that asks a lot: connections that stay open, each with a thread of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many ask at the same time.
const CONNECTIONS: usize = 8;

/// A connection that stays open.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) head: &'a str,
    pub(super) body: &'a str,
    /// From the request's first byte to the answer's.
    pub(super) first_byte: Duration,
    /// From the request's first byte to the answer's last.
    pub(super) whole: Duration,
}

impl Connection {
    pub(super) fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// Sends a request, and reads all of its answer.
    pub(super) fn ask(&mut self, request: &[u8]) -> Answer<'_> {
        let sent = Instant::now();
        self.stream.write_all(request).unwrap();
        let (mut filled, mut first_byte) = (0, None);
        let (head, first_byte) = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the service closed the connection");
            let first_byte = *first_byte.get_or_insert_with(|| sent.elapsed());
            filled += read;
            if let Some(head) = memchr::memmem::find(&self.buffer[..filled], b"\r\n\r\n") {
                let whole = head + 4 + body_length(&self.buffer[..head]);
                if filled == whole {
                    break (head, first_byte);
                }
                assert!(filled < whole, "more than was asked for");
            }
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
        };
        let text = str::from_utf8(&self.buffer[..filled]).unwrap();
        Answer {
            status: text[9..12].parse().unwrap(),
            head: &text[..head],
            body: &text[head + 4..],
            first_byte,
            whole: sent.elapsed(),
        }
    }
}

/// By `Content-Length`; without it there is no body.
fn body_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let Some(at) = memchr::memmem::find(head, NAME) else { return 0 };
    let digits = head[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// What a load gave.
pub(super) struct Load {
    took: Duration,
    /// The shortest first.
    latencies: Vec<Duration>,
}

impl Load {
    /// Sends all of `requests`, each of which is answered with 200: as fast as they are answered, or
    /// so many a second. Then a latency counts from when the request was due, whenever it was sent:
    /// a service that stalls makes others wait, and is not spared their waiting.
    pub(super) fn run(address: &str, requests: &[Vec<u8>], per_second: Option<u32>) -> Self {
        let (next, ready) = (AtomicUsize::new(0), Barrier::new(CONNECTIONS));
        let (next, ready) = (&next, &ready);
        let work = || {
            let mut connection = Connection::new(address);
            let mut latencies = Vec::with_capacity(requests.len());
            ready.wait();
            let began = Instant::now();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(index) else { break };
                let due = match per_second {
                    Some(rate) => began + Duration::from_secs(1) * index as u32 / rate,
                    None => Instant::now(),
                };
                while let Some(early) = due.checked_duration_since(Instant::now()) {
                    if early.is_zero() {
                        break;
                    }
                    std::thread::park_timeout(early);
                }
                let answer = connection.ask(request);
                assert_eq!(answer.status, 200, "{}", answer.body);
                latencies.push(due.elapsed());
            }
            (began.elapsed(), latencies)
        };
        let all: Vec<(Duration, Vec<Duration>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let took = all.iter().map(|(took, _)| *took).max().unwrap();
        let mut latencies: Vec<Duration> = all.into_iter().flat_map(|(_, some)| some).collect();
        latencies.sort_unstable();
        assert_eq!(latencies.len(), requests.len());
        Self { took, latencies }
    }

    /// How many were answered in a second.
    pub(super) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// The latency that this share of the requests kept: milliseconds.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }
}

/// Of sorted times: milliseconds.
pub(super) fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted[index.min(sorted.len() - 1)].as_secs_f64() * 1e3
}
