//! What a service that refuses says: a problem document (RFC 9457), as far as it is read here.
//!
//! Invariant: what is shown of it is bounded, and holds no control character.

use serde::Deserialize;

/// The longest `detail` that is shown, in characters.
const MAX_DETAIL: usize = 500;

/// The longest `kind`, in bytes.
const MAX_KIND: usize = 64;

/// The largest document that is worth reading, in bytes.
pub const MAX_REFUSAL: usize = 64 * 1024;

/// Why the service refused, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Its stable word; empty where it has none.
    pub kind: String,
    /// For people; empty where there is none.
    pub detail: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    kind: String,
    detail: String,
}

impl Refusal {
    /// Reads what can be read: whatever else a server says, its status stands. `mask` hides what
    /// must not be seen, before anything is cut.
    pub fn decode(text: &[u8], mask: impl Fn(&str) -> String) -> Self {
        let Raw { kind, detail } = serde_json::from_slice(text).unwrap_or_default();
        let (kind, detail) = (mask(&kind), mask(&detail));
        let word = kind.len() <= MAX_KIND
            && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let mut short: String = detail.chars().take(MAX_DETAIL).map(shown).collect();
        if detail.chars().nth(MAX_DETAIL).is_some() {
            short.push('…');
        }
        Self { kind: if word { kind } else { String::new() }, detail: short }
    }
}
