//! Certificates for the tests' own servers and clients, made anew for each.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, as PEM.
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a server's certificate is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Like {
    /// For 127.0.0.1, and valid.
    Good,
    /// It was valid in 2000.
    Expired,
    /// It will be valid in 2200.
    Early,
    /// For another name.
    OtherName,
    /// For clients only.
    Client,
    /// An authority's.
    Authority,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority of a test")
    }

    /// One that may have the name of another.
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that it signs.
    pub(crate) fn sign(&self, like: Like) -> Certified {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2300, 1, 1);
        let purpose = match like {
            Like::Client => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        };
        params.extended_key_usages = vec![purpose];
        params.subject_alt_names = match like {
            Like::OtherName => vec![SanType::DnsName("elsewhere.example".try_into().unwrap())],
            _ => vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))],
        };
        match like {
            Like::Expired => params.not_after = date_time_ymd(2001, 1, 1),
            Like::Early => params.not_before = date_time_ymd(2200, 1, 1),
            Like::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Like::Good | Like::OtherName | Like::Client => {}
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Certified { certificate, key: key.serialize_pem() }
    }

    /// A server whose certificate is like that.
    pub(crate) fn server(&self, like: Like) -> ServerConfig {
        self.serving(like, None)
    }

    /// A server that lets in only whom `clients` has certified.
    pub(crate) fn mutual(&self, clients: &Self) -> ServerConfig {
        self.serving(Like::Good, Some(clients))
    }

    fn serving(&self, like: Like, clients: Option<&Self>) -> ServerConfig {
        let Certified { certificate, key } = self.sign(like);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        builder.with_single_cert(chain, key).unwrap()
    }
}
