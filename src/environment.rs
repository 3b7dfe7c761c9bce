//! The job's environment: which names are refused, and which variables the job gets.
//!
//! Invariants: the function is pure; later sources win, in the order pass-through, descriptor,
//! secrets, the runner's own; no refused name reaches the job through a secret or a descriptor,
//! and no credential of the runner or of another tool reaches it from the parent's environment,
//! unless the settings name exactly that variable.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::secret::{Value, ValueBuf};

mod names;

pub use names::{CREDENTIALS, REFUSED, Rule};

/// The longest `NAME=value`, in bytes and without its NUL: Linux's `MAX_ARG_STRLEN` is 131,072.
pub const MAX_STRING: usize = 131_071;

/// The longest name of an environment variable that is a secret, in bytes.
pub const MAX_NAME: usize = 255;

/// What the job gets of the parent's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Everything but [`CREDENTIALS`], instead of `pass` only.
    pub inherit_all: bool,
    /// Names, or prefixes that end in `*`, that pass through. An exact name passes whatever the
    /// tables say.
    pub pass: Vec<String>,
    /// Names that a descriptor's `env` may set although they are refused.
    pub trust: Vec<String>,
}

/// Why a variable is refused. Holds names, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not `^[A-Z][A-Z0-9_]*$`.
    #[error(
        "the name of an environment variable is capital letters, digits and `_`, and begins with \
         a letter"
    )]
    Name,
    /// Over [`MAX_NAME`] bytes.
    #[error("the name of an environment variable has at most {MAX_NAME} bytes")]
    NameTooLong,
    /// In the table [`REFUSED`].
    #[error("`{name}` is refused: it {reason}")]
    Reserved {
        /// The variable.
        name: String,
        /// What it would do.
        reason: &'static str,
    },
    /// Nothing at all.
    #[error("`{0}` has an empty value; to take a variable away, remove its secret")]
    Empty(String),
    /// Programs would see the value end there.
    #[error("the value of `{0}` holds a NUL byte, which no environment variable can")]
    Nul(String),
    /// QGIS and Python read the environment as text.
    #[error("the value of `{0}` is not UTF-8 text; encode it, for instance as base64")]
    NotText(String),
    /// The kernel would refuse to start the job.
    #[error(
        "`{0}` is too long: the kernel takes at most {MAX_STRING} bytes for the name, `=` and the \
         value together"
    )]
    TooLong(String),
}

/// What should make somebody look again at a value that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Under 4 bytes.
    #[error("the value is too short to be masked in output (under 4 bytes)")]
    Unmaskable,
    /// Under 8 bytes.
    #[error(
        "the value is short (under 8 bytes): masking it may also hide other text, and its encoded \
         forms are not masked"
    )]
    Short,
    /// A word that turns up in output for other reasons.
    #[error("the value is a common word: masking it hides other text as well")]
    Common,
    /// Shells and files often add one.
    #[error("the value ends in a line break; if it wasn't meant, replace the secret")]
    LineBreak,
}

/// A variable that was taken out of the runner's environment, for it may open something.
#[derive(Debug)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// Whether a variable of the runner's environment is one to be taken out: in the table
/// [`CREDENTIALS`], and not among those with which the runner itself is told where things are.
pub fn is_credential(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    CREDENTIALS.iter().any(|rule| rule.matches(name) && !names::is_own(rule))
}

/// Checks an environment variable that is about to become a secret.
pub fn check(name: &str, value: &Value) -> Result<(), Refused> {
    check_name(name)?;
    if let Some(rule) = REFUSED.iter().find(|rule| rule.matches(name)) {
        return Err(Refused::Reserved { name: name.to_owned(), reason: rule.reason });
    }
    let bytes = value.expose();
    let error = if bytes.is_empty() {
        Refused::Empty
    } else if bytes.contains(&0) {
        Refused::Nul
    } else if name.len() + 1 + bytes.len() > MAX_STRING {
        Refused::TooLong
    } else if std::str::from_utf8(bytes).is_err() {
        Refused::NotText
    } else {
        return Ok(());
    };
    Err(error(name.to_owned()))
}

/// Checks the form of a name: `^[A-Z][A-Z0-9_]*$`, at most [`MAX_NAME`] bytes.
pub fn check_name(name: &str) -> Result<(), Refused> {
    if name.len() > MAX_NAME {
        return Err(Refused::NameTooLong);
    }
    let shaped = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if shaped { Ok(()) } else { Err(Refused::Name) }
}

/// What to warn of when a value is added. Values marked *not sensitive* are not masked, so only
/// the line break matters for them.
pub fn doubts(value: &Value, sensitive: bool) -> Vec<Doubt> {
    let bytes = value.expose();
    let mut doubts = Vec::new();
    if bytes.ends_with(b"\n") {
        doubts.push(Doubt::LineBreak);
    }
    if sensitive {
        if bytes.len() < 4 {
            doubts.push(Doubt::Unmaskable);
        } else if names::COMMON.iter().any(|word| bytes.eq_ignore_ascii_case(word.as_bytes())) {
            doubts.push(Doubt::Common);
        } else if bytes.len() < 8 {
            doubts.push(Doubt::Short);
        }
    }
    doubts
}

/// A finished environment: the strings `NAME=value` with their NUL, as `execve(2)` takes them.
#[derive(Debug, Default)]
pub struct Environment {
    strings: BTreeMap<OsString, Value>,
}

impl Environment {
    /// The strings, each `NAME=value\0`, ordered by name.
    pub fn strings(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.strings.values()
    }

    /// The value of one variable that is not a secret, for the runner's own look-ups.
    pub fn plain(&self, name: &str) -> Option<OsString> {
        let string = self.strings.get(OsStr::new(name))?.expose();
        Some(OsString::from_vec(string[name.len() + 1..string.len() - 1].to_vec()))
    }

    /// The value of one variable; `None` where it isn't set.
    pub fn value(&self, name: &str) -> Option<Value> {
        let string = self.strings.get(OsStr::new(name))?.expose();
        Some(Value::new(string[name.len() + 1..string.len() - 1].to_vec()))
    }

    /// Sets what is the runner's own, over everything else.
    pub fn set_own<'a>(&mut self, own: impl IntoIterator<Item = (&'a str, OsString)>) {
        for (name, value) in own {
            self.set(name.into(), value.as_bytes());
        }
    }

    fn set(&mut self, name: OsString, value: &[u8]) {
        let mut string = ValueBuf::new();
        for part in [name.as_bytes(), b"=", value, b"\0"] {
            string.push(part);
        }
        self.strings.insert(name, string.finish());
    }
}

/// Builds the job's environment.
///
/// `parent` is the runner's own environment, `credentials` what was taken out of it at the start,
/// `descriptor` the descriptor's `env`, `secrets` the opened environment variables.
/// [`Environment::set_own`] follows.
pub fn build<'a>(
    policy: &Policy,
    parent: impl IntoIterator<Item = (OsString, OsString)>,
    credentials: Vec<Credential>,
    descriptor: &BTreeMap<String, String>,
    secrets: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Result<Environment, Refused> {
    let mut environment = Environment::default();
    for (name, value) in parent {
        if passes(policy, &name) {
            environment.set(name, value.as_bytes());
        }
    }
    for Credential { name, value } in credentials {
        if passes(policy, OsStr::new(&name)) {
            environment.set(name.into(), value.expose());
        }
    }
    for (name, value) in descriptor {
        if !policy.trust.contains(name)
            && let Some(rule) = REFUSED.iter().find(|rule| rule.matches(name))
        {
            return Err(Refused::Reserved { name: name.clone(), reason: rule.reason });
        }
        if name.len() + 1 + value.len() > MAX_STRING {
            return Err(Refused::TooLong(name.clone()));
        }
        environment.set(name.into(), value.as_bytes());
    }
    for (name, value) in secrets {
        check(name, value)?;
        environment.set(name.into(), value.expose());
    }
    Ok(environment)
}

fn passes(policy: &Policy, name: &OsStr) -> bool {
    // No name that we pass on is anything but text; a stranger one is not worth the doubt.
    let Some(name) = name.to_str() else { return false };
    if policy.pass.iter().any(|pass| pass == name) {
        return true;
    }
    let listed = policy.inherit_all || policy.pass.iter().any(|pass| names::matches(pass, name));
    listed && !CREDENTIALS.iter().any(|rule| rule.matches(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn built(
        policy: &Policy,
        parent: &[(&str, &str)],
        descriptor: &[(&str, &str)],
        secrets: &[(&str, &str)],
        own: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>, Refused> {
        let secrets: Vec<(&str, Value)> =
            secrets.iter().map(|(name, value)| (*name, Value::from(*value))).collect();
        let (taken, plain): (Vec<_>, Vec<_>) =
            parent.iter().partition(|(name, _)| is_credential(OsStr::new(name)));
        let credentials = taken
            .iter()
            .map(|(name, value)| Credential { name: (*name).into(), value: (*value).into() })
            .collect();
        let mut environment = build(
            policy,
            plain.iter().map(|(name, value)| ((*name).into(), (*value).into())),
            credentials,
            &descriptor.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            secrets.iter().map(|(name, value)| (*name, value)),
        )?;
        environment.set_own(own.iter().map(|(name, value)| (*name, (*value).into())));
        Ok(environment
            .strings()
            .map(|string| {
                let text =
                    std::str::from_utf8(string.expose()).unwrap().strip_suffix('\0').unwrap();
                let (name, value) = text.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect())
    }

    fn clean() -> Policy {
        Policy {
            pass: ["PATH", "LC_*", "QGIS_*", "VAULT_*", "OP_CONNECT_TOKEN"].map(Into::into).into(),
            ..Policy::default()
        }
    }

    #[test]
    fn later_sources_win() {
        let environment = built(
            &clean(),
            &[("LC_ALL", "parent"), ("SECRET", "parent"), ("X", "parent")],
            &[("LC_ALL", "descriptor"), ("A", "descriptor"), ("JOB_NAME", "descriptor")],
            &[("A", "secret"), ("B", "secret")],
            &[("B", "own"), ("PGSERVICEFILE", "own")],
        )
        .unwrap();
        let expected = [
            ("A", "secret"),
            ("B", "own"),
            ("JOB_NAME", "descriptor"),
            ("LC_ALL", "descriptor"),
            ("PGSERVICEFILE", "own"),
        ];
        assert_eq!(environment, expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn credentials_pass_only_by_their_exact_name() {
        let parent = [
            ("PATH", "/bin"),
            ("VAULT_TOKEN", "t"),
            ("VAULT_ADDR", "a"),
            ("PGPASSWORD", "p"),
            ("AWS_SECRET_ACCESS_KEY", "k"),
            ("QGIS_SECRETS_STORE", "s"),
            ("OP_CONNECT_TOKEN", "o"),
            ("LANG", "C"),
        ];
        let names = |policy: &Policy| {
            let environment = built(policy, &parent, &[], &[], &[]).unwrap();
            environment.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names(&clean()), ["OP_CONNECT_TOKEN", "PATH"]);
        let image = Policy { inherit_all: true, ..Policy::default() };
        assert_eq!(names(&image), ["LANG", "PATH"]);
    }

    #[test]
    fn what_opens_something_is_taken_out() {
        for name in ["PGPASSWORD", "VAULT_TOKEN", "SECRET_KEY", "QGIS_SECRETS_JOB_TOKEN"] {
            assert!(is_credential(OsStr::new(name)), "{name}");
        }
        // The runner reads these itself, and paths open nothing.
        for name in [
            "QGIS_SECRETS_STORE",
            "QGIS_SECRETS_JOB_TOKEN_FILE",
            "CREDENTIALS_DIRECTORY",
            "HOME",
            "XPGPASSWORD",
            "",
        ] {
            assert!(!is_credential(OsStr::new(name)), "{name}");
        }
        assert!(!is_credential(OsStr::from_bytes(b"PG\xff")));
    }

    #[test]
    fn refused_names_come_from_nobody() {
        for name in [
            "LD_PRELOAD",
            "PATH",
            "HOME",
            "PYTHONPATH",
            "PGSERVICEFILE",
            "PGSYSCONFDIR",
            "PGPASSFILE",
            "PGSERVICE",
            "QT_PLUGIN_PATH",
            "QGIS_CUSTOM_CONFIG_PATH",
            "GCONV_PATH",
            "NODE_OPTIONS",
            "GDAL_DRIVER_PATH",
            "BASH_ENV",
            "ENV",
            "IFS",
            "SHELL",
            "PYQGIS_STARTUP",
            "JOB_ID",
            "QGIS_SECRETS_STORE",
        ] {
            let reserved = |error| matches!(error, Err(Refused::Reserved { .. }));
            assert!(reserved(check(name, &"value123".into())), "{name}");
            assert!(reserved(built(&clean(), &[], &[(name, "x")], &[], &[]).map(|_| ())), "{name}");
            assert!(reserved(built(&clean(), &[], &[], &[(name, "x")], &[]).map(|_| ())), "{name}");
            // A trusted name is the descriptor's only, never a secret's.
            let trusting = Policy { trust: vec![name.to_owned()], ..clean() };
            assert!(built(&trusting, &[], &[(name, "x")], &[], &[]).is_ok(), "{name}");
            assert!(built(&trusting, &[], &[], &[(name, "x")], &[]).is_err(), "{name}");
        }
    }

    #[test]
    fn names_that_jobs_need_are_free() {
        for name in ["API_KEY", "PGPASSWORD", "QFC_PG_EFFECTIVE_USER", "AWS_ACCESS_KEY_ID", "A"] {
            assert_eq!(check(name, &"value123".into()), Ok(()), "{name}");
        }
        let environment = built(&clean(), &[], &[("QT_QPA_PLATFORM", "offscreen")], &[], &[]);
        assert_eq!(environment.unwrap().len(), 1);
    }

    #[test]
    fn names_and_values_are_checked() {
        let value = || Value::from("value123");
        for bad in ["", "a", "1A", "_A", "A-B", "A B", "A\n", "Ä", "A=B", "A\0"] {
            assert_eq!(check(bad, &value()), Err(Refused::Name), "{bad:?}");
        }
        assert_eq!(check(&"A".repeat(256), &value()), Err(Refused::NameTooLong));
        assert_eq!(check("A", &"".into()), Err(Refused::Empty("A".into())));
        assert_eq!(check("A", &"x\0y".into()), Err(Refused::Nul("A".into())));
        assert_eq!(check("A", &Value::new(b"\xff".to_vec())), Err(Refused::NotText("A".into())));
        let longest = "x".repeat(MAX_STRING - 2);
        assert_eq!(check("A", &longest.as_str().into()), Ok(()));
        let longer = format!("{longest}x");
        assert_eq!(check("A", &longer.as_str().into()), Err(Refused::TooLong("A".into())));
    }

    #[test]
    fn doubtful_values_are_told() {
        for (value, sensitive, expected) in [
            ("x7", true, vec![Doubt::Unmaskable]),
            ("x7x7", true, vec![Doubt::Short]),
            ("Postgres", true, vec![Doubt::Common]),
            ("EPSG:4326", true, vec![Doubt::Common]),
            ("EPSG:4326", false, vec![]),
            ("a good password\n", true, vec![Doubt::LineBreak]),
            ("a good password", true, vec![]),
        ] {
            assert_eq!(doubts(&value.into(), sensitive), expected, "{value}");
        }
    }

    #[test]
    fn every_rule_has_a_reason_that_reads_after_it() {
        for rule in REFUSED.iter().chain(CREDENTIALS) {
            assert!(rule.reason.starts_with(char::is_lowercase), "{}", rule.pattern);
            assert!(!rule.reason.ends_with('.'), "{}", rule.pattern);
            assert!(rule.matches(rule.pattern.trim_end_matches('*')), "{}", rule.pattern);
        }
    }

    proptest! {
        #[test]
        fn a_value_arrives_byte_for_byte(value in "[^\0]{1,200}") {
            let environment = built(&clean(), &[], &[], &[("KEY", &value)], &[]).unwrap();
            prop_assert_eq!(&environment["KEY"], &value);
        }

        #[test]
        fn no_name_is_both_accepted_and_dangerous(name in "(LD_|PYTHON|QGIS_SECRETS_)[A-Z_]{0,9}") {
            prop_assert!(check(&name, &"value123".into()).is_err());
        }
    }
}
