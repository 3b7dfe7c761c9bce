//! When keys from an address are fetched again. Pure: times in, a step out.
//!
//! Invariants: keys older than [`MAX_OUTAGE`] are never used; fetches are at least [`MIN_INTERVAL`]
//! apart once there are keys, whatever tokens ask for. The clock is the one that tokens are checked
//! by: when it was set back, the keys count as stale.

use std::time::Duration;

use jiff::Timestamp;

/// How long keys count as fresh where the answer doesn't say (`Cache-Control: max-age`).
pub(super) const DEFAULT_AGE: Duration = Duration::from_secs(10 * 60);

/// The bounds of what an answer can say.
const AGES: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(24 * 3600));

/// How long the last keys are used while their address doesn't answer.
///
/// A key that was taken out of the set meanwhile is trusted for as long, so it is no longer than a
/// token's own longest time.
pub const MAX_OUTAGE: Duration = Duration::from_secs(24 * 3600);

/// From one fetch to the next, however many tokens name unknown keys.
pub const MIN_INTERVAL: Duration = Duration::from_secs(30);

/// The same while there are no keys at all, and no token can be checked.
const WITHOUT_KEYS: Duration = Duration::from_secs(5);

/// What is known of the keys' age.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// The last success.
    pub(super) fetched: Option<Timestamp>,
    /// The last attempt, or success.
    pub(super) attempted: Option<Timestamp>,
    /// How long what was fetched counts as fresh.
    pub(super) max_age: Duration,
}

/// What a token needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The keys as they are.
    Keys,
    /// A key that is not among them.
    Missing,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Use what is there.
    Use,
    /// Use what is there, and fetch meanwhile.
    FetchBehind,
    /// Fetch, then use what is there.
    FetchFirst,
    /// There is nothing to use, and it is too early to try again.
    GiveUp,
}

impl Times {
    /// Whether what was fetched may be used at all.
    pub(super) fn usable(self, now: Timestamp) -> bool {
        self.fetched.is_some_and(|fetched| age(fetched, now).unwrap_or_default() <= MAX_OUTAGE)
    }

    /// Decides.
    pub(super) fn step(self, now: Timestamp, need: Need) -> Step {
        let usable = self.usable(now);
        let interval = if usable { MIN_INTERVAL } else { WITHOUT_KEYS };
        let since = |time: Option<Timestamp>| time.and_then(|time| age(time, now));
        let may_fetch = since(self.attempted).is_none_or(|age| age >= interval);
        match (usable, may_fetch) {
            (false, true) => Step::FetchFirst,
            (false, false) => Step::GiveUp,
            (true, false) => Step::Use,
            (true, true) if need == Need::Missing => Step::FetchFirst,
            (true, true) => {
                let within = |time, limit| since(time).is_some_and(|age| age <= limit);
                if within(self.fetched, self.max_age) {
                    Step::Use
                } else if within(self.attempted, 2 * self.max_age) {
                    // In an outage too: no token waits for what failed a moment ago.
                    Step::FetchBehind
                } else {
                    // Nobody asked for long: a key may have been taken out since.
                    Step::FetchFirst
                }
            }
        }
    }
}

/// What an answer's `max-age` means here.
pub(super) fn bounded(max_age: Option<Duration>) -> Duration {
    max_age.map_or(DEFAULT_AGE, |age| age.clamp(AGES.0, AGES.1))
}

/// `None` when the clock was set back.
fn age(then: Timestamp, now: Timestamp) -> Option<Duration> {
    let nanoseconds = now.as_nanosecond() - then.as_nanosecond();
    let nanoseconds = u128::try_from(nanoseconds).ok()?;
    Some(Duration::from_nanos_u128(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_table_of_steps() {
        use Need::{Keys, Missing};
        use Step::{FetchBehind, FetchFirst, GiveUp, Use};
        const DAY: i64 = 24 * 3600;
        for (fetched, attempted, now, need, step) in [
            // Nothing yet.
            (None, None, 0, Keys, FetchFirst),
            (None, Some(0), 4, Keys, GiveUp),
            (None, Some(0), 4, Missing, GiveUp),
            (None, Some(0), 5, Keys, FetchFirst),
            // Fresh.
            (Some(0), Some(0), 0, Keys, Use),
            (Some(0), Some(0), 600, Keys, Use),
            (Some(0), Some(0), 29, Missing, Use),
            (Some(0), Some(0), 30, Missing, FetchFirst),
            // Stale.
            (Some(0), Some(0), 601, Keys, FetchBehind),
            (Some(0), Some(0), 1200, Keys, FetchBehind),
            (Some(0), Some(0), 1201, Keys, FetchFirst),
            // An outage.
            (Some(0), Some(1190), 1201, Keys, Use),
            (Some(0), Some(1190), 1201, Missing, Use),
            (Some(0), Some(1190), 1220, Keys, FetchBehind),
            (Some(0), Some(1190), 1220, Missing, FetchFirst),
            (Some(0), Some(1190), 2390, Keys, FetchBehind),
            (Some(0), Some(1190), 2391, Keys, FetchFirst),
            (Some(0), Some(DAY - 31), DAY, Keys, FetchBehind),
            (Some(0), Some(DAY - 3), DAY, Keys, Use),
            (Some(0), Some(DAY - 3), DAY + 1, Keys, GiveUp),
            (Some(0), Some(DAY - 4), DAY + 1, Keys, FetchFirst),
            // The clock was set back.
            (Some(100), Some(100), 0, Keys, FetchFirst),
            (Some(100), Some(100), 0, Missing, FetchFirst),
            (None, Some(100), 0, Keys, FetchFirst),
        ] {
            let times = Times {
                fetched: fetched.map(at),
                attempted: attempted.map(at),
                max_age: Duration::from_secs(600),
            };
            let case = (fetched, attempted, now, need);
            assert_eq!(times.step(at(now), need), step, "{case:?}");
        }
    }

    #[test]
    fn ages_are_bounded() {
        let seconds = |age: Option<u64>| bounded(age.map(Duration::from_secs)).as_secs();
        assert_eq!(seconds(None), 600);
        assert_eq!(seconds(Some(0)), 300);
        assert_eq!(seconds(Some(1000)), 1000);
        assert_eq!(seconds(Some(u64::MAX)), 24 * 3600);
    }
}
