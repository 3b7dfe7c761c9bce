//! What the orchestrator registers: organizations, projects, and who belongs to them.
//!
//! Invariants: each function runs inside a transaction of its caller's; a registration replaces
//! the one before as a whole; a registered project's organization is registered.
//!
//! Ending a registration leaves the secrets: they lie dormant, for no job of that scope is served
//! any more, and wait for a registration of the same id or a purge.

mod one;

use std::collections::BTreeMap;

use super::database::{Database, Row, one, parameters};
use super::page::{Page, PageRequest};
use super::rows::{id, optional_id};
use super::schema::StoreError;
use super::secrets::now;
use crate::access::{Grant, Place, Scope};
use crate::job::Identity;
use crate::membership::{self, Facts, Membership};
use crate::secret::{Id, Owner};

pub use self::one::{organization, project};

/// An organization as the orchestrator registers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Organization {
    /// Its members. Who is also an admin is an admin.
    pub members: Vec<Id>,
    /// Its admins, who are members too.
    pub admins: Vec<Id>,
}

/// A project as the orchestrator registers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Project {
    /// The organization that it belongs to; `None` for a personal project.
    pub organization: Option<Id>,
    /// Its members. Who is also an admin is an admin.
    pub members: Vec<Id>,
    /// Its admins.
    pub admins: Vec<Id>,
}

/// Something registered, with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered<T> {
    /// Its id.
    pub id: Id,
    /// What is registered.
    pub content: T,
    /// When it was registered first: RFC 3339.
    pub registered_at: String,
}

/// Who is a member of a scope; true for admins.
type Roles = BTreeMap<Id, bool>;

/// Registers an organization; true if it was not there.
pub fn put_organization(
    database: &mut dyn Database,
    organization: &Id,
    content: &Organization,
) -> Result<bool, StoreError> {
    let added = database.execute(
        "INSERT INTO organization (id, registered_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
        parameters![organization.as_str(), &now()],
    )?;
    let scope = Scope::Organization(organization.clone());
    set_roles(database, &scope, &content.members, &content.admins)?;
    Ok(added > 0)
}

/// Registers a project, whose organization is registered; true if it was not there.
pub fn put_project(
    database: &mut dyn Database,
    project: &Id,
    content: &Project,
) -> Result<bool, StoreError> {
    let there = organization_of(database, project)?.is_some();
    let organization = content.organization.as_ref().map_or("", Id::as_str);
    database.execute(
        "INSERT INTO project (id, organization, registered_at) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET organization = excluded.organization",
        parameters![project.as_str(), organization, &now()],
    )?;
    set_roles(database, &Scope::Project(project.clone()), &content.members, &content.admins)?;
    Ok(!there)
}

/// Ends a registration; true if there was one.
pub fn delete(database: &mut dyn Database, scope: &Scope) -> Result<bool, StoreError> {
    let sql = match scope {
        Scope::Organization(_) => "DELETE FROM organization WHERE id = $1",
        Scope::Project(_) => "DELETE FROM project WHERE id = $1",
    };
    let deleted = database.execute(sql, parameters![scope.id().as_str()])?;
    database.execute(
        "DELETE FROM member WHERE scope = $1 AND owner = $2",
        parameters![scope.word(), scope.id().as_str()],
    )?;
    Ok(deleted > 0)
}

/// Makes these the members, and writes only what changes: an orchestrator repeats itself.
fn set_roles(
    database: &mut dyn Database,
    scope: &Scope,
    members: &[Id],
    admins: &[Id],
) -> Result<(), StoreError> {
    let mut wanted: Roles = members.iter().map(|user| (user.clone(), false)).collect();
    wanted.extend(admins.iter().map(|user| (user.clone(), true)));
    let there = roles(database, scope)?;
    let (word, owner) = (scope.word(), scope.id().as_str());
    for user in there.keys().filter(|user| !wanted.contains_key(user)) {
        database.execute(
            "DELETE FROM member WHERE scope = $1 AND owner = $2 AND \"user\" = $3",
            parameters![word, owner, user.as_str()],
        )?;
    }
    for (user, admin) in wanted.iter().filter(|(user, admin)| there.get(user) != Some(admin)) {
        database.execute(
            "INSERT INTO member (scope, owner, \"user\", role) VALUES ($1, $2, $3, $4)
             ON CONFLICT (scope, owner, \"user\") DO UPDATE SET role = excluded.role",
            parameters![word, owner, user.as_str(), if *admin { "admin" } else { "member" }],
        )?;
    }
    Ok(())
}

fn roles(database: &mut dyn Database, scope: &Scope) -> Result<Roles, StoreError> {
    let rows = database.query(
        "SELECT \"user\", role FROM member WHERE scope = $1 AND owner = $2",
        parameters![scope.word(), scope.id().as_str()],
    )?;
    rows.iter().map(|row| Ok((id(row, 0)?, is_admin(row, 1)?))).collect()
}

fn is_admin(row: &Row, index: usize) -> Result<bool, StoreError> {
    match row.text(index)? {
        "admin" => Ok(true),
        "member" => Ok(false),
        _ => Err(row.damaged()),
    }
}

/// One user's role in a scope: `None` if they are no member, true for an admin.
fn role(
    database: &mut dyn Database,
    scope: &str,
    owner: &Id,
    user: &Id,
) -> Result<Option<bool>, StoreError> {
    let rows = database.query(
        "SELECT role FROM member WHERE scope = $1 AND owner = $2 AND \"user\" = $3",
        parameters![scope, owner.as_str(), user.as_str()],
    )?;
    one(rows).map(|row| is_admin(&row, 0)).transpose()
}

/// The organization of a registered project, itself `None` for a personal one.
pub fn organization_of(
    database: &mut dyn Database,
    project: &Id,
) -> Result<Option<Option<Id>>, StoreError> {
    let rows = database
        .query("SELECT organization FROM project WHERE id = $1", parameters![project.as_str()])?;
    one(rows).map(|row| optional_id(&row, 0)).transpose()
}

/// Whether a scope is registered.
pub fn is_registered(database: &mut dyn Database, scope: &Scope) -> Result<bool, StoreError> {
    match scope {
        Scope::Project(project) => Ok(organization_of(database, project)?.is_some()),
        Scope::Organization(organization) => {
            let sql = "SELECT 1 FROM organization WHERE id = $1";
            Ok(!database.query(sql, parameters![organization.as_str()])?.is_empty())
        }
    }
}

/// Whether projects are registered as an organization's.
pub fn has_projects(database: &mut dyn Database, organization: &Id) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM project WHERE organization = $1 AND organization <> '' LIMIT 1";
    Ok(!database.query(sql, parameters![organization.as_str()])?.is_empty())
}

/// A scope with what permissions depend on.
pub fn place(
    database: &mut dyn Database,
    scope: &Scope,
    membership: Membership,
) -> Result<Place, StoreError> {
    let (known, organization) = match (membership, scope) {
        (Membership::Trusted, _) => (true, None),
        (Membership::Registered { .. }, Scope::Organization(_)) => {
            (is_registered(database, scope)?, None)
        }
        (Membership::Registered { .. }, Scope::Project(project)) => {
            let found = organization_of(database, project)?;
            (found.is_some(), found.flatten())
        }
    };
    Ok(Place { scope: scope.clone(), known, organization })
}

/// What is registered about a job's project and user.
pub fn facts(
    database: &mut dyn Database,
    project: &Id,
    user: Option<&Id>,
) -> Result<Facts, StoreError> {
    let registered = organization_of(database, project)?;
    let mut facts = Facts { project: registered.clone(), ..Facts::default() };
    if let (Some(organization), Some(user)) = (registered, user) {
        facts.in_project = role(database, "project", project, user)?.is_some();
        if let Some(organization) = &organization {
            let role = role(database, "organization", organization, user)?;
            facts.in_organization = role.is_some();
            facts.organization_admin = role == Some(true);
        }
    }
    Ok(facts)
}

/// The owners whose secrets a job may get, or why it gets nothing: what a resolution and an
/// explanation both go by.
pub fn owners_for(
    database: &mut dyn Database,
    identity: &Identity,
    membership: Membership,
) -> Result<Result<Vec<Owner>, membership::Denied>, StoreError> {
    let facts = match membership {
        Membership::Trusted => Facts::default(),
        Membership::Registered { .. } => {
            facts(database, &identity.project, identity.user.as_ref())?
        }
    };
    Ok(membership::owners_for(identity, membership, &facts))
}

/// Whether secrets of a scope can be assigned to a user, and jobs get those that are.
pub fn is_assignable(
    database: &mut dyn Database,
    scope: &Scope,
    user: &Id,
) -> Result<bool, StoreError> {
    match scope {
        Scope::Project(project) => Ok(facts(database, project, Some(user))?.is_member()),
        Scope::Organization(id) => Ok(role(database, "organization", id, user)?.is_some()),
    }
}

/// To whom secrets of a scope can be assigned, by id; true for admins.
pub fn assignable(
    database: &mut dyn Database,
    scope: &Scope,
) -> Result<BTreeMap<Id, bool>, StoreError> {
    let mut found = roles(database, scope)?;
    if let Scope::Project(project) = scope
        && let Some(Some(organization)) = organization_of(database, project)?
    {
        let others = roles(database, &Scope::Organization(organization))?;
        found.extend(others.into_iter().filter(|(_, admin)| *admin));
    }
    Ok(found)
}

/// The grants that somebody has as a registered admin.
pub fn admin_grants(database: &mut dyn Database, user: &str) -> Result<Vec<Grant>, StoreError> {
    let rows = database.query(
        "SELECT scope, owner FROM member WHERE \"user\" = $1 AND role = 'admin'",
        parameters![user],
    )?;
    let grant = |row: &Row| match row.text(0)? {
        "organization" => Ok(Grant::OrganizationAdmin(id(row, 1)?)),
        "project" => Ok(Grant::ProjectAdmin(id(row, 1)?)),
        _ => Err(row.damaged()),
    };
    rows.iter().map(grant).collect()
}

/// The registered organizations, by id.
pub fn organizations(
    database: &mut dyn Database,
    request: &PageRequest,
) -> Result<Page<Registered<Organization>>, StoreError> {
    let rows = database.query(
        "SELECT id, registered_at FROM organization WHERE id > $1 ORDER BY id LIMIT $2",
        parameters![request.behind(), request.rows()],
    )?;
    let mut people = people(database, "organization", &rows)?;
    let registered = rows.iter().map(|row| {
        let id = id(row, 0)?;
        let (members, admins) = people.remove(&id).unwrap_or_default();
        let content = Organization { members, admins };
        Ok(Registered { id, content, registered_at: row.text(1)?.to_owned() })
    });
    let registered = registered.collect::<Result<_, StoreError>>()?;
    Ok(Page::cut(registered, request, |item: &Registered<_>| item.id.to_string()))
}

/// The registered projects, by id.
pub fn projects(
    database: &mut dyn Database,
    request: &PageRequest,
) -> Result<Page<Registered<Project>>, StoreError> {
    let rows = database.query(
        "SELECT id, registered_at, organization FROM project WHERE id > $1 ORDER BY id LIMIT $2",
        parameters![request.behind(), request.rows()],
    )?;
    let mut people = people(database, "project", &rows)?;
    let registered = rows.iter().map(|row| {
        let id = id(row, 0)?;
        let (members, admins) = people.remove(&id).unwrap_or_default();
        let content = Project { organization: optional_id(row, 2)?, members, admins };
        Ok(Registered { id, content, registered_at: row.text(1)?.to_owned() })
    });
    let registered = registered.collect::<Result<_, StoreError>>()?;
    Ok(Page::cut(registered, request, |item: &Registered<_>| item.id.to_string()))
}

/// Members and admins, each by id.
type People = BTreeMap<Id, (Vec<Id>, Vec<Id>)>;

/// Those of the scopes in some rows, whose ids stand first, in order.
fn people(database: &mut dyn Database, scope: &str, rows: &[Row]) -> Result<People, StoreError> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(People::new());
    };
    let found = database.query(
        "SELECT owner, \"user\", role FROM member
         WHERE scope = $1 AND owner >= $2 AND owner <= $3 ORDER BY owner, \"user\"",
        parameters![scope, first.text(0)?, last.text(0)?],
    )?;
    let mut people = People::new();
    for row in &found {
        let (members, admins) = people.entry(id(row, 0)?).or_default();
        let list = if is_admin(row, 2)? { admins } else { members };
        list.push(id(row, 1)?);
    }
    Ok(people)
}

/// Scopes that have secrets and are not registered. Organizations first, by id.
pub fn unregistered(
    database: &mut dyn Database,
    request: &PageRequest,
) -> Result<Page<Scope>, StoreError> {
    // An id holds no colon.
    let (word, behind) = request.behind().split_once(':').unwrap_or(("organization", ""));
    let mut scopes = Vec::new();
    for (own, wrap) in
        [("organization", Scope::Organization as fn(Id) -> _), ("project", Scope::Project)]
    {
        if own < word {
            continue;
        }
        // Each level by itself is read in its order, and no further than the limit.
        let at = |level: &str| {
            format!(
                "SELECT owner FROM (SELECT DISTINCT owner FROM inventory
                     WHERE level = '{level}' AND owner > $1
                         AND NOT EXISTS (SELECT 1 FROM {own} WHERE id = inventory.owner)
                     ORDER BY owner LIMIT $2) AS {level}"
            )
        };
        let (plain, assigned) = (at(own), at(&format!("{own}_user")));
        let sql = format!("{plain} UNION {assigned} ORDER BY owner LIMIT $2");
        let behind = if own == word { behind } else { "" };
        for row in &database.query(&sql, parameters![behind, request.rows()])? {
            scopes.push(wrap(id(row, 0)?));
        }
    }
    Ok(Page::cut(scopes, request, |scope| format!("{}:{}", scope.word(), scope.id())))
}
