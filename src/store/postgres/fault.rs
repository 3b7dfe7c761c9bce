//! What went wrong, in words for people; never a value or a password.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::tls;
use crate::store::StoreError;
use crate::store::database::Place;

/// What went wrong with a connection.
#[derive(Debug)]
pub(super) enum Fault {
    /// An error of the server's or of the connection's.
    Answer(Error),
    /// No answer in time.
    Silent,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Connecting,
    Working,
    Committing,
}

impl Fault {
    /// The store's error.
    pub(super) fn translate(self, place: &Place, when: When) -> StoreError {
        let place = place.clone();
        let error = match self {
            Self::Silent => return broken(place, when, "the server did not answer in time".into()),
            Self::Answer(error) => error,
        };
        let Some(answer) = error.as_db_error() else {
            return match error.to_string().as_str() {
                // Of a statement and its parameters: a fault of this program's.
                text if text.contains("serializing") || text.contains("parameters") => {
                    StoreError::Database(place, error.into())
                }
                _ => broken(place, when, causes(&error)),
            };
        };
        // The connection is over: whether that was before or after the commit is not known.
        let over = !matches!(answer.parsed_severity(), Some(Severity::Error) | None);
        if over && when == When::Committing {
            return StoreError::CommitUnknown(place, said(answer));
        }
        judge(place, answer, over)
    }
}

fn broken(place: Place, when: When, why: String) -> StoreError {
    match when {
        When::Committing => StoreError::CommitUnknown(place, why),
        When::Connecting | When::Working => StoreError::Unreachable(place, why),
    }
}

/// By the code: PostgreSQL manual, appendix A.
fn judge(place: Place, answer: &DbError, over: bool) -> StoreError {
    let code = answer.code();
    let said = said(answer);
    match code.code().get(..2) {
        _ if [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED]
            .contains(&code) =>
        {
            StoreError::Contended(place)
        }
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            // Of a database too, when connecting.
            StoreError::Forbidden(place, said)
        }
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::ReadOnly(place),
        _ if *code == SqlState::DISK_FULL => StoreError::Full(place),
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => StoreError::Locked(place),
        // It took too long, mostly to wait for others.
        _ if *code == SqlState::QUERY_CANCELED => StoreError::Busy(place),
        // What we made is not there, or not as we made it.
        _ if [
            &SqlState::UNDEFINED_TABLE,
            &SqlState::UNDEFINED_COLUMN,
            &SqlState::DATATYPE_MISMATCH,
        ]
        .contains(&code) =>
        {
            StoreError::Damaged(place)
        }
        // Role and password; database.
        Some("28" | "3D") => StoreError::Login(place, said),
        // Damage.
        Some("XX") if *code != SqlState::INTERNAL_ERROR => StoreError::Damaged(place),
        // Connection; too many of them; the server's end and beginning.
        Some("08" | "53" | "57") if over => StoreError::Unreachable(place, said),
        _ if over => StoreError::Unreachable(place, said),
        _ => StoreError::Database(place, said.into()),
    }
}

/// The message alone: details name the values of a row.
fn said(answer: &DbError) -> String {
    format!("{} ({})", answer.message(), answer.code().code())
}

/// An error with what is behind it.
fn causes(error: &Error) -> String {
    if let Some(fault) = tls::fault(error) {
        return fault;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
