//! Where the service is reached, and how connections are served.
//!
//! Invariants: nothing is printed; a listener that could not be made exactly as it was asked for is
//! an error; a connection that can't be taken now waits, and no other one suffers from it.

use std::io::{self, ErrorKind};
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::tls::Tls;
use crate::error::Unserved;
use crate::settings::service::Listen;
use crate::sys::inherited;

mod crowd;
mod peer;
mod serve;
mod unix;
mod watch;

pub use peer::{Peer, PeerKey, Proxies, Socket};
pub use serve::{Options, Served, serve};

/// Connections that wait in the kernel's queue.
const BACKLOG: u32 = 1024;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A live process has it.
    #[error("another process listens at {0}; stop that, or listen at another address")]
    InUse(Listen),
    /// Something else is there.
    #[error("{} is there and no socket; remove it, or listen at another path", .0.display())]
    Occupied(PathBuf),
    /// A path that no socket can have.
    #[error("the path of a socket has at most 107 bytes; {} is longer", .0.display())]
    TooLong(PathBuf),
    /// No directory for the socket.
    #[error("the socket's directory {} cannot be opened: {}; make it first", .0.display(), .1)]
    Directory(PathBuf, #[source] io::Error),
    /// Nothing was passed on.
    #[error(
        "no socket was passed to the service; it gets one if systemd starts it by a socket unit with \
         one address"
    )]
    NotInherited,
    /// The kernel refused.
    #[error("cannot listen at {0}: {1}")]
    Io(Listen, #[source] io::Error),
}

impl ListenError {
    /// What that is for a service.
    pub fn why(&self) -> Unserved {
        match self {
            Self::TooLong(_) => Unserved::Address,
            Self::InUse(_) | Self::Occupied(_) => Unserved::Taken,
            Self::Directory(..) | Self::NotInherited | Self::Io(..) => Unserved::Listen,
        }
    }
}

/// A socket that connections come to.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    address: Listen,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    /// The entry is removed when the listener goes.
    Unix(UnixListener, #[expect(dead_code, reason = "held for its end")] Option<unix::Entry>),
}

impl Listener {
    /// Listens. A Unix socket has mode 0660, in a directory that is there; one that a dead process
    /// left is replaced.
    pub async fn bind(address: &Listen) -> Result<Self, ListenError> {
        Self::bind_with_mode(address, unix::MODE).await
    }

    /// The same, with another mode for a Unix socket: who may connect.
    pub async fn bind_with_mode(address: &Listen, mode: u32) -> Result<Self, ListenError> {
        match address {
            Listen::Tcp(wanted) => {
                let listener = tcp(*wanted).map_err(|error| match error.kind() {
                    ErrorKind::AddrInUse => ListenError::InUse(address.clone()),
                    _ => ListenError::Io(address.clone(), error),
                })?;
                let bound = listener.local_addr();
                let bound = bound.map_err(|error| ListenError::Io(address.clone(), error))?;
                Ok(Self { kind: Kind::Tcp(listener), address: Listen::Tcp(bound), tls: None })
            }
            Listen::Unix(path) => {
                let (listener, entry) = unix::bind(path, mode).await?;
                let kind = Kind::Unix(listener, Some(entry));
                Ok(Self { kind, address: address.clone(), tls: None })
            }
            Listen::Inherited => {
                let socket = inherited::socket().ok_or(ListenError::NotInherited)?;
                Self::adopt(socket).map_err(|error| ListenError::Io(address.clone(), error))
            }
        }
    }

    /// A socket that listens already, whatever its family.
    fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let tcp = net::TcpListener::from(socket);
        tcp.set_nonblocking(true)?;
        // What has no address of that family is the other one.
        let (kind, address) = match tcp.local_addr() {
            Ok(bound) => (Kind::Tcp(TcpListener::from_std(tcp)?), Listen::Tcp(bound)),
            Err(_) => {
                let unix = std::os::unix::net::UnixListener::from(OwnedFd::from(tcp));
                let bound = unix.local_addr()?;
                let path = bound.as_pathname().unwrap_or(Path::new("")).into();
                (Kind::Unix(UnixListener::from_std(unix)?, None), Listen::Unix(path))
            }
        };
        Ok(Self { kind, address, tls: None })
    }

    /// Encrypts every connection.
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The address that it has: with the port that the kernel chose.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    async fn accept(&self) -> io::Result<(Stream, Socket)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // An answer is written at once; to wait for more of it would only delay it.
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Socket::Tcp(address)))
            }
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let who = stream.peer_cred()?;
                let socket = Socket::Unix { uid: who.uid(), gid: who.gid(), pid: who.pid() };
                Ok((Box::new(stream), socket))
            }
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of a process that ended don't hinder its successor.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection's bytes, encrypted or not. Behind a pointer: HTTP is compiled once for all.
type Stream = Box<dyn Bytes>;

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}
