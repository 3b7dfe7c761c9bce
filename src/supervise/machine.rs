//! The policy of supervision: a pure state machine.
//!
//! Invariants: every sequence of events ends with the leader's end; after it nothing is signalled
//! any more; a kill comes only after an order to end, and then because the grace period is over or
//! a second order came, or at once when the outer process is gone. The first cause is the one that
//! counts.
//!
//! ```text
//!           order, timeout                 2nd order, grace over, abandoned
//! Running ------------------> Ending --------------------------> Killing
//!    |                          |                                   |
//!    +------ leader ended ------+---------- leader ended -----------+--> Ended
//! ```

use crate::sys::tree::Exit;

/// An order to end that the runner received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// SIGTERM
    Term,
    /// SIGINT
    Int,
    /// SIGHUP
    Hup,
    /// SIGQUIT
    Quit,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The runner was told to end.
    Order(Order),
    /// The job's time is over.
    Timeout,
    /// The grace period is over.
    GraceOver,
    /// The outer process is gone.
    Abandoned,
    /// The job's leader has ended.
    LeaderEnded(Exit),
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pass this on to the job's group, and start the grace period.
    PassOn(Order),
    /// Kill the job's group.
    Kill,
    /// It is over: this is how.
    Finish(Ending),
}

/// Why the runner ended the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was told to.
    Cancelled(Order),
    /// The timeout.
    TimedOut,
    /// The outer process is gone: killed, or crashed.
    Abandoned,
}

/// How a job ended, and why if the runner ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The leader's own exit.
    pub exit: Exit,
    /// Set if the runner ended the job.
    pub cause: Option<Cause>,
}

/// The machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// Nobody wants an end yet.
    #[default]
    Running,
    /// The job was told to end.
    Ending(Cause),
    /// The job was killed.
    Killing(Cause),
    /// The leader is gone.
    Ended,
}

impl Machine {
    /// Takes one event, and says what to do, if anything.
    pub fn on(&mut self, event: Event) -> Option<Action> {
        let (next, action) = match (*self, event) {
            (Self::Ended, _) => return None,
            (state, Event::LeaderEnded(exit)) => {
                (Self::Ended, Action::Finish(Ending { exit, cause: state.cause() }))
            }
            (Self::Running, Event::Order(order)) => {
                (Self::Ending(Cause::Cancelled(order)), Action::PassOn(order))
            }
            (Self::Running, Event::Timeout) => {
                (Self::Ending(Cause::TimedOut), Action::PassOn(Order::Term))
            }
            (Self::Ending(cause), Event::Order(_) | Event::GraceOver) => {
                (Self::Killing(cause), Action::Kill)
            }
            (Self::Running, Event::Abandoned) => (Self::Killing(Cause::Abandoned), Action::Kill),
            (Self::Ending(cause), Event::Abandoned) => (Self::Killing(cause), Action::Kill),
            (Self::Running, Event::GraceOver)
            | (Self::Ending(_), Event::Timeout)
            | (Self::Killing(_), _) => return None,
        };
        *self = next;
        Some(action)
    }

    fn cause(self) -> Option<Cause> {
        match self {
            Self::Ending(cause) | Self::Killing(cause) => Some(cause),
            Self::Running | Self::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: Exit = Exit::Code(3);

    fn play(events: &[Event]) -> Vec<Option<Action>> {
        let mut machine = Machine::default();
        events.iter().map(|event| machine.on(*event)).collect()
    }

    fn finish(exit: Exit, cause: Option<Cause>) -> Option<Action> {
        Some(Action::Finish(Ending { exit, cause }))
    }

    #[test]
    fn the_ladder() {
        use Event::{GraceOver, LeaderEnded, Order as Told, Timeout};
        let killed = Exit::Signal(9);
        let cancelled = Some(Cause::Cancelled(Order::Int));
        for (events, actions) in [
            (vec![LeaderEnded(CODE)], vec![finish(CODE, None)]),
            (
                vec![Event::Abandoned, LeaderEnded(killed)],
                vec![Some(Action::Kill), finish(killed, Some(Cause::Abandoned))],
            ),
            (
                vec![Told(Order::Int), Event::Abandoned, LeaderEnded(killed)],
                vec![
                    Some(Action::PassOn(Order::Int)),
                    Some(Action::Kill),
                    finish(killed, cancelled),
                ],
            ),
            (
                vec![Told(Order::Int), LeaderEnded(CODE)],
                vec![Some(Action::PassOn(Order::Int)), finish(CODE, cancelled)],
            ),
            (
                vec![Told(Order::Int), Told(Order::Term), LeaderEnded(killed)],
                vec![
                    Some(Action::PassOn(Order::Int)),
                    Some(Action::Kill),
                    finish(killed, cancelled),
                ],
            ),
            (
                vec![Told(Order::Int), Timeout, GraceOver, GraceOver, Told(Order::Hup)],
                vec![Some(Action::PassOn(Order::Int)), None, Some(Action::Kill), None, None],
            ),
            (
                vec![Timeout, GraceOver, LeaderEnded(killed)],
                vec![
                    Some(Action::PassOn(Order::Term)),
                    Some(Action::Kill),
                    finish(killed, Some(Cause::TimedOut)),
                ],
            ),
            (vec![GraceOver, LeaderEnded(CODE)], vec![None, finish(CODE, None)]),
            (
                vec![LeaderEnded(CODE), Told(Order::Term), Timeout, LeaderEnded(killed)],
                vec![finish(CODE, None), None, None, None],
            ),
        ] {
            assert_eq!(play(&events), actions, "{events:?}");
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            prop_oneof![Just(Order::Term), Just(Order::Int), Just(Order::Hup), Just(Order::Quit)]
                .prop_map(Event::Order),
            Just(Event::Timeout),
            Just(Event::GraceOver),
            Just(Event::Abandoned),
            Just(Event::LeaderEnded(CODE)),
        ]
    }

    proptest! {
        #[test]
        fn any_order_of_events_keeps_the_rules(
            events in proptest::collection::vec(event(), 0..12)
        ) {
            let actions = play(&events);
            let end = events.iter().position(|event| matches!(event, Event::LeaderEnded(_)));
            let finished = actions.iter().position(|a| matches!(a, Some(Action::Finish(_))));
            prop_assert_eq!(end, finished, "the leader's end is the end");
            if let Some(end) = end {
                prop_assert!(actions[end + 1..].iter().all(Option::is_none));
            }
            let first = |wanted: fn(&Action) -> bool| {
                actions.iter().position(|action| action.as_ref().is_some_and(wanted))
            };
            let passed = first(|action| matches!(action, Action::PassOn(_)));
            if let Some(kill) = first(|action| matches!(action, Action::Kill))
                && events[kill] != Event::Abandoned
            {
                prop_assert!(passed.is_some_and(|passed| passed < kill), "a kill without a warning");
                prop_assert!(matches!(events[kill], Event::Order(_) | Event::GraceOver));
            }
            let count = |wanted: fn(&Action) -> bool| {
                actions.iter().flatten().filter(|action| wanted(action)).count()
            };
            prop_assert!(count(|action| matches!(action, Action::PassOn(_))) <= 1);
            prop_assert!(count(|action| matches!(action, Action::Kill)) <= 1);
        }
    }
}
