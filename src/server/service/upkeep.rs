//! What a service does without being asked: it removes rows of the audit that are older than they
//! are to be kept.
//!
//! Invariant: a few rows at a time, so that nobody who writes waits long; what fails is tried again
//! an hour later, and is said.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::StoreError;
use crate::store::ledger;
use crate::store::pool::Pool;

/// Between two rounds.
const HOUR: Duration = Duration::from_hours(1);

/// How many rows go in one transaction.
const BATCH: u32 = 500;

/// Removes old rows now, then every hour, until it is dropped.
pub(super) async fn forget(pool: Pool, keep: Duration) {
    loop {
        match forget_once(&pool, keep).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old rows of the audit were removed"),
            Err(error) => tracing::warn!(%error, "old rows of the audit could not be removed"),
        }
        tokio::time::sleep(HOUR).await;
    }
}

async fn forget_once(pool: &Pool, keep: Duration) -> Result<u64, StoreError> {
    // A time before the beginning of time: nothing is as old as that.
    let Ok(before) = Timestamp::now().checked_sub(keep) else { return Ok(0) };
    let mut all = 0;
    loop {
        let rows = pool.write(move |database| ledger::forget(database, before, BATCH)).await?;
        all += rows;
        if rows < u64::from(BATCH) {
            return Ok(all);
        }
    }
}
