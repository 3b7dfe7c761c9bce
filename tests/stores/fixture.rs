//! A store of a test's own, on either database.

use std::path::PathBuf;

use qgis_secrets::secret::{Id, Kind, Name, Owner, Value};
use qgis_secrets::settings;
use qgis_secrets::store::database::{Database as Connected, Mode, transaction};
use qgis_secrets::store::{Keyring, NewSecret, PublicKey, Record, Store, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

use super::cluster::Database;

pub(crate) struct Fixture {
    pub(crate) settings: settings::Store,
    pub(crate) keys: Keyring,
    pub(crate) database: Option<Database>,
    files: TempDir,
}

impl Fixture {
    pub(crate) fn sqlite() -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("store/store.db");
        Self::new(files, settings::Place::File(path), None)
    }

    pub(crate) fn postgres() -> Self {
        Self::on(Database::new())
    }

    pub(crate) fn on(database: Database) -> Self {
        let place = settings::Place::Postgres(Box::new(database.settings()));
        Self::new(tempfile::tempdir().unwrap(), place, Some(database))
    }

    fn new(files: TempDir, place: settings::Place, database: Option<Database>) -> Self {
        let keys = Keyring::generate();
        let key = files.path().join("key/store.key");
        keys.create(&key).unwrap();
        let settings = settings::Store { place, key, public_key: None };
        drop(Store::make_from_settings(&settings, keys.current().public()).unwrap());
        Self { settings, keys, database, files }
    }

    pub(crate) fn open(&self) -> Store {
        Store::from_settings(&self.settings).unwrap()
    }

    /// A connection to the database itself.
    pub(crate) fn connect(&self) -> Box<dyn Connected> {
        self.open().into_database()
    }

    pub(crate) fn key(&self) -> &PublicKey {
        self.keys.current().public()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Does to the database what this program never would.
    pub(crate) fn tamper(&self, sql: &str) {
        match (&self.settings.place, &self.database) {
            (settings::Place::File(path), _) => {
                Connection::open(path).unwrap().execute_batch(sql).unwrap();
            }
            (_, Some(database)) => drop(database.sql(sql)),
            _ => unreachable!(),
        }
    }

    /// Adds variables with their name as value.
    pub(crate) fn add(&self, owner: &Owner, names: &[&str]) -> Result<Vec<Record>, StoreError> {
        let new: Vec<_> = names.iter().map(|name| variable(owner, name, name)).collect();
        self.open().add("local:t", &new, self.key(), false)
    }

    /// What a job of these owners gets: `NAME=value`, in the order of the store.
    pub(crate) fn values(&self, owners: &[Owner]) -> Result<Vec<String>, StoreError> {
        let mut store = self.open();
        let records = store.candidates(owners)?;
        let values = store.values(&records.iter().collect::<Vec<_>>(), &self.keys)?;
        let pairs = records.iter().zip(values);
        Ok(pairs
            .map(|(record, value)| {
                format!("{}={}", record.name.key, String::from_utf8_lossy(value.expose()))
            })
            .collect())
    }
}

/// Does something that waits, on this thread.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Does `work` in a transaction.
pub(crate) fn write<T>(
    database: &mut dyn Connected,
    work: impl FnOnce(&mut dyn Connected) -> Result<T, StoreError>,
) -> T {
    transaction(database, Mode::Write, work).unwrap()
}

pub(crate) fn id(text: &str) -> Id {
    text.parse().unwrap()
}

pub(crate) fn project(project: &str, user: Option<&str>) -> Owner {
    Owner::Project { project: id(project), user: user.map(id) }
}

pub(crate) fn organization(organization: &str, user: Option<&str>) -> Owner {
    Owner::Organization { organization: id(organization), user: user.map(id) }
}

pub(crate) fn variable(owner: &Owner, name: &str, value: &str) -> NewSecret {
    NewSecret {
        name: Name { kind: Kind::Envvar, key: name.into() },
        owner: owner.clone(),
        sensitive: true,
        created_by: "ada".into(),
        value: Value::from(value),
    }
}

/// The keys of records, in their order.
pub(crate) fn keys(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.name.key.as_str()).collect()
}
