//! What the outer process makes of the inner one's end.
//!
//! Invariant: a run whose inner process was killed has a report all the same, with what was known
//! of it; one that has been reported is not reported again.

use nix::libc;

use super::{Ended, feedback};
use crate::containment::{Aftermath, Note, Notes};
use crate::error::{Error, run_exit_code};
use crate::report::{Messenger, Outcome, Report};
use crate::settings::Settings;
use crate::supervise::Signals;
use crate::sys::tree::Exit;

/// How a run ended, as the outer process sees it.
#[derive(Debug)]
pub enum Mirrored {
    /// The inner process has done everything; this is its exit code.
    Inner(u8),
    /// It was killed before it could tell.
    Killed(Box<Ended>),
}

impl Mirrored {
    /// From what the inner process told before its end.
    pub fn of(settings: &Settings, aftermath: Aftermath) -> Self {
        let Aftermath { guarded, notes, receipt, out_of_memory } = aftermath;
        let told = notes.contains(&Note::Told);
        let (error, signal) = match guarded.exit {
            Exit::Code(_) if told => return Self::Inner(guarded.exit_code()),
            // It panicked: its job was killed with it.
            Exit::Code(code) => {
                let early = format!("the inner process ended early, with exit code {code}");
                (Error::Setup(early), libc::SIGKILL)
            }
            Exit::Signal(signal) => (Error::InnerKilled(signal), signal),
        };
        let leak = feedback::abandoned(&notes);
        let report = notes.into_iter().rev().find_map(|note| match note {
            Note::Report(report) => serde_json::from_value::<Report>(report).ok(),
            Note::Refused(..) | Note::Feedback(_) | Note::Told => None,
        });
        let ended = match report {
            Some(Report { exit_code: Some(exit_code), .. }) if told => {
                return Self::Inner(exit_code);
            }
            Some(report @ Report { exit_code: Some(exit_code), .. }) => {
                Ended { report, failure: None, exit_code }
            }
            unfinished => {
                let mut report =
                    unfinished.unwrap_or_else(|| Report::begin(settings.backend.name()));
                // Containment is known from when the job is about to start.
                let outcome = if report.containment.is_none() {
                    Outcome::NotStarted { reason: error.kind().into(), message: error.to_string() }
                } else if out_of_memory {
                    Outcome::OutOfMemory { job_exit_code: 128 + signal }
                } else {
                    Outcome::killed(signal)
                };
                let receipt = receipt.map(|receipt| receipt.with_problem(leak));
                let wiped = receipt.as_ref().is_none_or(|receipt| receipt.verified);
                report.wipe = receipt;
                let codes = settings.supervision.exit_codes;
                let exit_code = run_exit_code(&outcome, Some(&error), wiped, codes);
                report.end(outcome, exit_code);
                Ended { report, failure: Some(error), exit_code }
            }
        };
        Self::Killed(Box::new(ended))
    }
}

impl Ended {
    /// Reports in the inner process's stead.
    pub async fn tell(&self, settings: &Settings) {
        self.report.log_about();
        self.write(settings);
        let messenger = Messenger::new(&settings.report);
        match Signals::listen(None) {
            Ok(mut signals) => messenger.ended(&self.report, signals.enough()).await,
            Err(_) => messenger.ended(&self.report, std::future::pending::<()>()).await,
        }
    }
}

/// Tells the outer process how far it is.
pub(super) fn note(notes: Option<&Notes>, report: &Report) {
    let Some(notes) = notes else { return };
    if let Err(error) = notes.add_report(report) {
        tracing::warn!(%error, "the outer process could not be told");
    }
}

/// Tells it that there is nothing left to tell.
pub(super) fn note_told(notes: Option<&Notes>) {
    if let Some(Err(error)) = notes.map(|notes| notes.add(&Note::Told)) {
        tracing::warn!(%error, "the outer process could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containment::{Guarded, Receipt};
    use crate::settings::{Overrides, Settings};

    fn mirrored(exit: Exit, notes: Vec<Note>) -> Mirrored {
        let home = |name: &str| (name == "HOME").then(|| "/nowhere".into());
        let settings = Settings::load(&Overrides::default(), home).unwrap();
        let receipt = Some(Receipt::by_kernel());
        let guarded = Guarded { exit };
        Mirrored::of(&settings, Aftermath { guarded, notes, receipt, out_of_memory: false })
    }

    fn report(end: Option<u8>) -> Note {
        let mut report = Report::begin("embedded");
        if let Some(code) = end {
            report.end(Outcome::Succeeded, code);
        }
        Note::Report(serde_json::to_value(report).unwrap())
    }

    #[track_caller]
    fn kind(mirrored: Mirrored) -> (Option<&'static str>, u8) {
        match mirrored {
            Mirrored::Inner(code) => (None, code),
            Mirrored::Killed(ended) => (ended.failure.map(|error| error.kind()), ended.exit_code),
        }
    }

    #[test]
    fn what_the_outer_process_makes_of_an_end() {
        let (killed, panicked) = (Exit::Signal(9), Exit::Code(101));
        // All told: there is nothing to add, whatever came after.
        assert_eq!(kind(mirrored(Exit::Code(3), vec![report(Some(3)), Note::Told])), (None, 3));
        assert!(matches!(mirrored(killed, vec![report(Some(3)), Note::Told]), Mirrored::Inner(3)));
        // Ended, but not told: the report is delivered as it is.
        assert_eq!(kind(mirrored(killed, vec![report(None), report(Some(3))])), (None, 3));
        // Killed on the way.
        for notes in [vec![], vec![report(None)]] {
            assert_eq!(kind(mirrored(killed, notes.clone())), (Some("runner_killed"), 137));
            assert_eq!(kind(mirrored(panicked, notes)), (Some("setup_failed"), 70));
        }
    }
}
