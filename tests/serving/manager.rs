//! What a service tells a service manager such as systemd.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::*;
use crate::support::until;

/// What was told next.
fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = manager.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn a_manager_knows_when_it_is_ready_reloads_and_stops() {
    let ground = Ground::new("");
    let path = ground.sandbox.path("notify");
    let hidden = format!("qgis-secrets-test-{}", uuid::Uuid::now_v7());
    let address = SocketAddr::from_abstract_name(&hidden).unwrap();
    for (name, manager) in [
        (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
        (format!("@{hidden}"), UnixDatagram::bind_addr(&address).unwrap()),
    ] {
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = ground.serving(&[]);
        command.env("NOTIFY_SOCKET", &name);
        let service = Process::start(command);
        assert_eq!(told(&manager), "READY=1\n");
        assert_eq!(service.send("GET", "/ready", "", None).status, 200);
        service.signal(Signal::SIGHUP);
        let reloading = told(&manager);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let time: i64 = time.trim_end().parse().unwrap();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
        assert!((now - PATIENCE.as_secs() as i64..=now).contains(&(time / 1_000_000)), "{time}");
        assert_eq!(told(&manager), "READY=1\n");
        service.signal(Signal::SIGTERM);
        assert_eq!(told(&manager), "STOPPING=1\n");
        service.stop();
    }
}

#[test]
fn a_manager_that_is_gone_or_busy_hinders_nobody() {
    let ground = Ground::new("");
    let path = ground.sandbox.path("notify");
    let busy = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"x", &path).is_ok() {}
    for name in [path, ground.sandbox.path("nobody")] {
        let mut command = ground.serving(&[]);
        command.env("NOTIFY_SOCKET", &name);
        let service = Process::start(command);
        until("it answers", || service.send("GET", "/ready", "", None).status == 200);
        let log = service.stop();
        assert!(log.contains("the service manager can't be told"), "{log}");
    }
    drop(busy);
}

/// The unit's own command, with paths of the test.
#[test]
fn the_unit_starts_a_service() {
    let unit = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/systemd/qgis-secrets.service"
    ))
    .unwrap();
    let of = |name: &str| {
        let found = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("Type"), ["notify"]);
    let start = of("ExecStart");
    let words = start[0].strip_prefix("/usr/local/bin/qgis-secrets ").unwrap();
    let ground = Ground::new("");
    let settings = ground.sandbox.path("serve.toml").display().to_string();
    let words = words.replace("/etc/qgis-secrets/settings.toml", &settings);
    // Where the unit lets it write: a directory of its own, and nothing is there yet.
    assert_eq!(
        (of("Environment"), of("StateDirectory")),
        (vec!["XDG_DATA_HOME=/var/lib".to_owned()], vec!["qgis-secrets".to_owned()],)
    );
    let state = ground.sandbox.path("lib");
    fs::create_dir_all(state.join("qgis-secrets")).unwrap();
    let path = ground.sandbox.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    ground.settings("[service]\nlisten = '127.0.0.1:0'\n");
    let mut command = ground.sandbox.command(words.split(' '));
    command.env_remove("HOME").env("XDG_DATA_HOME", &state).env("NOTIFY_SOCKET", &path);
    let service = Process::start(command);
    assert_eq!(told(&manager), "READY=1\n");
    // Longer than running requests have by default.
    let patience: u64 = of("TimeoutStopSec")[0].parse().unwrap();
    assert!(patience > 30);
    service.stop();
    assert!(state.join("qgis-secrets/store.db").exists());
}
