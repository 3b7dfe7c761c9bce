//! Header and claims as whoever has a key can write them: the text up to the first line end is the
//! header, the rest the claims. What counts says everything that it must.

#![no_main]

use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use qgis_secrets::job_token::{MAX_ID, Policy, Unverified};
use qgis_secrets::secret::Value;

fuzz_target!(|text: &[u8]| -> Corpus {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return Corpus::Reject };
    let (header, claims) = (&text[..end], &text[end + 1..]);
    let [header, claims] = [header, claims].map(Base64UrlUnpadded::encode_string);
    let token = Value::new(format!("{header}.{claims}.AA").into_bytes());
    let Ok(read) = Unverified::read(&token) else { return Corpus::Keep };
    let policy = Policy::new("https://s.example");
    for seconds in [0, 1_800_000_000, 253_402_207_199] {
        let now = Timestamp::from_second(seconds).unwrap();
        match read.judge(&policy, now) {
            Ok(claims) => {
                assert!(claims.audience.contains(&policy.audience));
                assert!((1..=MAX_ID).contains(&claims.id.len()));
                assert!(claims.id.bytes().all(|byte| byte.is_ascii_graphic()));
                let left = claims.expires.as_second() - seconds;
                assert!((-31..=24 * 3600 + 31).contains(&left), "{left}");
                for claim in ["organization", "user", "project", "job", "jti", "exp", "aud"] {
                    assert!(read.claims().contains_key(claim), "{claim}");
                }
            }
            Err(refused) => assert!(!refused.to_string().contains(char::is_control)),
        }
    }
    Corpus::Keep
});
