//! PostgreSQL services: what libpq reads in a `pg_service.conf`, checked before it is stored.
//!
//! The judge is libpq's own grammar (`parseServiceFile` in `fe-connect.c`), which is not that of
//! an INI file: blanks around `=` are an error or part of the value, `;` starts no comment, keys
//! are case-sensitive, the first of two equal keys wins, a line that begins with `ldap` is a
//! network request.
//!
//! Invariants:
//! - A [`Service`] means to libpq exactly what its fields say: [`Service::render`] writes
//!   `[name]\nkey=value\n…`, and both libpq and [`Service::parse`] read the same fields back.
//! - Nothing here repeats its input: an error or a warning holds a place, a reason, and at most
//!   a keyword of libpq's.
//! - Values exist as slices of the caller's text and as [`Value`]s, never as plain copies.

mod keywords;
mod parse;
mod rejected;
mod warning;

pub use self::keywords::is_password_like;
pub use self::rejected::{Place, Reason, Rejected};
pub use self::warning::Warning;

use self::keywords::Keyword;
use crate::secret::{Value, ValueBuf};

/// The longest line that libpq reads, in bytes without the line end.
///
/// Since libpq 14 `parseServiceFile` reads into 1,024 bytes and refuses a line that fills them;
/// line end and terminator count. A longer line also breaks every service that comes after it.
pub const MAX_LINE: usize = 1021;

/// The longest text of one service, in bytes. All keywords at full length stay below it.
pub const MAX_TEXT: usize = 64 * 1024;

/// The longest file of several services, in bytes.
pub const MAX_FILE: usize = 1024 * 1024;

/// One service: a name, and at least one setting.
///
/// No `Clone`, `Display` or `Serialize`, for it holds secret values; `Debug` shows none.
#[derive(Debug)]
pub struct Service {
    name: String,
    settings: Vec<Setting>,
}

/// One `keyword=value` of a service.
#[derive(Debug)]
pub struct Setting {
    /// A keyword of libpq's, as its table spells it.
    pub keyword: &'static str,
    /// What stands after the `=`; may be empty. UTF-8 in one line, without blanks at its ends.
    pub value: Value,
}

impl Service {
    /// Reads a text of exactly one section.
    ///
    /// Put right without a word: a byte order mark, CRLF, indentation, blank lines, comments
    /// (`;` too), blanks around `=`. A password-like value right behind `= ` is the exception:
    /// libpq counts that blank in, so it is refused rather than guessed at.
    ///
    /// # Errors
    /// Whatever else libpq would refuse, cut, or read in another way than it looks; with the line.
    pub fn parse(text: &[u8]) -> Result<Self, Rejected> {
        parse::one(text)
    }

    /// Makes a service from fields. An empty value is kept: to libpq it counts as given.
    ///
    /// # Errors
    /// As [`Service::parse`], with the field. Here a blank at the start of a value is refused
    /// for every keyword, since the stored text could not be told from one with blanks around `=`.
    pub fn from_settings<K: AsRef<str>>(
        name: &str,
        settings: impl IntoIterator<Item = (K, Value)>,
    ) -> Result<Self, Rejected> {
        let mut draft =
            Draft::new(name).map_err(|reason| Rejected { place: Place::Name, reason })?;
        for (index, (key, value)) in settings.into_iter().enumerate() {
            let keyword = keywords::find(key.as_ref())
                .map_err(|reason| Rejected { place: Place::Setting(index + 1), reason })?;
            draft
                .add(keyword, value)
                .map_err(|reason| Rejected { place: Place::Keyword(keyword.name), reason })?;
        }
        draft.finish().map_err(|reason| Rejected { place: Place::Text, reason })
    }

    /// What a connection names as `service=`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings in their order, each keyword once.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The canonical text: `[name]`, then a line `keyword=value` for each setting.
    pub fn render(&self) -> Value {
        render_file([self])
    }

    /// What deserves a second look, though libpq accepts it.
    ///
    /// `oldest_libpq` is the oldest major version that will read the service: 15.
    pub fn warnings(&self, oldest_libpq: u16) -> Vec<Warning> {
        warning::warnings(self, oldest_libpq)
    }

    /// The values that have to be masked wherever they turn up; none of them is empty.
    pub fn into_password_values(self) -> impl Iterator<Item = Value> {
        self.settings
            .into_iter()
            .filter(|setting| is_password_like(setting.keyword) && !setting.value.is_empty())
            .map(|setting| setting.value)
    }
}

/// Reads a file of several services, at most [`MAX_FILE`] bytes.
///
/// # Errors
/// As [`Service::parse`] for each section; two sections of one name; no section at all. One
/// error refuses the whole file.
pub fn parse_all(text: &[u8]) -> Result<Vec<Service>, Rejected> {
    parse::many(text)
}

/// The canonical texts one after the other: a file for libpq. Empty without services.
///
/// Of two services with one name libpq would read the first only; keeping names apart is the
/// caller's.
pub fn render_file<'a>(services: impl IntoIterator<Item = &'a Service>) -> Value {
    let mut text = ValueBuf::new();
    for service in services {
        text.push(b"[");
        text.push(service.name.as_bytes());
        text.push(b"]\n");
        for setting in &service.settings {
            text.push(setting.keyword.as_bytes());
            text.push(b"=");
            text.push(setting.value.expose());
            text.push(b"\n");
        }
    }
    text.finish()
}

/// A service in the making: whichever way it came in, what it must hold to is checked here.
struct Draft(Service);

impl Draft {
    fn new(name: &str) -> Result<Self, Reason> {
        check_characters(name)?;
        if name.trim().is_empty() {
            return Err(Reason::EmptyName);
        }
        if name.trim() != name {
            return Err(Reason::BlankAroundName);
        }
        if name.contains(']') {
            return Err(Reason::BracketInName);
        }
        if name.len() + "[]".len() > MAX_LINE {
            return Err(Reason::LineTooLong);
        }
        Ok(Self(Service { name: name.to_owned(), settings: Vec::new() }))
    }

    fn add(&mut self, keyword: &'static Keyword, value: Value) -> Result<(), Reason> {
        if self.0.settings.iter().any(|setting| setting.keyword == keyword.name) {
            return Err(Reason::RepeatedKey);
        }
        check_value(keyword, value.expose())?;
        self.0.settings.push(Setting { keyword: keyword.name, value });
        Ok(())
    }

    fn finish(self) -> Result<Service, Reason> {
        if self.0.settings.is_empty() { Err(Reason::NoSettings) } else { Ok(self.0) }
    }
}

/// What libpq strips from the ends of a line; the other characters of `isspace` are refused
/// everywhere.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn check_value(keyword: &Keyword, value: &[u8]) -> Result<(), Reason> {
    let value = str::from_utf8(value).map_err(|_| Reason::NotUtf8)?;
    check_characters(value)?;
    if value.ends_with(is_blank) {
        return Err(Reason::TrailingBlank);
    }
    if value.starts_with(is_blank) {
        return Err(Reason::LeadingBlank);
    }
    if keyword.name.len() + "=".len() + value.len() > MAX_LINE {
        return Err(Reason::LineTooLong);
    }
    match keyword.name {
        "port" if !value.split(',').all(is_port) => Err(Reason::Port),
        "sslmode" if !SSLMODES.contains(&value) => Err(Reason::Sslmode),
        _ => Ok(()),
    }
}

/// Refuses what ends a line or cannot have been meant. A tab is text.
fn check_characters(text: &str) -> Result<(), Reason> {
    match text.chars().find(|&c| c.is_control() && c != '\t') {
        None => Ok(()),
        Some('\0') => Err(Reason::Nul),
        Some('\n' | '\r') => Err(Reason::LineBreak),
        Some(_) => Err(Reason::Control),
    }
}

/// What `connectOptions2` accepts; an empty `sslmode` is not among it.
const SSLMODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// One entry of a list of ports, as `parse_int_param` reads it: `strtol` with blanks around it.
/// Empty stands for the default port.
fn is_port(entry: &str) -> bool {
    let digits = entry.trim_matches(is_blank);
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    entry.is_empty()
        || (digits.bytes().all(|b| b.is_ascii_digit())
            && digits.parse::<u16>().is_ok_and(|port| port != 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Result<Service, Rejected> {
        Service::from_settings("db", pairs.iter().map(|&(key, value)| (key, Value::from(value))))
    }

    #[test]
    fn fields_become_canonical_text() {
        let service =
            fields(&[("host", "h"), ("password", "a'b\\c%=#;\"[x] \tä"), ("port", "")]).unwrap();
        assert_eq!(
            service.render().expose(),
            "[db]\nhost=h\npassword=a'b\\c%=#;\"[x] \tä\nport=\n".as_bytes()
        );
        assert_eq!(service.name(), "db");
        let keywords: Vec<_> = service.settings().iter().map(|s| s.keyword).collect();
        assert_eq!(keywords, ["host", "password", "port"]);
        assert!(render_file([]).is_empty());
    }

    #[test]
    fn fields_are_refused_with_their_place_and_without_their_text() {
        let long = "x".repeat(1017);
        for (pairs, place, reason) in [
            (&[][..], Place::Text, Reason::NoSettings),
            (&[("canary", "x")], Place::Setting(1), Reason::UnknownKey { similar: None }),
            (
                &[("user", "u"), ("HOST", "canary")],
                Place::Setting(2),
                Reason::UnknownKey { similar: Some("host") },
            ),
            (
                &[("user ", "canary")],
                Place::Setting(1),
                Reason::UnknownKey { similar: Some("user") },
            ),
            (&[("service", "canary")], Place::Setting(1), Reason::NestedService),
            (&[("ldap://canary", "")], Place::Setting(1), Reason::Ldap),
            (
                &[("user", "canary"), ("user", "canary")],
                Place::Keyword("user"),
                Reason::RepeatedKey,
            ),
            (&[("user", " canary")], Place::Keyword("user"), Reason::LeadingBlank),
            (&[("user", "canary\t")], Place::Keyword("user"), Reason::TrailingBlank),
            (&[("password", " ")], Place::Keyword("password"), Reason::TrailingBlank),
            (&[("password", "canary\nhost=x")], Place::Keyword("password"), Reason::LineBreak),
            (&[("password", "canary\r")], Place::Keyword("password"), Reason::LineBreak),
            (&[("password", "canary\0")], Place::Keyword("password"), Reason::Nul),
            (&[("password", "canary\x0b")], Place::Keyword("password"), Reason::Control),
            (&[("password", "canary\u{85}")], Place::Keyword("password"), Reason::Control),
            (&[("user", &long)], Place::Keyword("user"), Reason::LineTooLong),
            (&[("sslmode", "canary")], Place::Keyword("sslmode"), Reason::Sslmode),
            (&[("sslmode", "")], Place::Keyword("sslmode"), Reason::Sslmode),
            (&[("port", "canary")], Place::Keyword("port"), Reason::Port),
        ] {
            let error = fields(pairs).unwrap_err();
            assert_eq!((error.place, error.reason), (place, reason), "{pairs:?}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
        assert!(fields(&[("user", &long[1..])]).is_ok());
        let latin1 = [("password", Value::new(b"\xe4".to_vec()))];
        assert_eq!(Service::from_settings("db", latin1).unwrap_err().reason, Reason::NotUtf8);
    }

    #[test]
    fn names() {
        let name = |name: &str| {
            Service::from_settings(name, [("user", Value::from("u"))]).map(|s| s.name().to_owned())
        };
        for good in ["db", "my db", "ä", "#1", "a[b", "a=b", "it's", &"x".repeat(1019)] {
            assert_eq!(name(good).unwrap(), good);
        }
        for (bad, reason) in [
            ("", Reason::EmptyName),
            (" \t", Reason::EmptyName),
            (" canary", Reason::BlankAroundName),
            ("canary\u{a0}", Reason::BlankAroundName),
            ("can]ary", Reason::BracketInName),
            ("can\nary", Reason::LineBreak),
            ("can\0ary", Reason::Nul),
            ("can\x1bary", Reason::Control),
            (&"x".repeat(1020), Reason::LineTooLong),
        ] {
            let error = name(bad).unwrap_err();
            assert_eq!((error.place, error.reason), (Place::Name, reason), "{bad}");
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn ports() {
        for good in ["", "1", "65535", "5432,5433", ",", "1,,3", "+5432", "05432", "1 , 2", "\t5"] {
            assert!(good.split(',').all(is_port), "{good}");
        }
        for bad in
            ["0", "65536", "-1", "x", "1,x", "1 2", "0x10", "++1", "+", " ,1", "+ 5", "1\u{a0}"]
        {
            assert!(!bad.split(',').all(is_port), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_value_and_only_passwords_are_masked() {
        let service =
            fields(&[("user", "canary"), ("password", "canary2"), ("sslpassword", "")]).unwrap();
        assert!(!format!("{service:?}").contains("canary"));
        let masked: Vec<_> = service.into_password_values().collect();
        assert!(matches!(&masked[..], [value] if value.expose() == b"canary2"));
    }

    /// Services of every shape that can be accepted.
    fn services() -> impl Strategy<Value = Service> {
        let value = "(?:[!-~äß€ ]|\t){0,40}";
        let settings = proptest::collection::btree_map(keywords::any(), value, 1..8);
        ("[!-~äß€ ]{1,20}", settings).prop_filter_map("refused", |(name, settings)| {
            let settings = settings.into_iter().map(|(keyword, value)| match keyword {
                "port" => (keyword, Value::from("5432,")),
                "sslmode" => (keyword, Value::from("require")),
                _ => (keyword, Value::from(value.trim())),
            });
            Service::from_settings(name.trim(), settings).ok()
        })
    }

    fn same(a: &Service, b: &Service) -> bool {
        a.name == b.name
            && a.settings.len() == b.settings.len()
            && a.settings
                .iter()
                .zip(&b.settings)
                .all(|(a, b)| a.keyword == b.keyword && a.value.expose() == b.value.expose())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(service in services()) {
            let text = service.render();
            let read = Service::parse(text.expose()).unwrap();
            prop_assert!(same(&read, &service));
            let again = read.render();
            prop_assert_eq!(again.expose(), text.expose());
        }

        #[test]
        fn a_file_reads_as_its_services(list in proptest::collection::vec(services(), 1..5)) {
            let file = render_file(&list);
            let names: std::collections::BTreeSet<_> = list.iter().map(Service::name).collect();
            match parse_all(file.expose()) {
                Ok(read) => {
                    prop_assert_eq!(read.len(), list.len());
                    prop_assert!(read.iter().zip(&list).all(|(a, b)| same(a, b)));
                }
                Err(error) => {
                    prop_assert!(matches!(error.reason, Reason::RepeatedSection { .. }), "{}", error);
                    prop_assert!(names.len() < list.len());
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(service) = Service::parse(&text) {
                prop_assert!(Service::parse(service.render().expose()).is_ok());
            }
            drop(parse_all(&text));
        }

        #[test]
        fn accepted_text_settles(text in "(\\[[a-c ]\\]|host|user|password|=|ldap|[ \t\r\n;#x\u{feff}]){0,20}") {
            if let Ok(service) = Service::parse(text.as_bytes()) {
                let rendered = service.render();
                prop_assert!(same(&Service::parse(rendered.expose()).unwrap(), &service));
            }
        }
    }
}
