//! TLS: whom the client trusts, what it shows of itself, and what went wrong in plain words.
//!
//! Invariants: a file that was named is used or is an error, never left out; an error holds
//! nothing of a key.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::secret::ValueBuf;

/// The largest file of certificates or of a key, in bytes: the system's bundle has 200 KiB.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Whom to trust, and what to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls<'a> {
    /// The authorities (PEM), instead of the system's.
    pub authorities: Option<&'a Path>,
    /// The client's certificate and its private key (PEM).
    pub certificate: Option<(&'a Path, &'a Path)>,
    /// What a person calls them.
    pub named: Named,
}

/// How whoever reads an error can name a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Named {
    /// By settings: `[backend.service]`.
    #[default]
    BySettings,
    /// By options of the command line.
    ByOptions,
}

impl Named {
    fn authorities(self) -> &'static str {
        match self {
            Self::BySettings => "`backend.service.ca_file`",
            Self::ByOptions => "--ca-file",
        }
    }

    /// The client's certificate.
    fn own(self) -> &'static str {
        match self {
            Self::BySettings => "the runner's certificate",
            Self::ByOptions => "this side's certificate",
        }
    }

    /// The private key of the client's certificate.
    fn own_key(self) -> &'static str {
        match self {
            Self::BySettings => "the key of the runner's certificate",
            Self::ByOptions => "the key of this side's certificate",
        }
    }
}

/// A file for TLS that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// Not there, or not readable.
    #[error("{} ({}) cannot be read: {}", .0, .1.display(), .2)]
    Unreadable(&'static str, PathBuf, #[source] io::Error),
    /// Something else is in it.
    #[error("{} ({}) {}", .0, .1.display(), .2)]
    Content(&'static str, PathBuf, &'static str),
    /// No file was named, and the system has none.
    #[error(
        "there are no certificates of authorities on this system; install them (the package is \
         mostly called ca-certificates), or name a file: {}", .0.authorities()
    )]
    NoRoots(Named),
}

/// What is wrong between two ends of TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// Signed by nobody who is trusted; or by one who has the name of a trusted one, as an authority
    /// has that was made anew.
    #[error("its certificate is signed by an authority that is not trusted here")]
    UnknownIssuer,
    /// Over.
    #[error("its certificate has expired")]
    Expired,
    /// Not begun.
    #[error("its certificate is not valid yet; check the clocks of both machines")]
    NotYetValid,
    /// Another's.
    #[error("its certificate is for another name{}", presented(.0))]
    WrongName(Vec<String>),
    /// An authority's own.
    #[error(
        "its certificate is an authority's (CA:TRUE), and no server's; sign one for the server \
         with it"
    )]
    Authority,
    /// No server's.
    #[error("its certificate is not for a server (extended key usage)")]
    Purpose,
    /// Any other fault of the certificate.
    #[error("its certificate is not valid: {0}")]
    Certificate(String),
    /// The server refuses the client.
    #[error("it doesn't accept this side's certificate, or asks for one ({0:?})")]
    Client(AlertDescription),
    /// No TLS.
    #[error("what answers there doesn't speak TLS")]
    NotTls,
    /// No HTTP, where TLS was not asked for.
    #[error("what answers there doesn't speak plain HTTP")]
    NotHttp,
    /// No version or algorithm in common.
    #[error("it speaks a TLS that this program does not ({0})")]
    Incompatible(String),
}

impl TlsFault {
    /// What to do about it; empty where the fault says so itself.
    pub fn remedy(&self, named: Named) -> String {
        match (self, named) {
            (Self::UnknownIssuer, named) => format!(
                " (if it is the right one, name its authority's certificate: {})",
                named.authorities()
            ),
            (Self::Expired, _) => " (renew it there)".into(),
            (Self::WrongName(_), _) => {
                " (use a name that it is for, or have it made for this one)".into()
            }
            (Self::Client(_), Named::BySettings) => {
                " (set `backend.service.certificate_file` and `key_file` to ones of an authority \
                 that the service trusts)"
                    .into()
            }
            (Self::Client(_), Named::ByOptions) => {
                " (name one of an authority that the service trusts: --certificate-file and \
                 --certificate-key-file)"
                    .into()
            }
            (Self::NotTls, _) => {
                " (check the port; a service of this machine without TLS is at http://)".into()
            }
            (Self::NotHttp, _) => " (if it speaks TLS, its address begins with https://)".into(),
            _ => String::new(),
        }
    }
}

/// The names that a certificate is for. The verifier says `DnsName("a")` and `IpAddress(::1)`.
fn presented(names: &[String]) -> String {
    let plain = |name: &String| {
        let inner = name.strip_suffix(')').and_then(|name| name.split_once('('));
        inner.map_or(name.as_str(), |(_, name)| name.trim_matches('"')).to_owned()
    };
    let names: Vec<String> = names.iter().map(plain).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

impl Tls<'_> {
    /// Reads the files into a client that is being made.
    pub(super) fn prepare(
        &self,
        mut builder: ClientBuilder,
    ) -> Result<ClientBuilder, TlsFileError> {
        if let Some(path) = self.authorities {
            let what = "the file of authorities";
            let text = read(what, path)?;
            let none = |problem| TlsFileError::Content(what, path.into(), problem);
            let list = Certificate::from_pem_bundle(text.as_slice())
                .map_err(|_| none("holds no certificates in PEM form"))?;
            if list.is_empty() {
                return Err(none("holds no certificates in PEM form"));
            }
            builder = builder.tls_certs_only(list);
        }
        if let Some((certificate, key)) = self.certificate {
            let mut text = read(self.named.own(), certificate)?;
            text.push(b"\n");
            text.push(read(self.named.own_key(), key)?.as_slice());
            let identity = Identity::from_pem(text.as_slice()).map_err(|_| {
                let problem = "and its key are no PEM certificate and private key";
                TlsFileError::Content(self.named.own(), certificate.into(), problem)
            })?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }

    /// What a client that could not be made says of the files.
    pub(super) fn unusable(&self, error: &reqwest::Error) -> Option<TlsFileError> {
        let content =
            |what, path: &Path, problem| Some(TlsFileError::Content(what, path.into(), problem));
        match (find(error)?, self.authorities, self.certificate) {
            (TlsError::InconsistentKeys(_), _, Some((_, key))) => {
                content(self.named.own_key(), key, "belongs to another certificate")
            }
            (TlsError::General(_), None, None) => Some(TlsFileError::NoRoots(self.named)),
            (TlsError::InvalidCertificate(_), Some(path), _) => {
                content("the file of authorities", path, "holds something that is no certificate")
            }
            (_, _, Some((path, _))) => content(self.named.own(), path, "and its key can't be used"),
            _ => None,
        }
    }
}

fn read(what: &'static str, path: &Path) -> Result<ValueBuf, TlsFileError> {
    let fault = |error| TlsFileError::Unreadable(what, path.into(), error);
    let text = File::open(path).and_then(|file| ValueBuf::read(file, MAX_FILE)).map_err(fault)?;
    text.ok_or_else(|| fault(io::ErrorKind::FileTooLarge.into()))
}

/// The fault of TLS that is behind an error, if it is one that won't pass.
pub fn fault(error: &(dyn Error + 'static)) -> Option<TlsFault> {
    Some(match find(error)? {
        TlsError::InvalidCertificate(error) => certificate(error),
        TlsError::AlertReceived(alert) if is_about_the_client(*alert) => TlsFault::Client(*alert),
        TlsError::InvalidMessage(_) => TlsFault::NotTls,
        TlsError::PeerIncompatible(why) => TlsFault::Incompatible(format!("{why:?}")),
        // Anything else may pass.
        _ => return None,
    })
}

fn certificate(error: &CertificateError) -> TlsFault {
    match error {
        // The last: one of the same name is trusted, with a key of another kind.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            TlsFault::UnknownIssuer
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFault::NotYetValid
        }
        CertificateError::NotValidForName => TlsFault::WrongName(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => {
            TlsFault::WrongName(presented.clone())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsFault::Purpose
        }
        CertificateError::Other(other) => match other.to_string() {
            // The verifier of the system's roots wraps what the other one has a variant for.
            text if text.contains("CaUsedAsEndEntity") => TlsFault::Authority,
            text => TlsFault::Certificate(text),
        },
        other => TlsFault::Certificate(other.to_string()),
    }
}

fn is_about_the_client(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            // A signature that doesn't fit: a trusted authority's name, and another one's key.
            | A::DecryptError
            | A::CertificateRequired
    )
}

/// Through the errors of input and output too, which hide what they hold from `source`.
fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e TlsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| find(inner)) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
