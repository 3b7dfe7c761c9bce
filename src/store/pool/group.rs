//! Many writes, one commit: SQLite has one writer, and what a write costs is waiting for the disk.
//!
//! Invariants: a write is answered after the commit that holds it; one that fails undoes its own
//! changes and nobody else's; if the commit fails, nobody is told that it succeeded.

use super::job::Job;
use crate::store::StoreError;
use crate::store::database::{Database, Mode, Place};

/// How a group of writes ended before each was answered.
type Ended = (Job, Result<(), StoreError>);

/// Does all of `jobs` in one transaction, and answers each.
pub(super) fn commit_together(database: &mut dyn Database, jobs: Vec<Job>) {
    let jobs: Vec<Job> = jobs.into_iter().filter(|job| !job.work.abandoned()).collect();
    if jobs.is_empty() {
        return;
    }
    if let Err(error) = database.begin(Mode::Write) {
        return refuse(database.place(), jobs, &error);
    }
    let mut ended: Vec<Ended> = Vec::with_capacity(jobs.len());
    let mut left = jobs.into_iter();
    while let Some(mut job) = left.next() {
        match alone(database, &mut job) {
            Ok(result) => ended.push((job, result)),
            // A full disk, for one, ends the whole transaction, so what the others wrote is gone.
            Err(error) => {
                database.rollback();
                job.work.answer(Err(error));
                let (done, failed): (Vec<_>, Vec<_>) =
                    ended.into_iter().partition(|(_, result)| result.is_ok());
                answer(failed);
                let again = done.into_iter().map(|(job, _)| job).chain(left);
                return again.for_each(|job| one_by_one(database, job));
            }
        }
    }
    match database.commit() {
        Ok(()) => answer(ended),
        Err(error) => {
            let place = database.place().clone();
            for (job, result) in ended {
                job.work.answer(result.and_then(|()| Err(again(&place, &error))));
            }
        }
    }
}

/// Does one write inside the open transaction: its own result, or the error that ended the
/// transaction.
fn alone(database: &mut dyn Database, job: &mut Job) -> Result<Result<(), StoreError>, StoreError> {
    database.execute("SAVEPOINT one", &[])?;
    match job.work.run(database) {
        Ok(()) => database.execute("RELEASE one", &[]).map(|_| Ok(())),
        Err(error) => match database.batch("ROLLBACK TO one; RELEASE one") {
            Ok(()) => Ok(Err(error)),
            Err(_) => Err(error),
        },
    }
}

/// A write in a transaction of its own.
fn one_by_one(database: &mut dyn Database, mut job: Job) {
    let result = database.begin(Mode::Write).and_then(|()| job.work.run(database));
    let result = match result {
        Ok(()) => database.commit(),
        Err(error) => {
            database.rollback();
            Err(error)
        }
    };
    job.work.answer(result);
}

fn answer(ended: Vec<Ended>) {
    ended.into_iter().for_each(|(job, result)| job.work.answer(result));
}

fn refuse(place: &Place, jobs: Vec<Job>, error: &StoreError) {
    jobs.into_iter().for_each(|job| job.work.answer(Err(again(place, error))));
}

/// The same error for another caller.
fn again(place: &Place, error: &StoreError) -> StoreError {
    let place = place.clone();
    match error {
        StoreError::Locked(_) => StoreError::Locked(place),
        StoreError::ReadOnly(_) => StoreError::ReadOnly(place),
        StoreError::Full(_) => StoreError::Full(place),
        StoreError::Replaced(_) => StoreError::Replaced(place),
        StoreError::Damaged(_) => StoreError::Damaged(place),
        StoreError::Contended(_) => StoreError::Contended(place),
        StoreError::Database(_, why) => StoreError::Database(place, why.to_string().into()),
        // A text of its own names the store already.
        other => StoreError::Database(place, other.to_string().into()),
    }
}
