//! The store itself: in a file, for one machine and for debugging, or in a database.
//!
//! Invariant: nothing is opened before it is needed; listing candidates never reads the key.

use std::collections::HashMap;

use super::{Backend, BackendError, Revealed};
use crate::job::Job;
use crate::precedence::{Candidate, Winner};
use crate::secret::Value;
use crate::settings;
use crate::store::{Keyring, Record, Store, StoreError};

/// The embedded backend.
#[derive(Debug)]
pub struct Embedded {
    store: settings::Store,
    open: Option<(Store, Vec<Record>)>,
}

impl Embedded {
    /// A backend on this store and its private key.
    pub fn new(store: &settings::Store) -> Self {
        Self { store: store.clone(), open: None }
    }
}

impl Backend for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn candidates(&mut self, job: &Job) -> Result<Vec<Candidate>, BackendError> {
        let mut store = Store::from_settings(&self.store)?;
        let records = store.candidates(&job.identity.owners())?;
        let candidates = records.iter().map(Candidate::from).collect();
        self.open = Some((store, records));
        Ok(candidates)
    }

    async fn reveal(&mut self, winners: &[Winner]) -> Result<Vec<Revealed>, BackendError> {
        // Taken, so that it is closed before the job starts: an open one is a lock.
        let (store, records) =
            self.open.take().ok_or_else(|| StoreError::Missing((&self.store.place).into()))?;
        if winners.is_empty() {
            return Ok(Vec::new());
        }
        let keys = Keyring::read(&self.store.key)?;
        let by_id: HashMap<_, _> = records.iter().map(|record| (&record.id, record)).collect();
        let winning = winners
            .iter()
            .map(|Winner { secret, .. }| {
                by_id.get(&secret.id).copied().ok_or_else(|| StoreError::Gone(secret.id.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let values = store.values(&winning, &keys)?;
        let reveal = |(winner, value): (&Winner, Value)| {
            let Candidate { name, sensitive, .. } = &winner.secret;
            Revealed { name: name.clone(), sensitive: *sensitive, value }
        };
        Ok(winners.iter().zip(values).map(reveal).collect())
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
