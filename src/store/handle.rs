//! A store that one thread uses: each method is one transaction.
//!
//! Invariant: a change is whole or absent, whenever the process dies.

use std::fmt;
use std::path::Path;

use super::changes;
use super::database::{Database, Mode, Place, transaction};
use super::keys::Keyring;
use super::ledger::{self, Entry};
#[cfg(feature = "service")]
use super::postgres::Postgres;
use super::retry;
use super::schema::{NewSecret, Record, StoreError};
use super::seal::{KeyId, PublicKey};
use super::secrets;
use super::selection::Selection;
use super::sqlite::Sqlite;
use crate::secret::{Owner, SecretId, Value};
use crate::settings;

/// An open store.
pub struct Store {
    database: Box<dyn Database>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.database.place())
    }
}

impl From<Box<dyn Database>> for Store {
    fn from(database: Box<dyn Database>) -> Self {
        Self { database }
    }
}

impl Store {
    /// Opens a store in a file; see [`Sqlite::open`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { database: Box::new(Sqlite::open(path)?) })
    }

    /// Makes a store in a file; see [`Sqlite::create`].
    pub fn create(path: &Path, key: &PublicKey) -> Result<Self, StoreError> {
        Ok(Self { database: Box::new(Sqlite::create(path, key.id())?) })
    }

    /// Opens the store that the settings name.
    pub fn from_settings(settings: &settings::Store) -> Result<Self, StoreError> {
        Ok(Self {
            database: match &settings.place {
                settings::Place::File(path) => Box::new(Sqlite::open(path)?),
                #[cfg(feature = "service")]
                settings::Place::Postgres(postgres) => Box::new(Postgres::open(postgres)?),
                #[cfg(not(feature = "service"))]
                place @ settings::Place::Postgres(_) => {
                    return Err(StoreError::Fault(place.into()));
                }
            },
        })
    }

    /// Makes the store that the settings name, sealed to `key`; one that is there already is opened.
    pub fn make_from_settings(
        settings: &settings::Store,
        key: &PublicKey,
    ) -> Result<Self, StoreError> {
        Self::make(&settings.place, key.id())
    }

    /// The same by its place, and by the id of the key alone.
    pub fn make(place: &settings::Place, key: &KeyId) -> Result<Self, StoreError> {
        Ok(Self {
            database: match place {
                settings::Place::File(path) => Box::new(Sqlite::create(path, key)?),
                #[cfg(feature = "service")]
                settings::Place::Postgres(postgres) => Box::new(Postgres::create(postgres, key)?),
                #[cfg(not(feature = "service"))]
                settings::Place::Postgres(_) => return Err(StoreError::Fault(place.into())),
            },
        })
    }

    /// The database itself.
    pub fn into_database(self) -> Box<dyn Database> {
        self.database
    }

    /// The version of its tables.
    pub fn version(&mut self) -> Result<i64, StoreError> {
        self.database.version()
    }

    /// Which database it is in.
    pub fn place(&self) -> &Place {
        self.database.place()
    }

    /// The key that the store is sealed to.
    pub fn recipient(&mut self) -> Result<KeyId, StoreError> {
        self.read(secrets::recipient)
    }

    /// Refuses a key ring that doesn't hold the store's key; returns that key's id.
    pub fn check_keys(&mut self, keys: &Keyring) -> Result<KeyId, StoreError> {
        self.read(|database| secrets::check_keys(database, keys))
    }

    /// The rows of `owners`; see [`secrets::candidates`].
    ///
    /// Leaves the transaction open, so that [`Store::values`] reads the same state.
    pub fn candidates(&mut self, owners: &[Owner]) -> Result<Vec<Record>, StoreError> {
        self.database.begin(Mode::Read)?;
        secrets::candidates(&mut *self.database, owners)
    }

    /// Opens the values of some of the rows that [`Store::candidates`] gave.
    pub fn values(mut self, records: &[&Record], keys: &Keyring) -> Result<Vec<Value>, StoreError> {
        secrets::check_keys(&mut *self.database, keys)?;
        records
            .iter()
            .map(|record| secrets::open_value(&mut *self.database, record, keys))
            .collect()
    }

    /// The rows of a selection, ordered by owner, kind and key.
    pub fn list(&mut self, selection: &Selection) -> Result<Vec<Record>, StoreError> {
        self.read(|database| secrets::list(database, selection))
    }

    /// One row by its id.
    pub fn find(&mut self, id: &SecretId) -> Result<Option<Record>, StoreError> {
        self.read(|database| secrets::find(database, id))
    }

    /// Adds secrets, all or none; see [`secrets::add`]. `subject` is who does it, for the audit.
    pub fn add(
        &mut self,
        subject: &str,
        new: &[NewSecret],
        key: &PublicKey,
        replace: bool,
    ) -> Result<Vec<Record>, StoreError> {
        let attempt = Entry::allowed(subject, "secret.add");
        self.change(|database| {
            let (added, entries) = changes::add(database, &attempt, new, key, replace)?;
            record(database, &entries)?;
            Ok(added)
        })
    }

    /// Removes one secret.
    pub fn remove(&mut self, subject: &str, gone: &Record) -> Result<(), StoreError> {
        let attempt = Entry::allowed(subject, "secret.remove");
        self.change(|database| {
            let entry = changes::remove(database, &attempt, gone)?;
            record(database, &[entry])
        })
    }

    /// Removes all of a selection; returns how many there were, see [`secrets::purge`].
    pub fn purge(&mut self, subject: &str, selection: &Selection) -> Result<u64, StoreError> {
        let attempt = Entry::allowed(subject, "secret.purge");
        self.change(|database| {
            let records = secrets::list(database, selection)?;
            let (removed, entries) = changes::purge(database, &attempt, selection, &records)?;
            record(database, &entries)?;
            Ok(removed)
        })
    }

    /// From now on values are sealed to `key`; those that are there stay until [`Store::reseal`].
    pub fn set_recipient(&mut self, key: &PublicKey) -> Result<(), StoreError> {
        self.write(|database| secrets::set_recipient(database, key))
    }

    /// How many values are sealed to another key than `key`.
    pub fn stale(&mut self, key: &KeyId) -> Result<u64, StoreError> {
        self.read(|database| secrets::stale(database, key))
    }

    /// Seals up to `batch` values anew, to the ring's current key, in one transaction; returns how
    /// many it did.
    pub fn reseal(&mut self, keys: &Keyring, batch: u32) -> Result<usize, StoreError> {
        self.write(|database| secrets::reseal(database, keys, batch))
    }

    fn read<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        transaction(&mut *self.database, Mode::Read, work)
    }

    /// A store of an earlier version gets the audit first.
    fn change<T>(
        &mut self,
        work: impl FnMut(&mut dyn Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.database.upgrade()?;
        self.write(work)
    }

    fn write<T>(
        &mut self,
        work: impl FnMut(&mut dyn Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        retry::write(&mut *self.database, work)
    }
}

fn record(database: &mut dyn Database, entries: &[Entry]) -> Result<(), StoreError> {
    entries.iter().try_for_each(|entry| ledger::record(database, entry).map(drop))
}
