//! Addresses of HTTP: of the service itself, and of whom it asks.
//!
//! Invariant: what goes to one of them can't be read or changed on the way: it begins with
//! `https://`, or is on this machine.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

/// An `https` URL, or an `http` one of this machine; without user, password and fragment.
///
/// Kept as it was written, for an issuer is compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

/// Why a text is no [`HttpUrl`] or no [`Origin`]. The text itself may hold what it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidUrl {
    /// Not `http` or `https`, or no host.
    Form,
    /// A user name or password.
    Credentials,
    /// A fragment, or a query.
    Query,
    /// Over a network without TLS.
    Clear,
    /// An origin with more than host and port.
    Path,
}

impl InvalidUrl {
    /// What is wrong, after the setting's name.
    pub fn problem(self) -> &'static str {
        match self {
            Self::Form => "is no URL that begins with https://",
            Self::Credentials => "holds a user name or a password",
            Self::Query => "holds a query (?) or a fragment (#)",
            Self::Clear => "is http:// to another machine, where anybody between can read it",
            Self::Path => "holds a path; give the host and the port alone",
        }
    }
}

fn checked(text: &str) -> Result<Url, InvalidUrl> {
    let url = Url::parse(text).map_err(|_| InvalidUrl::Form)?;
    let host = url.host().ok_or(InvalidUrl::Form)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidUrl::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidUrl::Query);
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here(&host) => Ok(url),
        "http" => Err(InvalidUrl::Clear),
        _ => Err(InvalidUrl::Form),
    }
}

/// `localhost` too: browsers and resolvers keep it on this machine (RFC 6761, section 6.3).
fn is_here(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical().is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

impl HttpUrl {
    /// The same with a query, for an address that somebody else's document names.
    pub fn with_query(text: &str) -> Option<Self> {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        checked(url.as_str()).ok().map(|_| Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        checked(text).map(|_| Self(text.to_owned()))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Scheme, host and port, as a browser writes them in `Origin` (RFC 6454, section 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    text: String,
    authority: usize,
}

impl Origin {
    /// `https://host`, `https://host:port`: without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As a `Host` header has it: without the scheme, and without the scheme's own port.
    pub fn authority(&self) -> &str {
        &self.text[self.authority..]
    }

    /// Whether browsers reach it by TLS.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https:")
    }
}

impl FromStr for Origin {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let url = checked(text)?;
        if url.path() != "/" {
            return Err(InvalidUrl::Path);
        }
        let authority = url.scheme().len() + "://".len();
        Ok(Self { text: url.origin().ascii_serialization(), authority })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
