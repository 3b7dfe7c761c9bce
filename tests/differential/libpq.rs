//! The installed libpq, asked through a process of its own: the test binary is linked
//! statically and can't load it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64ct::{Base64, Encoding};
use qgis_secrets::pgservice::{Service, Warning};
use qgis_secrets::secret::Value;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// What libpq reads, or should read: keyword to value.
pub(super) type Values = BTreeMap<String, Vec<u8>>;

/// A running oracle.
pub(super) struct Libpq {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    defaults: Values,
    /// All that this libpq knows.
    pub(super) keywords: Vec<String>,
    /// Its major version.
    pub(super) major: u16,
}

/// How libpq reads a text.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    /// Defaults included, without `service`.
    pub(super) values: Values,
    /// Whether a connection fails because of the text.
    pub(super) file_error: bool,
}

/// The first line of the oracle.
#[derive(Deserialize)]
struct About {
    version: u32,
    keywords: Vec<String>,
    defaults: BTreeMap<String, String>,
}

/// What it says to a question. Values are base64.
#[derive(Deserialize)]
struct Answer {
    values: BTreeMap<String, String>,
    file_error: bool,
    error: String,
}

impl Libpq {
    pub(super) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/libpq_oracle.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/usr/bin/python3 is missing: run `make deps`");
        let questions = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("a piped output"));
        let about: About = answer(&mut answers);
        let major = u16::try_from(about.version / 10_000).expect("a version like 150020");
        let defaults = decoded(about.defaults);
        Self { child, questions, answers, defaults, keywords: about.keywords, major }
    }

    /// The error of a connection attempt to as many sockets; there is always one.
    pub(super) fn connect_error(&mut self, text: &[u8], service: &str, sockets: usize) -> String {
        self.ask(text, service, sockets).error
    }

    pub(super) fn read(&mut self, text: &[u8], service: &str) -> Read {
        let answer = self.ask(text, service, 1);
        let mut values = decoded(answer.values);
        values.remove("service");
        Read { values, file_error: answer.file_error }
    }

    pub(super) fn with_defaults(&self, given: &Values) -> Values {
        let mut values = self.defaults.clone();
        values.extend(given.clone());
        values
    }

    /// libpq reads these settings from the canonical text, its defaults, and nothing else.
    pub(super) fn must_read(&mut self, service: &Service, meant: &Values, case: &str) {
        let text = service.render();
        let read = self.read(text.expose(), service.name());
        let (known, unknown): (Values, Values) =
            meant.clone().into_iter().partition(|(keyword, _)| self.keywords.contains(keyword));
        assert_eq!(read.file_error, !unknown.is_empty(), "{case}");
        let warnings = service.warnings(self.major);
        assert_eq!(warnings.iter().filter(|w| spoils(w)).count(), unknown.len(), "{case}");
        let shorter = service.name().split(']').next().unwrap_or_default();
        if shorter != service.name() {
            assert!(self.read(text.expose(), shorter).file_error, "also named {shorter}: {case}");
        }
        if unknown.is_empty() {
            assert_eq!(read.values, self.with_defaults(&known), "{case}");
        } else if !known.is_empty() {
            // One keyword too new spoils the service for this libpq; the others must be right.
            let fields = known.iter().map(|(key, value)| (key, Value::new(value.clone())));
            let service = Service::from_settings(service.name(), fields)
                .unwrap_or_else(|rejected| panic!("{rejected}, {case}"));
            self.must_read(&service, &known, case);
        }
    }

    fn ask(&mut self, text: &[u8], service: &str, sockets: usize) -> Answer {
        // libpq would carry it out.
        let search = text.windows(4).any(|w| w == b"ldap") && text.contains(&b'?');
        assert!(!search, "a generated text holds an LDAP search: {}", text.escape_ascii());
        let text = Base64::encode_string(text);
        let question = json!({"text": text, "service": service, "sockets": sockets});
        let pipe = self.questions.as_mut().expect("open until the end");
        writeln!(pipe, "{question}").expect("the oracle listens");
        answer(&mut self.answers)
    }
}

impl Drop for Libpq {
    fn drop(&mut self) {
        // It ends at the end of its input, and takes its directory with it.
        drop(self.questions.take());
        drop(self.child.wait());
    }
}

/// Whether the warning says that this libpq refuses the service.
pub(super) fn spoils(warning: &Warning) -> bool {
    matches!(warning, Warning::Newer { .. } | Warning::Removed { .. })
}

fn answer<T: DeserializeOwned>(answers: &mut impl BufRead) -> T {
    let mut line = String::new();
    answers.read_line(&mut line).expect("the oracle answers in UTF-8");
    assert!(!line.is_empty(), "the oracle broke; if libpq.so.5 is missing, run `make deps`");
    serde_json::from_str(&line).expect("the oracle answers in JSON")
}

fn decoded(values: BTreeMap<String, String>) -> Values {
    let decode = |value: String| Base64::decode_vec(&value).expect("the oracle writes base64");
    values.into_iter().map(|(keyword, value)| (keyword, decode(value))).collect()
}
