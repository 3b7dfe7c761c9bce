//! Settings files that are none, or say what they can't.

use super::{CANARY, complained, nothing_is_lost, refused, sandbox, touching};
use crate::support::{Ended, Sandbox};

fn with_settings(sandbox: &Sandbox, file: &str) -> Ended {
    let arguments = touching(sandbox);
    let begin = ["--settings", file];
    sandbox.run(begin.into_iter().chain(arguments.iter().map(String::as_str)))
}

#[test]
fn settings_with_a_fault_stop_everything_with_its_line() {
    let sandbox = sandbox();
    let line = |number| format!("bad.toml, line {number}: ");
    for (text, words) in [
        (format!("[job]\ncomands = \"{CANARY}\"\n"), [line(2), "unknown setting `comands`".into()]),
        (format!("# a\n\n[jobs]\na = \"{CANARY}\"\n"), [line(3), "unknown setting `jobs`".into()]),
        (format!("[job]\nmax_bytes = \"{CANARY}\"\n"), [line(2), "expected".into()]),
        ("[job]\nmax_bytes = -1\n".into(), [line(2), "expected".into()]),
        (format!("[workspace]\n\npath = \"{CANARY}\"\n"), [line(3), "expected".into()]),
        (
            format!("[supervision]\nexit_codes = \"{CANARY}\"\n"),
            [line(2), "expected `job` or `distinct`".into()],
        ),
        (format!("[job]\n{CANARY} =\n"), [line(2), "not valid TOML".into()]),
        (format!("[job]\ncommands = true\ncommands = {CANARY}\n"), [line(3), "TOML".into()]),
        ("[job]\nmax_bytes = 0\n".into(), ["`job.max_bytes`".into(), "at least 1".into()]),
        ("[job]\ndeadline_s = -1\n".into(), ["`job.deadline_s`".into(), "from 0 to one".into()]),
        ("[job]\ndeadline_s = nan\n".into(), ["`job.deadline_s`".into(), "from 0 to one".into()]),
        (
            "[workspace]\npath = [\"run\"]\n".into(),
            ["`workspace.path`".into(), "not absolute".into()],
        ),
        (
            "[pg_service]\noldest_libpq = 8\n".into(),
            ["`pg_service.oldest_libpq`".into(), "as in 15".into()],
        ),
    ] {
        sandbox.write("bad.toml", &text);
        let words = [&*words[0], &*words[1]];
        refused(&sandbox, with_settings(&sandbox, "bad.toml"), 78, "settings_invalid", &words);
        let list = ["--settings", "bad.toml", "secret", "list"];
        complained(sandbox.run(list), 78, "settings_invalid", &words);
    }
    nothing_is_lost(&sandbox);
}

#[test]
fn settings_that_cannot_be_read_are_named() {
    let sandbox = sandbox();
    sandbox.write("binary.toml", b"\xff\xfe");
    for (file, word) in
        [("no-such.toml", "No such file"), (".", "Is a directory"), ("binary.toml", "UTF-8")]
    {
        let words = [&*format!("the settings file {file} cannot be read"), word];
        refused(&sandbox, with_settings(&sandbox, file), 78, "settings_invalid", &words);
    }
    // The user's own is looked for, and must be good if it is there.
    std::fs::create_dir_all(sandbox.path(".config/qgis-secrets")).unwrap();
    sandbox.write(".config/qgis-secrets/settings.toml", "[job]\nx = 1\n");
    let words = [".config/qgis-secrets/settings.toml, line 2: unknown setting `x`"];
    refused(&sandbox, super::exec(&sandbox), 78, "settings_invalid", &words);
    std::fs::remove_file(sandbox.path(".config/qgis-secrets/settings.toml")).unwrap();
    nothing_is_lost(&sandbox);
}
