//! Grants and API tokens.

use crate::access::{Access, Grant};

/// A stored grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its id.
    pub id: String,
    /// Whose.
    pub subject: String,
    /// What.
    pub grant: Grant,
    /// RFC 3339.
    pub granted_at: String,
    /// By whom.
    pub granted_by: String,
}

/// The facts of an API token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id: the part of the token that is no secret.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// All that it may do.
    pub grant: Grant,
    /// How far.
    pub access: Access,
    /// RFC 3339.
    pub created_at: String,
    /// The subject of who made it.
    pub created_by: String,
    /// Seconds since 1970.
    pub expires_at: i64,
    /// RFC 3339; `None` while it works.
    pub revoked_at: Option<String>,
    /// When it was last used, to the minute, in seconds since 1970.
    pub used_at: Option<i64>,
}
