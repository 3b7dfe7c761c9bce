//! Reports that are POSTed when a job starts and when it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value as Json;

use super::{Going, run_command, script};
use crate::support::{Sandbox, until};

/// What came in: the request line, the headers in lower case, the body.
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Json,
}

/// A server that answers with these statuses, one connection after the other.
struct Server {
    url: String,
    requests: Receiver<Request>,
}

impl Server {
    fn answering(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/reports", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for status in statuses {
                let (connection, _) = listener.accept().unwrap();
                answer(connection, *status, &sender);
            }
        });
        Self { url, requests }
    }

    #[track_caller]
    fn next(&self) -> Request {
        self.requests.recv_timeout(Duration::from_secs(60)).expect("no request came")
    }
}

fn answer(connection: TcpStream, status: u16, sender: &Sender<Request>) {
    let mut reader = BufReader::new(connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    reader.into_inner().write_all(head.as_bytes()).unwrap();
    sender.send(Request { line: lines[0].clone(), headers, body }).unwrap();
}

/// A job that goes on until the test writes the file `go`.
const WAITS: &str = "while ! test -e go; do sleep 0.05; done; exit 3";

fn start(sandbox: &Sandbox, server: &Server) -> Going {
    sandbox.add("-P survey", "API_KEY", "the-secret-value");
    let token = sandbox.write("token", "report-token\n");
    let settings = format!(
        "[report]\nurl = '{}'\ntoken_file = '{}'\ndeadline_s = 20",
        server.url,
        token.display()
    );
    let settings = sandbox.write("settings.toml", settings);
    let options = ["--settings", settings.to_str().unwrap()];
    Going::spawn(run_command(sandbox, script(WAITS), &options))
}

#[test]
fn start_and_end_are_posted_and_a_repetition_has_the_same_key() {
    let sandbox = Sandbox::new();
    let server = Server::answering(&[500, 200, 429, 200]);
    let going = start(&sandbox, &server);
    let mut requests = vec![server.next(), server.next()];
    sandbox.write("go", "");
    requests.extend([server.next(), server.next()]);
    let ended = going.end().fails(3);

    let keys: Vec<&str> = requests.iter().map(|r| r.headers["idempotency-key"].as_str()).collect();
    assert_eq!(keys, ["job-1/1/started", "job-1/1/started", "job-1/1/ended", "job-1/1/ended"]);
    for request in &requests {
        assert_eq!(request.line, "POST /reports HTTP/1.1");
        assert_eq!(request.headers["authorization"], "Bearer report-token");
        assert_eq!(request.headers["content-type"], "application/json");
        let body = request.body.to_string();
        assert!(!body.contains("the-secret-value") && !body.contains("report-token"), "{body}");
        assert_eq!(request.body["job"]["id"], "job-1");
        assert_eq!(request.body["secrets"][0]["key"], "API_KEY");
    }
    let [started, again, _, last] = requests.as_slice() else { panic!("four requests") };
    assert_eq!(started.body, again.body);
    assert_eq!(started.body["event"], "started");
    assert_eq!(started.body.get("outcome"), None);
    assert_eq!(last.body, crate::support::json(&sandbox.path("report.json")));
    assert_eq!(last.body["outcome"]["kind"], "failed");
    assert!(!ended.stderr.contains("report-token"), "{}", ended.stderr);
}

#[test]
fn a_report_that_nobody_takes_is_kept_and_changes_no_code() {
    let sandbox = Sandbox::new();
    let server = Server::answering(&[403, 403]);
    let going = start(&sandbox, &server);
    server.next();
    let kept = |event| sandbox.store().with_file_name(format!("undelivered/job-1-1-{event}.json"));
    until("the first report is kept", || kept("started").exists());
    sandbox.write("go", "");
    let ended = going.end().fails(3);
    for event in ["started", "ended"] {
        let kept = kept(event);
        assert_eq!(crate::support::json(&kept)["event"], event);
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(ended.stderr.contains(kept.to_str().unwrap()), "{}", ended.stderr);
    }
    assert!(ended.stderr.contains("403"), "{}", ended.stderr);
}
