//! The private keys of a process that answers jobs.
//!
//! Invariant: a rotation needs no restart: a value that is sealed to a key that isn't known yet
//! makes the file be read again.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::store::{KeyError, KeyId, Keyring, StoreError};

/// A key file, as it was read last.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    keys: RwLock<Arc<Keyring>>,
}

impl KeyFile {
    /// Reads a key file; see [`Keyring::read`].
    pub fn read(path: PathBuf) -> Result<Self, KeyError> {
        let keys = RwLock::new(Arc::new(Keyring::read(&path)?));
        Ok(Self { path, keys })
    }

    /// The keys as they were read last.
    pub fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keys that hold all of `ids`, if the file does: it is read again when one is missing.
    pub fn for_all<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a KeyId>,
    ) -> Result<Arc<Keyring>, StoreError> {
        let keys = self.current();
        if ids.all(|id| keys.find(id).is_some()) {
            return Ok(keys);
        }
        let read = Arc::new(Keyring::read(&self.path)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&read);
        Ok(read)
    }
}
