//! Who is at the other end of a connection.
//!
//! Invariant: what a client says of its own address counts only as far as proxies that are trusted
//! vouch for it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The other end. An extension of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whom the connection is with.
    pub socket: Socket,
    /// The client's address according to trusted proxies.
    pub forwarded: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The certificate that the client proved to have; its issuer is among the accepted ones.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
}

/// The other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// An address.
    Tcp(SocketAddr),
    /// The account and the process that connected: `SO_PEERCRED` of unix(7).
    Unix {
        /// Its effective user id.
        uid: u32,
        /// Its effective group id.
        gid: u32,
        /// Its process id.
        pid: Option<i32>,
    },
}

/// Whom a rate is kept for. All that one subscriber has is one key: with IPv6 that is a /64
/// (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKey {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
    /// A user id of this machine.
    Unix(u32),
}

impl Peer {
    /// The client's address, if it has one.
    pub fn address(&self) -> Option<IpAddr> {
        self.forwarded.or(match self.socket {
            Socket::Tcp(address) => Some(address.ip().to_canonical()),
            Socket::Unix { .. } => None,
        })
    }

    /// Whom to count this peer's requests to.
    pub fn key(&self) -> PeerKey {
        self.forwarded.map_or_else(|| self.socket.key(), PeerKey::from)
    }
}

impl Socket {
    /// Whom to count this connection to.
    pub(super) fn key(self) -> PeerKey {
        match self {
            Self::Tcp(address) => address.ip().into(),
            Self::Unix { uid, .. } => PeerKey::Unix(uid),
        }
    }
}

impl From<IpAddr> for PeerKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            // The upper half of the 128 bits.
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// For logs: `203.0.113.9`, `uid 1000`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address(), self.socket) {
            (Some(address), _) => write!(f, "{address}"),
            (None, Socket::Unix { uid, .. }) => write!(f, "uid {uid}"),
            (None, Socket::Tcp(address)) => write!(f, "{address}"),
        }
    }
}

/// Who may say, in `X-Forwarded-For`, which client a request is from: addresses of these networks.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl FromIterator<IpNet> for Proxies {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Proxies {
    /// The client's address, from the values of `X-Forwarded-For` in the order of their lines.
    ///
    /// Each proxy appends whom it got the request from. So the last entry is the word of the
    /// connection's other end, and an entry counts if all after it are trusted proxies.
    pub(super) fn client<'a>(
        &self,
        socket: Socket,
        lines: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<IpAddr> {
        let mut trusted = self.trust(socket);
        let mut client = None;
        for entry in lines.rev().flat_map(|line| line.rsplit(',')) {
            if !trusted {
                break;
            }
            // What can't be read comes from beyond the last proxy that is known.
            let Some(address) = address(entry.trim()) else { break };
            client = Some(address);
            trusted = self.trusts(address);
        }
        client
    }

    /// Whether the connection's other end is a proxy.
    pub(super) fn trust(&self, socket: Socket) -> bool {
        match socket {
            Socket::Tcp(address) => self.trusts(address.ip().to_canonical()),
            Socket::Unix { .. } => false,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Socket {
        Socket::Tcp(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn an_entry_counts_if_all_after_it_are_trusted() {
        const LOCAL: Socket = Socket::Unix { uid: 33, gid: 33, pid: None };
        /// Trusted proxies, the other end, lines of the header, the client.
        type Row<'a> = (&'a [&'a str], Socket, &'a [&'a str], Option<&'a str>);
        let table: &[Row<'_>] = &[
            (&[], tcp("192.0.2.7"), &["203.0.113.9"], None),
            (&["10.0.0.0/8"], tcp("192.0.2.7"), &["203.0.113.9"], None),
            (&["192.0.2.7"], tcp("192.0.2.7"), &["203.0.113.9"], Some("203.0.113.9")),
            (&["192.0.2.7"], tcp("::ffff:192.0.2.7"), &["203.0.113.9"], Some("203.0.113.9")),
            // The client wrote the first one itself.
            (&["192.0.2.7"], tcp("192.0.2.7"), &["1.1.1.1, 203.0.113.9"], Some("203.0.113.9")),
            (&["192.0.2.7"], tcp("192.0.2.7"), &["1.1.1.1", "203.0.113.9"], Some("203.0.113.9")),
            (
                &["192.0.2.7", "10.0.0.0/8"],
                tcp("192.0.2.7"),
                &["1.1.1.1, 203.0.113.9", "10.1.2.3,10.3.4.5"],
                Some("203.0.113.9"),
            ),
            (&["192.0.2.7"], tcp("192.0.2.7"), &["1.1.1.1, junk"], None),
            (&["192.0.2.7"], tcp("192.0.2.7"), &[""], None),
            (&["192.0.2.7"], tcp("192.0.2.7"), &[], None),
            (&["10.0.0.0/8"], tcp("10.0.0.1"), &["1.1.1.1, junk, 10.0.0.2"], Some("10.0.0.2")),
            (&["10.0.0.1"], tcp("10.0.0.1"), &["[2001:db8::1]:8080"], Some("2001:db8::1")),
            (&["10.0.0.1"], tcp("10.0.0.1"), &["203.0.113.9:8080"], Some("203.0.113.9")),
            (&["0.0.0.0/0"], LOCAL, &["203.0.113.9"], None),
        ];
        for (trusted, socket, lines, expected) in table {
            let network = |text: &&str| {
                let address = text.parse().map(|address: IpAddr| IpNet::from(address));
                address.unwrap_or_else(|_| text.parse().unwrap())
            };
            let proxies: Proxies = trusted.iter().map(network).collect();
            let client = proxies.client(*socket, lines.iter().copied());
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(client, expected, "{trusted:?} {socket:?} {lines:?}");
        }
    }

    #[test]
    fn a_subscriber_is_one_key() {
        let key = |address: &str| {
            Peer { socket: tcp(address), forwarded: None, tls: false, certificate: None }.key()
        };
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
