//! How long each stage of a run takes.
//!
//! Invariant: no time is counted twice.

use std::time::{Duration, Instant};

use crate::report::Report;

/// Measures the stages.
pub(super) struct Clock {
    last: Instant,
}

impl Clock {
    /// The first stage began then.
    pub(super) fn since(last: Instant) -> Self {
        Self { last }
    }

    /// The stage that began when the one before ended has ended.
    pub(super) fn lap(&mut self, stage: &'static str, report: &mut Report) {
        let now = Instant::now();
        let took = now.duration_since(self.last);
        report.stages_us.insert(stage.into(), micros(took));
        self.last = now;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
