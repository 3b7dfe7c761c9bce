//! The store in a PostgreSQL database, for a service of several replicas.
//!
//! Invariants: a write is serializable, and one that can't be is [`StoreError::Contended`]; a commit
//! is acknowledged when it is on the server's disk; a broken connection is made anew before the next
//! transaction, never inside one; a commit whose outcome is not known says so.

mod connection;
mod fault;
mod tables;
mod tls;
mod value;

use std::collections::HashMap;

use tokio_postgres::Statement;

use super::database::{Database, Mode, Parameter, Place, Row};
use super::schema::{APPLICATION_ID, StoreError, VERSION};
use super::seal::KeyId;
use crate::settings;
use connection::Connection;
use fault::{Fault, When};

/// Begins a transaction that writes.
const WRITE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE";

/// Prepared statements that a connection keeps. The store has fewer.
const PREPARED: usize = 200;

/// A connection to a PostgreSQL database.
pub struct Postgres {
    place: Place,
    settings: settings::Postgres,
    connection: Option<Connection>,
    prepared: HashMap<String, Statement>,
    state: State,
    /// Whether it keeps all other writers away, for it tries again.
    alone: bool,
}

/// Of the transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    Open,
    /// A statement failed: what would be committed is nothing.
    Failed,
    /// The same, because others were in its way.
    Contended,
}

impl Postgres {
    /// Opens a store. Refuses a newer version and a schema that is none of ours.
    pub fn open(settings: &settings::Postgres) -> Result<Self, StoreError> {
        let mut store = Self::connect(settings)?;
        match tables::version(&mut store)? {
            Some(1..=VERSION) => Ok(store),
            Some(newer) if newer > VERSION => Err(StoreError::Newer(store.place, newer)),
            Some(_) => Err(StoreError::NotAStore(store.place)),
            None => Err(StoreError::Missing(store.place)),
        }
    }

    /// Makes an empty store that is sealed to the key of this id, in a schema that is made if it isn't there. Of
    /// several that make it at once, one does; all open it.
    pub fn create(settings: &settings::Postgres, key: &KeyId) -> Result<Self, StoreError> {
        tables::create(&mut Self::connect(settings)?, &settings.schema, key)?;
        Self::open(settings)
    }

    /// A connection that is made when it is needed, to a store that was opened before.
    pub fn later(settings: &settings::Postgres) -> Self {
        Self {
            place: Place::Server(settings.to_string()),
            settings: settings.clone(),
            connection: None,
            prepared: HashMap::new(),
            state: State::None,
            alone: false,
        }
    }

    fn connect(settings: &settings::Postgres) -> Result<Self, StoreError> {
        let mut store = Self::later(settings);
        store.connected()?;
        Ok(store)
    }

    /// The connection, made anew if it broke.
    fn connected(&mut self) -> Result<&mut Connection, StoreError> {
        if self.connection.as_ref().is_none_or(Connection::is_broken) {
            self.prepared.clear();
            self.state = State::None;
            self.alone = false;
            // The old one first: the server may count them.
            self.connection = None;
            self.connection = Some(Connection::open(&self.place, &self.settings)?);
        }
        match &mut self.connection {
            Some(connection) => Ok(connection),
            None => Err(StoreError::Fault(self.place.clone())),
        }
    }

    /// Waits until nobody else writes, and lets nobody begin to. Before the transaction, and not in it:
    /// the state that that sees would be of before the others were done.
    fn wait_alone(&mut self) -> Result<(), StoreError> {
        let sql = self.writers("pg_advisory_lock");
        let waited = self.connected()?.run(async |client| client.batch_execute(&sql).await);
        waited.map_err(|fault| fault.translate(&self.place, When::Working))?;
        self.alone = true;
        Ok(())
    }

    /// Lets others write again.
    fn let_others(&mut self) {
        if !std::mem::take(&mut self.alone) {
            return;
        }
        let sql = self.writers("pg_advisory_unlock");
        if let Some(connection) = &mut self.connection
            && connection.run(async |client| client.batch_execute(&sql).await).is_err()
        {
            // The server does it with the connection.
            self.connection = None;
        }
    }

    /// On the lock that who writes shares, and who tries again has alone: one for each schema. No
    /// other lock of ours has two numbers.
    fn writers(&self, function: &str) -> String {
        // The schema's name has no character that would need quotes.
        let schema = &self.settings.schema;
        format!("SELECT pg_catalog.{function}({APPLICATION_ID}, pg_catalog.hashtext('{schema}'))")
    }

    /// The connection of the open transaction.
    fn inside(&mut self) -> Result<&mut Connection, StoreError> {
        match (&mut self.connection, self.state) {
            (Some(connection), State::Open) => Ok(connection),
            (_, State::Contended) => Err(StoreError::Contended(self.place.clone())),
            _ => Err(StoreError::Fault(self.place.clone())),
        }
    }

    /// What a fault of a statement means, and what it does to the transaction.
    fn failed(&mut self, fault: Fault) -> StoreError {
        let error = fault.translate(&self.place, When::Working);
        self.state = match error {
            StoreError::Contended(_) => State::Contended,
            _ => State::Failed,
        };
        error
    }

    /// Prepared once a connection.
    fn statement(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        match self.inside()?.run(async |client| client.prepare(sql).await) {
            Ok(statement) => {
                if self.prepared.len() >= PREPARED {
                    self.prepared.clear();
                }
                self.prepared.insert(sql.to_owned(), statement.clone());
                Ok(statement)
            }
            Err(fault) => Err(self.failed(fault)),
        }
    }
}

impl Database for Postgres {
    fn place(&self) -> &Place {
        &self.place
    }

    fn begin(&mut self, mode: Mode) -> Result<(), StoreError> {
        self.rollback();
        let sql = match mode {
            Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
            // Who had to wait here sees a state of before, and most probably tries again.
            Mode::Write => format!("{WRITE}; {}", self.writers("pg_advisory_xact_lock_shared")),
            Mode::Again => {
                self.wait_alone()?;
                WRITE.to_owned()
            }
        };
        // One that was closed while nobody used it shows only now.
        let idle = self.connection.is_some();
        let mut begun = self.connected()?.run(async |client| client.batch_execute(&sql).await);
        if begun.is_err() && idle && self.connection.as_ref().is_none_or(Connection::is_broken) {
            begun = self.connected()?.run(async |client| client.batch_execute(&sql).await);
        }
        if let Err(fault) = begun {
            // The transaction may have begun, and only what stands behind that failed.
            self.state = State::Failed;
            self.rollback();
            return Err(fault.translate(&self.place, When::Working));
        }
        self.state = State::Open;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let committed = match self.inside() {
            Ok(connection) => connection.run(async |client| client.batch_execute("COMMIT").await),
            // COMMIT would succeed, and undo everything.
            Err(error) => {
                self.rollback();
                return Err(error);
            }
        };
        self.state = State::None;
        self.let_others();
        committed.map_err(|fault| fault.translate(&self.place, When::Committing))
    }

    fn rollback(&mut self) {
        if self.state != State::None
            && let Some(connection) = &mut self.connection
            && connection.run(async |client| client.batch_execute("ROLLBACK").await).is_err()
        {
            // The server undoes it with the connection.
            self.connection = None;
        }
        self.state = State::None;
        self.let_others();
    }

    fn query(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let statement = self.statement(sql)?;
        let parameters = value::references(parameters);
        let rows = self.inside()?.run(async |client| client.query(&statement, &parameters).await);
        match rows {
            Ok(rows) => rows.iter().map(|row| value::row(row, &self.place)).collect(),
            Err(fault) => Err(self.failed(fault)),
        }
    }

    fn execute(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, StoreError> {
        let statement = self.statement(sql)?;
        let parameters = value::references(parameters);
        let changed =
            self.inside()?.run(async |client| client.execute(&statement, &parameters).await);
        changed.map_err(|fault| self.failed(fault))
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        let done = self.inside()?.run(async |client| client.batch_execute(sql).await);
        done.map_err(|fault| self.failed(fault))
    }

    fn version(&mut self) -> Result<i64, StoreError> {
        tables::version(self)?.ok_or_else(|| StoreError::Missing(self.place.clone()))
    }

    fn upgrade(&mut self) -> Result<bool, StoreError> {
        tables::upgrade(self)
    }
}
