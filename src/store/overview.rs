//! The organizations and projects that somebody administers, in parts, and how much is in each.
//!
//! Invariants: each function runs inside a transaction of its caller's; what a part costs depends
//! on its length and on what is searched, never on how many secrets there are.

use std::collections::{BTreeMap, BTreeSet};

use super::database::{Database, Parameter};
use super::page::{Page, PageRequest};
use super::rows::{id, optional_id};
use super::schema::StoreError;
use crate::access::Scope;
use crate::secret::Id;

/// How many secrets of a scope are counted at most.
pub const COUNTED: i64 = 1000;

/// How many ids go into one statement. Shorter lists are filled up, so that there are few
/// different statements to prepare.
const CHUNK: usize = 100;

/// Where the ids of organizations and projects stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// They are registered.
    Registry,
    /// Nothing is registered: what has secrets is known to be there.
    Secrets,
}

/// Which organizations and projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    /// All that there are.
    Everything,
    /// Some.
    Of {
        /// These organizations, and the projects that are registered as theirs.
        organizations: BTreeSet<Id>,
        /// These projects besides.
        projects: BTreeSet<Id>,
    },
}

/// A project with its registered organization.
pub type Project = (Id, Option<Id>);

/// Text as a pattern for `LIKE … ESCAPE '\'`, of what has it in it, in small letters.
pub(super) fn pattern(words: &str) -> String {
    let mut pattern = String::from("%");
    for letter in words.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

/// The organizations whose id has some text in it, in either case, by id.
pub fn organizations(
    database: &mut dyn Database,
    source: Source,
    within: &Within,
    words: &str,
    request: &PageRequest,
) -> Result<Page<Id>, StoreError> {
    let search = Search { words, request };
    let found = match (within, source) {
        (Within::Everything, Source::Registry) => search.rows(
            database,
            "SELECT id, '' FROM organization WHERE id > $1 AND lower(id) LIKE $2 ESCAPE '\\'
             ORDER BY id LIMIT $3",
            &[],
        )?,
        (Within::Everything, Source::Secrets) => search.rows(
            database,
            "SELECT DISTINCT owner, '' FROM inventory
             WHERE level IN ('organization', 'organization_user') AND owner > $1
                 AND lower(owner) LIKE $2 ESCAPE '\\' ORDER BY owner LIMIT $3",
            &[],
        )?,
        (Within::Of { organizations, .. }, Source::Registry) => search.among(
            database,
            "SELECT id, '' FROM organization
             WHERE id > $1 AND lower(id) LIKE $2 ESCAPE '\\' AND id IN (@) ORDER BY id LIMIT $3",
            organizations,
        )?,
        (Within::Of { organizations, .. }, Source::Secrets) => search.trusted(organizations),
    };
    let page = Page::cut(found.into_iter().collect(), request, |(id, _): &Project| id.to_string());
    Ok(page.map(|(id, _)| id))
}

/// The projects whose id, or whose organization's, has some text in it, in either case, by id.
pub fn projects(
    database: &mut dyn Database,
    source: Source,
    within: &Within,
    words: &str,
    request: &PageRequest,
) -> Result<Page<Project>, StoreError> {
    const MATCHES: &str = "id > $1 AND (lower(id) LIKE $2 ESCAPE '\\'
                           OR lower(organization) LIKE $2 ESCAPE '\\')";
    let search = Search { words, request };
    let found = match (within, source) {
        (Within::Everything, Source::Registry) => search.rows(
            database,
            &format!("SELECT id, organization FROM project WHERE {MATCHES} ORDER BY id LIMIT $3"),
            &[],
        )?,
        (Within::Everything, Source::Secrets) => search.rows(
            database,
            "SELECT DISTINCT owner, '' FROM inventory
             WHERE level IN ('project', 'project_user') AND owner > $1
                 AND lower(owner) LIKE $2 ESCAPE '\\' ORDER BY owner LIMIT $3",
            &[],
        )?,
        (Within::Of { organizations, projects }, Source::Registry) => {
            let sql = format!(
                "SELECT id, organization FROM project
                 WHERE {MATCHES} AND organization IN (@) AND organization <> ''
                 ORDER BY id LIMIT $3"
            );
            let mut found = search.among(database, &sql, organizations)?;
            let sql = format!(
                "SELECT id, organization FROM project
                 WHERE {MATCHES} AND id IN (@) ORDER BY id LIMIT $3"
            );
            found.extend(search.among(database, &sql, projects)?);
            found
        }
        (Within::Of { projects, .. }, Source::Secrets) => search.trusted(projects),
    };
    let page = found.into_iter().collect();
    Ok(Page::cut(page, request, |(id, _): &Project| id.to_string()))
}

/// What is looked for, and from where on.
#[derive(Clone, Copy)]
struct Search<'a> {
    words: &'a str,
    request: &'a PageRequest,
}

impl Search<'_> {
    /// The rows of a statement with `$1` behind which id, `$2` a pattern, `$3` how many, and then
    /// what is in `more`.
    fn rows(
        self,
        database: &mut dyn Database,
        sql: &str,
        more: &[&str],
    ) -> Result<BTreeMap<Id, Option<Id>>, StoreError> {
        let pattern = pattern(self.words);
        let mut values: Vec<Parameter<'_>> =
            vec![self.request.behind().into(), (&pattern).into(), self.request.rows().into()];
        values.extend(more.iter().map(|text| Parameter::from(*text)));
        let rows = database.query(sql, &values)?;
        rows.iter().map(|row| Ok((id(row, 0)?, optional_id(row, 1)?))).collect()
    }

    /// The same, where `@` stands for ids, of which there may be any number.
    fn among(
        self,
        database: &mut dyn Database,
        sql: &str,
        ids: &BTreeSet<Id>,
    ) -> Result<BTreeMap<Id, Option<Id>>, StoreError> {
        let ids: Vec<&str> = ids.iter().map(Id::as_str).collect();
        let mut found = BTreeMap::new();
        for chunk in ids.chunks(CHUNK) {
            found.extend(self.rows(database, &sql.replace('@', &places(4)), &filled(chunk))?);
        }
        Ok(found)
    }

    /// Those of these ids that are looked for: where nothing is registered, all count.
    fn trusted(self, ids: &BTreeSet<Id>) -> BTreeMap<Id, Option<Id>> {
        let words = self.words.to_ascii_lowercase();
        ids.iter()
            .filter(|id| id.as_str() > self.request.behind())
            .filter(|id| id.as_str().to_ascii_lowercase().contains(&words))
            .map(|id| (id.clone(), None))
            .collect()
    }
}

/// `$4, $5, …`, as many as a chunk is long.
fn places(first: usize) -> String {
    let places: Vec<String> = (first..first + CHUNK).map(|n| format!("${n}")).collect();
    places.join(", ")
}

/// A chunk at its full length. No id is empty.
fn filled<'a>(chunk: &[&'a str]) -> Vec<&'a str> {
    let mut filled = chunk.to_vec();
    filled.resize(CHUNK, "");
    filled
}

/// How much there is in a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Secrets, those for single users included; [`COUNTED`] and one if there are more.
    pub secrets: i64,
    /// Who is registered as a member or an admin.
    pub members: i64,
    /// Who is registered as an admin, or was made one.
    pub admins: i64,
}

/// The figures of scopes: one statement for a hundred organizations or projects.
pub fn figures(
    database: &mut dyn Database,
    scopes: &[Scope],
) -> Result<BTreeMap<Scope, Figures>, StoreError> {
    let mut figures = BTreeMap::new();
    for (word, levels, role, wrap) in [
        (
            "organization",
            "'organization', 'organization_user'",
            "organization_admin",
            Scope::Organization as fn(Id) -> Scope,
        ),
        ("project", "'project', 'project_user'", "project_admin", Scope::Project),
    ] {
        let ids: Vec<&str> =
            scopes.iter().filter(|s| s.word() == word).map(|s| s.id().as_str()).collect();
        let values: Vec<String> = (1..=CHUNK).map(|n| format!("(${n})")).collect();
        let sql = format!(
            "WITH place (id) AS (VALUES {})
             SELECT id,
                 (SELECT count(*) FROM (SELECT 1 FROM secret
                     WHERE level IN ({levels}) AND owner = place.id LIMIT {}) AS there),
                 (SELECT count(*) FROM member WHERE scope = '{word}' AND owner = place.id),
                 (SELECT count(*) FROM (
                     SELECT \"user\" FROM member
                         WHERE scope = '{word}' AND owner = place.id AND role = 'admin'
                     UNION
                     SELECT subject FROM access_grant
                         WHERE role = '{role}' AND owner = place.id) AS people)
             FROM place WHERE id <> ''",
            values.join(", "),
            COUNTED + 1,
        );
        for chunk in ids.chunks(CHUNK) {
            let values: Vec<Parameter<'_>> = filled(chunk).into_iter().map(Into::into).collect();
            for row in &database.query(&sql, &values)? {
                let (secrets, members, admins) =
                    (row.integer(1)?, row.integer(2)?, row.integer(3)?);
                figures.insert(wrap(id(row, 0)?), Figures { secrets, members, admins });
            }
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_is_no_pattern() {
        assert_eq!(pattern(""), "%%");
        assert_eq!(pattern("Ninja/50%_\\"), "%ninja/50\\%\\_\\\\%");
    }
}
