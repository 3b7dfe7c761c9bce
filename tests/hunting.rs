//! Nothing leaks: canaries of every kind are planted at every level, jobs do their worst with them,
//! and all that came out of the runs is searched for them, behind any few decoders.
//!
//! A canary ends in a core that no other text holds, so that whoever sees the core has seen the
//! value whole. Cores begin alike: most of the search looks for that beginning only.

mod canaries;
mod commands;
mod ground;
mod jobs;
mod peers;

use std::collections::BTreeSet;

use crate::masking::decoders::find_behind;

/// Some bytes that came out, and where.
struct Evidence {
    place: String,
    bytes: Vec<u8>,
}

/// Who looks for canaries.
struct Hunter {
    flock: String,
    /// Name and core.
    cores: Vec<(String, String)>,
}

impl Hunter {
    /// The names of the canaries that are in a text.
    fn find(&self, text: &[u8]) -> BTreeSet<String> {
        let depth = match text.len() {
            0..=30_000 => 2,
            30_001..=500_000 => 1,
            _ => 0,
        };
        if find_behind(text, &[self.flock.as_bytes()], depth).is_empty() {
            return BTreeSet::new();
        }
        let pieces: Vec<&[u8]> = self.cores.iter().map(|(_, core)| core.as_bytes()).collect();
        let found = find_behind(text, &pieces, depth);
        let is_found = |(_, core): &&(String, String)| found.contains(core.as_bytes());
        self.cores.iter().filter(is_found).map(|(name, _)| name.clone()).collect()
    }

    /// `place: canary`, for all that is found.
    fn hunt(&self, evidence: &[Evidence]) -> BTreeSet<String> {
        let found = |Evidence { place, bytes }: &Evidence| -> Vec<String> {
            self.find(bytes).into_iter().map(|name| format!("{place}: {name}")).collect()
        };
        evidence.iter().flat_map(found).collect()
    }
}

impl Evidence {
    fn new(place: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { place: place.into(), bytes: bytes.into() }
    }
}
