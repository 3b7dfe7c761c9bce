//! Adding: one by one, from files, at a prompt; what is printed, and what is made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{assert_shows_none_of, list, only_id};
use crate::support::{Sandbox, end};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_first_add_makes_store_and_key_and_says_where() {
    let sandbox = Sandbox::new();
    let arguments = ["secret", "add", "API_KEY", "-P", "survey"];
    let ended = sandbox.run_with(arguments, "the-value").success();
    assert!(ended.stdout.starts_with("added envvar:API_KEY to project survey, id "));
    for path in [sandbox.key(), sandbox.store()] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        assert!(ended.stderr.contains(path.to_str().unwrap()), "{}", ended.stderr);
    }
    assert_eq!(mode(sandbox.store().parent().unwrap()), 0o700);
    assert_shows_none_of(&ended, &["the-value"]);
    for path in [sandbox.key(), sandbox.store()] {
        let content = fs::read(path).unwrap();
        assert!(!content.windows(9).any(|part| part == b"the-value"));
    }
    // The second one has nothing to tell.
    let ended = sandbox.run_with(["secret", "add", "OTHER", "-P", "survey"], "other-value");
    assert_eq!(ended.success().stderr, "");
}

#[test]
fn a_list_has_facts_and_no_values() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-O org", "API_KEY", "organization-value");
    sandbox.add_service("-P survey -U ada", "ninja", "ada_role", "ada-password");
    let crs = ["secret", "add", "CRS", "-P", "survey", "--not-sensitive"];
    sandbox.run_with(crs, "EPSG:4326").success();

    let secrets = list(&sandbox, &[]);
    let facts: Vec<_> = secrets
        .iter()
        .map(|s| json!([s["kind"], s["key"], s["level"], s["owner"], s["user"], s["sensitive"]]))
        .collect();
    assert_eq!(
        facts,
        [
            json!(["envvar", "API_KEY", "organization", "org", null, true]),
            json!(["envvar", "CRS", "project", "survey", null, false]),
            json!(["pgservice", "ninja", "project_user", "survey", "ada", true]),
        ]
    );
    for secret in &secrets {
        let members: Vec<&String> = secret.as_object().unwrap().keys().collect();
        let expected = [
            "created_at",
            "created_by",
            "id",
            "key",
            "kind",
            "level",
            "owner",
            "sensitive",
            "user",
        ];
        assert_eq!(members, expected);
    }
    for (options, count) in [
        (&["-O", "org"][..], 1),
        (&["-P", "survey"], 2),
        (&["-U", "ada"], 1),
        (&["-P", "survey", "-U", "ada"], 1),
        (&["-P", "other"], 0),
    ] {
        assert_eq!(list(&sandbox, options).len(), count, "{options:?}");
    }
    let table = sandbox.run(["secret", "list"]).success();
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert!(lines[0].starts_with("SECRET"), "{}", table.stdout);
    assert!(lines[2].starts_with("envvar:CRS (not sensitive)"), "{}", table.stdout);
    assert_eq!(lines.len(), 4);
    assert_shows_none_of(&table, &["organization-value", "ada-password", "ada_role", "EPSG"]);
}

#[test]
fn a_second_add_is_refused_and_a_replacement_has_a_new_id() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", "old-value");
    let old = only_id(&list(&sandbox, &[]));
    let again = ["secret", "add", "API_KEY", "-P", "survey"];
    let ended = sandbox.run_with(again, "new-value");
    let ended = ended.error(65, "secret_exists", "project survey has a secret envvar:API_KEY");
    assert_shows_none_of(&ended, &["old-value", "new-value"]);
    assert_eq!(only_id(&list(&sandbox, &[])), old);
    assert_eq!(sandbox.printed("echo $API_KEY"), "old-value\n");

    let replace = again.into_iter().chain(["--replace"]);
    let ended = sandbox.run_with(replace, "new-value").success();
    let new = only_id(&list(&sandbox, &[]));
    assert_ne!(new, old);
    assert!(ended.stdout.contains(&new), "{}", ended.stdout);
    assert_eq!(sandbox.printed("echo $API_KEY"), "new-value\n");
}

#[test]
fn an_import_shows_what_it_would_do_and_does_all_or_nothing() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "B", "b-old-value");
    let file =
        sandbox.write("worker.env", "# of the worker\nA=a-new-value\nexport B='b-new value'\n");
    let words = |options: &[&'static str]| {
        let mut words = vec!["secret".into(), "import".into(), file.clone().into_os_string()];
        words.extend(["-P", "survey"].iter().chain(options).map(Into::into));
        words
    };
    let ended = sandbox.run(words(&["--yes"])).error(65, "secret_exists", "envvar:B");
    assert!(ended.stdout.contains("envvar:A  project survey  added\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("refused: there is one"), "{}", ended.stdout);
    assert_eq!(list(&sandbox, &[]).len(), 1);

    // Nobody can be asked.
    let ended = sandbox.run(words(&["--replace"]));
    let ended = ended.error(64, "usage", "nothing was added; say --yes");
    assert!(ended.stdout.contains("replaces the one that is there"), "{}", ended.stdout);
    assert_shows_none_of(&ended, &["a-new-value", "b-new value"]);
    assert_eq!(list(&sandbox, &[]).len(), 1);

    let ended = sandbox.run(words(&["--replace", "--yes"])).success();
    assert!(ended.stdout.ends_with("added 2 secrets to project survey\n"), "{}", ended.stdout);
    assert_eq!(sandbox.printed("echo $A, $B"), "a-new-value, b-new value\n");
}

#[test]
fn a_service_file_is_imported_section_by_section() {
    let sandbox = Sandbox::new();
    let text = "[ninja]\nhost=db\nuser=n\npassword=ninja-password\n\n[water]\nhost=db\nuser=w\n";
    let file = sandbox.write("pg_service.conf", text);
    let words = ["secret", "import", file.to_str().unwrap(), "-O", "org", "--yes"];
    let ended = sandbox.run(words).success();
    assert_shows_none_of(&ended, &["ninja-password"]);
    let shown = sandbox.printed("cat \"$PGSERVICEFILE\"");
    assert_eq!(shown, text.replace("\n\n", "\n"));
}

#[test]
fn the_public_key_alone_is_enough_to_add() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "A", "a-value");
    let public = sandbox.run(["key", "public"]).success().stdout;
    assert!(public.starts_with("qgis-secrets-public-x25519-"), "{public}");
    let public = sandbox.write("key.pub", public);
    let away = sandbox.path("private-key-elsewhere");
    fs::rename(sandbox.key(), &away).unwrap();

    let words = ["secret", "add", "B", "-P", "survey"];
    sandbox.run_with(words, "b-value").error(78, "key_missing", "there is no key file");
    let option = ["--public-key", public.to_str().unwrap()];
    sandbox.run_with(words.into_iter().chain(option), "b-value").success();
    assert!(!sandbox.key().exists());
    sandbox.shell("true").error(78, "key_missing", "there is no key file");

    fs::rename(&away, sandbox.key()).unwrap();
    assert_eq!(sandbox.printed("echo $A $B"), "a-value b-value\n");
}

/// Python's pseudo-terminal: answers the very moment it is asked, and prints all that the terminal shows.
const TERMINAL: &str = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
told = False
while True:
    try:
        part = os.read(terminal, 1024)
    except OSError:
        break
    if not part:
        break
    shown += part
    if not told and b': ' in shown:
        told = True
        os.write(terminal, sys.argv[1].encode() + b'\\n')
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn a_terminal_is_asked_and_shows_nothing() {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "OTHER", "other-value");
    for (arguments, question) in [
        (vec!["secret", "add", "API_KEY", "-P", "survey"], "Value of API_KEY: "),
        (
            vec!["secret", "add-service", "--service", "ninja", "-P", "survey", "--db-user", "n"],
            "Password for the service ninja (empty: none): ",
        ),
    ] {
        let own = sandbox.command(arguments);
        let mut command = Command::new("python3");
        command.args(["-c", TERMINAL, "typed-value"]).arg(own.get_program()).args(own.get_args());
        command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let ended = end(command).success();
        assert!(ended.stdout.starts_with(question), "{}", ended.stdout);
        assert!(ended.stdout.contains("added "), "{}", ended.stdout);
        assert_shows_none_of(&ended, &["typed-value"]);
    }
    let shown = sandbox.printed("echo $API_KEY; cat \"$PGSERVICEFILE\"");
    assert_eq!(shown, "typed-value\n[ninja]\nuser=n\npassword=typed-value\n");
}

/// A password that is piped in without the option is not read, and that is said.
#[test]
fn a_service_without_a_password_is_told_of_unless_it_is_meant() {
    let sandbox = Sandbox::new();
    let add = ["secret", "add-service", "-P", "survey", "--service", "db", "--db-host", "h"];
    let ended = sandbox.run_with(add, "piped-password").success();
    assert!(ended.stderr.contains("gets no password; --password-stdin"), "{}", ended.stderr);
    let file = sandbox.printed("cat \"$PGSERVICEFILE\"");
    assert_eq!(file, "[db]\nhost=h\n");
    let meant = add.into_iter().chain(["--no-password", "--replace"]);
    let ended = sandbox.run(meant).success();
    assert!(!ended.stderr.contains("gets no password"), "{}", ended.stderr);
}
