//! Descriptors that are no descriptors.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{CANARY, inside, job, nothing_is_lost, refused, run, sandbox, unprivileged};
use crate::support::http::{Answer, Server};
use crate::support::{Sandbox, end};

/// The text of a good descriptor, of which a test breaks one thing.
fn text(sandbox: &Sandbox) -> String {
    fs::read_to_string(job(sandbox, json!({}))).unwrap()
}

#[test]
fn every_fault_has_its_place_and_its_remedy() {
    let sandbox = sandbox();
    let good = text(&sandbox);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "no {from} in {good}");
        good.replacen(from, to, 1)
    };
    let and = |member: &str| with("{", &format!("{{{member},"));
    let cut = |text: &str| text[..text.len() - 1].to_owned();
    for (text, words) in [
        (and(&format!(r#""comand":"{CANARY}""#)), ["unknown key `comand`", "the keys are"]),
        (and(&format!(r#""{CANARY} pasted":1"#)), ["unknown key;", "the keys are"]),
        (with("\"version\":1", "\"version\":2"), ["`version` is 2", "update"]),
        (and("\"later\":1").replace("\"version\":1", "\"version\":2"), ["is 2", "update"]),
        (with("\"version\":1", &format!("\"version\":\"{CANARY}\"")), ["line 1", "`version`"]),
        (with(",\"version\":1", ""), ["missing key", "`version`"]),
        (with("\"project\":\"survey\",", ""), ["missing key `project`", "line 1"]),
        (with("\"organization\":\"org\",", ""), ["missing key `organization`", "null says"]),
        (with("\"user\":\"ada\",", "").replace(",\"user\":\"ada\"", ""), ["`user`", "null says"]),
        (with("\"ada\"", &format!("\"../{CANARY}\"")), ["`user`", "letter or digit"]),
        (with("[\"touch\"", &format!("[7,\"{CANARY}\"")), ["`command[0]`", "expected a string"]),
        (and(&format!(r#""project":"{CANARY}""#)), ["duplicate key `project`", "line 1"]),
        (and(&format!(r#""env":{{"A":"x","A":"{CANARY}"}}"#)), ["twice", "`env`"]),
        (and(&format!(r#""timeout_s":"{CANARY}""#)), ["`timeout_s`", "expected"]),
        (and(r#""timeout_s":-1"#), ["`timeout_s`", "from 0 to one year"]),
        (and(&format!(r#""require":["{CANARY}"]"#)), ["`require`", "envvar:NAME"]),
        (and(&format!(r#""working_dir":"{CANARY}""#)), ["`working_dir`", "absolute path"]),
        (and(&format!(r#""mask_env":{{"{CANARY}":1}}"#)), ["`mask_env`", "expected"]),
        (cut(&and(&format!("\"id\":\"{CANARY}\""))), ["duplicate key `id`", "line 1"]),
        (cut(&good), ["line 1, column", "ends in the middle"]),
        (format!("{{\n\n  {CANARY}"), ["line 3, column 3", "JSON doesn't allow"]),
        (format!("{good}{CANARY}"), ["line 1, column", "JSON doesn't allow"]),
        (format!("\n\n \"{CANARY}\""), ["line 3, column 2", "JSON object"]),
        (format!("[\"{CANARY}\"]"), ["line 1, column 1", "JSON object"]),
        (String::new(), ["line 1", "ends in the middle"]),
    ] {
        sandbox.write("bad.json", &text);
        refused(&sandbox, run(&sandbox, "bad.json"), 65, "job_invalid", &words);
        let ended = sandbox.run_with(["run", "--report", "report.json", "-"], &text);
        refused(&sandbox, ended, 65, "job_invalid", &words);
    }
    nothing_is_lost(&sandbox);
}

#[test]
fn a_job_without_a_command_is_refused() {
    let sandbox = sandbox();
    for (members, words) in [
        (json!({"command": []}), ["`command`", "give a program"]),
        (json!({"command": [""]}), ["`command`", "name is empty"]),
        (json!({"command": ["touch", format!("{CANARY}\0")]}), ["`command`", "NUL"]),
        (json!({"task": CANARY}), ["command", "not both"]),
    ] {
        let path = job(&sandbox, members);
        refused(&sandbox, run(&sandbox, path.to_str().unwrap()), 65, "job_invalid", &words);
    }
    let path = job(&sandbox, json!({"comand": []}));
    let none = fs::read_to_string(path).unwrap().replace("\"comand\":[],", "");
    let command = none.find("\"command\":").unwrap();
    let after = none[command..].find("],").unwrap() + command + 2;
    sandbox.write("bad.json", [&none[..command], &none[after..]].concat());
    let words = ["either `command` or `task`"];
    refused(&sandbox, run(&sandbox, "bad.json"), 65, "job_invalid", &words);
}

#[test]
fn refused_variables_of_a_descriptor_stop_the_job() {
    let sandbox = sandbox();
    for name in ["LD_PRELOAD", "PGSERVICEFILE", "PYTHONPATH", "JOB_ID"] {
        let path = job(&sandbox, json!({"env": {name: CANARY}}));
        let ended = run(&sandbox, path.to_str().unwrap());
        refused(&sandbox, ended, 65, "variable_refused", &[&format!("`{name}` is refused: it ")]);
    }
}

#[test]
fn bytes_that_are_no_text_have_a_position() {
    let sandbox = sandbox();
    let (begin, end) = (b"{\n\"version\":1,\"id\":\"".as_slice(), b"\"}".as_slice());
    let path = sandbox.write("bad.json", [begin, b"\xff\xfe", CANARY.as_bytes(), end].concat());
    let ended = run(&sandbox, path.to_str().unwrap());
    refused(&sandbox, ended, 65, "job_invalid", &["line 2, column"]);
    let utf16: Vec<u8> = text(&sandbox).encode_utf16().flat_map(u16::to_le_bytes).collect();
    sandbox.write("bad.json", utf16);
    refused(&sandbox, run(&sandbox, "bad.json"), 65, "job_invalid", &["line 1, column 2"]);
}

/// A parser that recurses would overflow its stack and end by a signal.
#[test]
fn nesting_without_an_end_is_refused() {
    let sandbox = sandbox();
    for begin in
        ["", "{\"labels\":", "{\"labels\":{\"a\":", "{\"command\":", "{\"version\":1,\"x\":"]
    {
        for repeated in ["[", "{\"a\":"] {
            let text = format!("{begin}{}", repeated.repeat(100_000));
            sandbox.write("bad.json", &text);
            refused(&sandbox, run(&sandbox, "bad.json"), 65, "job_invalid", &["line 1, column"]);
        }
    }
    nothing_is_lost(&sandbox);
}

#[test]
fn ten_megabytes_are_refused_from_everywhere() {
    let sandbox = sandbox();
    let large = format!("{}{}", text(&sandbox), " ".repeat(10 * 1024 * 1024));
    let path = sandbox.write("large.json", &large);
    let words = ["larger than 1048576 bytes", "`job.max_bytes`"];
    let name = path.to_str().unwrap();
    refused(&sandbox, run(&sandbox, name), 65, "job_invalid", &[words[0], words[1], name]);
    let ended = sandbox.run_with(["run", "--report", "report.json", "-"], &large);
    refused(&sandbox, ended, 65, "job_invalid", &[words[0], words[1], "standard input"]);
    let server = Server::new([Answer::fine(large)]);
    let url = server.url("/job");
    refused(&sandbox, run(&sandbox, &url), 65, "job_invalid", &[words[0], words[1], &url]);
}

#[test]
fn a_descriptor_that_cannot_be_read_is_named() {
    let sandbox = sandbox();
    let ended = run(&sandbox, "no/such.json");
    refused(&sandbox, ended, 65, "job_unreadable", &["no/such.json", "No such file"]);
    let ended = run(&sandbox, sandbox.home().to_str().unwrap());
    refused(&sandbox, ended, 65, "job_unreadable", &["Is a directory"]);
    let path = job(&sandbox, json!({}));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let ended = unprivileged(&sandbox, &["run", "--report", "report.json", path.to_str().unwrap()]);
    refused(&sandbox, ended, 65, "job_unreadable", &["job.json", "Permission denied"]);
}

#[test]
fn a_closed_or_empty_standard_input_is_no_descriptor() {
    let sandbox = sandbox();
    let words = ["the text ends in the middle"];
    refused(&sandbox, run(&sandbox, "-"), 65, "job_invalid", &words);
    let shell = ["sh", "-c", "exec \"$@\" <&-", "sh"];
    let ended = end(inside(&sandbox, &shell, &["run", "--report", "report.json", "-"]));
    refused(&sandbox, ended, 65, "job_invalid", &words);
}
