//! The public key that a service seals new secrets to.
//!
//! Invariant: no private key is kept. During a rotation the store says which key counts; one that
//! isn't known yet is read from its file, so that a rotation needs no restart.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use crate::store::{KeyError, KeyId, Keyring, PublicKey, keys};

/// A public key, and where others are found.
#[derive(Debug)]
pub struct Recipient {
    key: RwLock<PublicKey>,
    file: Option<File>,
}

/// A file of keys.
#[derive(Debug)]
enum File {
    /// A public key alone.
    Public(PathBuf),
    /// Private keys, whose public halves count.
    Private(PathBuf),
}

impl From<PublicKey> for Recipient {
    /// One key, for ever.
    fn from(key: PublicKey) -> Self {
        Self { key: RwLock::new(key), file: None }
    }
}

impl Recipient {
    /// The key of a public key's file.
    pub fn public(path: PathBuf) -> Result<Self, KeyError> {
        let key = RwLock::new(keys::read_public(&path)?);
        Ok(Self { key, file: Some(File::Public(path)) })
    }

    /// The public halves of a private key's file. The private ones are overwritten at once.
    pub fn private(path: PathBuf) -> Result<Self, KeyError> {
        let key = RwLock::new(Keyring::read(&path)?.current().public().clone());
        Ok(Self { key, file: Some(File::Private(path)) })
    }

    /// The key with this id, if there is one; else the one that was used last.
    pub fn key(&self, want: &KeyId) -> Result<PublicKey, KeyError> {
        let last = self.key.read().unwrap_or_else(PoisonError::into_inner).clone();
        if last.id() == want {
            return Ok(last);
        }
        let found = match &self.file {
            None => return Ok(last),
            Some(File::Public(path)) => Some(keys::read_public(path)?),
            Some(File::Private(path)) => {
                Keyring::read(path)?.find(want).map(|k| k.public().clone())
            }
        };
        let found = found.unwrap_or(last);
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = found.clone();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_key_is_found_without_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.key");
        let mut keys = Keyring::generate();
        keys.create(&path).unwrap();
        let first = keys.current().public().id().clone();
        let recipient = Recipient::private(path.clone()).unwrap();
        keys.advance();
        let second = keys.current().public().id().clone();
        // The store names the new key before this process has seen the file.
        assert_eq!(recipient.key(&second).unwrap().id(), &first);
        let lock = keys::DirectoryLock::try_for_rotation(&path).unwrap();
        keys.replace(&path, &lock).unwrap();
        assert_eq!(recipient.key(&second).unwrap().id(), &second);
        assert_eq!(recipient.key(&first).unwrap().id(), &first);
        let fixed = Recipient::from(keys.current().public().clone());
        assert_eq!(fixed.key(&first).unwrap().id(), &second);
    }
}
