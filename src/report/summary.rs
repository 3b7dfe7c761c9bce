//! The summary for an orchestrator that shows a few words only: a container's termination log.
//!
//! Invariants: valid JSON of at most [`MAX`] bytes, whatever is in the report; written in place,
//! for the file may be a mount of its own; never made, for who reads it made it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use serde::Serialize;

use super::{Outcome, Report, Undelivered, Word};

/// The largest summary, in bytes: what Kubernetes keeps of a termination log.
pub const MAX: usize = 4096;

/// A message that is longer, in bytes, is cut before names are left out.
const MESSAGE: usize = 1024;

#[derive(Debug, Serialize)]
struct Summary<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    exit_code: Option<u8>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing: &'a [String],
    /// How many names of `missing` had no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_missing: Option<usize>,
    /// Whether nothing remains; absent where there was nothing to wipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    wiped: Option<bool>,
}

/// Writes the summary of a report to a file that is there.
pub fn write(report: &Report, path: &Path) -> Result<(), Undelivered> {
    let fault = |error| Undelivered::Summary(path.into(), error);
    let mut options = OpenOptions::new();
    let options = options.write(true).truncate(true).custom_flags(libc::O_NONBLOCK);
    let mut file = options.open(path).map_err(fault)?;
    file.write_all(text(report).as_bytes()).map_err(fault)
}

fn text(report: &Report) -> String {
    let outcome = report.outcome.as_ref();
    let mut summary = Summary {
        version: report.version,
        job: report.job.as_ref().map(|job| job.id.as_str()),
        attempt: report.job.as_ref().map(|job| job.attempt),
        outcome: outcome.map(Outcome::word),
        reason: outcome.and_then(Outcome::reason),
        message: outcome.and_then(Outcome::message).map(Into::into),
        exit_code: report.exit_code,
        missing: &report.missing,
        more_missing: None,
        wiped: report.wipe.as_ref().map(|receipt| receipt.verified),
    };
    loop {
        let text = serde_json::to_string(&summary).unwrap_or_default();
        if text.len() <= MAX {
            return text;
        }
        let message = summary.message.as_ref().map_or(0, String::len);
        if let Some(long) = summary.message.as_mut().filter(|long| long.len() > MESSAGE) {
            cut(long, MESSAGE);
        } else if let Some((_, fewer)) = summary.missing.split_last() {
            summary.missing = fewer;
            summary.more_missing = Some(summary.more_missing.unwrap_or(0) + 1);
        } else {
            // Control characters take six bytes each. Without a message it always fits.
            summary.message = summary.message.filter(|_| message > 8).map(|mut long| {
                cut(&mut long, message / 2);
                long
            });
        }
    }
}

/// Shortens a text to at most so many bytes, which are at least 3, and shows it.
fn cut(text: &mut String, most: usize) {
    let end = text.floor_char_boundary(most - '…'.len_utf8());
    text.truncate(end);
    text.push('…');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    fn report(message: String, missing: Vec<String>) -> Report {
        let mut report = Report::begin("embedded");
        report.missing = missing;
        report.end(Outcome::NotStarted { reason: "secret_missing".into(), message }, 66);
        report
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_summary_is_short_valid_json_whatever_is_in_it(
            message in prop_oneof!["\\PC{0,3000}", "[\0-\x1f\"]{0,6000}", ".{0,10}"],
            missing in prop::collection::vec("envvar:[A-Z]{1,255}", 0..60),
        ) {
            let all = missing.len();
            let text = text(&report(message.clone(), missing));
            prop_assert!(text.len() <= MAX);
            let json: Json = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&json["reason"], "secret_missing");
            prop_assert_eq!(&json["exit_code"], 66);
            let named = json["missing"].as_array().map_or(0, Vec::len);
            prop_assert_eq!(named as u64 + json["more_missing"].as_u64().unwrap_or(0), all as u64);
            // What has room stays as it is.
            if all == 0 && message.len() <= 600 {
                prop_assert_eq!(json["message"].as_str(), Some(message.as_str()));
            }
        }
    }
}
