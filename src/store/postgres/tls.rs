//! TLS to a server: its certificate and its name are always verified.

use std::error::Error;

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::http::{self, TlsFault};
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

/// What is wrong with TLS, if that is behind an error and won't pass.
pub(super) fn fault(error: &(dyn Error + 'static)) -> Option<String> {
    let fault = http::tls_fault(error)?;
    let remedy = match &fault {
        TlsFault::UnknownIssuer => "; name the authority's file in `store.postgres_ca_file`",
        TlsFault::WrongName(_) => {
            "; the `host` of `store.postgres` has to be a name that it is for"
        }
        _ => "",
    };
    Some(format!("{fault}{remedy}"))
}
