//! The secrets of one scope, in parts.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};

use super::database::{Database, parameters};
use super::overview::pattern;
use super::page::{Page, PageRequest};
use super::rows::{COLUMNS, query};
use super::schema::{Record, StoreError};
use crate::access::Scope;
use crate::secret::{Id, Kind, Level};

/// A place in the list of a scope: behind a secret, be it there still or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    level: String,
    user: String,
    kind: String,
    key: String,
}

/// Not a text that a list gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not where a list goes on; begin with its first part")]
pub struct NoSuchPlace;

impl From<&Record> for Behind {
    fn from(record: &Record) -> Self {
        Self {
            level: record.owner.level().as_str().to_owned(),
            user: record.owner.user().map_or_else(String::new, ToString::to_string),
            kind: record.name.kind.as_str().to_owned(),
            key: record.name.key.clone(),
        }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.level, &self.user, &self.kind, &self.key].map(String::as_str);
        f.write_str(&Base64UrlUnpadded::encode_string(parts.join("\n").as_bytes()))
    }
}

impl FromStr for Behind {
    type Err = NoSuchPlace;

    fn from_str(text: &str) -> Result<Self, NoSuchPlace> {
        let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|_| NoSuchPlace)?;
        let text = String::from_utf8(bytes).map_err(|_| NoSuchPlace)?;
        // No level, user, kind or key has a line break.
        let mut parts = text.splitn(4, '\n').map(ToOwned::to_owned);
        let mut part = || parts.next().ok_or(NoSuchPlace);
        let behind = Self { level: part()?, user: part()?, kind: part()?, key: part()? };
        let sound = behind.level.parse::<Level>().is_ok()
            && (behind.user.is_empty() || behind.user.parse::<Id>().is_ok())
            && super::schema::kind(&behind.kind).is_some()
            && !behind.key.contains(char::is_control);
        if sound { Ok(behind) } else { Err(NoSuchPlace) }
    }
}

/// Which secrets of a scope are looked for; what is empty leaves none out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// For this user: their id.
    pub user: String,
    /// With this in the key, in either case of ASCII letters.
    pub words: String,
}

impl Filter {
    /// Whether it leaves something out.
    pub fn is_on(&self) -> bool {
        *self != Self::default()
    }
}

/// The secrets of a scope from a place on (`None`: from the first), ordered by level, user, kind
/// and key. Of `request` only the limit counts.
pub fn secrets(
    database: &mut dyn Database,
    scope: &Scope,
    filter: &Filter,
    behind: Option<&Behind>,
    request: &PageRequest,
) -> Result<Page<Record>, StoreError> {
    let levels = match scope {
        Scope::Organization(_) => "'organization', 'organization_user'",
        Scope::Project(_) => "'project', 'project_user'",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM secret WHERE level IN ({levels}) AND owner = $1
             AND (level, \"user\", kind, key) > ($2, $3, $4, $5)
             AND ($6 = '' OR kind = $6) AND ($7 = '' OR \"user\" = $7)
             AND lower(key) LIKE $8 ESCAPE '\\'
         ORDER BY level, \"user\", kind, key LIMIT $9"
    );
    let first = Behind::default();
    let Behind { level, user, kind, key } = behind.unwrap_or(&first);
    let wanted = filter.kind.map_or("", Kind::as_str);
    let words = pattern(&filter.words);
    let values = parameters![
        scope.id().as_str(),
        level,
        user,
        kind,
        key,
        wanted,
        &filter.user,
        &words,
        request.rows(),
    ];
    let records = query(database, &sql, values)?;
    Ok(Page::cut(records, request, |record| Behind::from(record).to_string()))
}
