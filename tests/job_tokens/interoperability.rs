//! openssl, which shares no code with this program, signs what is accepted here, and checks what
//! is issued here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64ct::{Base64UrlUnpadded, Encoding};
use qgis_secrets::job_token::{Algorithm, Claims, KeySet, Policy, SigningKey, Source, Verifier};

use super::{AUDIENCE, NOW, at, base64, claims, now, verdict};
use crate::support::Sandbox;

const TYPES: [(&str, &[&str]); 3] = [
    ("EdDSA", &["-algorithm", "ED25519"]),
    ("ES256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("RS256", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
];

/// Runs openssl in `directory`; whether it said yes.
fn openssl(directory: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let says_no = String::from_utf8_lossy(&output.stdout).contains("Failure");
    output.status.success() && !says_no
}

#[track_caller]
fn openssl_does(directory: &Path, arguments: &[&str]) {
    assert!(openssl(directory, arguments), "openssl {arguments:?}");
}

/// r and s as ASN.1 integers, which openssl wants.
pub(super) fn to_der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut bytes = number[zeros..].to_vec();
        if bytes.first().is_none_or(|byte| *byte >= 0x80) {
            bytes.insert(0, 0);
        }
        [&[2, u8::try_from(bytes.len()).unwrap()], bytes.as_slice()].concat()
    };
    let (r, s) = signature.split_at(32);
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], both.as_slice()].concat()
}

/// The way back.
fn from_der(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut signature = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        signature.resize(signature.len() + 32 - number.len(), 0);
        signature.extend_from_slice(number);
        rest = after;
    }
    signature
}

#[test]
fn tokens_of_openssl_count_here() {
    for (algorithm, options) in TYPES {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        openssl_does(home, &[&["genpkey", "-out", "key"], options].concat());
        openssl_does(home, &["pkey", "-in", "key", "-pubout", "-out", "key.pub"]);
        let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#);
        let message = format!("{}.{}", base64(header), base64(claims().to_string()));
        sandbox.write("message", &message);
        sign(home, algorithm);
        let mut signature = fs::read(sandbox.path("signature")).unwrap();
        if algorithm == "ES256" {
            signature = from_der(&signature);
        }
        let token = format!("{message}.{}", base64(signature));
        let sources = [Source::File(sandbox.path("key.pub"))];
        let verifier = Verifier::new(Policy::new(AUDIENCE), sources).unwrap();
        assert_eq!(verdict(&verifier, token), "fine", "{algorithm}");
        // Its private key issues tokens here.
        let key = SigningKey::read(&sandbox.path("key")).unwrap();
        assert_eq!(key.public().algorithm().as_str(), algorithm);
    }
}

fn sign(home: &Path, algorithm: &str) {
    if algorithm == "EdDSA" {
        let arguments = "pkeyutl -sign -rawin -inkey key -in message -out signature";
        openssl_does(home, &arguments.split(' ').collect::<Vec<_>>());
    } else {
        let arguments = "dgst -sha256 -sign key -out signature message";
        openssl_does(home, &arguments.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn tokens_of_ours_count_for_openssl() {
    for algorithm in Algorithm::ALL {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        let key = SigningKey::generate(algorithm).unwrap();
        key.create(&sandbox.path("key")).unwrap();
        let token = key.issue(&now_claims()).unwrap();
        let text = String::from_utf8(token.expose().to_vec()).unwrap();
        let (message, signature) = text.rsplit_once('.').unwrap();
        let mut signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
        if algorithm == Algorithm::Es256 {
            signature = to_der(&signature);
        }
        sandbox.write("signature", signature);
        let check = if algorithm == Algorithm::EdDsa {
            "pkeyutl -verify -rawin -pubin -inkey key.pub -sigfile signature -in message"
        } else {
            "dgst -sha256 -verify key.pub -signature signature message"
        };
        let check: Vec<&str> = check.split(' ').collect();
        sandbox.write("message", message);
        assert!(openssl(home, &check), "{algorithm}");
        sandbox.write("message", format!("{message}x"));
        assert!(!openssl(home, &check), "{algorithm}: openssl says yes to everything");
        // What openssl reads of the files that were made here.
        openssl_does(home, &["pkey", "-in", "key", "-noout", "-check"]);
        openssl_does(home, &["pkey", "-in", "key", "-pubout", "-out", "again.pub"]);
        let (ours, its) = (sandbox.path("key.pub"), sandbox.path("again.pub"));
        assert_eq!(fs::read(ours).unwrap(), fs::read(its).unwrap(), "{algorithm}");
    }
}

/// Claims as of now: issuing checks them by the real clock.
fn now_claims() -> Claims {
    let seconds = jiff::Timestamp::now().as_second() - NOW;
    let verifier = &super::TRUSTED.verifier;
    let good = super::verify(verifier, super::TRUSTED.ed.good(), now()).unwrap();
    Claims { expires: at(seconds + 60), issued: Some(at(seconds)), ..good }
}

/// Keys that are no keys for tokens, as openssl makes them.
#[test]
fn other_keys_of_openssl_are_refused() {
    let sandbox = Sandbox::new();
    let home = sandbox.home();
    for (options, why) in [
        (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"].as_slice(), "2048"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "not an Ed25519, P-256"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "not a"),
        (&["-algorithm", "ED448"], "not an Ed25519"),
        (&["-algorithm", "X25519"], "not a"),
    ] {
        openssl_does(home, &[&["genpkey", "-out", "key"], options].concat());
        openssl_does(home, &["pkey", "-in", "key", "-pubout", "-out", "key.pub"]);
        let fault = KeySet::read(&sandbox.path("key.pub")).unwrap_err().to_string();
        assert!(fault.contains(why), "{options:?}: {fault}");
        let fault = SigningKey::read(&sandbox.path("key")).unwrap_err().to_string();
        assert!(fault.contains("RSA"), "{options:?}: {fault}");
    }
}

/// The forms in which people have their keys.
#[test]
fn private_keys_in_other_forms() {
    let sandbox = Sandbox::new();
    let home = sandbox.home();
    let read = |name: &str| SigningKey::read(&sandbox.path(name));
    openssl_does(home, &[&["genpkey", "-out", "rsa"], TYPES[2].1].concat());
    openssl_does(home, &[&["genpkey", "-out", "ec"], TYPES[1].1].concat());
    openssl_does(home, &["rsa", "-in", "rsa", "-traditional", "-out", "rsa1"]);
    assert_eq!(read("rsa1").unwrap().public().kid(), read("rsa").unwrap().public().kid());
    openssl_does(home, &["ec", "-in", "ec", "-out", "sec1"]);
    assert!(read("sec1").unwrap_err().to_string().contains("openssl pkcs8 -topk8 -nocrypt"));
    openssl_does(home, &["pkcs8", "-topk8", "-in", "ec", "-passout", "pass:x", "-out", "locked"]);
    assert!(read("locked").unwrap_err().to_string().contains("passphrase"));
    openssl_does(home, &["pkey", "-in", "ec", "-pubout", "-out", "ec.pub"]);
    fs::set_permissions(
        sandbox.path("ec.pub"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    assert!(read("ec.pub").unwrap_err().to_string().contains("holds a public key"));
    openssl_does(home, &["rsa", "-in", "rsa", "-RSAPublicKey_out", "-out", "rsa1.pub"]);
    let set = KeySet::read(&sandbox.path("rsa1.pub")).unwrap();
    assert_eq!(set.keys()[0].kid(), read("rsa").unwrap().public().kid());
    let arguments = "req -x509 -key ec -subj /CN=x -out cert";
    openssl_does(home, &arguments.split(' ').collect::<Vec<_>>());
    let fault = KeySet::read(&sandbox.path("cert")).unwrap_err().to_string();
    assert!(fault.contains("openssl x509 -pubkey"), "{fault}");
}
