//! Checks tokens: signature first, by a key that is trusted, then what the token says.
//!
//! Invariant: before its signature is right, a token decides nothing but which key is tried, and
//! no claim of it is looked at.

use std::path::PathBuf;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::claims::{Claims, Policy};
use super::compact::{Parts, Signer};
use super::files::Files;
use super::freshness::Need;
use super::key_set::{KeySet, Lookup};
use super::public_key::{Algorithm, PublicKey};
use super::refused::{BadKey, Refused, Shown};
use super::remote::Remote;
use crate::secret::Value;

/// Where trusted keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file: see [`KeySet::read`]. Read again when it changes.
    File(PathBuf),
    /// The address of a JWK set: `https`, or `http` on this machine. Fetched when it is needed.
    Url(String),
}

/// Checks tokens against a policy and trusted keys. Made once, used by all threads.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    files: Files,
    remotes: Vec<Arc<Remote>>,
}

impl Verifier {
    /// Reads the files. An address is not asked before a token comes, or [`Verifier::ready`].
    pub fn new(policy: Policy, sources: impl IntoIterator<Item = Source>) -> Result<Self, BadKey> {
        let mut files = Vec::new();
        let mut remotes = Vec::new();
        for source in sources {
            match source {
                Source::File(path) => files.push(path),
                Source::Url(url) => remotes.push(Arc::new(Remote::new(url)?)),
            }
        }
        Ok(Self { policy, files: Files::read(files)?, remotes })
    }

    /// Reads the files again, for tokens to come. Files that are not valid change nothing.
    pub fn reload(&self) -> Result<(), BadKey> {
        self.files.reload()
    }

    /// Whether every address has given keys that may be used; asks those that are due.
    pub async fn ready(&self, now: Timestamp) -> Result<(), Refused> {
        for remote in &self.remotes {
            remote.keys(now, Need::Keys).await.map_err(Refused::KeysUnavailable)?;
        }
        Ok(())
    }

    /// Checks one token. Waits for an address only if a key is missing, or old.
    ///
    /// Needs tokio's runtime where a source is an address.
    pub async fn verify(&self, token: &Value, now: Timestamp) -> Result<Claims, Refused> {
        let parts = Parts::split(token.expose())?;
        self.check_signature(&parts, now).await?;
        Claims::check(&parts.claims, &self.policy, now)
    }

    /// Checks the signature of another kind of token, an OpenID Connect ID token, by the same
    /// rules. **No claim is checked**: that kind has rules of its own.
    pub async fn signed(
        &self,
        token: &Value,
        now: Timestamp,
    ) -> Result<(Algorithm, Map<String, Json>), Refused> {
        let parts = Parts::split_any(token.expose())?;
        let algorithm = self.check_signature(&parts, now).await?;
        Ok((algorithm, parts.claims))
    }

    async fn check_signature(
        &self,
        parts: &Parts<'_>,
        now: Timestamp,
    ) -> Result<Algorithm, Refused> {
        let signer = Signer::of(&parts.header)?;
        let (set, index) = match signer.kid {
            Some(kid) => self.named(kid, &signer, now).await?,
            None => self.only(&signer, now).await?,
        };
        match signed_by(&set.keys()[index], parts) {
            true => Ok(signer.algorithm),
            false => Err(Refused::Signature),
        }
    }

    /// The key that the token names. A file's key is found without asking an address.
    async fn named(&self, kid: &str, signer: &Signer<'_>, now: Timestamp) -> Result<Key, Refused> {
        let files = self.files.keys();
        if let Some(key) = looked_up(&files, kid, signer)? {
            return Ok((files, key));
        }
        let mut fault = None;
        for need in [Need::Keys, Need::Missing] {
            fault = None;
            for remote in &self.remotes {
                match remote.keys(now, need).await {
                    Ok(set) => {
                        if let Some(key) = looked_up(&set, kid, signer)? {
                            return Ok((set, key));
                        }
                    }
                    Err(why) => fault = Some(why),
                }
            }
        }
        // It may be one of those that can't be had.
        Err(fault.map_or_else(|| Refused::KeyUnknown(Shown::new(kid)), Refused::KeysUnavailable))
    }

    /// The only key of the token's algorithm, for a token that names none.
    async fn only(&self, signer: &Signer<'_>, now: Timestamp) -> Result<Key, Refused> {
        let mut sets = vec![self.files.keys()];
        for remote in &self.remotes {
            sets.push(remote.keys(now, Need::Keys).await.map_err(Refused::KeysUnavailable)?);
        }
        let mut found: Option<Key> = None;
        for set in sets {
            for (index, key) in set.keys().iter().enumerate() {
                if key.algorithm() != signer.algorithm {
                    continue;
                }
                match &found {
                    None => found = Some((Arc::clone(&set), index)),
                    Some((other, at)) if other.keys()[*at].thumbprint() == key.thumbprint() => {}
                    Some(_) => return Err(Refused::KeyUnnamed(signer.algorithm)),
                }
            }
        }
        found.ok_or(Refused::KeyUnnamed(signer.algorithm))
    }
}

/// A key: its set, which outlives a fetch, and its place there.
type Key = (Arc<KeySet>, usize);

fn looked_up(set: &KeySet, kid: &str, signer: &Signer<'_>) -> Result<Option<usize>, Refused> {
    match set.find(kid, signer.algorithm) {
        Lookup::Found(index) => Ok(Some(index)),
        Lookup::Absent => Ok(None),
        Lookup::Other(key) => {
            Err(Refused::OtherAlgorithm { kid: Shown::new(kid), key, token: signer.algorithm })
        }
    }
}

fn signed_by(key: &PublicKey, parts: &Parts<'_>) -> bool {
    // The longest, of RSA with 8192 bits.
    let mut buffer = [0; 1024];
    Base64UrlUnpadded::decode(parts.signature, &mut buffer)
        .is_ok_and(|signature| key.signed(parts.message, signature))
}
