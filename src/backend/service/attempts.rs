//! When and where a service is asked again: a pure decision.
//!
//! Invariants: a job token is good for three requests that a service has seen, so there are no
//! more of them; a replica that can't be reached costs no time while another one was not tried;
//! nothing is waited for beyond the deadline.

use std::time::Duration;

/// How many requests a service may have seen.
pub(super) const MAX_SEEN: u32 = 3;

/// Which part of the time that is left is waited for before the last of them: replicas that fail one
/// after the other mostly wait for their database, which takes longer than the pauses before.
const LAST: u32 = 3;

/// How an attempt went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// No connection: nobody has seen the request.
    Unconnected,
    /// The other end is not who it should be, and won't become it.
    Untrusted,
    /// The service may have seen the request; it may ask to wait so long.
    Seen(Option<Duration>),
    /// It has answered, and would answer the same again.
    Final,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt, after this time.
    Again(Duration),
    /// No other: asking again would change nothing.
    Settled,
    /// No other: the job token would be used up.
    Enough,
    /// No other before the deadline.
    TooLate,
}

/// The attempts of one resolution.
#[derive(Debug)]
pub(super) struct Attempts<B> {
    replicas: usize,
    at: usize,
    /// Replicas that were not reached, one after the other.
    unreached: usize,
    /// Of those, the ones that are not who they should be.
    untrusted: usize,
    seen: u32,
    delays: B,
}

impl<B: Iterator<Item = Duration>> Attempts<B> {
    /// With so many replicas, at least one, and these delays, which have no end.
    pub(super) fn new(replicas: usize, delays: B) -> Self {
        Self { replicas, at: 0, unreached: 0, untrusted: 0, seen: 0, delays }
    }

    /// The replica to ask: an index.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many requests a service may have seen.
    pub(super) fn seen(&self) -> u32 {
        self.seen
    }

    /// After an attempt, with so much time left.
    pub(super) fn after(&mut self, failed: Failed, left: Duration) -> Next {
        self.at = (self.at + 1) % self.replicas;
        let asked = match failed {
            Failed::Final => return Next::Settled,
            Failed::Seen(asked) => {
                self.seen += 1;
                (self.unreached, self.untrusted) = (0, 0);
                asked.unwrap_or_default()
            }
            Failed::Unconnected | Failed::Untrusted => {
                self.unreached += 1;
                self.untrusted += usize::from(failed == Failed::Untrusted);
                if self.unreached < self.replicas {
                    return Next::Again(Duration::ZERO);
                }
                let hopeless = self.untrusted == self.replicas;
                (self.unreached, self.untrusted) = (0, 0);
                if hopeless {
                    return Next::Settled;
                }
                Duration::ZERO
            }
        };
        if self.seen >= MAX_SEEN {
            return Next::Enough;
        }
        let mut delay = self.delays.next().unwrap_or_default().max(asked);
        if matches!(failed, Failed::Seen(_)) && self.seen + 1 == MAX_SEEN {
            delay = delay.max(left / LAST);
        }
        if delay < left { Next::Again(delay) } else { Next::TooLate }
    }
}

#[cfg(test)]
mod tests {
    use super::Failed::{Final, Seen, Unconnected, Untrusted};
    use super::Next::{Again, Enough, Settled, TooLate};
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Delays of 100, 200, 300 … milliseconds, and nine seconds left each time.
    fn play(replicas: usize, failed: &[Failed]) -> Vec<(Next, usize)> {
        let mut attempts = Attempts::new(replicas, (1..).map(|n| ms(100 * n)));
        let step = |failed: &Failed| (attempts.after(*failed, ms(9_000)), attempts.at());
        failed.iter().map(step).collect()
    }

    #[test]
    fn what_comes_next() {
        const NOW: Next = Again(Duration::ZERO);
        let seen = Seen(None);
        for (replicas, failed, expected) in [
            (1, vec![Final], vec![(Settled, 0)]),
            (1, vec![Untrusted], vec![(Settled, 0)]),
            (1, vec![seen; 3], vec![(Again(ms(100)), 0), (Again(ms(3_000)), 0), (Enough, 0)]),
            (1, vec![Unconnected; 2], vec![(Again(ms(100)), 0), (Again(ms(200)), 0)]),
            // The next replica at once, and a pause after the last.
            (2, vec![Unconnected; 3], vec![(NOW, 1), (Again(ms(100)), 0), (NOW, 1)]),
            (3, vec![Unconnected; 3], vec![(NOW, 1), (NOW, 2), (Again(ms(100)), 0)]),
            (2, vec![seen; 3], vec![(Again(ms(100)), 1), (Again(ms(3_000)), 0), (Enough, 1)]),
            // One may still become reachable; none of two strangers will become the service.
            (2, vec![Untrusted, Unconnected], vec![(NOW, 1), (Again(ms(100)), 0)]),
            (2, vec![Untrusted; 2], vec![(NOW, 1), (Settled, 0)]),
            (2, vec![Unconnected, Final], vec![(NOW, 1), (Settled, 0)]),
            // Those that nobody saw don't count.
            (
                2,
                vec![seen, Unconnected, seen, Unconnected, seen],
                vec![(Again(ms(100)), 1), (NOW, 0), (Again(ms(3_000)), 1), (NOW, 0), (Enough, 1)],
            ),
            // What the service asks for, if it is more.
            (1, vec![Seen(Some(ms(3_000)))], vec![(Again(ms(3_000)), 0)]),
            (1, vec![Seen(Some(ms(3)))], vec![(Again(ms(100)), 0)]),
            (
                1,
                vec![seen, Seen(Some(ms(4_000)))],
                vec![(Again(ms(100)), 0), (Again(ms(4_000)), 0)],
            ),
            (1, vec![Seen(Some(ms(9_000)))], vec![(TooLate, 0)]),
        ] {
            assert_eq!(play(replicas, &failed), expected, "{replicas} {failed:?}");
        }
    }

    #[test]
    fn nothing_is_waited_for_beyond_the_deadline() {
        let mut attempts = Attempts::new(1, std::iter::repeat(ms(100)));
        assert_eq!(attempts.after(Unconnected, ms(101)), Again(ms(100)));
        assert_eq!(attempts.after(Unconnected, ms(100)), TooLate);
        assert_eq!(attempts.seen(), 0);
    }
}
