//! How often: token buckets for any number of keys, in a fixed amount of memory.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate
//! algorithm, ITU-T I.371). Buckets are kept in a count-min sketch: each key has one cell in each
//! of four rows, and its bucket is the smallest of them.
//!
//! Invariants: a key never gets more than its rate, however many others there are, for a cell only
//! ever errs upwards; memory does not grow; which keys share cells can't be computed from outside.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const ROWS: usize = 4;

/// Cells of a row: 1 MiB in all. With 10,000 keys at work an innocent one shares all of its four
/// cells with one chance in 1,800.
const CELLS: usize = 32 * 1024;

/// A rate: so many at once, then one more after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once; at least 1.
    pub burst: u32,
    /// Until there is one more.
    pub every: Duration,
}

/// Buckets of one rate.
pub struct Buckets {
    rate: Rate,
    began: Instant,
    keys: RandomState,
    /// Nanoseconds after `began`, row by row.
    full_again: Mutex<Vec<u64>>,
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Buckets {
    /// Full buckets.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            began: Instant::now(),
            keys: RandomState::new(),
            full_again: Mutex::new(vec![0; ROWS * CELLS]),
        }
    }

    /// Takes one. An empty bucket says how long to wait until there is one.
    pub fn take(&self, key: &impl Hash, now: Instant) -> Result<(), Duration> {
        let now = self.nanoseconds(now);
        let cells = self.cells(key);
        let mut all = self.full_again.lock().unwrap_or_else(PoisonError::into_inner);
        let after = self.decide(lowest(&all, cells), now)?;
        for cell in cells {
            all[cell] = all[cell].max(after);
        }
        Ok(())
    }

    /// What [`Self::take`] would say, without taking.
    pub fn look(&self, key: &impl Hash, now: Instant) -> Result<(), Duration> {
        let all = self.full_again.lock().unwrap_or_else(PoisonError::into_inner);
        self.decide(lowest(&all, self.cells(key)), self.nanoseconds(now)).map(drop)
    }

    /// When a bucket that is full again at `full` would be so after one more was taken at `now`.
    fn decide(&self, full: u64, now: u64) -> Result<u64, Duration> {
        let every = nanoseconds(self.rate.every);
        let after = full.max(now).saturating_add(every);
        let holds = every.saturating_mul(u64::from(self.rate.burst.max(1)));
        match after.saturating_sub(now).checked_sub(holds) {
            None | Some(0) => Ok(after),
            Some(wait) => Err(Duration::from_nanos(wait)),
        }
    }

    fn cells(&self, key: &impl Hash) -> [usize; ROWS] {
        std::array::from_fn(|row| {
            let hash = self.keys.hash_one((row, key));
            // The remainder is below CELLS, which fits.
            row * CELLS + (hash % CELLS as u64) as usize
        })
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.began))
    }
}

fn lowest(all: &[u64], cells: [usize; ROWS]) -> u64 {
    cells.into_iter().map(|cell| all[cell]).min().unwrap_or(0)
}

/// Enough for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_then_one_by_one() {
        let buckets = Buckets::new(Rate { burst: 3, every: SECOND });
        let begin = Instant::now();
        for _ in 0..3 {
            assert_eq!(buckets.take(&"ada", begin), Ok(()));
        }
        assert_eq!(buckets.look(&"ada", begin), Err(SECOND));
        assert_eq!(buckets.take(&"ada", begin + SECOND / 4), Err(SECOND * 3 / 4));
        assert_eq!(buckets.take(&"ada", begin + SECOND), Ok(()));
        assert_eq!(buckets.take(&"ada", begin + SECOND), Err(SECOND));
        assert_eq!(buckets.take(&"grace", begin), Ok(()));
        // However long it rests, it holds no more than a burst.
        let later = begin + SECOND * 100;
        assert_eq!((0..5).filter(|_| buckets.take(&"ada", later).is_ok()).count(), 3);
    }

    #[test]
    fn a_crowd_neither_frees_a_key_nor_takes_memory_nor_stops_others() {
        let buckets = Buckets::new(Rate { burst: 1, every: SECOND });
        let now = Instant::now();
        assert_eq!(buckets.take(&"spent", now), Ok(()));
        let passed = (0..10_000_u64).filter(|crowd| buckets.take(crowd, now).is_ok()).count();
        assert!(passed > 9_900, "{passed} of 10,000 passed");
        assert!(buckets.take(&"spent", now).is_err());
        let all = buckets.full_again.lock().unwrap().capacity();
        assert_eq!(all, ROWS * CELLS);
        let stopped =
            (0..1_000).filter(|key| buckets.take(&format!("new {key}"), now).is_err()).count();
        assert!(stopped < 20, "{stopped} of 1000 are stopped by others");
    }

    proptest! {
        /// Over any stretch of time a key gets at most a burst and what came in meanwhile.
        #[test]
        fn no_key_gets_more_than_its_rate(
            burst in 1_u32..5,
            steps in prop::collection::vec((0_u8..3, 0_u64..3_000), 1..200),
        ) {
            let buckets = Buckets::new(Rate { burst, every: SECOND });
            let begin = Instant::now();
            let mut now = begin;
            let mut passed: Vec<Vec<Instant>> = vec![Vec::new(); 3];
            for (key, after) in steps {
                now += Duration::from_millis(after);
                if buckets.take(&key, now).is_ok() {
                    passed[usize::from(key)].push(now);
                }
            }
            for times in passed {
                for (i, from) in times.iter().enumerate() {
                    for (j, to) in times.iter().enumerate().skip(i) {
                        let most = u64::from(burst) + (*to - *from).as_secs();
                        prop_assert!((j - i + 1) as u64 <= most);
                    }
                }
            }
        }
    }
}
