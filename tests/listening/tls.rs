//! TLS: certificates, clients' certificates, and those who don't speak it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64ct::{Base64, Encoding};
use qgis_secrets::server::tls::{Clients, Files, TlsError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::*;

/// Those that rustls has.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// A certificate authority and a directory for what it signs.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

struct Signed {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), issuer }
    }

    fn sign_until(&self, year: i32) -> Signed {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { certificate: certificate.der().to_vec(), key: key.serialize_der() }
    }

    fn sign(&self) -> Signed {
        self.sign_until(2100)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn root(&self) -> PathBuf {
        let path = self.path("root.pem");
        put(&path, &pem("CERTIFICATE", self.issuer.der()));
        path
    }

    /// Writes certificate and key as the service reads them.
    fn install(&self, signed: &Signed) -> Files {
        let files =
            Files { chain: self.path("chain.pem"), key: self.path("key.pem"), clients: None };
        put(&files.chain, &pem("CERTIFICATE", &signed.certificate));
        put(&files.key, &pem("PRIVATE KEY", &signed.key));
        files
    }

    fn start(&self, files: Files, limits: Limits) -> Service {
        let tls = Some(Tls::read(files).unwrap());
        Service::start(Setup { limits, tls, ..Setup::default() })
    }

    /// A client that trusts this authority.
    fn connect(&self, service: &Service, client: Brought<'_>) -> std::io::Result<Encrypted> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(client.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client.certificate {
            None => config.with_no_client_auth(),
            Some(signed) => {
                let key = PrivateKeyDer::try_from(signed.key.clone()).unwrap();
                let chain = vec![CertificateDer::from(signed.certificate.clone())];
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols =
            client.protocols.iter().map(|name| name.as_bytes().into()).collect();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(config.into(), name).unwrap();
        let mut stream = StreamOwned::new(connection, service.open().stream);
        // With TLS 1.3 a client learns only after its own handshake that it was turned away.
        stream.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        Ok(Encrypted { stream, first })
    }

    fn ask(&self, service: &Service) -> std::io::Result<Encrypted> {
        self.connect(service, Brought::default())
    }
}

/// What a client brings.
struct Brought<'a> {
    versions: &'a [&'static SupportedProtocolVersion],
    protocols: &'a [&'a str],
    certificate: Option<&'a Signed>,
}

impl Default for Brought<'_> {
    fn default() -> Self {
        Self { versions: VERSIONS, protocols: &[], certificate: None }
    }
}

struct Encrypted {
    stream: StreamOwned<ClientConnection, TcpStream>,
    first: [u8; 12],
}

impl Encrypted {
    fn answer(&mut self) -> Answer {
        answer(&mut self.first.chain(&mut self.stream))
    }

    fn certificate(&self) -> &[u8] {
        &self.stream.conn.peer_certificates().unwrap()[0]
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Replaces a file in one step, with mode 0600.
fn put(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&beside).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    fs::rename(beside, path).unwrap();
}

#[test]
fn both_versions_and_both_protocols_are_spoken() {
    let authority = Authority::new();
    let service = authority.start(authority.install(&authority.sign()), Limits::default());
    for (version, name) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        let client =
            Brought { versions: &[version], protocols: &["http/1.1"], ..Brought::default() };
        let mut encrypted = authority.connect(&service, client).unwrap();
        let answer = encrypted.answer();
        assert_eq!(answer.body, "127.0.0.1 certificate: false");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
        assert_eq!(format!("{:?}", encrypted.stream.conn.protocol_version().unwrap()), name);
        assert_eq!(encrypted.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_der(authority.issuer.der()).unwrap()])
        .build()
        .unwrap();
    let sent = client.get(service.url("https", "/hello")).send();
    let answer = service.runtime.block_on(sent).unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
}

#[test]
fn who_does_not_speak_tls_is_let_go() {
    let authority = Authority::new();
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let service = authority.start(authority.install(&authority.sign()), limits);
    // Silence, the beginning of a greeting, and plain HTTP.
    assert_eq!(service.open().rest(), b"");
    let mut client = service.open();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.rest(), b"");
    let mut client = service.open();
    client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!client.rest().starts_with(b"HTTP"));
    assert_eq!(authority.ask(&service).unwrap().answer().status, 200);
    assert_eq!(service.stage.reached(), 0);
}

#[test]
fn a_client_proves_who_it_is() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (own, foreign) = (authority.sign(), stranger.sign());
    let old = authority.sign_until(2002);
    for required in [true, false] {
        let mut files = authority.install(&authority.sign());
        files.clients = Some(Clients { roots: authority.root(), required });
        let service = authority.start(files, Limits::default());
        for version in [&TLS12, &TLS13] {
            let ask = |certificate| {
                let client = Brought { versions: &[version], certificate, ..Brought::default() };
                authority.connect(&service, client).map(|mut encrypted| encrypted.answer().body)
            };
            assert_eq!(ask(Some(&own)).unwrap(), "127.0.0.1 certificate: true");
            assert!(ask(Some(&foreign)).is_err(), "{version:?} {required}");
            assert!(ask(Some(&old)).is_err(), "{version:?} {required}");
            let without = ask(None);
            assert_eq!(without.is_err(), required, "{version:?}");
            if let Ok(body) = without {
                assert_eq!(body, "127.0.0.1 certificate: false");
            }
        }
    }
}

#[test]
fn a_new_certificate_is_taken_and_no_connection_dropped() {
    let authority = Authority::new();
    let (first, second) = (authority.sign(), authority.sign());
    let service = authority.start(authority.install(&first), Limits::default());
    let mut standing = authority.ask(&service).unwrap();
    assert_eq!(standing.certificate(), first.certificate);
    assert_eq!(standing.answer().status, 200);
    let shown = || authority.ask(&service).unwrap().certificate().to_vec();
    // The new certificate without its key is not used.
    put(&authority.path("chain.pem"), &pem("CERTIFICATE", &second.certificate));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        assert_eq!(shown(), first.certificate);
    }
    put(&authority.path("key.pem"), &pem("PRIVATE KEY", &second.key));
    until("the new one is shown", || shown() == second.certificate);
    standing.stream.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut standing.stream).body, "hello");
}

#[test]
fn files_that_are_wrong_are_refused_with_their_names() {
    let authority = Authority::new();
    let (own, other) = (authority.sign(), authority.sign());
    let refused = |change: &dyn Fn(&mut Files)| -> TlsError {
        let mut files = authority.install(&own);
        change(&mut files);
        Tls::read(files).unwrap_err()
    };
    /// The kind, a part of the message, and what is done to the files.
    type Row<'a> = (&'a str, &'a str, &'a dyn Fn(&mut Files));
    let table: &[Row<'_>] = &[
        ("tls_key_mismatch", "key.pem", &|files| put(&files.key, &pem("PRIVATE KEY", &other.key))),
        ("tls_invalid", "holds no private key", &|files| put(&files.key, "")),
        ("tls_invalid", "holds no certificate", &|files| put(&files.chain, "")),
        ("tls_invalid", "holds no certificate", &|files| put(&files.chain, "no PEM at all\n")),
        ("tls_invalid", "chain.pem", &|files| put(&files.chain, &pem("CERTIFICATE", b"canary"))),
        ("tls_invalid", "key.pem", &|files| put(&files.key, &pem("PRIVATE KEY", b"canary"))),
        ("tls_invalid", "key.pem", &|files| {
            put(&files.key, "-----BEGIN PRIVATE KEY-----\ncanary\n");
        }),
        ("tls_unreadable", "key.pem", &|files| fs::remove_file(&files.key).unwrap()),
        ("tls_unreadable", "not a regular file", &|files| {
            files.chain = authority.directory.path().into();
        }),
        ("permissions_too_wide", "chmod 600", &|files| {
            let wide = std::os::unix::fs::PermissionsExt::from_mode(0o640);
            fs::set_permissions(&files.key, wide).unwrap();
        }),
        ("tls_invalid", "roots.pem", &|files| {
            let roots = authority.path("roots.pem");
            put(&roots, "");
            files.clients = Some(Clients { roots, required: false });
        }),
    ];
    for (kind, part, change) in table {
        let error = refused(change);
        assert_eq!(error.why().kind(), *kind, "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(part) && !text.contains("canary"), "{text}");
    }
}

#[test]
fn an_expired_certificate_is_read_and_known_to_be() {
    let authority = Authority::new();
    let old = Tls::read(authority.install(&authority.sign_until(2002))).unwrap();
    assert!(old.not_after() < SystemTime::now());
    let new = Tls::read(authority.install(&authority.sign())).unwrap();
    assert!(new.not_after() > SystemTime::now());
}

/// Beginnings of handshakes, and ones that go on a byte at a time.
#[test]
fn handshakes_that_never_finish_hinder_nobody() {
    let authority = Authority::new();
    let limits = Limits { handshake: PATIENCE, ..Limits::default() };
    let service = authority.start(authority.install(&authority.sign()), limits);
    let stuck: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = service.open();
            client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
            client
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(authority.ask(&service).unwrap().answer().status, 200);
    }
    drop((stuck, service));
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let service = authority.start(authority.install(&authority.sign()), limits);
    let mut client = service.open();
    client.send(b"\x16\x03\x01\x40\x00");
    client.drip(1);
    assert_eq!(authority.ask(&service).unwrap().answer().status, 200);
}

/// A client of TLS 1.3 has sent its request before its certificate is refused; it learns that all
/// the same, however much it sent.
#[test]
fn a_client_that_is_turned_away_learns_why() {
    let authority = Authority::new();
    let mut files = authority.install(&authority.sign());
    files.clients = Some(Clients { roots: authority.root(), required: true });
    let service = authority.start(files, Limits::default());
    for _ in 0..50 {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut client = ClientConnection::new(config.into(), name).unwrap();
        let mut stream = service.open().stream;
        while client.is_handshaking() {
            client.complete_io(&mut stream).unwrap();
        }
        // Sent apart from the handshake, and after its refusal.
        for _ in 0..5 {
            client.writer().write_all(&[b'x'; 4096]).unwrap();
            drop(client.write_tls(&mut stream));
        }
        let why = loop {
            match client.complete_io(&mut stream) {
                Ok(_) => {}
                Err(error) => break error.to_string(),
            }
        };
        assert!(why.contains("CertificateRequired"), "{why}");
    }
}
