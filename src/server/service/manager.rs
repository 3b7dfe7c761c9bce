//! What a service tells whoever started it: sd_notify(3), a datagram to the socket that
//! `NOTIFY_SOCKET` names.
//!
//! Invariant: a service works the same where nobody listens, and waits for nobody: what can't be
//! told at once is logged.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// Requests are taken; after [`reloading`]: files were read again.
pub(super) fn ready() {
    tell("READY=1\n");
}

/// Files are read again, until [`ready`].
pub(super) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    // The time tells the manager that this is about its last order, and no earlier one.
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
}

/// No new connection is taken.
pub(super) fn stopping() {
    tell("STOPPING=1\n");
}

fn tell(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, ?socket, "the service manager can't be told");
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}
