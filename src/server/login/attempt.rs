//! A login that has begun and is to come back. Pure, but for the random bits.
//!
//! Invariants: it comes back to the browser that began it, in time; nobody else can make a `state`
//! that this browser would be believed with; the store knows nothing of it, so that who doesn't log
//! in writes nothing, and any replica can finish what another began.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest as _, Sha256};

use super::return_to::ReturnTo;
use super::ticket::{NoRandomness, Ticket};
use crate::store::sessions::Digest;

/// How long somebody may be at the provider, in seconds.
pub(crate) const MAX_AGE: i64 = 600;

/// How far the clocks of replicas may be apart, in seconds.
const SKEW: i64 = 60;

const RANDOM: usize = 16;
const TIME: usize = 8;

/// A login that has begun in a browser.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Random bits, the time, and where to go afterwards.
    content: Vec<u8>,
    begun: i64,
    return_to: ReturnTo,
}

impl Attempt {
    /// Begins one.
    pub(crate) fn new(now: i64, return_to: ReturnTo) -> Result<Self, NoRandomness> {
        let mut random = [0; RANDOM];
        getrandom::fill(&mut random).map_err(|_| NoRandomness)?;
        let mut content = random.to_vec();
        content.extend(now.to_be_bytes());
        content.extend(return_to.as_str().as_bytes());
        Ok(Self { content, begun: now, return_to })
    }

    /// What the provider gives back: the content, and a mark that needs the browser's ticket.
    pub(crate) fn state(&self, browser: &Ticket) -> String {
        let content = Base64UrlUnpadded::encode_string(&self.content);
        format!("{content}.{}", browser.derive("state", &self.content))
    }

    /// Reads a state that came back, if this browser's login was it, and is not over.
    pub(crate) fn read(state: &str, browser: &Ticket, now: i64) -> Option<Self> {
        let (content, mark) = state.split_once('.')?;
        let content = Base64UrlUnpadded::decode_vec(content).ok()?;
        if !browser.derived("state", &content, mark) {
            return None;
        }
        let (_, rest) = content.split_at_checked(RANDOM)?;
        let (begun, return_to) = rest.split_first_chunk::<TIME>()?;
        let begun = i64::from_be_bytes(*begun);
        if now < begun - SKEW || now >= begun + MAX_AGE {
            return None;
        }
        let return_to = ReturnTo::new(str::from_utf8(return_to).ok());
        Some(Self { content, begun, return_to })
    }

    /// What the ID token must hold: OpenID Connect Core 1.0, section 3.1.2.1.
    pub(crate) fn nonce(&self, browser: &Ticket) -> String {
        browser.derive("nonce", &self.content)
    }

    /// The proof that whoever fetches the token began the login: RFC 7636, section 4.1.
    pub(crate) fn verifier(&self, browser: &Ticket) -> String {
        browser.derive("verifier", &self.content)
    }

    /// What the provider is shown of the proof: `S256` of RFC 7636, section 4.2.
    pub(crate) fn challenge(&self, browser: &Ticket) -> String {
        Base64UrlUnpadded::encode_string(&Sha256::digest(self.verifier(browser)))
    }

    /// By what it is remembered that it was used, and until when.
    pub(crate) fn used(&self) -> (Digest, i64) {
        (Sha256::digest(&self.content).into(), self.begun + MAX_AGE + SKEW)
    }

    /// Where to go afterwards.
    pub(crate) fn return_to(&self) -> &ReturnTo {
        &self.return_to
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;

    fn begun() -> (Ticket, Attempt) {
        let attempt = Attempt::new(NOW, ReturnTo::new(Some("/projects/a"))).unwrap();
        (Ticket::new().unwrap(), attempt)
    }

    #[test]
    fn it_comes_back_to_its_browser_in_time() {
        let (browser, attempt) = begun();
        let state = attempt.state(&browser);
        for (now, fine) in [
            (NOW, true),
            (NOW + MAX_AGE - 1, true),
            (NOW + MAX_AGE, false),
            (NOW - SKEW, true),
            (NOW - SKEW - 1, false),
        ] {
            let read = Attempt::read(&state, &browser, now);
            assert_eq!(read.is_some(), fine, "{now}");
            if let Some(read) = read {
                assert_eq!(read.nonce(&browser), attempt.nonce(&browser));
                assert_eq!(read.verifier(&browser), attempt.verifier(&browser));
                assert_eq!(read.used(), attempt.used());
                assert_eq!(read.return_to().as_str(), "/projects/a");
            }
        }
        let other = Ticket::new().unwrap();
        assert!(Attempt::read(&state, &other, NOW).is_none());
        assert!(Attempt::read("", &browser, NOW).is_none());
        assert!(Attempt::read(".", &browser, NOW).is_none());
        // Too short for a time, but marked by the browser.
        let short = format!("{}.{}", "AA", browser.derive("state", &[0]));
        assert!(Attempt::read(&short, &browser, NOW).is_none());
    }

    #[test]
    fn two_logins_of_a_browser_share_nothing() {
        let (browser, one) = begun();
        let (_, two) = begun();
        assert_ne!(one.nonce(&browser), two.nonce(&browser));
        assert_ne!(one.verifier(&browser), two.verifier(&browser));
        assert_ne!(one.used().0, two.used().0);
        assert_ne!(one.nonce(&browser), one.verifier(&browser));
        // RFC 7636, section 4.1: 43 to 128 characters.
        assert_eq!(one.verifier(&browser).len(), 43);
    }

    proptest! {
        #[test]
        fn a_changed_state_is_none(at in 0_usize..100, to in "[A-Za-z0-9_.-]") {
            let (browser, attempt) = begun();
            let mut state = attempt.state(&browser);
            let at = at % state.len();
            prop_assume!(state[at..=at] != to);
            state.replace_range(at..=at, &to);
            prop_assert!(Attempt::read(&state, &browser, NOW).is_none());
        }
    }
}
