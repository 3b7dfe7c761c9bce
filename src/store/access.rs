//! Grants and API tokens.
//!
//! Invariants: each function runs inside a transaction of its caller's; of a token only a digest
//! is kept; a token works only until it expires or is revoked, whichever is first, and on no other
//! condition.

pub mod token;

use super::database::{Database, Row, one, parameters};
use super::page::{Page, PageRequest};
use super::rows::id;
use super::schema::StoreError;
use super::secrets::now;
use crate::access::{Access, Grant, Role, Scope, TOKEN_SUBJECT};

/// How long the time of a token's last use stays as it is, in seconds.
const USED_EVERY: i64 = 60;

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
    /// The subject of who gave it.
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

impl ApiToken {
    /// Whether it works at this time, in seconds since 1970.
    pub fn works(&self, now: i64) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

const GRANT: &str = "id, subject, role, owner, granted_at, granted_by";

/// Gives a grant; one that is there stays as it is. True if it is new.
pub fn give(
    database: &mut dyn Database,
    subject: &str,
    grant: &Grant,
    by: &str,
) -> Result<(Granted, bool), StoreError> {
    let id = uuid::Uuid::now_v7().to_string();
    let (role, owner) = columns(grant);
    let added = database.execute(
        "INSERT INTO access_grant (id, subject, role, owner, granted_at, granted_by)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (subject, role, owner) DO NOTHING",
        parameters![&id, subject, role, owner, &now(), by],
    )?;
    let sql =
        format!("SELECT {GRANT} FROM access_grant WHERE subject = $1 AND role = $2 AND owner = $3");
    let row = one(database.query(&sql, parameters![subject, role, owner])?);
    let row = row.ok_or_else(|| StoreError::Contended(database.place().clone()))?;
    Ok((granted(&row)?, added > 0))
}

/// A grant by its id.
pub fn find_grant(database: &mut dyn Database, id: &str) -> Result<Option<Granted>, StoreError> {
    let sql = format!("SELECT {GRANT} FROM access_grant WHERE id = $1");
    one(database.query(&sql, parameters![id])?).map(|row| granted(&row)).transpose()
}

/// Takes a grant away; true if it was there.
pub fn take(database: &mut dyn Database, id: &str) -> Result<bool, StoreError> {
    Ok(database.execute("DELETE FROM access_grant WHERE id = $1", parameters![id])? > 0)
}

/// All grants of a subject.
pub fn grants_of(database: &mut dyn Database, subject: &str) -> Result<Vec<Grant>, StoreError> {
    let rows = database
        .query("SELECT role, owner FROM access_grant WHERE subject = $1", parameters![subject])?;
    rows.iter().map(|row| grant(row, 0)).collect()
}

/// The grants for a scope, those of operators for `None`, in the order in which they were given.
pub fn grants(
    database: &mut dyn Database,
    scope: Option<&Scope>,
    request: &PageRequest,
) -> Result<Page<Granted>, StoreError> {
    let wanted = scope.map_or(Grant::Operator, Scope::admin);
    let (role, owner) = columns(&wanted);
    let sql = format!(
        "SELECT {GRANT} FROM access_grant WHERE role = $1 AND owner = $2 AND id > $3
         ORDER BY id LIMIT $4"
    );
    let rows = database.query(&sql, parameters![role, owner, request.behind(), request.rows()])?;
    grants_page(&rows, request)
}

/// Everybody's grants, in the order in which they were given.
pub fn all_grants(
    database: &mut dyn Database,
    request: &PageRequest,
) -> Result<Page<Granted>, StoreError> {
    let sql = format!("SELECT {GRANT} FROM access_grant WHERE id > $1 ORDER BY id LIMIT $2");
    let rows = database.query(&sql, parameters![request.behind(), request.rows()])?;
    grants_page(&rows, request)
}

fn grants_page(rows: &[Row], request: &PageRequest) -> Result<Page<Granted>, StoreError> {
    let found = rows.iter().map(granted).collect::<Result<_, _>>()?;
    Ok(Page::cut(found, request, |item: &Granted| item.id.clone()))
}

const TOKEN: &str = "id, name, role, owner, access, created_at, created_by, expires_at, \
                     revoked_at, used_at";

/// Keeps a new token. `digest` is of its secret part; see [`token`].
pub fn put_token(
    database: &mut dyn Database,
    token: &ApiToken,
    digest: &[u8; 32],
) -> Result<(), StoreError> {
    let (role, owner) = columns(&token.grant);
    database.execute(
        "INSERT INTO api_token (id, name, digest, role, owner, access, created_at, created_by,
                                expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        parameters![
            &token.id,
            &token.name,
            digest.as_slice(),
            role,
            owner,
            token.access.as_str(),
            &token.created_at,
            &token.created_by,
            token.expires_at,
        ],
    )?;
    Ok(())
}

/// A token by its id, whether it works or not.
pub fn find_token(database: &mut dyn Database, id: &str) -> Result<Option<ApiToken>, StoreError> {
    let sql = format!("SELECT {TOKEN} FROM api_token WHERE id = $1");
    one(database.query(&sql, parameters![id])?).map(|row| api_token(&row)).transpose()
}

/// A token, if this is its text, whether it works or not.
pub fn recognize(
    database: &mut dyn Database,
    presented: &token::Presented,
) -> Result<Option<ApiToken>, StoreError> {
    let sql = format!("SELECT {TOKEN}, digest FROM api_token WHERE id = $1");
    match one(database.query(&sql, parameters![presented.id()])?) {
        Some(row) if presented.has_digest(row.bytes(10)?) => api_token(&row).map(Some),
        _ => Ok(None),
    }
}

/// Ends a token now, with all that it made; returns those that were not ended before, itself first.
pub fn revoke_token(database: &mut dyn Database, id: &str) -> Result<Vec<ApiToken>, StoreError> {
    let mut ended: Vec<ApiToken> = find_token(database, id)?.into_iter().collect();
    ended.extend(made_by_token(database, id)?);
    ended.retain(|token| token.revoked_at.is_none());
    let at = now();
    for token in &mut ended {
        let sql = "UPDATE api_token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        database.execute(sql, parameters![&token.id, &at])?;
        token.revoked_at = Some(at.clone());
    }
    Ok(ended)
}

/// The tokens that a token made, those that they made, and so on, by id.
fn made_by_token(database: &mut dyn Database, id: &str) -> Result<Vec<ApiToken>, StoreError> {
    let sql = format!(
        "WITH RECURSIVE made (id) AS (
             SELECT id FROM api_token WHERE created_by = $1
             UNION SELECT further.id FROM made
                 JOIN api_token further ON further.created_by = '{TOKEN_SUBJECT}' || made.id)
         SELECT {TOKEN} FROM api_token WHERE id IN (SELECT id FROM made) ORDER BY id"
    );
    let subject = format!("{TOKEN_SUBJECT}{id}");
    database.query(&sql, parameters![&subject])?.iter().map(api_token).collect()
}

/// Whether the time of a token's last use is to be written.
pub fn is_use_due(token: &ApiToken, now: i64) -> bool {
    token.used_at.is_none_or(|used| used + USED_EVERY <= now)
}

/// Writes the time of a token's last use.
pub fn set_used(database: &mut dyn Database, id: &str, now: i64) -> Result<(), StoreError> {
    let sql = "UPDATE api_token SET used_at = $2
               WHERE id = $1 AND (used_at IS NULL OR used_at < $2)";
    database.execute(sql, parameters![id, now]).map(drop)
}

/// The tokens for a scope, operators' for `None`, whether they work or not, by id.
pub fn tokens(
    database: &mut dyn Database,
    scope: Option<&Scope>,
    request: &PageRequest,
) -> Result<Page<ApiToken>, StoreError> {
    let wanted = scope.map_or(Grant::Operator, Scope::admin);
    let (role, owner) = columns(&wanted);
    let sql = format!(
        "SELECT {TOKEN} FROM api_token WHERE role = $1 AND owner = $2 AND id > $3
         ORDER BY id LIMIT $4"
    );
    let rows = database.query(&sql, parameters![role, owner, request.behind(), request.rows()])?;
    tokens_page(&rows, request)
}

/// All tokens, whether they work or not, by id.
pub fn all_tokens(
    database: &mut dyn Database,
    request: &PageRequest,
) -> Result<Page<ApiToken>, StoreError> {
    let sql = format!("SELECT {TOKEN} FROM api_token WHERE id > $1 ORDER BY id LIMIT $2");
    let rows = database.query(&sql, parameters![request.behind(), request.rows()])?;
    tokens_page(&rows, request)
}

fn tokens_page(rows: &[Row], request: &PageRequest) -> Result<Page<ApiToken>, StoreError> {
    let found = rows.iter().map(api_token).collect::<Result<_, _>>()?;
    Ok(Page::cut(found, request, |item: &ApiToken| item.id.clone()))
}

/// The working tokens with this very grant that a subject made.
pub fn tokens_made_by(
    database: &mut dyn Database,
    subject: &str,
    grant: &Grant,
    now: i64,
) -> Result<Vec<ApiToken>, StoreError> {
    let (role, owner) = columns(grant);
    let sql = format!(
        "SELECT {TOKEN} FROM api_token
         WHERE role = $1 AND owner = $2 AND created_by = $3 AND revoked_at IS NULL
             AND expires_at > $4 ORDER BY id"
    );
    let rows = database.query(&sql, parameters![role, owner, subject, now])?;
    rows.iter().map(api_token).collect()
}

/// Ends all that was given for a scope: its grants go, its tokens are revoked, with those that they
/// made. Returns the grants, and the tokens that worked until now.
pub fn end(
    database: &mut dyn Database,
    scope: &Scope,
) -> Result<(Vec<Granted>, Vec<ApiToken>), StoreError> {
    let grant = scope.admin();
    let (role, owner) = columns(&grant);
    let sql = format!("DELETE FROM access_grant WHERE role = $1 AND owner = $2 RETURNING {GRANT}");
    let rows = database.query(&sql, parameters![role, owner])?;
    let grants = rows.iter().map(granted).collect::<Result<_, _>>()?;
    let rows = database.query(
        "SELECT id FROM api_token WHERE role = $1 AND owner = $2 AND revoked_at IS NULL
         ORDER BY id",
        parameters![role, owner],
    )?;
    let mut tokens = Vec::new();
    for row in &rows {
        tokens.extend(revoke_token(database, row.text(0)?)?);
    }
    Ok((grants, tokens))
}

/// Role and owner, `''` for what is for everything.
fn columns(grant: &Grant) -> (&'static str, &str) {
    (grant.role().as_str(), grant.id().map_or("", |id| id.as_str()))
}

/// The same back, from two columns.
fn grant(row: &Row, first: usize) -> Result<Grant, StoreError> {
    let role: Role = row.text(first)?.parse().map_err(|_| row.damaged())?;
    let owner = match row.text(first + 1)? {
        "" => None,
        _ => Some(id(row, first + 1)?),
    };
    Grant::new(role, owner).ok_or_else(|| row.damaged())
}

fn granted(row: &Row) -> Result<Granted, StoreError> {
    Ok(Granted {
        id: row.text(0)?.to_owned(),
        subject: row.text(1)?.to_owned(),
        grant: grant(row, 2)?,
        granted_at: row.text(4)?.to_owned(),
        granted_by: row.text(5)?.to_owned(),
    })
}

fn api_token(row: &Row) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        id: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        grant: grant(row, 2)?,
        access: row.text(4)?.parse().map_err(|_| row.damaged())?,
        created_at: row.text(5)?.to_owned(),
        created_by: row.text(6)?.to_owned(),
        expires_at: row.integer(7)?,
        revoked_at: row.optional_text(8)?.map(ToOwned::to_owned),
        used_at: row.optional_integer(9)?,
    })
}
