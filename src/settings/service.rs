//! The secrets service: where it listens, who may log in, what it takes.
//!
//! Invariants: nothing goes over a network in clear unless a named proxy does the encryption; whom
//! the settings make an operator is named in full, never by a pattern; without a settings file the
//! service runs on this machine alone.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::InvalidSettings;

mod address;
mod grants;
mod raw;

pub use address::{HttpUrl, InvalidUrl, Origin};
pub use grants::{Claim, GrantRule, GrantedRole};
pub(super) use raw::RawService;

/// The section `[service]`.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where it listens.
    pub listen: Listen,
    /// What it serves.
    pub role: ServiceRole,
    /// How browsers reach it, where that is not `http://` and the address it listens at.
    pub public_url: Option<Origin>,
    /// The proxies whose word about a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Its certificate, without which it speaks plain HTTP.
    pub tls: Option<ServiceTls>,
    /// The mode of a Unix socket.
    pub socket_mode: u32,
    /// Whether a link that logs one person in is printed at the start, where there is no OpenID
    /// Connect.
    pub one_time_link: OneTimeLink,
    /// Who sees `/metrics`.
    pub metrics: MetricsFor,
    /// What a client may use.
    pub limits: ServiceLimits,
    /// Who belongs where.
    pub membership: ServiceMembership,
    /// The orchestrator's tokens.
    pub job_tokens: JobTokens,
    /// Who logs people in; without it the one-time link does.
    pub oidc: Option<Oidc>,
    /// How long a login lasts.
    pub sessions: SessionTimes,
    /// How long audit rows are kept; `None`: for ever.
    pub keep_audit: Option<Duration>,
}

/// Where the service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 means a free one.
    Tcp(SocketAddr),
    /// A socket in the file system, from `/`.
    Unix(PathBuf),
    /// The one socket that systemd opened for the service. Whether others reach it is known at the
    /// start.
    Inherited,
}

impl Listen {
    /// Whether it is an address with a port.
    pub fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) | Self::Inherited => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited => f.write_str("systemd"),
        }
    }
}

/// What is no place to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidListen;

impl InvalidListen {
    /// What is wrong, after the setting's name.
    pub fn problem(self) -> &'static str {
        "must be an address with a port, as 127.0.0.1:8470 or [::1]:8470, unix:/path/of/a/socket, or \
         systemd"
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && !path.ends_with('/') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(InvalidListen),
            None if text == "systemd" => Ok(Self::Inherited),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListen),
        }
    }
}

/// What a process serves. The private key is needed only where jobs are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ServiceRole {
    /// Both of the others.
    #[default]
    Both,
    /// The page and the management API.
    Admin,
    /// The answers to jobs.
    Resolve,
}

impl ServiceRole {
    /// Whether it has the page and the management API.
    pub fn is_admin(self) -> bool {
        self != Self::Resolve
    }

    /// Whether it answers jobs.
    pub fn resolves(self) -> bool {
        self != Self::Admin
    }
}

/// Files of the listener's TLS. All are PEM.
#[derive(Clone, Debug)]
pub struct ServiceTls {
    /// The certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients' certificates, and whether a client must have one.
    pub clients: Option<ClientCertificates>,
}

/// Mutual TLS.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// The authorities.
    pub ca: PathBuf,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

/// When a link is printed that makes whoever opens it first an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OneTimeLink {
    /// Where the service listens at a loopback address.
    #[default]
    Loopback,
    /// Wherever it listens.
    Anywhere,
    /// Nowhere.
    Never,
}

/// Who sees `/metrics`: counts, no names, but they tell how much is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MetricsFor {
    /// Who asks from this machine, through no proxy.
    #[default]
    Loopback,
    /// Whoever reaches the service.
    Anyone,
}

/// What a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// A request's body, in bytes.
    pub body_bytes: u64,
    /// The time for a request.
    pub request: Duration,
    /// The time for running requests when the service ends.
    pub grace: Duration,
    /// Requests of one token or one person in a second, in the long run.
    pub requests_per_second: u32,
    /// Failures to authenticate from one address in a minute, in the long run.
    pub failures_per_minute: u32,
}

/// Where it is known who belongs to which project and organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceMembership {
    /// The orchestrator registers them.
    Registered {
        /// What a job gets whose user is no member of its project.
        non_member: NonMember,
        /// Whether an organization may have defaults for single members.
        organization_user: bool,
    },
    /// The job token is believed.
    Trusted {
        /// Whether an organization may have defaults for single members.
        organization_user: bool,
    },
}

/// What a job gets whose user is no member of its project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NonMember {
    /// Nothing: it is refused.
    #[default]
    Deny,
    /// What is assigned to nobody in particular.
    Unassigned,
}

/// Which job tokens count.
#[derive(Clone, Debug)]
pub struct JobTokens {
    /// The only issuer; `None`: whoever has one of the keys.
    pub issuer: Option<String>,
    /// What `aud` must hold.
    pub audience: String,
    /// Files of public keys: PEM, or JWK sets.
    pub keys_files: Vec<PathBuf>,
    /// Where a JWK set is fetched.
    pub jwks_url: Option<HttpUrl>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// How long a token may still be valid.
    pub max_lifetime: Duration,
}

/// An OpenID Connect provider, and what its people may do.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// The provider; its discovery document must say exactly this.
    pub issuer: HttpUrl,
    /// Who the service is to the provider.
    pub client_id: String,
    /// The file with the client's secret; without one the client is public.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for; `openid` is among it.
    pub scopes: Vec<String>,
    /// The claim that says who somebody is, for ever.
    pub subject_claim: Claim,
    /// The claim that says what somebody is called.
    pub name_claim: Claim,
    /// What claims make people.
    pub grants: Vec<GrantRule>,
}

/// How long a login lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// Without a request.
    pub idle: Duration,
    /// At most.
    pub lifetime: Duration,
}

/// A setting that is wrong, and why.
fn fault(setting: &'static str, problem: &'static str) -> InvalidSettings {
    InvalidSettings::Value(setting, problem)
}

#[cfg(test)]
mod tests;
