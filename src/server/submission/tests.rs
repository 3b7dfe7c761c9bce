//! What is accepted, where what isn't is wrong, and that nothing is lost or shown.

use proptest::prelude::*;

use super::*;
use crate::secret::Id;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn project() -> Owner {
    Owner::Project { project: id("p"), user: None }
}

fn member() -> Owner {
    Owner::Organization { organization: id("o"), user: Some(id("u")) }
}

fn value(text: &str) -> Value {
    Value::from(text)
}

/// Names and values, in their order.
fn said(result: Result<Accepted, Vec<Fault>>) -> Vec<(String, String)> {
    let additions = result.unwrap().additions;
    assert!(additions.iter().all(|new| is_sound(&new.name, &new.value) && new.owner == project()));
    let text = |value: &Value| String::from_utf8(value.expose().to_vec()).unwrap();
    additions.iter().map(|new| (new.name.to_string(), text(&new.value))).collect()
}

fn places(result: Result<Accepted, Vec<Fault>>) -> Vec<At> {
    let faults = result.unwrap_err();
    for fault in &faults {
        assert!(!fault.text.contains("canary") && !fault.text.is_empty(), "{}", fault.text);
    }
    faults.into_iter().map(|fault| fault.at).collect()
}

#[test]
fn a_variable() {
    let added = said(variable(&project(), "API_KEY", value("a good value"), true));
    assert_eq!(added, [("envvar:API_KEY".into(), "a good value".into())]);
    let (name, text) = (At::Field("name"), At::Field("value"));
    for (key, content, expected) in [
        ("api", "canary-canary", vec![name]),
        ("PATH", "canary-canary", vec![name]),
        ("api", "", vec![name, text]),
        ("API", "", vec![text]),
        ("API", "canary\0", vec![text]),
    ] {
        assert_eq!(places(variable(&project(), key, value(content), true)), expected, "{key}");
    }
}

#[test]
fn what_deserves_a_second_look() {
    let warnings =
        |owner, text, sensitive| variable(&owner, "CRS", value(text), sensitive).unwrap().warnings;
    assert_eq!(warnings(project(), "EPSG:4326", false), [""; 0]);
    let [common] = &warnings(project(), "EPSG:4326", true)[..] else { panic!() };
    assert!(common.starts_with("CRS: ") && common.contains("not sensitive"), "{common}");
    let [line] = &warnings(project(), "a good value\n", true)[..] else { panic!() };
    assert!(line.contains("line break") && !line.contains("not sensitive"), "{line}");
    let [level] = &warnings(member(), "a good value", true)[..] else { panic!() };
    assert!(level.contains("project secret"), "{level}");
    let service = services(&member(), &value("[db]\ndbname=d\n"), 15).unwrap().warnings;
    assert_eq!(service.len(), 3, "{service:?}");
    assert!(service[1].starts_with("service `db`: "), "{service:?}");
}

#[test]
fn variables_of_a_file() {
    let added = said(variables(&project(), &value("A=one value\n# c\nB='two\nlines'\n")));
    assert_eq!(
        added,
        [("envvar:A".into(), "one value".into()), ("envvar:B".into(), "two\nlines".into())]
    );
    for (text, expected) in [
        ("", vec![At::Whole]),
        ("# canary\n", vec![At::Whole]),
        ("A=1\ncanary\n", vec![At::Line(2)]),
        ("A=1\nPATH=canary\nb=canary\nC=2\n", vec![At::Line(2), At::Line(3)]),
    ] {
        assert_eq!(places(variables(&project(), &value(text))), expected, "{text}");
    }
}

#[test]
fn a_service_from_fields() {
    let fields = ServiceFields {
        service: "ninja".into(),
        dbname: "survey".into(),
        user: "u".into(),
        password: Some(value("p w")),
        host: "db".into(),
        port: "5432".into(),
        sslmode: "require".into(),
        extra: vec![
            (String::new(), value("")),
            ("connect_timeout".into(), value("5")),
            ("passfile".into(), value("")),
        ],
    };
    let text = "[ninja]\nhost=db\nport=5432\ndbname=survey\nuser=u\nsslmode=require\npassword=p w\n\
                connect_timeout=5\npassfile=\n";
    assert_eq!(said(service(&project(), fields, 15)), [("pgservice:ninja".into(), text.into())]);
}

#[test]
fn every_wrong_field_is_told() {
    let fields = ServiceFields {
        service: " canary".into(),
        port: "canary".into(),
        host: "canary ".into(),
        password: Some(value("canary\nhost=x")),
        sslmode: "canary".into(),
        dbname: "fine".into(),
        extra: vec![
            ("dbname".into(), value("canary")),
            (String::new(), value("canary")),
            ("canary".into(), value("canary")),
            ("options".into(), value("fine")),
            ("service".into(), value("canary")),
        ],
        ..ServiceFields::default()
    };
    let expected = [
        At::Field("service"),
        At::Field("host"),
        At::Field("port"),
        At::Field("sslmode"),
        At::Field("password"),
        At::Extra(0),
        At::Extra(1),
        At::Extra(2),
        At::Extra(4),
    ];
    assert_eq!(places(service(&project(), fields, 15)), expected);
    let fields = ServiceFields { service: "s".into(), ..ServiceFields::default() };
    assert_eq!(places(service(&project(), fields, 15)), [At::Whole]);
    assert_eq!(places(service(&project(), ServiceFields::default(), 15)), [At::Field("service")]);
}

#[test]
fn services_from_text() {
    let text = "\u{feff}; c\r\n[a]\r\nhost = h\r\n\r\n[b]\r\nhost=i\r\n";
    let expected = [("pgservice:a", "[a]\nhost=h\n"), ("pgservice:b", "[b]\nhost=i\n")];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(said(services(&project(), &value(text), 15)), expected);
    for (text, expected) in [
        ("", At::Whole),
        ("[a]\nhost=h\ncanary=canary\n", At::Line(3)),
        ("[a]\nhost=h\n[a]\nhost=canary\n", At::Line(3)),
    ] {
        assert_eq!(places(services(&project(), &value(text), 15)), [expected], "{text}");
    }
}

#[test]
fn line_ends_of_browsers() {
    for (sent, meant) in
        [("a\r\nb\r\n", "a\nb\n"), ("a\nb\rc\r", "a\nb\rc\r"), ("", ""), ("\r\r\n", "\r\n")]
    {
        assert_eq!(typed(&value(sent)).expose(), meant.as_bytes());
    }
}

#[test]
fn what_is_sound() {
    for (name, text, expected) in [
        (Name::envvar("A"), "x", true),
        (Name::envvar("A"), "", false),
        (Name::envvar("PATH"), "x", false),
        (Name::pgservice("a"), "[a]\nhost=h\n", true),
        (Name::pgservice("b"), "[a]\nhost=h\n", false),
        (Name::pgservice("a"), "[a]\nhost = h\n", false),
        (Name::pgservice("a"), "[a]\nhost=h\n[b]\nhost=h\n", false),
    ] {
        assert_eq!(is_sound(&name, &value(text)), expected, "{name} {text}");
    }
}

#[test]
fn switching_editors_keeps_what_was_typed() {
    let text = "[db]\n# old\nhost=h\npassword = x \nport=\nhost=two\nnonsense=1\nuser=u\n";
    let Switched { fields, comments } = fields_of(&value(text)).unwrap();
    assert_eq!((fields.service.as_str(), fields.host.as_str(), comments), ("db", "h", 1));
    assert_eq!(fields.password.as_ref().unwrap().expose(), b"x ");
    let extra: Vec<_> =
        fields.extra.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
    assert_eq!(extra, [("port", &b""[..]), ("host", b"two"), ("nonsense", b"1")]);
    assert_eq!(
        text_of(&fields).expose(),
        b"[db]\nhost=h\nuser=u\npassword=x \nport=\nhost=two\nnonsense=1\n"
    );
    // A blank that may belong to the password.
    let fields = fields_of(&value("[db]\npassword= x")).unwrap().fields;
    assert_eq!(fields.password.unwrap().expose(), b" x");
    for kept in ["host=h", "[a]\nhost=h\n[b]\n", "[a\nhost=h", "[a] x\n", "[a]\nhost h\n"] {
        assert!(fields_of(&value(kept)).is_none(), "{kept}");
    }
    assert!(fields_of(&Value::new(b"[a]\nuser=\xff".to_vec())).is_none());
    assert!(text_of(&fields_of(&value("\n")).unwrap().fields).is_empty());
}

proptest! {
    #[test]
    fn what_one_editor_accepts_the_other_does(
        name in "[a-z]{1,8}",
        host in "[!-~]{0,10}",
        password in "[!-~äß]{0,10}",
        port in "(5432)?",
        options in "[a-z]{1,9}",
    ) {
        let text = format!("[{name}]\nhost={host}\npassword={password}\nport={port}\noptions={options}\n");
        let direct = services(&project(), &value(&text), 15);
        prop_assume!(direct.is_ok());
        let fields = fields_of(&value(&text)).unwrap().fields;
        let again = fields_of(&text_of(&fields)).unwrap().fields;
        let pick = |result| {
            let (name, text) = said(result).remove(0);
            let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
            lines.sort();
            (name, lines)
        };
        let direct = pick(direct);
        prop_assert_eq!(&pick(service(&project(), fields, 15)), &direct);
        prop_assert_eq!(&pick(service(&project(), again, 15)), &direct);
    }

    /// A name is no value: what stands before begins no other section and no other line.
    #[test]
    fn no_value_is_ever_repeated(
        before in "[ -Z^-~]{0,20}", after in "[ -~\n]{0,20}", key in "(host|port|sslmode|x| |password)",
    ) {
        let canary = format!("{before}Canary{after}");
        let shown = |result: Result<Accepted, Vec<Fault>>| match result {
            Ok(accepted) => format!("{:?} {:?}", accepted.warnings, accepted),
            Err(faults) => format!("{faults:?}"),
        };
        let fields = ServiceFields {
            service: "s".into(),
            host: canary.clone(),
            port: canary.clone(),
            password: Some(value(&canary)),
            extra: vec![(key.clone(), value(&canary))],
            ..ServiceFields::default()
        };
        let section = format!("[s]\n{key}={canary}");
        let lines = format!("A={canary}");
        for text in [
            shown(variable(&project(), "A", value(&canary), true)),
            shown(variables(&project(), &value(&lines))),
            shown(service(&project(), fields, 15)),
            shown(services(&project(), &value(&section), 15)),
        ] {
            prop_assert!(!text.contains("Canary"), "{}", text);
        }
    }

    #[test]
    fn switching_never_panics(text in "(?s).{0,80}") {
        if let Some(switched) = fields_of(&value(&text)) {
            drop(text_of(&switched.fields));
        }
    }
}
