//! Work for a connection, and its answer.
//!
//! Invariants: every job is answered once, or its caller has gone; a panic in the work is the
//! answer of that job alone; the work can't end the transaction that it runs in, nor go on after a
//! statement failed as if it hadn't.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::store::StoreError;
use crate::store::database::{Database, Mode, Parameter, Place, Row};

/// Work of any result.
pub(super) trait Work: Send {
    /// Does it; what it gives is kept for [`Work::answer`].
    fn run(&mut self, database: &mut dyn Database) -> Result<(), StoreError>;

    /// Tells the caller: what was kept, or the error.
    fn answer(self: Box<Self>, done: Result<(), StoreError>);

    /// Whether nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
}

/// Work, and what it is for.
pub(super) struct Job {
    /// What its transaction is for.
    pub(super) mode: Mode,
    /// The work.
    pub(super) work: Box<dyn Work>,
}

/// Work with its result.
struct Task<T, F> {
    work: F,
    result: Option<T>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

/// A job, and where its answer arrives.
pub(super) fn job<T: Send + 'static>(
    mode: Mode,
    work: impl FnMut(&mut dyn Database) -> Result<T, StoreError> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, StoreError>>) {
    let (caller, answer) = oneshot::channel();
    (Job { mode, work: Box::new(Task { work, result: None, caller }) }, answer)
}

impl<T, F> Work for Task<T, F>
where
    T: Send,
    F: FnMut(&mut dyn Database) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, database: &mut dyn Database) -> Result<(), StoreError> {
        self.result = None;
        let place = database.place().clone();
        let mut inside = Inside { database, failed: false };
        // What a panic leaves half done is rolled back with its transaction.
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(&mut inside)));
        match result {
            // PostgreSQL would have undone it, and SQLite would keep what the others did.
            Ok(Ok(_)) if inside.failed => Err(StoreError::Fault(place)),
            result => {
                self.result = Some(result.unwrap_or(Err(StoreError::Fault(place)))?);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, done: Result<(), StoreError>) {
        let answer = match (done, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Err(error), _) => Err(error),
            // It was never run: its caller hears that the answer was dropped.
            (Ok(()), None) => return,
        };
        // Who has gone misses nothing.
        drop(self.caller.send(answer));
    }

    fn abandoned(&self) -> bool {
        self.caller.is_closed()
    }
}

/// A database inside a transaction that belongs to somebody else.
struct Inside<'a> {
    database: &'a mut dyn Database,
    /// Whether a statement failed: then nothing of the transaction counts.
    failed: bool,
}

impl Inside<'_> {
    fn note<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        self.failed |= done.is_err();
        done
    }
}

impl Database for Inside<'_> {
    fn place(&self) -> &Place {
        self.database.place()
    }

    fn begin(&mut self, _: Mode) -> Result<(), StoreError> {
        Err(StoreError::Fault(self.place().clone()))
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        Err(StoreError::Fault(self.place().clone()))
    }

    fn rollback(&mut self) {}

    fn query(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let rows = self.database.query(sql, parameters);
        self.note(rows)
    }

    fn execute(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, StoreError> {
        let changed = self.database.execute(sql, parameters);
        self.note(changed)
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        let done = self.database.batch(sql);
        self.note(done)
    }

    fn version(&mut self) -> Result<i64, StoreError> {
        self.database.version()
    }

    fn upgrade(&mut self) -> Result<bool, StoreError> {
        Err(StoreError::Fault(self.place().clone()))
    }
}
