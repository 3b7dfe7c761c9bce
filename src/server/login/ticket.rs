//! What a browser keeps to be known again: 256 random bits.
//!
//! Invariants: a ticket is never stored and never shown, only its digest is stored; what is derived
//! from it for one purpose says nothing about the ticket or about another purpose.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::store::sessions::Digest;

/// Its length as text: 32 bytes in base64url without padding.
const TEXT: usize = 43;

/// A ticket. Nobody guesses one, so a plain digest of it is as good as a slow one.
pub(crate) struct Ticket(Zeroizing<[u8; 32]>);

/// The kernel gave no random bits.
#[derive(Debug, thiserror::Error)]
#[error("the random source failed")]
pub struct NoRandomness;

impl Ticket {
    /// A new one.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let mut bits = Zeroizing::new([0; 32]);
        getrandom::fill(bits.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self(bits))
    }

    /// What a browser sent, if it has the form of one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut bits = Zeroizing::new([0; 32]);
        if text.len() != TEXT {
            return None;
        }
        Base64UrlUnpadded::decode(text, bits.as_mut_slice()).ok()?;
        Some(Self(bits))
    }

    /// For a cookie, or a link.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64UrlUnpadded::encode_string(self.0.as_slice()))
    }

    /// For the store.
    pub(crate) fn digest(&self) -> Digest {
        Sha256::digest(self.0.as_slice()).into()
    }

    /// 256 bits that only the holder of the ticket can make, for `purpose` and `about`, as base64url.
    pub(crate) fn derive(&self, purpose: &str, about: &[u8]) -> String {
        Base64UrlUnpadded::encode_string(&self.mac(purpose, about))
    }

    /// Whether `text` is what [`Ticket::derive`] gives; takes as long whatever it is.
    pub(crate) fn derived(&self, purpose: &str, about: &[u8], text: &str) -> bool {
        self.derive(purpose, about).as_bytes().ct_eq(text.as_bytes()).into()
    }

    fn mac(&self, purpose: &str, about: &[u8]) -> Digest {
        // A shorter key is filled up with zeros to a block: RFC 2104, section 2.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(self.0.as_slice());
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        // A purpose holds no zero byte, so that purpose and subject can't run into each other.
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(about);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_its_text_and_nothing_else_is_one() {
        let ticket = Ticket::new().unwrap();
        let text = ticket.to_text();
        assert_eq!(text.len(), TEXT);
        assert_eq!(Ticket::read(&text).unwrap().digest(), ticket.digest());
        assert_ne!(Ticket::new().unwrap().digest(), ticket.digest());
        // The last character has two bits that must be zero, or two texts were one ticket.
        let loose = format!("{}B", "A".repeat(42));
        for bad in ["", &text[1..], &format!("{}A", *text), &"=".repeat(43), &loose] {
            assert!(Ticket::read(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{ticket:?}"), "Ticket(…)");
    }

    #[test]
    fn what_is_derived_depends_on_everything() {
        let ticket = Ticket::read(&"A".repeat(43)).unwrap();
        let one = ticket.derive("form", b"a");
        // Computed with Python's hmac module.
        assert_eq!(one, "lT-jInl1Z_Z5BcX0ZLEN04o9MTeK84jMe7ZzZoQHU8A");
        assert!(ticket.derived("form", b"a", &one));
        let other = Ticket::new().unwrap();
        for different in
            [ticket.derive("form", b"b"), ticket.derive("other", b"a"), other.derive("form", b"a")]
        {
            assert_ne!(different, one);
            assert!(!ticket.derived("form", b"a", &different));
        }
        assert!(!ticket.derived("form", b"a", ""));
        assert!(!ticket.derived("form", b"a", &one[..42]));
    }
}
