//! Services and imported files that are refused.

use super::{CANARY, complained, nothing_is_lost, sandbox};
use crate::support::Sandbox;

fn list(sandbox: &Sandbox) -> String {
    sandbox.run(["secret", "list", "--format", "json"]).success().stdout
}

/// What libpq would refuse, cut, or read in another way than it looks.
#[test]
fn sections_that_libpq_would_not_read_as_meant_are_refused_with_their_line() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    let section = |line: &str| format!("[db]\nhost=h\n{line}\n");
    let long = |line: &str, length: usize| format!("{line}{}", "x".repeat(length - line.len()));
    for (text, line, remedy) in [
        (section(&format!("[{CANARY}]\nhost=h")), 3, "add each service as a secret of its own"),
        (section(&format!("  [{CANARY}]\nhost=h")), 3, "add each service as a secret of its own"),
        (section("[db]\nhost=h"), 3, "add each service as a secret of its own"),
        (format!("[DEFAULT]\n[{CANARY}]\n"), 2, "add each service as a secret of its own"),
        (section(&format!("colour={CANARY}")), 3, "correct the keyword or remove the line"),
        (section(&format!("PASSWORD={CANARY}")), 3, "did you mean `password`?"),
        (section(&format!("password: {CANARY}")), 3, "write keyword=value"),
        (section(CANARY), 3, "write keyword=value"),
        (section(&format!("options=-c\n x {CANARY}")), 4, "write keyword=value"),
        (section(&format!("service={CANARY}")), 3, "write the settings themselves"),
        (section(&format!("servicefile=/{CANARY}")), 3, "write the settings themselves"),
        (section(&format!("ldap://{CANARY}/?x")), 3, "write the settings themselves"),
        (section(&format!("  ldapx={CANARY}")), 3, "write the settings themselves"),
        (section(&format!("password={CANARY}\0x")), 3, "remove it"),
        (section(&format!("password={CANARY} ")), 3, "libpq cannot read a value that ends with"),
        (section(&format!("password= {CANARY}")), 3, "choose another value if it was meant"),
        (section(&format!("password={CANARY}\u{b}x")), 3, "tabs are the only ones allowed"),
        (section(&format!("password={CANARY}\rx")), 3, "end lines with a line feed"),
        (section(&long(&format!("password={CANARY}"), 1022)), 3, "choose a shorter value"),
        (section(&format!("user=a\nuser={CANARY}")), 4, "keep one of the two"),
        (section(&format!("port={CANARY}")), 3, "give a number from 1 to 65535"),
        (section(&format!("sslmode={CANARY}")), 3, "choose disable, allow"),
        (format!("{CANARY}\n[db]\nhost=h\n"), 1, "begin with the service's name in brackets"),
        (format!("host={CANARY}\n[db]\nhost=h\n"), 1, "begin with the service's name"),
        (format!("[{CANARY}\nhost=h\n"), 1, "write [name]"),
        (format!("[{CANARY}] x\nhost=h\n"), 1, "keep only [name]"),
        (format!("[ {CANARY} ]\nhost=h\n"), 1, "without blanks at its ends"),
        ("[]\nhost=h\n".to_owned(), 1, "give the name that connections use"),
        (format!("# a\n[{CANARY}]\n"), 2, "give at least `host` or `dbname`"),
        (format!("[db]\rpassword={CANARY}"), 1, "end lines with a line feed"),
    ] {
        sandbox.write("ninja.conf", &text);
        let words = [&*format!("ninja.conf, line {line}: "), remedy];
        let add = "secret add-service -P survey --from-file ninja.conf".split(' ');
        complained(sandbox.run(add), 65, "service_refused", &words);
    }
    let mut utf8 = section(&format!("password={CANARY}")).into_bytes();
    utf8.insert(20, 0xff);
    let add = "secret add-service -P survey --from-file -".split(' ');
    let words = ["standard input, line 3: ", "save the text as UTF-8"];
    complained(sandbox.run_with(add, utf8), 65, "service_refused", &words);
    assert_eq!(list(&sandbox), before);
    nothing_is_lost(&sandbox);
}

#[test]
fn fields_of_a_service_are_refused_without_their_values() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    let set = |key: &str| format!("{key}={CANARY}");
    for (option, value, code, kind, word) in [
        ("--set", set("password"), 64, "usage", "use --password-stdin, or --from-file"),
        ("--set", set("sslpassword"), 64, "usage", "use --password-stdin, or --from-file"),
        ("--set", set("PASSWORD"), 65, "service_refused", "did you mean `password`?"),
        ("--set", set("colour"), 65, "service_refused", "correct the keyword"),
        ("--set", set("service"), 65, "service_refused", "write the settings themselves"),
        ("--set", CANARY.to_owned(), 64, "usage", "--set takes KEY=VALUE"),
        ("--db-port", CANARY.to_owned(), 65, "service_refused", "from 1 to 65535"),
        ("--db-user", format!("{CANARY}\nhost=x"), 65, "service_refused", "remove the break"),
        ("--db-sslmode", CANARY.to_owned(), 65, "service_refused", "choose disable, allow"),
    ] {
        let add = "secret add-service -P survey --service db --db-host h --no-password".split(' ');
        let ended = sandbox.run(add.chain([option, &value]));
        complained(ended, code, kind, &[word]);
    }
    let add = "secret add-service -P survey --service db --db-host h --password-stdin";
    let ended = sandbox.run_with(add.split(' '), format!("{CANARY}\n[other]\nhost=x\n"));
    complained(ended, 65, "service_refused", &["`password`", "remove the break"]);
    assert_eq!(list(&sandbox), before);
}

#[test]
fn of_a_bad_file_nothing_at_all_is_imported() {
    let sandbox = sandbox();
    let before = list(&sandbox);
    let good = "[first]\nhost=h\n\n[second]\nhost=h\n";
    let lines = format!("FIRST='{CANARY}'\nSECOND='{CANARY}'\n");
    let (service, input) = ("service_refused", "input_refused");
    for (name, text, kind, words) in [
        ("a.conf", format!("{good}[third]\nhots={CANARY}\n"), service, ["line 7", "`host`"]),
        ("a.conf", format!("{good}[first]\nhost={CANARY}\n"), service, ["line 6", "keep one"]),
        ("a.conf", format!("# {CANARY}\n"), service, ["a.conf", "begin with"]),
        ("a.env", format!("{lines}{CANARY}\n"), input, ["line 3", "not NAME=value"]),
        ("a.env", format!("{lines}THIRD = {CANARY}\n"), input, ["line 3", "no blanks"]),
        ("a.env", format!("{lines}THIRD=\"{CANARY}\n"), input, ["line 3", "never closed"]),
        ("a.env", format!("{lines}THIRD={CANARY}$X\n"), input, ["line 3", "single quotes"]),
        ("a.env", format!("{lines}THIRD='{CANARY}'x\n"), input, ["line 3", "after the closing"]),
        ("a.env", format!("{lines}FIRST={CANARY}\n"), input, ["line 3", "twice"]),
        ("a.env", format!("{lines}LD_PRELOAD={CANARY}\n"), input, ["`LD_PRELOAD`", "refused"]),
        ("a.env", format!("{lines}third={CANARY}\n"), input, ["a.env", "capital letters"]),
        ("a.env", format!("{lines}THIRD=\n"), input, ["`THIRD`", "empty"]),
        ("a.env", "# nothing\n".to_owned(), input, ["a.env", "there is nothing in it"]),
        ("a.env", format!("{lines}KEPT={CANARY}\n"), "secret_exists", ["envvar:KEPT", "--replace"]),
    ] {
        sandbox.write(name, &text);
        let ended = sandbox.run(["secret", "import", name, "-P", "survey", "--yes"]);
        complained(ended, 65, kind, &words);
        assert_eq!(list(&sandbox), before, "{text}");
    }
    sandbox.write("a.env", [lines.as_bytes(), b"THIRD=\xff"].concat());
    let ended = sandbox.run(["secret", "import", "a.env", "-P", "survey", "--yes"]);
    complained(ended, 65, input, &["a.env, line", "not UTF-8"]);
    let ended = sandbox.run(["secret", "import", "missing.env", "-P", "survey", "--yes"]);
    complained(ended, 65, input, &["missing.env cannot be read"]);
    sandbox.write("a.txt", &lines);
    let ended = sandbox.run(["secret", "import", "a.txt", "-P", "survey", "--yes"]);
    complained(ended, 64, "usage", &["--format pg-service or --format env"]);
    assert_eq!(list(&sandbox), before);
    nothing_is_lost(&sandbox);
}
