//! The feedback file: a job that exits with 0 may still have failed.

use serde_json::json;

use super::{report, run, script};
use crate::support::{Ended, Sandbox};

const ERROR: &str = "the job exited with 0, but its feedback holds an error";
const MISSING: &str =
    "the job exited with 0, but did not write the feedback file that it had promised";
const UNREADABLE: &str = "the job exited with 0, but its feedback is not a readable JSON object";

/// A run whose job writes `text` and exits with `code`.
fn told(sandbox: &Sandbox, text: Option<&str>, code: u8) -> Ended {
    let path = sandbox.path("feedback.json");
    let write = text.map_or(String::new(), |text| format!("echo '{text}' > feedback.json; "));
    let mut members = script(&format!("{write}exit {code}"));
    members["feedback"] = json!(path);
    run(sandbox, members)
}

#[test]
fn the_feedback_decides_about_a_job_that_exits_with_0() {
    for (text, complaint) in [
        (Some(r#"{"steps": [1, 2]}"#), None),
        (Some(r#"{"error": null}"#), None),
        (Some(r#"{"error": "the layer is not there"}"#), Some(ERROR)),
        (Some(r#"{"error": {"type": "X"}, "steps": []}"#), Some(ERROR)),
        (None, Some(MISSING)),
        (Some("done"), Some(UNREADABLE)),
        (Some("[]"), Some(UNREADABLE)),
        (Some(r#"{"error": null"#), Some(UNREADABLE)),
    ] {
        let sandbox = Sandbox::new();
        sandbox.add("-P survey", "API_KEY", "value-1");
        let ended = told(&sandbox, text, 0);
        let outcome = &report(&sandbox)["outcome"];
        match complaint {
            None => {
                ended.success();
                assert_eq!(*outcome, json!({"kind": "succeeded"}), "{text:?}");
            }
            Some(complaint) => {
                ended.fails(1);
                let expected = json!({"kind": "failed", "job_exit_code": 0, "message": complaint});
                assert_eq!(*outcome, expected, "{text:?}");
            }
        }
    }
}

#[test]
fn a_file_from_before_is_no_feedback_of_this_run() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    sandbox.write("feedback.json", r#"{"error": null}"#);
    told(&sandbox, None, 0).fails(1);
    assert_eq!(report(&sandbox)["outcome"]["message"], MISSING);
    // Written again, with the same content, it counts.
    told(&sandbox, Some(r#"{"error": null}"#), 0).success();
}

#[test]
fn another_exit_code_stays_whatever_the_feedback_says() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "API_KEY", "value-1");
    for text in [None, Some(r#"{"error": "x"}"#), Some("{}"), Some("?")] {
        told(&sandbox, text, 9).fails(9);
        let expected = json!({"kind": "failed", "job_exit_code": 9});
        assert_eq!(report(&sandbox)["outcome"], expected);
    }
}
