//! The store for many callers at once: connections on threads of their own.
//!
//! Invariants: a caller is answered once what it changed is on the disk, and never waits in line
//! without bounds: beyond them [`StoreError::Busy`]; a caller that gives up, and work that panics,
//! disturb nobody else.
//!
//! SQLite lets one connection write: one thread has it, and commits all that wait together. Readers
//! have connections of their own, and a write-ahead log keeps them apart from the writer. PostgreSQL
//! lets all connections do both.

mod group;
mod job;
mod queue;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::signal::SigSet;
use tokio::sync::oneshot;

use super::database::{Database, Mode, Place, transaction};
use super::postgres::Postgres;
use super::retry;
use super::schema::StoreError;
use super::sqlite::Sqlite;
use crate::settings;
use job::Job;
use queue::{Queue, Rejected};

/// How many reads, and how many writes, may wait.
const WAITING: usize = 1024;

/// How many writes share one commit.
const TOGETHER: usize = 128;

/// Connections to one database. A clone is another handle on the same ones.
///
/// When the last handle is gone the connections are closed; [`Pool::close`] waits for it.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    reads: Arc<Queue<Job>>,
    writes: Arc<Queue<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// A pool on the store that the settings name; see [`Pool::sqlite`] and [`Pool::postgres`].
    pub fn open(place: &settings::Place, connections: usize) -> Result<Self, StoreError> {
        match place {
            settings::Place::File(path) => Self::sqlite(path, connections),
            settings::Place::Postgres(postgres) => Self::postgres(postgres, connections),
        }
    }

    /// A pool on a PostgreSQL database, with as many connections, each for reading and writing.
    ///
    /// Upgrades a store of an earlier version. The first connection is made now, the others when
    /// there is work for them. Servers that only read are passed over, whatever the settings say.
    pub fn postgres(settings: &settings::Postgres, connections: usize) -> Result<Self, StoreError> {
        let settings = &settings::Postgres { writable: true, ..settings.clone() };
        let mut first = Postgres::open(settings)?;
        first.upgrade()?;
        let place = first.place().clone();
        let jobs = Arc::new(Queue::new(2 * WAITING));
        let pool = Self::new(place, Arc::clone(&jobs), Arc::clone(&jobs));
        let others = (1..connections.max(1)).map(|_| Postgres::later(settings));
        for mut connection in std::iter::once(first).chain(others) {
            let jobs = Arc::clone(&jobs);
            let serve = move || while run_one(&mut connection, &jobs) {};
            pool.keep(pool.start("store", serve)?);
        }
        Ok(pool)
    }

    /// A pool on a SQLite file, with `readers` connections for reading and one for writing.
    ///
    /// Upgrades a store of an earlier version, and makes its journal a write-ahead log for as long
    /// as it is served.
    pub fn sqlite(path: &Path, readers: usize) -> Result<Self, StoreError> {
        let mut writer = Sqlite::open(path)?;
        writer.upgrade()?;
        writer.use_log()?;
        let reader = |_| {
            let mut reader = Sqlite::open(path)?;
            reader.only_read().map(|()| reader)
        };
        let readers = (0..readers.max(1)).map(reader).collect::<Result<Vec<_>, _>>()?;
        let queue = || Arc::new(Queue::new(WAITING));
        let pool = Self::new(writer.place().clone(), queue(), queue());
        let reads = &pool.shared.reads;
        let reading = readers
            .into_iter()
            .map(|mut reader| {
                let reads = Arc::clone(reads);
                pool.start("store-read", move || while run_one(&mut reader, &reads) {})
            })
            .collect::<Result<Vec<_>, _>>()?;
        let writes = Arc::clone(&pool.shared.writes);
        pool.start("store-write", move || {
            loop {
                let jobs = writes.take(TOGETHER);
                if jobs.is_empty() {
                    break;
                }
                group::commit_together(&mut writer, jobs);
            }
            // Only the last connection can do without the log.
            reading.into_iter().for_each(|thread| thread.join().unwrap_or_default());
            writer.leave_log();
        })
        .map(|thread| pool.keep(thread))?;
        Ok(pool)
    }

    fn new(place: Place, reads: Arc<Queue<Job>>, writes: Arc<Queue<Job>>) -> Self {
        Self { shared: Arc::new(Shared { place, reads, writes, threads: Mutex::default() }) }
    }

    /// Which database it is.
    pub fn place(&self) -> &Place {
        &self.shared.place
    }

    /// How many jobs wait for a connection.
    pub fn waiting(&self) -> usize {
        let Shared { reads, writes, .. } = &*self.shared;
        if Arc::ptr_eq(reads, writes) { reads.len() } else { reads.len() + writes.len() }
    }

    /// Reads, in one transaction: one state of the whole store.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = self.place().clone();
        let mut work = Some(work);
        // A read is done once: a connection that broke is noticed before, or is the answer.
        let once = move |database: &mut dyn Database| match work.take() {
            Some(work) => work(database),
            None => Err(StoreError::Fault(place.clone())),
        };
        let (job, answer) = job::job(Mode::Read, once);
        self.submit(&self.shared.reads, job, answer).await
    }

    /// Changes, in one transaction: all that `work` did, or nothing, as if nobody else changed
    /// anything meanwhile. It is answered when that is on the disk.
    ///
    /// `work` is called again if others were in its way: what it does besides must bear that. An
    /// error that it returns undoes what it changed; it cannot end the transaction itself.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = job::job(Mode::Write, work);
        self.submit(&self.shared.writes, job, answer).await
    }

    async fn submit<T>(
        &self,
        queue: &Queue<Job>,
        job: Job,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let place = || self.place().clone();
        queue.push(job).map_err(|why| match why {
            Rejected::Full => StoreError::Busy(place()),
            Rejected::Closed => StoreError::Closed(place()),
        })?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Fault(place())))
    }

    /// Takes nothing in any more, does what waits, and closes the connections.
    pub async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        shared.stop();
        let wait = move || {
            let threads = std::mem::take(&mut *shared.threads());
            threads.into_iter().for_each(|thread| thread.join().unwrap_or_default());
        };
        tokio::task::spawn_blocking(wait).await.unwrap_or_default();
    }

    fn start(
        &self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, StoreError> {
        let begin = move || {
            // Signals are for the thread that waits for them.
            SigSet::all().thread_block().unwrap_or_default();
            work();
        };
        thread::Builder::new()
            .name(name.into())
            .spawn(begin)
            .map_err(|error| StoreError::Database(self.place().clone(), error.into()))
    }

    fn keep(&self, thread: JoinHandle<()>) {
        self.shared.threads().push(thread);
    }
}

impl Shared {
    fn stop(&self) {
        self.reads.close();
        self.writes.close();
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.place())
    }
}

/// Does the next job in a transaction of its own; false if there won't be another.
fn run_one(database: &mut dyn Database, queue: &Queue<Job>) -> bool {
    let Some(Job { mode, mut work }) = queue.take(1).pop() else { return false };
    if work.abandoned() {
        return true;
    }
    let done = match mode {
        Mode::Read => transaction(database, mode, |database| work.run(database)),
        Mode::Write | Mode::Again => retry::write(database, |database| work.run(database)),
    };
    work.answer(done);
    true
}

#[cfg(test)]
mod tests;
