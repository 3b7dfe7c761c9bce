//! Unix sockets.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::*;

fn at(path: &Path) -> Listen {
    Listen::Unix(path.into())
}

fn start(path: &Path) -> Service {
    Service::start(Setup { address: Some(at(path)), ..Setup::default() })
}

fn refusal(path: &Path) -> &'static str {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Listener::bind(&at(path))).unwrap_err().why().kind()
}

fn ask(path: &Path) -> Answer {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    answer(&mut stream)
}

#[test]
fn a_socket_is_for_owner_and_group_and_goes_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let service = start(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    let uid = nix::unistd::getuid();
    assert_eq!(ask(&path).body, format!("uid {uid} certificate: false"));
    service.end();
    assert!(fs::symlink_metadata(&path).is_err());
}

#[test]
fn a_dead_process_s_socket_is_replaced_and_a_live_one_s_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    // Dropping the listener leaves the file, as a kill does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let service = start(&path);
    assert_eq!(ask(&path).status, 200);
    assert_eq!(refusal(&path), "listen_address_taken");
    assert_eq!(ask(&path).status, 200);
    service.end();
    // One that doesn't get to its connections is alive too: its queue fills, and stays full.
    let busy = Busy::new(&path);
    assert_eq!(refusal(&path), "listen_address_taken");
    drop(busy);
}

/// A listener with a full queue.
struct Busy {
    _runtime: Runtime,
    _listener: tokio::net::UnixListener,
    _queued: Vec<tokio::net::UnixStream>,
}

impl Busy {
    fn new(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut queued = Vec::new();
        let listener = runtime.block_on(async {
            let socket = tokio::net::UnixSocket::new_stream().unwrap();
            socket.bind(path).unwrap();
            let listener = socket.listen(1).unwrap();
            while let Ok(stream) = tokio::net::UnixStream::connect(path).await {
                queued.push(stream);
            }
            listener
        });
        Self { _runtime: runtime, _listener: listener, _queued: queued }
    }
}

#[test]
fn what_is_no_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap()
        .write_all(b"mine")
        .unwrap();
    assert_eq!(refusal(&path), "listen_address_taken");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert_eq!(refusal(&link), "listen_address_taken");
    assert_eq!(refusal(&directory.path().join("no/s")), "listen_failed");
    assert_eq!(refusal(&directory.path().join("x".repeat(108))), "listen_address_invalid");
}

#[test]
fn a_successor_s_socket_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = start(&path);
    fs::remove_file(&path).unwrap();
    let second = start(&path);
    first.end();
    assert_eq!(ask(&path).status, 200);
    second.end();
    assert!(fs::symlink_metadata(&path).is_err());
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let service = Service::new(Limits::default());
    let error = service.runtime.block_on(Listener::bind(&service.address)).unwrap_err();
    assert_eq!(error.why().kind(), "listen_address_taken");
    assert!(error.to_string().contains(&service.address.to_string()));
}
