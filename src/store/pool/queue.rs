//! A bounded queue between callers that must not wait and threads that do.
//!
//! Invariants: what was taken in is given out, in its order, also after the queue is closed; a full
//! or closed queue gives back what it doesn't take.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Why something was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// As many wait as may.
    Full,
    /// Nothing is taken in any more.
    Closed,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<J> {
    waiting: VecDeque<J>,
    closed: bool,
}

impl<J> Queue<J> {
    /// An empty one, in which `capacity` may wait.
    pub(super) fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    /// Takes one in, or says why not. Never waits.
    pub(super) fn push(&self, job: J) -> Result<(), Rejected> {
        let mut state = self.lock();
        if state.closed {
            return Err(Rejected::Closed);
        }
        if state.waiting.len() >= self.capacity {
            return Err(Rejected::Full);
        }
        state.waiting.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the first, and gives out up to `most` that wait by then. None are given out once
    /// the queue is closed and empty.
    pub(super) fn take(&self, most: usize) -> Vec<J> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = most.min(state.waiting.len());
        state.waiting.drain(..count).collect()
    }

    /// From now on nothing is taken in.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// No code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_in_comes_out_in_its_order_even_when_closed() {
        let queue = Queue::new(3);
        for job in 1..=3 {
            queue.push(job).unwrap();
        }
        assert_eq!(queue.push(4), Err(Rejected::Full));
        assert_eq!((queue.len(), queue.take(2)), (3, vec![1, 2]));
        queue.push(5).unwrap();
        queue.close();
        assert_eq!(queue.push(6), Err(Rejected::Closed));
        assert_eq!(queue.take(9), [3, 5]);
        assert!(queue.take(9).is_empty());
    }

    #[test]
    fn who_waits_is_woken_by_work_and_by_the_end() {
        let queue = Queue::new(1);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| (queue.take(1), queue.take(1)));
            queue.push(7).unwrap();
            queue.close();
            assert_eq!(taken.join().unwrap(), (vec![7], vec![]));
        });
    }
}
