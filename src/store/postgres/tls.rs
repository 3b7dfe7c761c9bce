//! TLS to a server: its certificate and its name are always verified.

use std::io;

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::settings::{Host, Postgres, Tls};
use crate::store::StoreError;
use crate::store::database::Place;

/// Makes TLS of a connection.
pub(super) type MakeTls = MakeRustlsConnect;

/// A connector that trusts the settings' authorities, or the system's.
pub(super) fn connector(place: &Place, settings: &Postgres) -> Result<MakeTls, StoreError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca_file {
        let unusable = |why: String| StoreError::File("store.postgres_ca_file", path.clone(), why);
        let pem = std::fs::read(path);
        let pem = pem.map_err(|error| unusable(format!("cannot be read: {error}")))?;
        let content = || unusable("holds no certificates in PEM form".into());
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| content())?;
            roots.add(certificate).map_err(|_| content())?;
        }
        if roots.is_empty() {
            return Err(content());
        }
    } else if settings.tls != Tls::Never && !settings.hosts.iter().all(Host::is_local) {
        // What can't be read is missed when a certificate is checked.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Database(place.clone(), error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// What is wrong with TLS, if that is behind an error.
pub(super) fn fault(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // Errors of input and output hide what they hold from `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = error.downcast_ref().or(inner.and_then(|inner| inner.downcast_ref()));
        if let Some(found) = found {
            return Some(words(found));
        }
        cause = error.source();
    }
    None
}

fn words(error: &Error) -> String {
    let Error::InvalidCertificate(certificate) = error else { return format!("TLS: {error}") };
    match certificate {
        // The second: one of the same name is trusted, with a key of another kind.
        CertificateError::UnknownIssuer
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed by an authority that is not trusted here; name the \
             authority's file in `store.postgres_ca_file`"
                .into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name than the `host` of `store.postgres`".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        other => format!("its certificate is not valid: {other}"),
    }
}
