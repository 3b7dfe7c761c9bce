//! `pgservice` against the libpq that is installed.
//!
//! For thousands of texts, good and spoilt: what we accept, libpq reads from our canonical text
//! with exactly the values that were meant; what libpq reads from the text as it came is the
//! same, wherever it reads it at all; and what we refuse although libpq reads it, we refuse for
//! one of the reasons that are ours on purpose. The tests' own reading of a text ([`naive`]) is
//! that of a person: trim everything.

mod libpq;
mod texts;

use std::collections::BTreeMap;

use qgis_secrets::pgservice::{self, Reason, Service};
use qgis_secrets::secret::Value;

use self::libpq::{Libpq, Values, spoils};
pub(crate) use self::texts::KEYWORDS;
use self::texts::{ODD_TEXT, Rng, SSLMODES, good_text, port, sloppy, spoilt_text};

#[test]
fn accepted_text_means_to_libpq_what_was_meant() {
    let mut libpq = Libpq::start();
    let (mut accepted, mut refused, mut put_right, mut read_alike) = (0, 0, 0, 0);
    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..6_000 {
        let text = spoilt_text(&mut Rng::new(seed));
        let case = format!("case {seed}: {}", text.escape_ascii());
        let (name, meant) = naive(&text);
        let original = libpq.read(&text, &name);
        match Service::parse(&text) {
            Ok(service) => {
                accepted += 1;
                assert_eq!(service.name(), name, "{case}");
                libpq.must_read(&service, &meant, &case);
                if original.file_error {
                    put_right += 1;
                } else {
                    read_alike += 1;
                    let expected = libpq.with_defaults(&meant);
                    same_but_for_leading_blanks(&original.values, &expected, &case);
                }
            }
            Err(rejected) => {
                refused += 1;
                *reasons.entry(rejected.reason.to_string()).or_default() += 1;
                let libpq_agrees =
                    !original.file_error && original.values == libpq.with_defaults(&meant);
                assert!(!libpq_agrees || on_purpose(&rejected.reason, &text), "{rejected}, {case}");
            }
        }
    }
    let all = accepted + refused;
    let seen = format!("{accepted} accepted, {put_right} put right, {refused}: {reasons:#?}");
    assert!(accepted * 5 > all && refused * 5 > all, "one-sided: {seen}");
    assert!(put_right * 20 > all && read_alike * 10 > all, "one-sided: {seen}");
    assert!(reasons.len() >= 20, "reasons that never occurred: {seen}");
}

#[test]
fn harmless_differences_are_accepted() {
    let mut libpq = Libpq::start();
    for seed in 0..1_000 {
        let mut rng = Rng::new(seed);
        let good = good_text(&mut rng);
        let text = sloppy(&mut rng, &good);
        let case = format!("case {seed}: {}", text.escape_ascii());
        let (name, meant) = naive(&good);
        let service = Service::parse(&text).unwrap_or_else(|rejected| panic!("{rejected}, {case}"));
        assert_eq!(service.name(), name, "{case}");
        libpq.must_read(&service, &meant, &case);
    }
}

#[test]
fn accepted_fields_mean_to_libpq_what_was_given() {
    let mut libpq = Libpq::start();
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let name = rng.text(1, 8);
        let mut meant = Values::new();
        for _ in 0..=rng.below(3) {
            let keyword = rng.pick(KEYWORDS);
            let mut value = rng.value(keyword);
            if rng.below(5) == 0 {
                let at = value.char_indices().map(|(at, _)| at).nth(rng.below(6)).unwrap_or(0);
                value.insert_str(at, rng.pick(ODD_TEXT));
            }
            meant.insert(keyword.to_owned(), value.into_bytes());
        }
        let case = format!("case {seed}: {name:?} {meant:?}");
        let fields = meant.iter().map(|(key, value)| (key, Value::new(value.clone())));
        match Service::from_settings(&name, fields) {
            Ok(service) => {
                accepted += 1;
                assert_eq!(service.name(), name, "{case}");
                libpq.must_read(&service, &meant, &case);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 400 && refused > 400, "one-sided: {accepted} accepted, {refused} refused");
}

#[test]
fn services_in_one_file_do_not_touch_each_other() {
    let mut libpq = Libpq::start();
    let mut several = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let text: Vec<u8> = (0..=rng.below(4)).flat_map(|_| good_text(&mut rng)).collect();
        let case = format!("case {seed}: {}", text.escape_ascii());
        let services = match pgservice::parse_all(&text) {
            Ok(services) => services,
            Err(rejected) => {
                assert!(matches!(rejected.reason, Reason::RepeatedSection { .. }), "{case}");
                continue;
            }
        };
        several += u32::from(services.len() > 1);
        let file = pgservice::render_file(&services);
        for service in &services {
            let read = libpq.read(file.expose(), service.name());
            let alone = libpq.read(service.render().expose(), service.name());
            assert_eq!(read, alone, "{case}");
        }
    }
    assert!(several > 100, "only {several} files of several services");
}

#[test]
fn ports_and_sslmodes_are_refused_when_libpq_refuses_them() {
    let mut libpq = Libpq::start();
    let mut outcomes = BTreeMap::<(&str, bool), u32>::new();
    for seed in 0..1_500 {
        let mut rng = Rng::new(seed);
        let (keyword, value) = if rng.below(3) == 0 {
            let mut word = rng.pick(&[SSLMODES, &[""]].concat()).to_owned();
            if rng.below(2) == 0 {
                word.push_str(rng.pick(&["d", "-ca", "-full", "x"]));
            }
            ("sslmode", word)
        } else {
            let entries: Vec<_> = (0..=rng.below(3)).map(|_| port(&mut rng)).collect();
            ("port", entries.join(","))
        };
        let value = value.trim_matches([' ', '\t']);
        let text = format!("[a]\n{keyword}={value}\n");
        let sockets = value.matches(',').count() + 1;
        let error = libpq.connect_error(text.as_bytes(), "a", sockets);
        let refuses = ["invalid port number", "invalid integer value", "invalid sslmode value"]
            .iter()
            .any(|message| error.contains(message));
        let ours = Service::from_settings("a", [(keyword, Value::from(value))]);
        assert_eq!(ours.is_err(), refuses, "{keyword}={value:?}: {error}");
        *outcomes.entry((keyword, refuses)).or_default() += 1;
    }
    assert!(outcomes.len() == 4 && outcomes.values().all(|&n| n > 50), "one-sided: {outcomes:?}");
}

#[test]
fn warnings_know_which_keywords_this_libpq_has() {
    let libpq = Libpq::start();
    let ours = KEYWORDS.iter().copied();
    let theirs = libpq.keywords.iter().map(String::as_str);
    for keyword in ours.chain(theirs).filter(|k| !["service", "servicefile"].contains(k)) {
        let value = if keyword == "sslmode" { "require" } else { "1" };
        let service = Service::from_settings("a", [(keyword, Value::from(value))])
            .unwrap_or_else(|rejected| panic!("{keyword}: {rejected}"));
        let warned = service.warnings(libpq.major).iter().any(spoils);
        assert_ne!(warned, libpq.keywords.iter().any(|known| known == keyword), "{keyword}");
    }
}

/// A person's reading: the first section's name and settings, with everything trimmed.
fn naive(text: &[u8]) -> (String, Values) {
    let trim =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_matches([' ', '\t', '\r']).to_owned();
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut section = None;
    let mut settings = Values::new();
    for line in text.split(|&b| b == b'\n') {
        let line = trim(line);
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if section.is_some() {
                break;
            }
            section = Some(trim(name.strip_suffix(']').unwrap_or(name).as_bytes()));
        } else {
            // A line that is neither has no right reading; whoever accepts it finds it here.
            let (key, value) = line.split_once('=').unwrap_or((&line, ""));
            settings.insert(trim(key.as_bytes()), trim(value.as_bytes()).into_bytes());
        }
    }
    // A question needs a name that fits an environment variable.
    let name = section.filter(|name| !name.is_empty() && !name.contains('\0'));
    (name.unwrap_or_else(|| "none".to_owned()), settings)
}

/// libpq counts blanks behind `=` in. We drop them, but never before what may be a password.
fn same_but_for_leading_blanks(given: &Values, meant: &Values, case: &str) {
    assert_eq!(given.keys().collect::<Vec<_>>(), meant.keys().collect::<Vec<_>>(), "{case}");
    for (keyword, value) in given {
        let blanks = value.iter().take_while(|b| b" \t".contains(b)).count();
        let dropped = if pgservice::is_password_like(keyword) { 0 } else { blanks };
        assert_eq!(value[dropped..], meant[keyword], "{keyword}, {case}");
    }
}

/// Refused although this libpq reads what was meant: because another reading is as likely, or
/// it was not looked at, or it fails later.
fn on_purpose(reason: &Reason, text: &[u8]) -> bool {
    match reason {
        // What libpq skips or cuts without a word.
        Reason::BeforeSection
        | Reason::SecondSection
        | Reason::AfterName
        | Reason::TrailingBlank
        | Reason::LoneCarriageReturn
        | Reason::Control
        | Reason::Nul
        | Reason::RepeatedKey
        | Reason::NotUtf8
        | Reason::NoSettings
        // It fails when it connects.
        | Reason::Port
        | Reason::Sslmode => true,
        // libpq reads one byte more in the last line, when that has no end.
        Reason::LineTooLong => {
            text.rsplit(|&b| b == b'\n').next().is_some_and(|line| line.len() == 1022)
        }
        _ => false,
    }
}
