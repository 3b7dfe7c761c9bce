//! Hostile and broken output of the probe, and the table of warnings.

#![expect(clippy::needless_pass_by_value, reason = "a test hands over what `json!` makes")]

use serde_json::{Value as Json, json};

use super::*;

/// A line of the probe about a role that has no more rights than it needs.
fn line() -> Json {
    json!({
        "service": "db", "ok": true, "role": "ada", "session_role": "ada", "database": "gis",
        "host": "db.example.org", "address": "192.0.2.7", "port": 5432,
        "server_version": "15.18", "postgis_version": "3.3.2",
        "tls": true, "tls_version": "TLSv1.3", "gss": false,
        "superuser": false, "session_superuser": false, "may_become_superuser": false,
        "createrole": false, "createdb": false, "bypassrls": false, "replication": false,
        "owns_database": false, "owned_tables": 0,
    })
}

/// That line with these members instead.
fn with(members: Json) -> Json {
    let mut line = line();
    for (key, value) in members.as_object().unwrap() {
        line[key] = value.clone();
    }
    line
}

fn read(output: impl AsRef<[u8]>) -> Vec<Answer> {
    parse(output.as_ref(), &["db".to_owned()])
}

fn connected(members: Json) -> Connected {
    match read(with(members).to_string()).pop() {
        Some(Answer::Connected(connected)) => *connected,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_is_one_of_python_and_names_the_services() {
    let words = command(&["-c".to_owned(), "a b".to_owned()]);
    assert_eq!(words[..3], ["python3", "-I", "-c"]);
    assert_eq!(words[4..], ["-c", "a b"]);
    // The kernel's limit for one argument.
    assert!(words[3].len() < 131_072 && !words[3].contains('\0'));
}

#[test]
fn answers_stand_in_the_order_of_the_services() {
    let failed = json!({"service": "b", "ok": false, "message": "no route"});
    let again = json!({"service": "b", "ok": false, "message": "changed its mind"});
    let other = json!({"service": "not asked for", "ok": false, "message": "hello"});
    let output = format!("{other}\n{failed}\n{}\n{again}\n", line());
    let services = ["none", "db", "b", "db"].map(str::to_owned);
    let answers = parse(output.as_bytes(), &services);
    assert_eq!(answers.iter().map(Answer::service).collect::<Vec<_>>(), services);
    assert!(matches!(answers[0], Answer::Unanswered { .. }));
    assert!(answers[0].problem().unwrap().contains("python3"));
    assert!(matches!(&answers[1], Answer::Connected(found) if found.role == "ada"));
    assert_eq!(answers[2].problem(), Some("no route"));
    assert_eq!(answers[3], answers[1]);
    assert_eq!(
        serde_json::to_value(&answers[2]).unwrap(),
        json!({"result": "failed", "service": "b", "message": "no route"})
    );
    assert_eq!(serde_json::to_value(&answers[1]).unwrap()["result"], "connected");
}

#[test]
fn broken_lines_are_missing_answers() {
    let whole = line().to_string();
    let mut broken: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole.as_bytes()[..n].into()).collect();
    broken.extend([
        b"\xff\xfe\0".to_vec(),
        b"[[[[".repeat(100_000),
        br#"{"service":"\udc80","ok":false,"message":"x"}"#.to_vec(),
    ]);
    for members in [
        json!({"ok": "true"}),
        json!({"ok": false}),
        json!({"service": "DB"}),
        json!({"service": ["db"]}),
        json!({"role": null}),
        json!({"port": 65_536}),
        json!({"port": -1}),
        json!({"owned_tables": -1}),
        json!({"superuser": 1}),
    ] {
        broken.push(with(members).to_string().into_bytes());
    }
    for line in broken {
        let answers = read(&line);
        assert!(matches!(answers[..], [Answer::Unanswered { .. }]), "{}", line.escape_ascii());
        // It spoils no other line.
        let mut output = line;
        output.extend(format!("\n{whole}\r\n{{").bytes());
        assert!(matches!(read(output)[..], [Answer::Connected(_)]));
    }
}

#[test]
fn texts_are_short_and_steer_nothing() {
    let hostile = "\u{1b}]0;x\u{7}\u{9b}2J\n\u{202e}a\u{200b}";
    let shown = "\u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}\u{fffd}a\u{fffd}";
    let texts = [
        "role",
        "session_role",
        "database",
        "host",
        "address",
        "server_version",
        "postgis_version",
        "tls_version",
    ];
    for member in texts {
        let short = connected(json!({member: hostile}));
        assert_eq!(serde_json::to_value(short).unwrap()[member], shown, "{member}");
        let long = connected(json!({member: "é".repeat(10_000)}));
        let text = serde_json::to_value(long).unwrap()[member].as_str().unwrap().to_owned();
        assert_eq!(text, format!("{}…", "é".repeat(MAX_NAME - 1)), "{member}");
    }
    let message = format!("{hostile}{}", "é".repeat(10_000));
    let failed = json!({"service": "db", "ok": false, "message": message}).to_string();
    let answers = read(failed);
    let message = answers[0].problem().unwrap();
    assert!(message.starts_with(shown) && message.chars().count() == MAX_MESSAGE, "{message}");
    let named = parse(b"", &["a\u{1b}".to_owned()]);
    assert_eq!(named[0].service(), "a\u{fffd}");
    let exact = connected(json!({"role": "é".repeat(MAX_NAME)}));
    assert_eq!(exact.role, "é".repeat(MAX_NAME));
}

#[test]
fn what_is_warned_about() {
    let everything = json!({
        "superuser": true, "session_superuser": true, "may_become_superuser": true,
        "createrole": true, "createdb": true, "bypassrls": true, "replication": true,
        "owns_database": true, "owned_tables": 2, "tls": false,
    });
    let plain = |host: &str| json!({"tls": false, "address": null, "host": host});
    let by_address = |host: &str, address: &str| json!({"tls": false, "tls_version": null, "host": host, "address": address});
    let table: &[(Json, &[&str])] = &[
        (json!({}), &[]),
        (json!({"createdb": true, "postgis_version": null}), &[]),
        (
            everything,
            &[
                "superuser",
                "createrole",
                "bypassrls",
                "replication",
                "owns_database",
                "owns_tables",
                "no_tls",
            ],
        ),
        (json!({"superuser": true}), &["superuser"]),
        (
            json!({"session_superuser": true, "may_become_superuser": true, "session_role": "root"}),
            &["session_superuser"],
        ),
        (json!({"may_become_superuser": true}), &["may_become_superuser"]),
        (json!({"createrole": true}), &["createrole"]),
        (json!({"bypassrls": true}), &["bypassrls"]),
        (json!({"replication": true}), &["replication"]),
        (json!({"owns_database": true}), &["owns_database"]),
        (json!({"owned_tables": 1}), &["owns_tables"]),
        (json!({"tls": false, "gss": true}), &[]),
        (plain("db.example.org"), &["no_tls"]),
        (plain("127.0.0.1.example.org"), &["no_tls"]),
        (plain("10.0.0.1"), &["no_tls"]),
        (plain("::ffff:10.0.0.1"), &["no_tls"]),
        (plain("localhost"), &[]),
        (plain("LocalHost"), &[]),
        (plain("127.8.9.1"), &[]),
        (plain("::1"), &[]),
        (plain("::ffff:127.0.0.1"), &[]),
        (plain("/var/run/postgresql"), &[]),
        (plain("@abstract"), &[]),
        (plain(""), &[]),
        (by_address("localhost", "192.0.2.1"), &["no_tls"]),
        (by_address("db", "127.0.0.1"), &[]),
    ];
    for (members, expected) in table {
        let found = warnings(&connected(members.clone()));
        let kinds: Vec<&str> = found.iter().map(|warning| warning.kind).collect();
        assert_eq!(kinds, *expected, "{members}");
    }
}

#[test]
fn warnings_say_who_and_how_many() {
    let message = |members: Json| warnings(&connected(members)).remove(0).message;
    let owner = message(json!({"owned_tables": 12}));
    assert!(owner.starts_with("`ada` owns 12 tables and views, or inherits"), "{owner}");
    let one = message(json!({"owned_tables": 1}));
    assert!(one.starts_with("`ada` owns a table or view, or inherits"), "{one}");
    let session = message(json!({"session_superuser": true, "session_role": "root"}));
    assert!(session.starts_with("`root` logs in and is a superuser"), "{session}");
}
