//! Facts in words for people. Pure.

use jiff::Timestamp;

use crate::secret::{Kind, Owner};
use crate::server::login::LINK_SUBJECT as LINK;

/// A time, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// RFC 3339.
    pub(super) iso: String,
    /// `23 Nov 2026, 21:54 UTC`.
    pub(super) words: String,
}

impl When {
    /// From RFC 3339; other text stays as it is.
    pub(super) fn of(text: &str) -> Self {
        match text.parse() {
            Ok(time) => Self::at(time),
            Err(_) => Self { iso: text.to_owned(), words: text.to_owned() },
        }
    }

    /// From seconds since 1970.
    pub(super) fn seconds(seconds: i64) -> Self {
        Timestamp::from_second(seconds).map_or_else(|_| Self::of(&seconds.to_string()), Self::at)
    }

    fn at(time: Timestamp) -> Self {
        Self {
            iso: time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            words: time.strftime("%-d %b %Y, %H:%M UTC").to_string(),
        }
    }
}

/// A kind, as the page calls it.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Envvar => "Environment variable",
        Kind::Pgservice => "pg_service configuration",
    }
}

/// A level, with the user that it is for.
pub(super) fn level(owner: &Owner) -> String {
    match owner {
        Owner::Organization { user: None, .. } => "Organization".to_owned(),
        Owner::Organization { user: Some(user), .. } => format!("Organization, default for {user}"),
        Owner::Project { user: None, .. } => "Project".to_owned(),
        Owner::Project { user: Some(user), .. } => format!("Assigned to {user}"),
    }
}

/// What a list says of who did something: `name (subject)`, or the subject alone. People are
/// called as they are; programs and one-time links have names of their own.
pub(super) fn person(label: &str) -> String {
    let (name, subject) = match label.strip_suffix(')').and_then(|text| text.rsplit_once(" (")) {
        Some((name, subject)) => (name, subject),
        None => ("", label),
    };
    match subject {
        LINK => "an operator with the one-time link".to_owned(),
        token if token.starts_with("token:") && name.is_empty() => "an API token".to_owned(),
        token if token.starts_with("token:") => format!("the API token “{name}”"),
        _ => label.to_owned(),
    }
}

/// How many of something: `1 secret`, `2 secrets`.
pub(super) fn count(number: i64, one: &str, more: &str) -> String {
    match number {
        0 => format!("no {more}"),
        1 => format!("1 {one}"),
        _ => format!("{number} {more}"),
    }
}

/// Why no job gets a secret.
pub(super) fn dormant(owner: &Owner) -> String {
    let scope = match owner {
        Owner::Organization { .. } => "organization",
        Owner::Project { .. } => "project",
    };
    match owner.user() {
        Some(user) => format!("No job gets it: {user} is no member of this {scope}."),
        None => format!("No job gets it: this {scope} is not registered."),
    }
}

/// A part of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Whether it stood between backticks.
    pub(super) code: bool,
}

/// A sentence, by its backticks. One without a partner stays as it is.
pub(super) fn pieces(text: &(impl AsRef<str> + ?Sized)) -> Vec<Piece<'_>> {
    let text = text.as_ref();
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        let Some((code, after)) = after.split_once('`') else { break };
        pieces.push(Piece { text: before, code: false });
        pieces.push(Piece { text: code, code: true });
        rest = after;
    }
    pieces.push(Piece { text: rest, code: false });
    pieces.retain(|piece| !piece.text.is_empty());
    pieces
}

/// From how many members on one is typed, not chosen: a longer list helps nobody.
pub(super) const CHOOSABLE: usize = 200;

/// An option of a list to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) chosen: bool,
}

impl Choice {
    /// One option, chosen if it is the one that was sent.
    pub(super) fn new(value: impl Into<String>, text: impl Into<String>, sent: &str) -> Self {
        let value = value.into();
        let chosen = value == sent;
        Self { value, text: text.into(), chosen }
    }

    /// Both kinds.
    pub(super) fn kinds(sent: &str) -> Vec<Self> {
        Kind::ALL.into_iter().map(|k| Self::new(k.as_str(), kind(k), sent)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks() {
        let of = |text: &'static str| {
            let pieces = pieces(text).into_iter().map(|piece| (piece.text, piece.code));
            pieces.collect::<Vec<_>>()
        };
        assert_eq!(
            of("give `host` or `dbname`"),
            [("give ", false), ("host", true), (" or ", false), ("dbname", true)]
        );
        assert_eq!(of("a ` alone"), [("a ` alone", false)]);
        assert_eq!(of("`a` ` b"), [("a", true), (" ` b", false)]);
        assert_eq!(of(""), []);
    }

    #[test]
    fn who_it_was() {
        for (label, words) in [
            ("Ada (ada)", "Ada (ada)"),
            ("ada", "ada"),
            ("link:operator", "an operator with the one-time link"),
            // As it was written once.
            ("one-time link (link:operator)", "an operator with the one-time link"),
            ("ci (nightly) (token:0a1b)", "the API token “ci (nightly)”"),
            ("token:0a1b", "an API token"),
            ("link:operator (eve)", "link:operator (eve)"),
            ("token:x (eve)", "token:x (eve)"),
            ("a) (b", "a) (b"),
        ] {
            assert_eq!(person(label), words);
        }
        assert_eq!([0, 1, 2].map(|n| count(n, "man", "men")), ["no men", "1 man", "2 men"]);
    }

    #[test]
    fn times() {
        let when = When::of("2026-11-03T07:04:35Z");
        assert_eq!(when.words, "3 Nov 2026, 07:04 UTC");
        assert_eq!(when.iso, "2026-11-03T07:04:35Z");
        assert_eq!(When::seconds(0).words, "1 Jan 1970, 00:00 UTC");
        assert_eq!(When::of("yesterday").words, "yesterday");
    }
}
