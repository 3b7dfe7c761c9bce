//! Why a token is refused, and what is wrong with a key.
//!
//! Invariant: no message holds a token, a part of one, or a private key. What a token itself says
//! (a key's id, an algorithm) is shown only if it is short and plain.

use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::public_key::Algorithm;
use crate::http::HttpError;
use crate::store::KeyError;

/// Why a token does not count. The message says what its issuer, or the operator, can do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a compact JWS of JSON objects, or one with a header that isn't accepted.
    #[error("the job token is malformed: {0}")]
    Malformed(&'static str),
    /// An algorithm that no key here can have.
    #[error("the job token is signed with {0}; sign it with EdDSA (Ed25519), ES256 or RS256")]
    Algorithm(Shown),
    /// The key that the token names is for another algorithm.
    #[error("the job token says {token}, but its key {kid} is for {key}; sign it with {key}")]
    OtherAlgorithm {
        /// The key's id.
        kid: Shown,
        /// The key's algorithm.
        key: Algorithm,
        /// The one in the token's header.
        token: Algorithm,
    },
    /// Nobody trusts the key that the token names.
    #[error(
        "no trusted key has the id {0} that the job token names; trust its public key, or sign \
         with a key that is trusted"
    )]
    KeyUnknown(Shown),
    /// The token names no key, and there is not exactly one that it could be.
    #[error(
        "the job token names no key (`kid`), and not exactly one trusted key is for {0}; set \
         `kid` in its header"
    )]
    KeyUnnamed(Algorithm),
    /// Another key signed it, or it was changed.
    #[error("the job token's signature is wrong: it was changed, or signed with another key")]
    Signature,
    /// Over, the leeway included.
    #[error("the job token expired at {0}; issue one shortly before the job, and compare clocks")]
    Expired(Timestamp),
    /// `nbf` or `iat` is in the future, the leeway included.
    #[error("the job token is not valid before {0}; compare the clocks of issuer and service")]
    NotYetValid(Timestamp),
    /// For somebody else.
    #[error("the job token is not for the audience {0}; issue it with that in `aud`")]
    Audience(String),
    /// From somebody else.
    #[error("the job token is not from the issuer {0}; issue it with that as `iss`")]
    Issuer(String),
    /// A claim is missing or wrong.
    #[error("the job token's claim `{claim}` {problem}")]
    Claims {
        /// The claim's name.
        claim: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Valid for too long.
    #[error("the job token is valid for longer than {0} seconds; give it a shorter `exp`")]
    Lifetime(u64),
    /// The keys can't be had, so nobody can say.
    #[error("the job token cannot be checked: {0}; try again later")]
    KeysUnavailable(String),
}

impl Refused {
    /// The stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "token_malformed",
            Self::Algorithm(_) | Self::OtherAlgorithm { .. } => "token_algorithm",
            Self::KeyUnknown(_) | Self::KeyUnnamed(_) => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Expired(_) => "token_expired",
            Self::NotYetValid(_) => "token_not_yet_valid",
            Self::Audience(_) => "token_audience",
            Self::Issuer(_) => "token_issuer",
            Self::Claims { .. } => "token_claims",
            Self::Lifetime(_) => "token_lifetime",
            Self::KeysUnavailable(_) => "keys_unavailable",
        }
    }

    pub(super) fn claim(claim: &'static str, problem: impl Into<String>) -> Self {
        Self::Claims { claim, problem: problem.into() }
    }
}

/// A word that a token holds, for a message: only if it is short and has nothing but plain
/// characters; anybody may have written it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Option<String>);

impl Shown {
    /// The longest word that is shown, in bytes.
    const MAX: usize = 64;

    pub(super) fn new(word: &str) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b);
        let shown = !word.is_empty() && word.len() <= Self::MAX && word.bytes().all(plain);
        Self(shown.then(|| word.to_owned()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(f, "`{word}`"),
            None => f.write_str("(not shown: too long, or odd characters)"),
        }
    }
}

/// What is wrong with a key, or with where keys come from.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// A key file that isn't there or can't be read.
    #[error("the key file {} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, #[source] io::Error),
    /// A private key where a public one is asked for.
    #[error(
        "{} holds a private key, and only public ones belong here; give the `.pub` file that `token \
         new-key` wrote beside it, or make one: openssl pkey -pubout -in {} -out {}.pub",
        .0.display(), .0.display(), .0.display()
    )]
    Private(PathBuf),
    /// Anything else that is wrong with a file's content.
    #[error("{}: {}", .0.display(), .1)]
    Content(PathBuf, String),
    /// Not an address that keys may come from.
    #[error("the address of the keys: {0}")]
    Address(#[source] HttpError),
    /// An address without TLS.
    #[error(
        "the address of the keys begins with http://; use https://: whoever is between could put \
         in a key of their own"
    )]
    Plain,
    /// Others could read a private key.
    #[error(transparent)]
    Access(#[from] KeyError),
    /// There is a file already.
    #[error("{} exists already; name another file, or move it away first", .0.display())]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("{} cannot be written: {}", .0.display(), .1)]
    Unwritable(PathBuf, #[source] io::Error),
    /// Claims that would be refused.
    #[error("such a token would be refused: {0}")]
    Refused(#[source] Refused),
    /// The cryptography failed.
    #[error("{0} failed; the random source or the key is broken")]
    Failed(&'static str),
}
