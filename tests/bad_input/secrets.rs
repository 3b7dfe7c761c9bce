//! Variables and levels that are refused when they are added.

use super::{CANARY, KEPT, STRANGER, complained, nothing_is_lost, sandbox, silent, unprivileged};
use crate::support::{Ended, Sandbox};

/// Adds a variable to the project, from standard input.
fn add(sandbox: &Sandbox, name: &str, value: impl AsRef<[u8]>) -> Ended {
    sandbox.run_with(["secret", "add", name, "-P", "survey"], value)
}

/// Every secret there is, without values.
fn list(sandbox: &Sandbox) -> String {
    sandbox.run(["secret", "list", "--format", "json"]).success().stdout
}

#[test]
fn names_that_steer_programs_are_refused_with_the_reason() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    for (name, reason) in [
        ("LD_PRELOAD", "makes the loader or libc"),
        ("GCONV_PATH", "makes the loader or libc"),
        ("PATH", "changes what a shell"),
        ("GIT_SSH_COMMAND", "changes what a shell"),
        ("PYTHONSTARTUP", "makes an interpreter"),
        ("NODE_OPTIONS", "makes an interpreter"),
        ("PGSERVICEFILE", "makes libpq look"),
        ("PGPASSFILE", "makes libpq look"),
        ("QGIS_PREFIX_PATH", "makes QGIS, Qt or GDAL load"),
        ("GDAL_DRIVER_PATH", "makes QGIS, Qt or GDAL load"),
        ("SSL_CERT_FILE", "decides whom TLS connections trust"),
        ("XDG_CONFIG_HOME", "read their settings from elsewhere"),
        ("JOB_ID", "belongs to the runner"),
        ("QGIS_SECRETS_KEY", "belongs to the runner"),
    ] {
        let words = [&*format!("`{name}` is refused: it "), reason];
        complained(add(&sandbox, name, CANARY), 65, "variable_refused", &words);
    }
    assert_eq!(list(&sandbox), before);
    nothing_is_lost(&sandbox);
}

#[test]
fn names_of_another_form_are_refused() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    for name in ["api_key", "Api_KEY", "1KEY", "_KEY", "API-KEY", "API KEY", "ÄPI", "A=B", ""] {
        let words = ["capital letters, digits and `_`"];
        complained(add(&sandbox, name, CANARY), 65, "variable_refused", &words);
    }
    let long = "A".repeat(256);
    complained(add(&sandbox, &long, CANARY), 65, "variable_refused", &["at most 255 bytes"]);
    assert_eq!(list(&sandbox), before);
}

#[test]
fn values_that_no_variable_can_hold_are_refused() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    let bytes = |end: &[u8]| [CANARY.as_bytes(), end].concat();
    for (value, words) in [
        (bytes(b"\0"), ["`NEW`", "NUL byte"]),
        (bytes(b"\xff"), ["`NEW` is not UTF-8", "base64"]),
        (Vec::new(), ["`NEW` has an empty value", "remove its secret"]),
        (bytes(&[b'x'; 131_072]), ["`NEW` is too long", "at most 131071 bytes"]),
    ] {
        complained(add(&sandbox, "NEW", value), 65, "variable_refused", &words);
    }
    let huge = bytes(&[b'x'; 1024 * 1024]);
    complained(add(&sandbox, "NEW", huge), 65, "input_refused", &["standard input", "1 MiB"]);
    for path in ["no-such-file", "."] {
        let ended = sandbox.run(["secret", "add", "NEW", "-P", "survey", "--from-file", path]);
        complained(ended, 65, "input_refused", &[&format!("{path} cannot be read: ")]);
    }
    assert_eq!(list(&sandbox), before);
    nothing_is_lost(&sandbox);
}

/// Linux takes 131,072 bytes for one string, its NUL included.
#[test]
fn the_longest_variable_arrives_and_one_byte_more_is_refused() {
    let sandbox = sandbox();
    let value = format!("{}END", "x".repeat(131_071 - "LONG=END".len()));
    let ended = add(&sandbox, "LONG", format!("{value}x"));
    complained(ended, 65, "variable_refused", &["`LONG` is too long"]);
    add(&sandbox, "LONG", &value).success();
    let written = sandbox.printed("printf '%s ' \"${#LONG}\"; printf %s \"$LONG\" | tail -c 4");
    assert_eq!(written, "131066 xEND");
}

/// A worker's container often runs under an id that no file of accounts knows.
#[test]
fn a_user_without_an_account_adds_secrets_under_its_id() {
    let sandbox = sandbox();
    let file = sandbox.write("value", format!("{CANARY}-stranger"));
    let add = ["secret", "add", "NEW", "-P", "survey", "--from-file", file.to_str().unwrap()];
    silent(&unprivileged(&sandbox, &add).success());
    let listed = list(&sandbox);
    assert!(listed.contains(&format!("\"created_by\": \"uid {STRANGER}\"")), "{listed}");
    assert_eq!(sandbox.printed("printf %s \"$NEW\""), format!("{CANARY}-stranger"));
}

#[test]
fn a_secret_stands_at_exactly_one_level() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    for (place, word) in [
        (["-O", "org", "-P", "survey"].as_slice(), "-O and -P together name two levels"),
        (&[], "say whose secret it is: -O ORGANIZATION or -P PROJECT"),
        (&["-U", "ada"], "say whose secret it is: -O ORGANIZATION or -P PROJECT"),
    ] {
        let variable = ["secret", "add", "NEW"];
        let ended = sandbox.run_with(variable.iter().chain(place), CANARY);
        complained(ended, 64, "usage", &[word]);
        let service = ["secret", "add-service", "--service", "db", "--password-stdin"];
        let ended = sandbox.run_with(service.iter().chain(place), CANARY);
        complained(ended, 64, "usage", &[word]);
    }
    for id in ["../x", "-x", "a b", ""] {
        let arguments = ["secret", "add", "NEW", &format!("--project={id}")];
        let ended = sandbox.run_with(arguments, CANARY).fails(64);
        assert!(ended.stderr.contains("--project") || ended.stderr.contains("an id"));
        silent(&ended);
    }
    assert_eq!(list(&sandbox), before);
}

#[test]
fn a_second_secret_of_a_name_needs_replace() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    let words = ["project survey has a secret envvar:KEPT already", "add --replace"];
    complained(add(&sandbox, "KEPT", CANARY), 65, "secret_exists", &words);
    assert_eq!(list(&sandbox), before);
    nothing_is_lost(&sandbox);
    let other = format!("{KEPT}-2");
    let arguments = ["secret", "add", "KEPT", "-P", "survey", "--replace"];
    silent(&sandbox.run_with(arguments, &other).success());
    assert_eq!(sandbox.printed("printf %s \"$KEPT\""), other);
}

/// argv is public already; a log of the error need not be as well.
#[test]
fn a_value_on_the_command_line_is_refused_and_not_repeated() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    for arguments in [
        vec!["secret", "add", "NEW", CANARY, "-P", "survey"],
        vec!["secret", "add-service", "-P", "survey", "--service", "db", CANARY],
    ] {
        let ended = sandbox.run(&arguments).fails(64);
        assert!(ended.stderr.contains("a value is never taken from"), "{}", ended.stderr);
        silent(&ended);
    }
    let pair = format!("NEW={CANARY}");
    let ended = sandbox.run(["secret", "add", &pair, "-P", "survey"]);
    complained(ended, 65, "variable_refused", &["capital letters"]);
    assert_eq!(list(&sandbox), before);
}
