//! What was done: the audit, the uses of job tokens, and the answers to repeated requests.

use std::str::FromStr;

use crate::access::Scope;

/// Which rows of the audit are asked for; all that is `None` doesn't matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What they are about. Only operators can do without.
    pub scope: Option<Scope>,
    /// Who did it, by subject.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// `allowed` or `denied`.
    pub decision: Option<String>,
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its id; ids sort by time.
    pub id: String,
    /// RFC 3339.
    pub at: String,
    /// Who, by subject.
    pub actor: String,
    /// What.
    pub action: String,
    /// `allowed` or `denied`.
    pub decision: String,
    /// Why denied: a stable word.
    pub reason: Option<String>,
    /// The level that it was about, or `organization` or `project` for a whole scope.
    pub level: Option<String>,
    /// The organization or project.
    pub owner: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// More, as JSON; never a value.
    pub detail: String,
}

/// What a client calls a request of its own, so that it can be repeated: 1 to 255 visible ASCII
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a text is not an [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 255 visible ASCII characters")]
pub struct InvalidKey;

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidKey) }
    }
}

impl IdempotencyKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
