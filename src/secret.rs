//! What a secret is: its kind, its key, the level it stands at, and its value.
//!
//! Invariant: facts and values are different types. [`Name`], [`Owner`] and [`Level`] can be
//! printed, serialised and copied; a [`Value`] can do none of it, is overwritten when it is
//! dropped, and is looked into only through [`Value::expose`], which the layering test allows in
//! named files only.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a secret becomes inside the job.
///
/// A third kind, `file`, has its place reserved: kinds are stored and printed as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An environment variable; the key is its name.
    Envvar,
    /// One section of libpq's service file; the key is the section's name.
    Pgservice,
}

impl Kind {
    /// Every kind, in the order in which lists show them.
    pub const ALL: [Self; 2] = [Self::Envvar, Self::Pgservice];

    /// The word for this kind in commands, documents and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Envvar => "envvar",
            Self::Pgservice => "pgservice",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(UnknownWord("a kind: envvar or pgservice"))
    }
}

/// Where a secret stands. The order is the precedence: a later level beats an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For all projects of an organization.
    Organization,
    /// An organization's default for one member. A plain project secret beats it.
    OrganizationUser,
    /// For all members of a project.
    Project,
    /// User-assigned: within a project, for one user.
    ProjectUser,
}

impl Level {
    /// Every level, the weakest first.
    pub const ALL: [Self; 4] =
        [Self::Organization, Self::OrganizationUser, Self::Project, Self::ProjectUser];

    /// The word for this level in documents and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::OrganizationUser => "organization_user",
            Self::Project => "project",
            Self::ProjectUser => "project_user",
        }
    }

    /// What people should know before they rely on this level.
    pub fn caveat(self) -> Option<&'static str> {
        (self == Self::OrganizationUser).then_some(
            "this is the organization's default for one member, not a user-assigned secret: a \
             plain project secret of the same name beats it",
        )
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == word)
            .ok_or(UnknownWord("a level: organization, organization_user, project or project_user"))
    }
}

/// A word that stands for nothing; holds what was expected, not what was read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not {0}")]
pub struct UnknownWord(pub(crate) &'static str);

/// Names a secret inside a resolution: the identity is (kind, key), never the key alone.
///
/// Written `kind:key`, as in a descriptor's `require`: `pgservice:ninja`, `envvar:API_KEY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name {
    /// What the secret becomes.
    pub kind: Kind,
    /// The variable's name, or the section's.
    pub key: String,
}

impl Name {
    /// An environment variable's name.
    pub fn envvar(key: impl Into<String>) -> Self {
        Self { kind: Kind::Envvar, key: key.into() }
    }

    /// A service's name.
    pub fn pgservice(key: impl Into<String>) -> Self {
        Self { kind: Kind::Pgservice, key: key.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.kind, self.key))
    }
}

impl FromStr for Name {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let expected = UnknownWord("a secret's name: envvar:NAME or pgservice:NAME");
        match text.split_once(':') {
            Some((kind, key)) if !key.is_empty() && !key.contains(char::is_control) => {
                match kind.parse() {
                    Ok(kind) => Ok(Self { kind, key: key.to_owned() }),
                    Err(_) => Err(expected),
                }
            }
            _ => Err(expected),
        }
    }
}

/// The stable, opaque id of an organization, a project or a user.
///
/// `^[A-Za-z0-9][A-Za-z0-9._@+/-]{0,254}$`, without `.` or `..` as a segment between slashes;
/// compared byte for byte. The orchestrator never gives an id to somebody else: a reused one
/// would inherit secrets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 255;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a text is not an [`Id`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing at all.
    #[error("an id cannot be empty")]
    Empty,
    /// Over [`Id::MAX_LEN`] bytes.
    #[error("an id has at most 255 bytes")]
    TooLong,
    /// The first character.
    #[error("an id begins with an ASCII letter or digit")]
    Start,
    /// Any other character.
    #[error("an id holds only ASCII letters, digits and . _ @ + / -")]
    Character,
    /// A `.` or `..` between slashes.
    #[error("an id has no `.` or `..` between slashes")]
    Dots,
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let first = *text.as_bytes().first().ok_or(InvalidId::Empty)?;
        if text.len() > Self::MAX_LEN {
            return Err(InvalidId::TooLong);
        }
        if !first.is_ascii_alphanumeric() {
            return Err(InvalidId::Start);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+/-".contains(&b)) {
            return Err(InvalidId::Character);
        }
        if text.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(InvalidId::Dots);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Whose a secret is. The level follows from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// An organization, or one of its members.
    Organization {
        /// The organization's id.
        organization: Id,
        /// The member that this is the default for.
        user: Option<Id>,
    },
    /// A project, or one user within it.
    Project {
        /// The project's id.
        project: Id,
        /// The user that this is assigned to.
        user: Option<Id>,
    },
}

impl Owner {
    /// The level that this owner's secrets stand at.
    pub fn level(&self) -> Level {
        match self {
            Self::Organization { user: None, .. } => Level::Organization,
            Self::Organization { user: Some(_), .. } => Level::OrganizationUser,
            Self::Project { user: None, .. } => Level::Project,
            Self::Project { user: Some(_), .. } => Level::ProjectUser,
        }
    }

    /// The organization's or the project's id.
    pub fn id(&self) -> &Id {
        match self {
            Self::Organization { organization, .. } => organization,
            Self::Project { project, .. } => project,
        }
    }

    /// The user that the secret is for, if it is for one.
    pub fn user(&self) -> Option<&Id> {
        match self {
            Self::Organization { user, .. } | Self::Project { user, .. } => user.as_ref(),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Organization { .. } => "organization",
            Self::Project { .. } => "project",
        };
        match self.user() {
            None => write!(f, "{word} {}", self.id()),
            Some(user) => write!(f, "{word} {}, user {user}", self.id()),
        }
    }
}

/// The id of one stored secret; a replaced secret gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecretId(String);

impl SecretId {
    /// A new id (UUID version 7, so that ids sort by the time they were made).
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SecretId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<String> for SecretId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A secret's value: bytes that are overwritten when they are dropped.
///
/// No `Clone`, no `Display`, no `Serialize`; `Debug` shows no byte and no length.
pub struct Value(SecretBox<[u8]>);

impl Value {
    /// Takes bytes over. What lies beyond the vector's length is overwritten too.
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut buffer = ValueBuf::new();
        if bytes.len() == bytes.capacity() {
            return Self(SecretBox::new(bytes.into_boxed_slice()));
        }
        let bytes = Zeroizing::new(bytes);
        buffer.push(&bytes);
        buffer.finish()
    }

    /// The bytes. Who calls this keeps them out of everything that outlives the call.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

/// A value in the making: grows without leaving a copy behind.
///
/// A plain `Vec` that grows frees its old memory as it is; this one overwrites it first.
#[derive(Default)]
pub struct ValueBuf(Zeroizing<Vec<u8>>);

impl ValueBuf {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut grown = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            grown.extend_from_slice(&self.0);
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }

    /// Reads to the end, or to `limit` bytes: `None` when there is more than that.
    pub fn read(mut source: impl Read, limit: usize) -> io::Result<Option<Self>> {
        let mut buffer = Self::new();
        let mut chunk = Zeroizing::new([0_u8; 4096]);
        loop {
            match source.read(chunk.as_mut_slice()) {
                Ok(0) => return Ok(Some(buffer)),
                Ok(n) if buffer.0.len() + n > limit => return Ok(None),
                Ok(n) => buffer.push(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is there so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The finished value.
    pub fn finish(self) -> Value {
        let mut exact = Vec::with_capacity(self.0.len());
        exact.extend_from_slice(&self.0);
        Value(SecretBox::new(exact.into_boxed_slice()))
    }
}

/// What is written goes the way of [`ValueBuf::push`]; it never fails.
impl Write for ValueBuf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_by_precedence() {
        assert!(Level::ALL.is_sorted());
        assert_eq!(Level::ALL.map(|l| l.as_str().parse()), Level::ALL.map(Ok));
    }

    #[test]
    fn ids() {
        for good in ["a", "org-81", "ninja/field-survey", "a@b.c", "9+x", "a..b", &"x".repeat(255)]
        {
            assert_eq!(good.parse::<Id>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", InvalidId::Empty),
            ("-a", InvalidId::Start),
            ("/a", InvalidId::Start),
            ("a b", InvalidId::Character),
            ("a\n", InvalidId::Character),
            ("ä", InvalidId::Start),
            ("a%2f", InvalidId::Character),
            ("a/../b", InvalidId::Dots),
            ("a/.", InvalidId::Dots),
            (&"x".repeat(256), InvalidId::TooLong),
        ] {
            assert_eq!(bad.parse::<Id>().unwrap_err(), why, "{bad}");
        }
    }

    #[test]
    fn names_round_trip_and_keep_colons_in_the_key() {
        assert_eq!("pgservice:a:b".parse::<Name>().unwrap(), Name::pgservice("a:b"));
        assert_eq!(Name::envvar("API_KEY").to_string(), "envvar:API_KEY");
        for bad in ["API_KEY", "envvar:", "file:x", ":x", "", "pgservice:a\x1b"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_shows_nothing_and_keeps_every_byte() {
        let mut roomy = Vec::with_capacity(64);
        roomy.extend_from_slice(b"hunter2\0\xff");
        let value = Value::new(roomy);
        assert_eq!(value.expose(), b"hunter2\0\xff");
        assert_eq!(format!("{value:?}"), "Value(…)");
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let text = [b'x'; 10_000];
        assert!(ValueBuf::read(&text[..], 9_999).unwrap().is_none());
        assert_eq!(ValueBuf::read(&text[..], 10_000).unwrap().unwrap().as_slice(), text);
    }
}
