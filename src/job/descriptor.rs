//! The descriptor's wire form, version 1.
//!
//! Invariant: errors made here hold positions, keys and our own words; a value of the text is
//! taken out of serde's messages before they become ours.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::InvalidJob;

/// A job descriptor, version 1.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Descriptor {
    /// The descriptor's version: 1.
    #[cfg_attr(test, schemars(range(min = 1, max = 1)))]
    pub(super) version: u64,
    /// The orchestrator's id of the job.
    #[cfg_attr(test, schemars(regex(pattern = ID)))]
    pub(super) id: String,
    /// Which try of the job this is, from 1.
    #[serde(default = "one")]
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(super) attempt: u32,
    /// The id of the organization that the project belongs to; null for a personal project.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(test, schemars(regex(pattern = ID)))]
    pub(super) organization: Option<String>,
    /// The id of the project.
    #[cfg_attr(test, schemars(regex(pattern = ID)))]
    pub(super) project: String,
    /// The id of the user that the job runs for; null for a system job.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(test, schemars(regex(pattern = ID)))]
    pub(super) user: Option<String>,
    /// Names for people, as in {"project_name": "ninja/field-survey"}; they decide nothing.
    #[serde(default)]
    pub(super) labels: UniqueMap,
    /// W3C Trace Context of the caller.
    #[serde(default, deserialize_with = "some")]
    #[cfg_attr(test, schemars(with = "String"))]
    #[cfg_attr(
        test,
        schemars(regex(pattern = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"))
    )]
    pub(super) traceparent: Option<String>,
    /// The program and its arguments; no shell reads them. Either this or `task`.
    #[serde(default, deserialize_with = "some")]
    #[cfg_attr(test, schemars(with = "Vec<String>", length(min = 1)))]
    pub(super) command: Option<Vec<String>>,
    /// A command template of the operator's settings. Either this or `command`.
    #[serde(default, deserialize_with = "some")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) task: Option<String>,
    /// Values for the template's parameters; each stays one argument.
    #[serde(default, deserialize_with = "some")]
    #[cfg_attr(test, schemars(with = "UniqueMap"))]
    pub(super) params: Option<UniqueMap>,
    /// Variables for the job that are no secrets.
    #[serde(default)]
    pub(super) env: UniqueMap,
    /// Names of variables, of `env` or of the runner's environment, that are masked as secrets are.
    #[serde(default)]
    pub(super) mask_env: Vec<String>,
    /// Where the job starts: an absolute path.
    #[serde(default, deserialize_with = "some")]
    #[cfg_attr(test, schemars(with = "String", regex(pattern = "^/")))]
    pub(super) working_dir: Option<String>,
    /// After this many seconds the job is ended.
    #[serde(default, deserialize_with = "super::number")]
    #[cfg_attr(test, schemars(with = "f64", range(min = 0, max = 31_622_400)))]
    pub(super) timeout_s: Option<f64>,
    /// How many seconds a job that was told to end may take before it is killed.
    #[serde(default, deserialize_with = "super::number")]
    #[cfg_attr(test, schemars(with = "f64", range(min = 0, max = 31_622_400)))]
    pub(super) grace_s: Option<f64>,
    /// Secrets without which the job must not start, as envvar:NAME or pgservice:NAME.
    #[serde(default)]
    #[cfg_attr(test, schemars(inner(regex(pattern = "^(envvar|pgservice):.+$"))))]
    pub(super) require: Vec<String>,
    /// The file in which the job says how it went: an absolute path.
    #[serde(default, deserialize_with = "some")]
    #[cfg_attr(test, schemars(with = "String", regex(pattern = "^/")))]
    pub(super) feedback: Option<String>,
}

#[cfg(test)]
const ID: &str = "^[A-Za-z0-9][A-Za-z0-9._@+/-]{0,254}$";

fn one() -> u32 {
    1
}

/// Reads an `Option` whose key must be there: serde lets a plain `Option` be absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads what may be absent but not null: `"timeout_s": null` is a mistake, not a choice.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A map from string to string in which no key stands twice.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(transparent))]
pub(super) struct UniqueMap(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for UniqueMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = BTreeMap<String, String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if entries.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Entries).map(Self)
    }
}

/// Parses the text. See [`InvalidJob::Syntax`] and [`InvalidJob::Shape`] for the errors.
pub(super) fn parse(text: &[u8]) -> Result<Descriptor, InvalidJob> {
    // serde would read an array as the members in their order.
    if let Some(at) =
        text.iter().position(|b| !b.is_ascii_whitespace()).filter(|at| text[*at] != b'{')
    {
        let line = text[..at].iter().filter(|b| **b == b'\n').count() + 1;
        let column = at - text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1) + 1;
        let problem = "a descriptor is a JSON object";
        return Err(InvalidJob::Syntax { line, column, problem });
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| (error.path().to_string(), error.into_inner()))
        .and_then(|descriptor| match json.end() {
            Ok(()) => Ok(descriptor),
            Err(error) => Err((String::new(), error)),
        });
    read.map_err(|(path, error)| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Eof => {
                InvalidJob::Syntax { line, column, problem: "the text ends in the middle" }
            }
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
                InvalidJob::Syntax {
                    line,
                    column,
                    problem: "a character that JSON doesn't allow here",
                }
            }
            // A later version may have other keys: its number says more than the first of them.
            serde_json::error::Category::Data => match later_version(text) {
                Some(version) => InvalidJob::Version(version),
                None => InvalidJob::Shape {
                    line,
                    column,
                    path: plain(path),
                    problem: without_values(&error.to_string()),
                },
            },
        }
    })
}

fn later_version(text: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    let Versioned { version } = serde_json::from_slice(text).ok()?;
    (version > u64::from(super::VERSION)).then_some(version)
}

/// A path whose keys are plain names; any other could hold whatever somebody pasted.
fn plain(path: String) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.[]".contains(&b);
    if path == "." || path.len() > 80 || !path.bytes().all(plain) { String::new() } else { path }
}

/// Keeps of serde's message what it expected and drops what it read.
///
/// Its forms: "invalid type: string "…", expected u64", "unknown field `…`, expected one of …",
/// "missing field `…`", "duplicate field `…`".
fn without_values(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    if let Some(rest) = message.strip_prefix("unknown field `") {
        // A key is named, for people mistype keys; but only one that looks like a key.
        let (key, known) = rest.rsplit_once("`, expected one of ").unwrap_or((rest, ""));
        let plain = key.len() <= 40 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let key = if plain { format!("unknown key `{key}`") } else { "unknown key".to_owned() };
        return format!("{key}; the keys are {known}");
    }
    if message.starts_with("missing field") || message.starts_with("duplicate field") {
        let message = message.replace("field", "key");
        let null = message.contains("`organization`") || message.contains("`user`");
        let hint = if null && message.starts_with("missing") {
            " (null says that there is none)"
        } else {
            ""
        };
        return format!("{message}{hint}");
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if message == "a key stands twice" => message.to_owned(),
        None => "a value of the wrong form".to_owned(),
    }
}
