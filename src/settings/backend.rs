//! Where secrets come from: the embedded store, or a secrets service.
//!
//! Invariants: neither a job token nor a secret goes over a network in clear; who names a service
//! never gets the embedded store's answer instead.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use super::{InvalidSettings, Overrides, seconds};

/// Which backend answers.
#[derive(Debug)]
pub enum Backend {
    /// The store in a file.
    Embedded,
    /// A service, asked with a job token.
    Service(Service),
}

impl Backend {
    /// The word for it in settings, reports and audit lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Service(_) => "service",
        }
    }

    /// The service, if it is one.
    pub fn service(&self) -> Option<&Service> {
        match self {
            Self::Embedded => None,
            Self::Service(service) => Some(service),
        }
    }
}

/// The secrets service.
#[derive(Debug)]
pub struct Service {
    /// Its replicas, in the order in which they are tried; at least one.
    pub addresses: Vec<Address>,
    /// The file that holds the job token; without one it comes by environment.
    pub token_file: Option<PathBuf>,
    /// The authorities that are trusted, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What the runner shows of itself.
    pub certificate: Option<Certificate>,
    /// For all attempts together.
    pub deadline: Duration,
}

/// A client's certificate, for mutual TLS. Both files are PEM.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate, then those that lead to its authority.
    pub file: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where a service listens: `https://host[:port][/path]`, `http://` at a loopback address, or
/// `unix:/path/of/a/socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Without a slash at its end.
    base: String,
    socket: Option<PathBuf>,
}

/// Why a text is no address of a service. The text may hold what it should not: it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Nothing that begins as it should.
    #[error("is no URL that begins with https://, and no unix:/path")]
    Form,
    /// A user name or password.
    #[error("holds a user name or a password; the job token has a file of its own")]
    Credentials,
    /// A query or a fragment.
    #[error("holds a query (?) or a fragment (#)")]
    Query,
    /// Over a network without TLS.
    #[error(
        "is http:// to another machine: the job token and the secrets would go in clear. Use \
         https://, an address of this machine (127.0.0.1 or [::1], not a name), or unix:/path"
    )]
    Clear,
    /// Not from `/`.
    #[error("names a socket by a path that is not absolute")]
    Relative,
}

impl Address {
    /// The URL of a path that begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The socket, if it is not reached by TCP.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => f.write_str(&self.base),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.ends_with('/') {
                return Err(InvalidAddress::Relative);
            }
            let base = "http://localhost".to_owned();
            return Ok(Self { base, socket: Some(path.into()) });
        }
        let url = Url::parse(text).map_err(|_| InvalidAddress::Form)?;
        let host = url.host().ok_or(InvalidAddress::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidAddress::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidAddress::Query);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => return Err(InvalidAddress::Clear),
            _ => return Err(InvalidAddress::Form),
        }
        Ok(Self { base: url.as_str().trim_end_matches('/').to_owned(), socket: None })
    }
}

/// An address, for a name can lead anywhere.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
        Host::Domain(_) => false,
    }
}

/// The section `[backend]`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBackend {
    kind: Option<Kind>,
    service: RawService,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Kind {
    Embedded,
    Service,
}

/// The section `[backend.service]`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct RawService {
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    url: Urls,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    deadline_s: f64,
}

impl Default for RawService {
    fn default() -> Self {
        Self {
            url: Urls::default(),
            token_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            deadline_s: 30.0,
        }
    }
}

/// One, or a list.
#[derive(Debug, Default)]
struct Urls(Vec<String>);

impl<'d> Deserialize<'d> for Urls {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'d> Visitor<'d> for OneOrMore {
            type Value = Urls;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a list of URLs")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Urls, E> {
                Ok(Urls(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'d>>(self, mut list: A) -> Result<Urls, A::Error> {
                let mut urls = Vec::new();
                while let Some(url) = list.next_element()? {
                    urls.push(url);
                }
                Ok(Urls(urls))
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

impl RawBackend {
    /// Checks the sections, under the options.
    pub(super) fn check(self, overrides: &Overrides) -> Result<Backend, InvalidSettings> {
        let Self { kind, service } = self;
        let urls =
            if overrides.service.is_empty() { service.url.0 } else { overrides.service.clone() };
        let addresses: Vec<Address> = urls
            .iter()
            .map(|url| url.parse())
            .collect::<Result<_, _>>()
            .map_err(InvalidSettings::Service)?;
        let certificate = match (service.certificate_file, service.key_file) {
            (Some(file), Some(key)) => Some(Certificate { file, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(value("backend.service.certificate_file", "needs `key_file` as well"));
            }
            (None, Some(_)) => {
                return Err(value("backend.service.key_file", "needs `certificate_file` as well"));
            }
        };
        let deadline = seconds("backend.service.deadline_s", service.deadline_s)?;
        if deadline.is_zero() {
            return Err(value("backend.service.deadline_s", "must be more than 0"));
        }
        let is_service = match kind {
            _ if !overrides.service.is_empty() => true,
            Some(kind) => kind == Kind::Service,
            None if addresses.is_empty() => false,
            // Whoever names a service means it, or says so.
            None => {
                let problem = "must be \"service\" or \"embedded\" where a service is named";
                return Err(value("backend.kind", problem));
            }
        };
        if !is_service {
            if overrides.job_token_file.is_some() {
                let problem = "is not set, and a job token is for a service: name it, or --service";
                return Err(value("backend.service.url", problem));
            }
            return Ok(Backend::Embedded);
        }
        if addresses.is_empty() {
            return Err(value("backend.service.url", "is not set, and `kind` is \"service\""));
        }
        Ok(Backend::Service(Service {
            addresses,
            token_file: overrides.job_token_file.clone().or(service.token_file),
            ca_file: service.ca_file,
            certificate,
            deadline,
        }))
    }
}

fn value(setting: &'static str, problem: &'static str) -> InvalidSettings {
    InvalidSettings::Value(setting, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_keep_what_is_sent() {
        for (text, base, socket) in [
            ("https://secrets.example", "https://secrets.example", None),
            ("https://secrets.example:8470/a/", "https://secrets.example:8470/a", None),
            ("HTTPS://Secrets.Example/", "https://secrets.example", None),
            ("http://127.0.0.1:8470", "http://127.0.0.1:8470", None),
            ("http://127.1.2.3", "http://127.1.2.3", None),
            ("http://[::1]:1/x", "http://[::1]:1/x", None),
            ("unix:/run/a b.sock", "http://localhost", Some("/run/a b.sock")),
        ] {
            let address: Address = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((address.base.as_str(), address.socket()), (base, socket.map(Path::new)));
            assert_eq!(address.url("/live"), format!("{base}/live"));
        }
    }

    #[test]
    fn addresses_that_do_not() {
        use InvalidAddress::{Clear, Credentials, Form, Query, Relative};
        for (text, why) in [
            ("http://secrets.example", Clear),
            ("http://localhost:8470", Clear),
            ("http://127.0.0.1.example", Clear),
            ("http://10.0.0.1", Clear),
            ("http://0.0.0.0", Clear),
            ("http://[::]", Clear),
            ("http://[::ffff:10.0.0.1]", Clear),
            ("https://ada:hunter2@secrets.example", Credentials),
            ("http://127.0.0.1@secrets.example", Credentials),
            ("https://secrets.example/?token=hunter2", Query),
            ("https://secrets.example/#a", Query),
            ("secrets.example", Form),
            ("ftp://secrets.example", Form),
            ("https://", Form),
            ("", Form),
            ("unix:run/x.sock", Relative),
            ("unix://run/x.sock/", Relative),
            ("unix:", Relative),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), why, "{text}");
            assert!(!why.to_string().contains("hunter2"));
        }
    }

    fn check(text: &str, overrides: &Overrides) -> Result<Backend, String> {
        let raw: RawBackend = toml::from_str(text).unwrap();
        raw.check(overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn who_names_a_service_gets_it_or_an_error() {
        let file = Overrides::default();
        let of = |backend: Backend| backend.service().map(|service| service.addresses.len());
        assert_eq!(check("", &file).map(of), Ok(None));
        assert_eq!(check("kind = 'embedded'\nservice.url = 'https://a'", &file).map(of), Ok(None));
        let two = "kind = 'service'\nservice.url = ['https://a', 'unix:/b']";
        assert_eq!(check(two, &file).map(of), Ok(Some(2)));
        let option = Overrides { service: vec!["https://c".into()], ..Overrides::default() };
        for text in ["", "kind = 'embedded'", two] {
            assert_eq!(check(text, &option).map(of), Ok(Some(1)), "{text}");
        }
        let token = Overrides { job_token_file: Some("t".into()), ..Overrides::default() };
        for (text, overrides, message) in [
            ("service.url = 'https://a'", &file, "`backend.kind` must be"),
            ("kind = 'service'", &file, "`backend.service.url` is not set"),
            ("kind = 'service'\nservice.url = []", &file, "`backend.service.url` is not set"),
            ("", &token, "a job token is for a service"),
            ("service.certificate_file = 'c'", &file, "needs `key_file`"),
            ("service.key_file = 'c'", &file, "needs `certificate_file`"),
            ("service.deadline_s = 0", &file, "must be more than 0"),
            ("service.deadline_s = -1", &file, "must be seconds"),
            ("kind = 'service'\nservice.url = 'http://a'", &file, "would go in clear"),
        ] {
            let error = check(text, overrides).map(of).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn the_tokens_file_of_the_command_line_beats_the_files() {
        let text = "kind = 'service'\nservice.url = 'https://a'\nservice.token_file = '/x'";
        let token = Overrides { job_token_file: Some("/y".into()), ..Overrides::default() };
        for (overrides, expected) in [(&Overrides::default(), "/x"), (&token, "/y")] {
            let backend = check(text, overrides).unwrap();
            let service = backend.service().unwrap();
            assert_eq!(service.token_file.as_deref(), Some(Path::new(expected)));
            assert_eq!(service.deadline, Duration::from_secs(30));
        }
    }
}
