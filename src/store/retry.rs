//! Writing where others write the same.
//!
//! Invariant: only what surely changed nothing is tried again, and not for ever; who tries again is
//! alone meanwhile, so that nobody slow always loses against others that are quick.

use std::thread;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::StoreError;
use super::database::{Database, Mode};

/// How often a transaction is tried again.
const TIMES: usize = 20;

/// Does `work` in a transaction that writes: all of it, or nothing. Where others were in its way, or
/// the connection broke before the end, again.
#[expect(clippy::disallowed_methods, reason = "nothing tells when the others are done")]
pub(super) fn write<T>(
    database: &mut dyn Database,
    mut work: impl FnMut(&mut dyn Database) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Two that wait for the same time would meet again.
    let mut delays = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(2))
        .with_max_delay(Duration::from_millis(250))
        .with_max_times(TIMES)
        .with_jitter()
        .build();
    let mut mode = Mode::Write;
    loop {
        // That no connection is to be had, this has tried itself.
        database.begin(mode)?;
        mode = Mode::Again;
        let result = match work(database) {
            Ok(result) => database.commit().map(|()| result),
            Err(error) => {
                database.rollback();
                Err(error)
            }
        };
        match result {
            Err(StoreError::Contended(_) | StoreError::Unreachable(..)) => match delays.next() {
                Some(delay) => thread::sleep(delay),
                None => return result,
            },
            result => return result,
        }
    }
}
