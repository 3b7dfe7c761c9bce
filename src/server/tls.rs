//! TLS by rustls: certificates, keys, and the clients' certificates.
//!
//! Invariants: TLS 1.2 and 1.3 only; a key file that others can read is refused; a certificate is
//! replaced whole or not at all: files that don't fit together leave the old one in force, and
//! connections that stand are not touched.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error as Fault, RootCertStore};
use tokio_rustls::server::TlsStream;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use crate::error::Unserved;
use crate::store::keys::{KeyError, check_private};
use crate::sys::followed::Followed;

/// For how long, and how much, is read of a client whose handshake failed.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// The largest file, in bytes: some hundred certificates.
const MAX_FILE: u64 = 1024 * 1024;

/// The files of a TLS server, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate first, then those between it and the root.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose clients are known, if any.
    pub clients: Option<Clients>,
}

/// Mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The certificates that sign clients' certificates.
    pub roots: PathBuf,
    /// Whether a client without one is turned away.
    pub required: bool,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not there, or not readable.
    #[error("{} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, #[source] io::Error),
    /// The key is no secret.
    #[error(transparent)]
    Private(KeyError),
    /// Nothing of what it should hold.
    #[error("{} holds no {}; it must be PEM, with a line that begins -----BEGIN", .0.display(), .1)]
    Empty(PathBuf, &'static str),
    /// A part that can't be read.
    #[error("{} is not valid: {}", .0.display(), .1)]
    Invalid(PathBuf, String),
    /// The key of another certificate.
    #[error(
        "the key {} does not belong to the first certificate of {}; take both from the same issue",
        .0.display(), .1.display()
    )]
    Mismatch(PathBuf, PathBuf),
}

impl TlsError {
    /// What that is for a service.
    pub fn why(&self) -> Unserved {
        match self {
            Self::Unreadable(..) => Unserved::TlsFile,
            Self::Private(_) => Unserved::Access,
            Self::Empty(..) | Self::Invalid(..) => Unserved::TlsContent,
            Self::Mismatch(..) => Unserved::TlsMismatch,
        }
    }
}

/// A TLS server; a copy is the same one.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    now: Followed<Now>,
}

#[derive(Clone, Debug)]
struct Now {
    config: Arc<ServerConfig>,
    not_after: SystemTime,
}

impl Tls {
    /// Reads the files. An expired certificate is logged, for a service that can't be reached says
    /// less about why.
    pub fn read(files: Files) -> Result<Self, TlsError> {
        let clients = files.clients.as_ref().map(|clients| &clients.roots);
        let paths = [&files.chain, &files.key].into_iter().chain(clients).cloned().collect();
        let now = Followed::new(paths, || load(&files))?;
        let tls = Self(Arc::new(Inner { files, now }));
        tls.tell_expired();
        Ok(tls)
    }

    /// Until when the certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        self.0.now.current().not_after
    }

    /// Reads the files again, for connections to come. Files that are not valid change nothing.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.now.again(|| load(&self.0.files))?;
        self.tell_expired();
        Ok(())
    }

    /// A handshake with the certificate that is in the files now.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.follow();
        let handshake = TlsAcceptor::from(self.0.now.current().config).accept(stream);
        match handshake.into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, stream)) => {
                linger(stream).await;
                Err(error)
            }
        }
    }

    /// Takes what changed. A key that is replaced after its certificate is one more change.
    fn follow(&self) {
        match self.0.now.follow(|| load(&self.0.files)) {
            None => {}
            Some(Ok(())) => {
                tracing::info!("the TLS certificate was replaced");
                self.tell_expired();
            }
            Some(Err(error)) => tracing::warn!(%error, "the TLS certificate was not replaced"),
        }
    }

    fn tell_expired(&self) {
        if self.not_after() < SystemTime::now() {
            let chain = self.0.files.chain.display();
            tracing::warn!(%chain, "the TLS certificate has expired; clients will refuse it");
        }
    }
}

/// Ends a connection so that the client learns why. A client of TLS 1.3 sends its request before it
/// can know that its certificate is refused; a socket that is closed with something unread is reset,
/// and the client may see that instead of the alert.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let rest = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whatever goes wrong now, the connection is over.
    drop(tokio::time::timeout(LINGER, rest).await);
}

fn load(files: &Files) -> Result<Now, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&files.chain)?;
    let not_after = not_after(&chain[0])
        .map_err(|error| TlsError::Invalid(files.chain.clone(), error.to_string()))?;
    let key = key(&files.key)?;
    let invalid = |path: &Path, error: &dyn std::error::Error| {
        TlsError::Invalid(path.into(), error.to_string())
    };
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&files.chain, &error))?;
    let config = match &files.clients {
        None => config.with_no_client_auth(),
        Some(clients) => config.with_client_cert_verifier(verifier(clients, provider)?),
    };
    let mut config = config.with_single_cert(chain, key).map_err(|error| match error {
        Fault::InconsistentKeys(_) => TlsError::Mismatch(files.key.clone(), files.chain.clone()),
        Fault::InvalidCertificate(_) => invalid(&files.chain, &error),
        other => invalid(&files.key, &other),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Now { config: Arc::new(config), not_after })
}

fn verifier(
    clients: &Clients,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let invalid = |error: String| TlsError::Invalid(clients.roots.clone(), error);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&clients.roots)? {
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().map_err(|error| invalid(error.to_string()))
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path, |_| Ok(()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Invalid(path.into(), error.to_string()))?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(path.into(), "certificate"));
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    use tokio_rustls::rustls::pki_types::pem::Error;
    let text = read(path, |found| check_private(path, found).map_err(TlsError::Private))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        Error::NoItemsFound => TlsError::Empty(path.into(), "private key"),
        // Its own message may quote a line, and here lines are secret.
        _ => TlsError::Invalid(path.into(), "the PEM is damaged".into()),
    })
}

fn read(
    path: &Path,
    check: impl Fn(&fs::Metadata) -> Result<(), TlsError>,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.into(), error);
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(io::Error::other("not a regular file")));
    }
    check(&found)?;
    if found.len() > MAX_FILE {
        return Err(unreadable(io::Error::other("larger than 1 MiB")));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn not_after(certificate: &CertificateDer<'_>) -> x509_cert::der::Result<SystemTime> {
    let parsed = x509_cert::Certificate::from_der(certificate)?;
    Ok(parsed.tbs_certificate.validity.not_after.to_system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also who sends everything first, and closes only after that.
    #[tokio::test]
    async fn who_is_turned_away_is_told_the_end() {
        let (mut client, mut server) = tokio::io::duplex(16);
        let told = async {
            client.write_all(&[b'x'; 100]).await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            rest
        };
        tokio::select! {
            biased;
            rest = told => assert_eq!(rest, b""),
            () = linger(&mut server) => panic!("the connection ended before it was said"),
        }
    }
}
