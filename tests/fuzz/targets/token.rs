//! A token as a stranger sends it: no text counts, for nobody has the trusted keys' private halves.

#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use qgis_secrets::job_token::{MAX_LEN, Policy, Refused, Source, Verifier};
use qgis_secrets::secret::Value;

/// Ed25519, P-256 and RSA with 2048 bits.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/keys.json");
    Verifier::new(Policy::new("https://s.example"), [Source::File(keys.into())]).unwrap()
});

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

fuzz_target!(|token: &[u8]| -> Corpus {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let value = Value::new(token.to_vec());
    let refused = RUNTIME.block_on(VERIFIER.verify(&value, now)).unwrap_err();
    let malformed = matches!(refused, Refused::Malformed(_));
    assert!(malformed || token.len() <= MAX_LEN);
    assert!(!refused.to_string().contains(char::is_control));
    Corpus::Keep
});
