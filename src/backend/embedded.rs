//! The store in a file, for one machine and for debugging.
//!
//! Invariant: nothing is opened before it is needed; listing candidates never reads the key.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Backend, BackendError, Revealed};
use crate::job::Identity;
use crate::precedence::{Candidate, Winner};
use crate::store::{Keyring, Record, Store, StoreError};

/// The embedded backend.
#[derive(Debug)]
pub struct Embedded {
    store: PathBuf,
    key: PathBuf,
    open: Option<(Store, Vec<Record>)>,
}

impl Embedded {
    /// A backend on the store and the private key at these paths.
    pub fn new(store: PathBuf, key: PathBuf) -> Self {
        Self { store, key, open: None }
    }
}

impl Backend for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn candidates(&mut self, identity: &Identity) -> Result<Vec<Candidate>, BackendError> {
        let store = Store::open(&self.store)?;
        let records = store.candidates(&identity.owners())?;
        let candidates = records.iter().map(Candidate::from).collect();
        self.open = Some((store, records));
        Ok(candidates)
    }

    async fn reveal(&mut self, winners: &[Winner]) -> Result<Vec<Revealed>, BackendError> {
        // Taken, so that it is closed before the job starts: an open one is a lock.
        let (store, records) =
            self.open.take().ok_or_else(|| StoreError::Missing(self.store.clone()))?;
        if winners.is_empty() {
            return Ok(Vec::new());
        }
        let keys = Keyring::read(&self.key)?;
        store.check_keys(&keys)?;
        let records: HashMap<_, _> = records.iter().map(|record| (&record.id, record)).collect();
        winners
            .iter()
            .map(|Winner { secret, .. }| {
                let record =
                    records.get(&secret.id).ok_or_else(|| StoreError::Gone(secret.id.clone()))?;
                let value = store.open_value(record, &keys)?;
                Ok(Revealed { name: secret.name.clone(), sensitive: secret.sensitive, value })
            })
            .collect()
    }
}

impl From<&Record> for Candidate {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            owner: record.owner.clone(),
            sensitive: record.sensitive,
        }
    }
}
