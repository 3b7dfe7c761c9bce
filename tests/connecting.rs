//! The probe of `connect`, with the libpq that is installed and a private PostGIS.
//!
//! One server for all: [`the_probe`] starts it, and what needs it is called from there.

mod command;
pub(crate) mod server;
mod terminal;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use qgis_secrets::connect::{self, Answer, Connected};
use qgis_secrets::pgservice::{self, Service};

use self::server::{Server, free_port};
use crate::support::{Sandbox, end};

/// Quotes of connection strings, of SQL and of `options`, and what is not ASCII.
const ODD: &str = r#"it's "q\uoted" 100%=#é{}$(x)"#;

/// What must never be seen.
const CANARY: &str = "Canary-of-Ada-7";

/// Runs the probe for these services, in an environment with nothing but the file.
fn probe(file: &str, names: &[&str]) -> Vec<Answer> {
    let sandbox = Sandbox::new();
    let file = sandbox.write("pg_service.conf", file);
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let words = connect::command(&names);
    let mut command = Command::new("/usr/bin/python3");
    command
        .args(&words[1..])
        .env_clear()
        .env("PGSERVICEFILE", file)
        .env("HOME", sandbox.home())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = end(command).success();
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout.lines().count(), names.len(), "{}", ended.stdout);
    for secret in [CANARY, ODD] {
        assert!(!ended.stdout.contains(secret), "{secret} in {}", ended.stdout);
    }
    connect::parse(ended.stdout.as_bytes(), &names)
}

/// The message of a service that cannot be connected to.
#[track_caller]
fn message(answer: &Answer) -> &str {
    assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
    answer.problem().unwrap()
}

#[track_caller]
fn connected(answer: &Answer) -> &Connected {
    match answer {
        Answer::Connected(connected) => connected,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_probe() {
    let server = Server::start();
    server.sql("postgres", include_str!("connecting/roles.sql"));
    server.sql("gis", include_str!("connecting/tables.sql"));
    server.sql("postgres", &format!("ALTER ROLE odd PASSWORD '{}'", ODD.replace('\'', "''")));
    roles_and_what_they_may_do(&server);
    encryption(&server);
    refused_connections(&server);
    one_connection_is_enough(&server);
    command::shows_what_the_job_becomes(&server);
    terminal::psql_can_be_typed_at(&server);
}

fn roles_and_what_they_may_do(server: &Server) {
    let logins = [
        "reader", "root", "maker", "bypasser", "copier", "owner", "member", "stranger", "heir",
        "switcher", "odd",
    ];
    let mut file: String =
        logins.map(|role| server.service(role, role, &[("sslmode", "require")])).concat();
    file += &server.service("by_options", "root", &[("options", "-c role=reader")]);
    let names = [&logins[..], &["by_options"]].concat();
    let answers = probe(&file.replace(&format!("user=odd\npassword={CANARY}"), &odd()), &names);
    let found: BTreeMap<&str, &Connected> =
        answers.iter().map(|answer| (answer.service(), connected(answer))).collect();

    let reader = found["reader"];
    let expected = Connected {
        service: "reader".into(),
        role: "reader".into(),
        session_role: "reader".into(),
        database: "gis".into(),
        host: "127.0.0.1".into(),
        address: Some("127.0.0.1".into()),
        port: server.port,
        server_version: server.sql("gis", "SHOW server_version").split(' ').next().unwrap().into(),
        postgis_version: Some(server.sql("gis", "SELECT postgis_lib_version()").trim().into()),
        tls: true,
        tls_version: Some("TLSv1.3".into()),
        gss: false,
        superuser: false,
        session_superuser: false,
        may_become_superuser: false,
        createrole: false,
        createdb: false,
        bypassrls: false,
        replication: false,
        owns_database: false,
        owned_tables: 0,
    };
    assert_eq!(*reader, expected);

    let warned: BTreeMap<&str, Vec<&str>> = found
        .iter()
        .map(|(&name, found)| (name, connect::warnings(found).iter().map(|w| w.kind).collect()))
        .collect();
    let expected: [(&str, &[&str]); 12] = [
        ("reader", &[]),
        ("odd", &[]),
        ("root", &["superuser"]),
        ("maker", &["createrole"]),
        ("bypasser", &["bypassrls"]),
        ("copier", &["replication"]),
        ("owner", &["owns_tables"]),
        // Inherits from the database's owner, and from `owner`.
        ("member", &["owns_database", "owns_tables"]),
        // The same memberships, NOINHERIT.
        ("stranger", &[]),
        ("heir", &["may_become_superuser"]),
        // ALTER ROLE … SET role.
        ("switcher", &[]),
        ("by_options", &["session_superuser"]),
    ];
    assert_eq!(warned, expected.map(|(name, kinds)| (name, kinds.to_vec())).into());
    assert!(found["maker"].createdb && !found["root"].owns_database);
    // A table, a view and a partitioned table; the temporary and the system's don't count.
    assert_eq!(found["owner"].owned_tables, 3);
    assert_eq!(found["member"].owned_tables, 3);
    for (service, session) in [("switcher", "switcher"), ("by_options", "root")] {
        let Connected { role, session_role, .. } = found[service];
        assert_eq!((role.as_str(), session_role.as_str()), ("reader", session));
    }
}

fn encryption(server: &Server) {
    let mut file = server.service("plain", "reader", &[("sslmode", "disable")]);
    file += &server.service("default", "reader", &[]);
    file += &server.service("verified", "reader", &[("sslmode", "verify-full")]);
    let bare = [("sslmode", "require"), ("ssl_max_protocol_version", "TLSv1.2")];
    file += &server.service("older", "reader", &bare);
    // Somebody who named the role like its password gets to see the role.
    file += "[weak]\nhost=127.0.0.1\nuser=weakrole\npassword=weakrole\ndbname=empty\n";
    file += &format!("port={}\n", server.port);
    let answers = probe(&file, &["plain", "default", "verified", "older", "weak"]);
    let tls = |answer: &Answer| (connected(answer).tls, connected(answer).tls_version.clone());
    assert_eq!(tls(&answers[0]), (false, None));
    assert_eq!(tls(&answers[1]), (true, Some("TLSv1.3".into())));
    assert!(message(&answers[2]).contains("root certificate"), "{answers:?}");
    assert_eq!(tls(&answers[3]), (true, Some("TLSv1.2".into())));
    let weak = connected(&answers[4]);
    assert_eq!((weak.role.as_str(), weak.database.as_str()), ("weakrole", "empty"));
    assert_eq!(weak.postgis_version, None);
}

fn refused_connections(server: &Server) {
    let port = server.port;
    let long =
        format!("dbname=gis host=127.0.0.1 port=5432 user=reader {} {CANARY}", "x".repeat(5));
    type Settings<'a> = Vec<(&'a str, &'a str)>;
    let cases: &[(&str, Settings<'_>, &str)] = &[
        (
            "wrong_password",
            vec![("password", "Canary-of-Ada-7-wrong")],
            "password authentication failed for user \"reader\"",
        ),
        ("unreachable", vec![("host", "127.0.0.1"), ("port", "1")], "Connection refused"),
        ("no_database", vec![("dbname", "nowhere")], "database \"nowhere\" does not exist"),
        ("in_options", vec![("options", "-c statement_timeout=Canary-of-Ada-7")], "\"***\""),
        // As the server reads it, `-` is `_`.
        ("as_a_name", vec![("options", "--Canary-of-Ada-7=1")], "parameter \"***\""),
        ("alone", vec![("options", CANARY)], "argument"),
        ("in_user", vec![("user", "Canary-of-Ada-7")], "user \"***\""),
        ("in_database", vec![("dbname", "gis Canary-of-Ada-7")], "database \"gis ***\""),
        ("cut", vec![("dbname", &long)], "database \"***\""),
        ("hosts", vec![("host", "Canary-of-Ada-7,127.0.0.1"), ("port", "1")], "\"***\""),
        ("port", vec![("port", "Canary-of-Ada-7")], "\"***\""),
        ("sslmode", vec![("sslmode", "Canary-of-Ada-7")], "\"***\""),
        ("admin_only", vec![("replication", "true")], "must be superuser"),
    ];
    let mut file = String::new();
    for (name, settings, _) in cases {
        file += &server.service(name, "reader", settings);
    }
    let mut names: Vec<&str> = cases.iter().map(|(name, ..)| *name).collect();
    names.push("no such service");
    let answers = probe(&file, &names);
    for ((name, _, expected), answer) in cases.iter().zip(&answers) {
        let message = message(answer);
        assert!(message.contains(expected), "{name}: {message}");
        for part in ["Canary", "Canary_of_Ada_7", "Canary-of"] {
            assert!(!message.contains(part), "{name}: {part} in {message}");
        }
    }
    let unknown = message(answers.last().unwrap());
    assert_eq!(unknown, "definition of service \"no such service\" not found");

    let broken = format!("[a]\nhost=127.0.0.1\nport={port}\nCanary-of-Ada-7\npassword={CANARY}\n");
    let answers = probe(&broken, &["a"]);
    assert!(message(&answers[0]).contains("syntax error in service file"), "{answers:?}");
}

/// Whole connection strings in the wrong field, and the password of another service.
#[test]
fn misplaced_passwords_are_masked() {
    let cases = [
        (format!("[a]\nsslmode=postgresql://ada:{CANARY}@db.invalid/gis\n"), "//ada:***@db"),
        (format!("[a]\nsslmode=user=ada password={CANARY} port=1\n"), "password=*** port=1"),
        (format!("[a]\nsslmode=PASSWORD = '{CANARY}'\n"), "PASSWORD = '***'"),
        (format!("[a]\nsslmode={CANARY}\n[b]\npassword={CANARY}\n"), "\"***\""),
        ("[a]\nsslmode=it's it\npassword=it\n".to_owned(), "\"***'s ***\""),
    ];
    for (file, expected) in cases {
        let answers = probe(&file, &["a"]);
        let message = message(&answers[0]);
        let rest = message.strip_prefix("invalid sslmode value: ");
        assert!(rest.is_some_and(|rest| rest.contains(expected)), "{message}");
    }
}

/// A role may be allowed one connection only, and several services may lead to it.
fn one_connection_is_enough(server: &Server) {
    let names = ["a", "b", "c", "d", "e", "f"];
    let file = names.map(|name| server.service(name, "single", &[])).concat();
    for answer in probe(&file, &names) {
        assert_eq!(connected(&answer).role, "single");
    }
}

/// The settings of the role whose password is [`ODD`], as this program writes services.
fn odd() -> String {
    let service = Service::parse(format!("[odd]\nuser=odd\npassword={ODD}\n").as_bytes()).unwrap();
    let text = pgservice::render_file([&service]);
    let text = str::from_utf8(text.expose()).unwrap();
    text.strip_prefix("[odd]\n").unwrap().trim_end().to_owned()
}

/// Which keywords hold passwords, `pgservice` and the script know each for itself.
#[test]
fn the_probe_knows_the_password_keywords() {
    let words = connect::command(&[]);
    let list = words[3].split("PASSWORDS = (").nth(1).unwrap().split(')').next().unwrap();
    let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(listed.len() >= 5 && listed.iter().all(|word| pgservice::is_password_like(word)));
    for keyword in crate::differential::KEYWORDS {
        assert_eq!(pgservice::is_password_like(keyword), listed.contains(keyword), "{keyword}");
    }
}

/// A server that asks for the password in the clear gets it, and can say what it wants.
#[test]
fn a_hostile_server_steers_no_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || hostile(listener.accept().unwrap().0));
    let file = format!(
        "[evil]\nhost=127.0.0.1\nport={port}\nuser=ada\npassword={CANARY}\nsslmode=disable\n\
         gssencmode=disable\n"
    );
    let answers = probe(&file, &["evil"]);
    let message = message(&answers[0]);
    assert!(message.ends_with("FATAL: ]0;owned *** [2J*** ***"), "{message}");
    server.join().unwrap();
}

/// Plays one connection of the protocol, version 3.
fn hostile(mut stream: TcpStream) {
    let packet = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    };
    let read = |stream: &mut TcpStream, kind: usize| {
        let mut head = vec![0; kind + 4];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[kind..].try_into().unwrap());
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).unwrap();
        body
    };
    drop(read(&mut stream, 0));
    // AuthenticationCleartextPassword
    stream.write_all(&packet(b'R', &3_u32.to_be_bytes())).unwrap();
    let mut password = read(&mut stream, 1);
    assert_eq!(password.pop(), Some(0));
    let middle = password.len() / 2;
    let hidden = [&password[..middle], b"\x1b\x07", &password[middle..]].concat();
    let text = [b"\x1b]0;owned\n", &password[..], b" \x1b[2J", &hidden, b" ", &password].concat();
    // AuthenticationOk: only after it libpq takes notices.
    stream.write_all(&packet(b'R', &0_u32.to_be_bytes())).unwrap();
    stream.write_all(&packet(b'N', &[b"SWARNING\0M", &text[..], b"\0\0"].concat())).unwrap();
    stream.write_all(&packet(b'E', &[b"SFATAL\0C28000\0M", &text[..], b"\0\0"].concat())).unwrap();
}

/// A server that accepts and is silent costs the service's own time, and no other service any.
#[test]
fn silence_ends_with_the_services_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().port();
    let nobody = free_port();
    let settings = "host=127.0.0.1\nuser=ada\npassword=x\nsslmode=disable\nconnect_timeout=2\n";
    let file = format!("[a]\n{settings}port={silent}\n[b]\n{settings}port={nobody}\n");
    let answers = probe(&file, &["a", "b"]);
    assert!(message(&answers[0]).contains("timeout expired"), "{answers:?}");
    assert!(message(&answers[1]).contains("Connection refused"), "{answers:?}");
}

#[test]
fn the_password_file_is_masked_too() {
    let sandbox = Sandbox::new();
    let passwords = format!("# comment\n*:*:*:*:{}\n", CANARY.replace('-', r"\-"));
    let passwords = sandbox.write("pgpass", passwords);
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!(
        "[a]\nhost=127.0.0.1\nport=1\nuser=ada\npassfile={}\nsslmode={CANARY}\n",
        passwords.display()
    );
    let answers = probe(&file, &["a"]);
    assert_eq!(message(&answers[0]), "invalid sslmode value: \"***\"");
}
