//! What was typed or sent, as checked additions: pure.
//!
//! Invariant: an error or a warning says where and why, and never holds a value.

#![expect(unused_variables, clippy::needless_pass_by_value, reason = "the bodies follow")]

use crate::secret::{Owner, Value};
use crate::server::administration::Addition;

/// What came out of a submission.
#[derive(Debug)]
pub struct Accepted {
    /// What to add.
    pub additions: Vec<Addition>,
    /// What deserves a second look, for people.
    pub warnings: Vec<String>,
}

/// Where in a submission something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The whole.
    Whole,
    /// A field: `name`, `value`, `service`, or a keyword of libpq's (`host`, `password`, …).
    Field(&'static str),
    /// One of the extra settings, counted from 0.
    Extra(usize),
    /// A line of the pasted text, counted from 1.
    Line(usize),
}

/// What is wrong with a submission: where, and a sentence with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// What is wrong, and what to do; never a value.
    pub text: String,
}

/// The fields of the simple editor. What is empty is not given.
///
/// No `Clone`, `Display` or `Serialize`, for it holds values.
#[derive(Debug, Default)]
pub struct ServiceFields {
    /// The section's name.
    pub service: String,
    /// `dbname`.
    pub dbname: String,
    /// `user`.
    pub user: String,
    /// `password`.
    pub password: Option<Value>,
    /// `host`.
    pub host: String,
    /// `port`.
    pub port: String,
    /// `sslmode`.
    pub sslmode: String,
    /// Other settings, in their order. An empty key with an empty value is skipped.
    pub extra: Vec<(String, Value)>,
}

/// An environment variable.
pub fn variable(
    owner: &Owner,
    name: &str,
    value: Value,
    sensitive: bool,
) -> Result<Accepted, Vec<Fault>> {
    Err(vec![])
}

/// A service from fields.
pub fn service(
    owner: &Owner,
    fields: ServiceFields,
    oldest_libpq: u16,
) -> Result<Accepted, Vec<Fault>> {
    Err(vec![])
}

/// One or several services from pasted text.
pub fn services(owner: &Owner, text: &Value, oldest_libpq: u16) -> Result<Accepted, Vec<Fault>> {
    Err(vec![])
}

/// Environment variables from the text of a `.env` file.
pub fn variables(owner: &Owner, text: &Value) -> Result<Accepted, Vec<Fault>> {
    Err(vec![])
}

/// The fields of pasted text, for the simple editor; `None` where it isn't exactly one service, so
/// that the text has to be kept as it is.
pub fn fields_of(text: &Value) -> Option<ServiceFields> {
    None
}

/// The text of fields, for the advanced editor, whether they are right or not.
pub fn text_of(fields: &ServiceFields) -> Value {
    Value::from("")
}
