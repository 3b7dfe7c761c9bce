//! Help, transcripts, completions and man pages.

use crate::support::Sandbox;

/// Each file is a transcript: commands, their output and exit code. `TRYCMD=overwrite cargo test`
/// writes them anew.
#[test]
fn transcripts() {
    let sandbox = Sandbox::new();
    trycmd::TestCases::new()
        .env("HOME", sandbox.home().to_str().unwrap())
        .env("XDG_RUNTIME_DIR", sandbox.memory().to_str().unwrap())
        .case("tests/transcripts/*.trycmd");
}

#[test]
fn completions_know_every_command() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.run(["completions", shell]).success().stdout;
        for command in ["explain", "add-service", "rotate", "--exit-codes"] {
            let word = command.trim_start_matches('-');
            assert!(script.contains(word), "{shell}: no {command}");
        }
    }
}

#[test]
fn man_pages_are_written_for_every_command() {
    let sandbox = Sandbox::new();
    let page = sandbox.run(["man"]).success().stdout;
    assert!(page.contains(".TH qgis-secrets 1"), "{page}");
    let directory = sandbox.path("man");
    std::fs::create_dir(&directory).unwrap();
    sandbox.run(["man".as_ref(), directory.as_os_str()]).success();
    for command in ["", "-run", "-exec", "-explain", "-secret-add", "-key-rotate"] {
        let path = directory.join(format!("qgis-secrets{command}.1"));
        assert!(path.exists(), "{} is not there", path.display());
    }
}

/// `qgis-secrets … | head -1` is no failure.
#[test]
fn a_closed_pipe_is_no_error() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.command(["completions", "bash"]).spawn().unwrap();
    drop(child.stdout.take());
    let ended = crate::support::finish(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}
