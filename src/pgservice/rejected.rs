//! Why a service is refused.
//!
//! Invariant: nothing in here can hold a part of the input. Text fields are `&'static str`.

use std::borrow::Cow;
use std::fmt;

/// Where, why, and what to do: `line 4: libpq has no such keyword; did you mean …?`
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}; {}", reason.remedy())]
pub struct Rejected {
    /// Where it stands.
    pub place: Place,
    /// What is wrong.
    pub reason: Reason,
}

/// Where in the input something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The service as a whole.
    Text,
    /// A line of the text, counted from 1.
    Line(usize),
    /// The service's name.
    Name,
    /// The field of this keyword.
    Keyword(&'static str),
    /// A field whose key is not a keyword, counted from 1.
    Setting(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("the service"),
            Self::Line(number) => write!(f, "line {number}"),
            Self::Name => f.write_str("the service's name"),
            Self::Keyword(keyword) => write!(f, "`{keyword}`"),
            Self::Setting(number) => write!(f, "setting {number}"),
        }
    }
}

/// What is wrong. Each reason has its remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Empty, or only comments.
    #[error("there is no line with a service's name")]
    NoSection,
    /// Over [`super::MAX_TEXT`] or [`super::MAX_FILE`].
    #[error("the text has more than {limit} bytes")]
    TextTooLong {
        /// In bytes.
        limit: usize,
    },
    /// libpq would pass the bytes on; QGIS, JSON and masking know UTF-8 only.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// libpq drops the rest of the line.
    #[error("there is a NUL character")]
    Nul,
    /// To libpq it ends no line: all that follows belongs to this one.
    #[error("there is a carriage return without a line feed")]
    LoneCarriageReturn,
    /// In a field: it would begin another setting.
    #[error("there is a line break")]
    LineBreak,
    /// Some libpq strips (`\v`, `\f`), the others nobody can see.
    #[error("there is a control character")]
    Control,
    /// libpq ignores it, whatever it was meant for.
    #[error("something stands before the first service's name")]
    BeforeSection,
    /// Where exactly one is expected.
    #[error("a second service begins here")]
    SecondSection,
    /// libpq reads only the first of them.
    #[error("line {first} has begun a service of this name")]
    RepeatedSection {
        /// The line of the other, counted from 1.
        first: usize,
    },
    /// libpq would find no service here.
    #[error("the service's name has no closing `]`")]
    UnclosedName,
    /// libpq ignores it.
    #[error("something stands after the `]`")]
    AfterName,
    /// Nothing, or blanks only.
    #[error("the service's name is empty")]
    EmptyName,
    /// libpq would count the blanks in.
    #[error("a blank begins or ends the service's name")]
    BlankAroundName,
    /// libpq would find it under a shorter name too.
    #[error("there is a `]` in the service's name")]
    BracketInName,
    /// To libpq this is a connection to the local socket as the job's own user.
    #[error("the service has no settings")]
    NoSettings,
    /// A continuation line, or `key: value`.
    #[error("there is no `=`")]
    NoEquals,
    /// libpq would ask the LDAP server that the line names.
    #[error("a line that begins with `ldap` makes libpq search a directory server")]
    Ldap,
    /// `service` or `servicefile`.
    #[error("a service cannot refer to another service or file")]
    NestedService,
    /// A syntax error to libpq.
    #[error("libpq has no such keyword")]
    UnknownKey {
        /// A keyword that looks like it.
        similar: Option<&'static str>,
    },
    /// libpq reads only the first.
    #[error("the keyword is repeated")]
    RepeatedKey,
    /// libpq would cut it off.
    #[error("a blank ends the value")]
    TrailingBlank,
    /// libpq would count it in.
    #[error("a blank begins the value")]
    LeadingBlank,
    /// Over [`super::MAX_LINE`]. libpq would refuse this service and all that follow it.
    #[error("the line is longer than the 1021 bytes that libpq reads")]
    LineTooLong,
    /// libpq would say so when it connects.
    #[error("this is not a port")]
    Port,
    /// libpq would say so when it connects.
    #[error("libpq has no such `sslmode`")]
    Sslmode,
}

impl Reason {
    /// What to do about it.
    pub fn remedy(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoSection => "begin with the service's name in brackets, [name]",
            Self::TextTooLong { .. } => "keep the settings and leave out the comments",
            Self::NotUtf8 => "save the text as UTF-8",
            Self::Nul => "remove it, and save the text as UTF-8 if it is UTF-16",
            Self::LoneCarriageReturn => "end lines with a line feed (Unix) or both (Windows)",
            Self::LineBreak => "a value is one line: remove the break",
            Self::Control => "remove it; tabs are the only ones allowed",
            Self::BeforeSection => "begin with the service's name in brackets, [name]",
            Self::SecondSection => "add each service as a secret of its own",
            Self::RepeatedSection { .. } => "keep one of the two",
            Self::UnclosedName => "write [name]",
            Self::AfterName => "keep only [name], and comments in lines of their own",
            Self::EmptyName => "give the name that connections use as `service`",
            Self::BlankAroundName => "write [name] without blanks at its ends",
            Self::BracketInName => "choose a name without it",
            Self::NoSettings => "give at least `host` or `dbname`",
            Self::NoEquals => "write keyword=value; a value does not go on in the next line",
            Self::Ldap => "write the settings themselves",
            Self::NestedService => "write the settings themselves",
            Self::UnknownKey { similar: None } => "correct the keyword or remove the line",
            Self::UnknownKey { similar: Some(keyword) } => {
                return Cow::Owned(format!("did you mean `{keyword}`?"));
            }
            Self::RepeatedKey => "keep one of the two",
            Self::TrailingBlank => "remove it: libpq cannot read a value that ends with a blank",
            Self::LeadingBlank => "remove it, and choose another value if it was meant",
            Self::LineTooLong => "choose a shorter value",
            Self::Port => "give a number from 1 to 65535, or several with commas between",
            Self::Sslmode => {
                "choose disable, allow, prefer, require, verify-ca or verify-full, or leave it out"
            }
        })
    }
}
