//! How many connections one peer has, so that none takes all.
//!
//! Invariant: there is an entry for each peer that has a connection, and for no other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PeerKey;

/// Connections by peer.
#[derive(Clone, Debug)]
pub(super) struct Crowd(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    open: Mutex<HashMap<PeerKey, usize>>,
}

/// A peer's connection, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Crowd,
    key: PeerKey,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, open: Mutex::default() }))
    }

    /// A place, unless the peer has as many as it may.
    pub(super) fn enter(&self, key: PeerKey) -> Option<Place> {
        let mut open = self.open();
        let count = open.entry(key).or_default();
        if *count >= self.0.most.max(1) {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), key })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<PeerKey, usize>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.crowd.open().entry(self.key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_and_nothing_stays() {
        let crowd = Crowd::new(2);
        let key = PeerKey::Unix(1);
        let (first, second) = (crowd.enter(key).unwrap(), crowd.enter(key).unwrap());
        assert!(crowd.enter(key).is_none());
        let other = crowd.enter(PeerKey::Unix(2)).unwrap();
        drop(first);
        let third = crowd.enter(key).unwrap();
        drop((second, third, other));
        assert!(crowd.open().is_empty());
    }
}
