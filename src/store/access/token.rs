//! The text of API tokens: `qgis_secrets_<id>_<secret>`, in lower-case hexadecimal.
//!
//! The beginning is for scanners that look for secrets in repositories:
//! `qgis_secrets_[0-9a-f]{16}_[0-9a-f]{64}`.
//!
//! Invariants: the secret part is 256 bits of the kernel's random source, so that a plain SHA-256
//! is enough to keep (a slow hash is for what people choose); digests are compared in constant
//! time; a text of any other form is no token.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::{Value, ValueBuf};

/// How every token begins.
pub const PREFIX: &str = "qgis_secrets_";

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A token that was just made.
///
/// No `Clone`, `Display` or `Serialize`, for it holds the token.
#[derive(Debug)]
pub struct Fresh {
    /// The part that is no secret.
    pub id: String,
    /// What is kept of the other.
    pub digest: [u8; 32],
    /// The whole, for who asked for it.
    pub text: Value,
}

/// Makes a token.
///
/// # Errors
/// Where the kernel has no random numbers.
pub fn make() -> Result<Fresh, getrandom::Error> {
    let mut random = Zeroizing::new([0_u8; ID_BYTES + SECRET_BYTES]);
    getrandom::fill(random.as_mut_slice())?;
    let (id, secret) = random.split_at(ID_BYTES);
    let (id, secret) = (hexadecimal(id), hexadecimal(secret));
    let mut text = ValueBuf::new();
    for part in [PREFIX.as_bytes(), id.as_bytes(), b"_", secret.as_bytes()] {
        text.push(part);
    }
    let digest = Sha256::digest(secret.as_bytes()).into();
    Ok(Fresh { id: id.to_string(), digest, text: text.finish() })
}

/// A text that could be a token: its id, and the digest of its secret part.
#[derive(Debug)]
pub struct Presented {
    id: String,
    digest: [u8; 32],
}

impl Presented {
    /// Takes a text apart; `None` if it has not the form of a token.
    pub fn parse(text: &Value) -> Option<Self> {
        let rest = text.expose().strip_prefix(PREFIX.as_bytes())?;
        let (id, rest) = rest.split_at_checked(2 * ID_BYTES)?;
        let secret = rest.strip_prefix(b"_")?;
        let digits = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if secret.len() != 2 * SECRET_BYTES || !digits(id) || !digits(secret) {
            return None;
        }
        let id = String::from_utf8(id.to_vec()).ok()?;
        Some(Self { id, digest: Sha256::digest(secret).into() })
    }

    /// The part that is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this is the digest that was kept.
    pub fn has_digest(&self, kept: &[u8]) -> bool {
        self.digest.as_slice().ct_eq(kept).into()
    }
}

fn hexadecimal(bytes: &[u8]) -> Zeroizing<String> {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 0xf)]);
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_recognized_and_no_other_text_is() {
        let (one, other) = (make().unwrap(), make().unwrap());
        let presented = Presented::parse(&one.text).unwrap();
        assert_eq!(presented.id(), one.id);
        assert!(presented.has_digest(&one.digest));
        assert!(!presented.has_digest(&other.digest));
        assert!(!presented.has_digest(&one.digest[1..]));
        assert!(!presented.has_digest(&[]));
        let text = String::from_utf8(one.text.expose().to_vec()).unwrap();
        assert_eq!(text.len(), PREFIX.len() + 16 + 1 + 64);
        for bad in [
            String::new(),
            text[1..].to_owned(),
            text[..text.len() - 1].to_owned(),
            format!("{text}0"),
            format!("{text}\n"),
            text.to_uppercase(),
            text.replace('_', "-"),
            format!("{}{}", &text[..29], &text[30..]),
            format!("{}g", &text[..text.len() - 1]),
        ] {
            assert!(Presented::parse(&Value::from(bad.as_str())).is_none(), "{bad}");
        }
        assert!(!format!("{one:?} {presented:?}").contains(&text[30..]));
    }

    proptest! {
        #[test]
        fn any_changed_digit_is_another_token(place in 30_usize..94, by in 1_u8..16) {
            let fresh = make().unwrap();
            let mut text = fresh.text.expose().to_vec();
            let digit = char::from(text[place]).to_digit(16).unwrap() as u8;
            text[place] = b"0123456789abcdef"[usize::from((digit + by) % 16)];
            let presented = Presented::parse(&Value::new(text)).unwrap();
            prop_assert!(!presented.has_digest(&fresh.digest));
        }

        #[test]
        fn never_panics(text in ".{0,120}") {
            drop(Presented::parse(&Value::from(text.as_str())));
            let text = format!("{PREFIX}{text}");
            drop(Presented::parse(&Value::from(text.as_str())));
        }
    }
}
