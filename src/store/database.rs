//! What a store needs of a database: parameterised SQL in transactions.
//!
//! Invariants: the SQL of the store is one text for every database, with parameters `$1`, `$2`, …
//! and no value written into it; a transaction that isn't committed leaves nothing behind; a column
//! of another type than the store put there is damage, not a row to skip.

use std::fmt;
use std::path::PathBuf;

use super::schema::StoreError;
use crate::settings;

/// Which database: for people who read an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database: host, port and name, never a password.
    Server(String),
}

impl From<&settings::Place> for Place {
    fn from(place: &settings::Place) -> Self {
        match place {
            settings::Place::File(path) => Self::File(path.clone()),
            settings::Place::Postgres(postgres) => Self::Server(postgres.to_string()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(name) => f.write_str(name),
        }
    }
}

/// A value for a parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Parameter<'a> {
    /// TEXT.
    Text(&'a str),
    /// TEXT, or NULL.
    Optional(Option<&'a str>),
    /// A 64-bit integer. Truth is 0 or 1.
    Integer(i64),
    /// A 64-bit integer, or NULL.
    OptionalInteger(Option<i64>),
    /// Bytes that show nothing: sealed values and digests.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Parameter<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Parameter<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<Option<&'a str>> for Parameter<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Optional(text)
    }
}

impl From<i64> for Parameter<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Option<i64>> for Parameter<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::OptionalInteger(number)
    }
}

impl From<bool> for Parameter<'_> {
    fn from(truth: bool) -> Self {
        Self::Integer(truth.into())
    }
}

impl<'a> From<&'a [u8]> for Parameter<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

/// Parameters of a statement, each made from what stands there.
macro_rules! parameters {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::database::Parameter::from($value)),*]
    };
}
pub(crate) use parameters;

/// What a column holds.
#[derive(Debug)]
pub enum Column {
    /// NULL.
    Null,
    /// Any integer.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A row that a query gave, read by position.
#[derive(Debug)]
pub struct Row {
    columns: Vec<Column>,
    place: Place,
}

impl Row {
    /// A row with these columns.
    pub fn new(columns: Vec<Column>, place: Place) -> Self {
        Self { columns, place }
    }

    /// What is there cannot have been written by this program.
    pub fn damaged(&self) -> StoreError {
        StoreError::Damaged(self.place.clone())
    }

    /// The database that it is from.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What a column holds.
    pub fn column(&self, index: usize) -> Option<&Column> {
        self.columns.get(index)
    }

    /// The text in a column.
    pub fn text(&self, index: usize) -> Result<&str, StoreError> {
        match self.columns.get(index) {
            Some(Column::Text(text)) => Ok(text),
            _ => Err(self.damaged()),
        }
    }

    /// The text in a column that may be NULL.
    pub fn optional_text(&self, index: usize) -> Result<Option<&str>, StoreError> {
        match self.columns.get(index) {
            Some(Column::Null) => Ok(None),
            _ => self.text(index).map(Some),
        }
    }

    /// The integer in a column.
    pub fn integer(&self, index: usize) -> Result<i64, StoreError> {
        match self.columns.get(index) {
            Some(Column::Integer(number)) => Ok(*number),
            _ => Err(self.damaged()),
        }
    }

    /// The integer in a column that may be NULL.
    pub fn optional_integer(&self, index: usize) -> Result<Option<i64>, StoreError> {
        match self.columns.get(index) {
            Some(Column::Null) => Ok(None),
            _ => self.integer(index).map(Some),
        }
    }

    /// 0 or 1.
    pub fn truth(&self, index: usize) -> Result<bool, StoreError> {
        match self.integer(index)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged()),
        }
    }

    /// The bytes in a column.
    pub fn bytes(&self, index: usize) -> Result<&[u8], StoreError> {
        match self.columns.get(index) {
            Some(Column::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.damaged()),
        }
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reading: one state of the whole database, whatever others write meanwhile.
    Read,
    /// Changing: as if nobody else changed anything meanwhile. Where that can't be kept,
    /// [`StoreError::Contended`], and the whole transaction can be tried again.
    Write,
    /// The same, tried again: while nobody else writes, for whoever is quicker would be in its way
    /// again.
    Again,
}

/// One connection. Every statement runs between [`Database::begin`] and [`Database::commit`]. After
/// one that failed, the transaction can only be rolled back.
pub trait Database: Send {
    /// Which database this is.
    fn place(&self) -> &Place;

    /// Begins a transaction; one that is still open is rolled back first.
    fn begin(&mut self, mode: Mode) -> Result<(), StoreError>;

    /// Ends it; what it changed is on the disk then.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Ends it; what it changed is undone.
    fn rollback(&mut self);

    /// The rows of a query.
    fn query(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError>;

    /// Changes rows; returns how many.
    fn execute(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, StoreError>;

    /// Runs statements without parameters.
    fn batch(&mut self, sql: &str) -> Result<(), StoreError>;

    /// The version of the tables. Outside a transaction.
    fn version(&mut self) -> Result<i64, StoreError>;

    /// Brings a store of an earlier version to this program's, in one transaction of its own; true
    /// if it did.
    fn upgrade(&mut self) -> Result<bool, StoreError>;
}

/// Does `work` in a transaction: all of it, or nothing.
pub fn transaction<T>(
    database: &mut dyn Database,
    mode: Mode,
    work: impl FnOnce(&mut dyn Database) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    database.begin(mode)?;
    match work(database) {
        Ok(result) => database.commit().map(|()| result),
        Err(error) => {
            database.rollback();
            Err(error)
        }
    }
}

/// The first of the rows, where at most one can be.
pub fn one(rows: Vec<Row>) -> Option<Row> {
    rows.into_iter().next()
}
