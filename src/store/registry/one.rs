//! One registered organization or project.

use super::{Organization, Project, Registered, id, optional_id, people};
use crate::secret::Id;
use crate::store::StoreError;
use crate::store::database::{Database, one, parameters};

/// A registered organization, by its id.
pub fn organization(
    database: &mut dyn Database,
    wanted: &Id,
) -> Result<Option<Registered<Organization>>, StoreError> {
    let sql = "SELECT id, registered_at FROM organization WHERE id = $1";
    let Some(row) = one(database.query(sql, parameters![wanted.as_str()])?) else {
        return Ok(None);
    };
    let id = id(&row, 0)?;
    let registered_at = row.text(1)?.to_owned();
    let mut people = people(database, "organization", &[row])?;
    let (members, admins) = people.remove(&id).unwrap_or_default();
    Ok(Some(Registered { id, content: Organization { members, admins }, registered_at }))
}

/// A registered project, by its id.
pub fn project(
    database: &mut dyn Database,
    wanted: &Id,
) -> Result<Option<Registered<Project>>, StoreError> {
    let sql = "SELECT id, registered_at, organization FROM project WHERE id = $1";
    let Some(row) = one(database.query(sql, parameters![wanted.as_str()])?) else {
        return Ok(None);
    };
    let (id, organization) = (id(&row, 0)?, optional_id(&row, 2)?);
    let registered_at = row.text(1)?.to_owned();
    let mut people = people(database, "project", &[row])?;
    let (members, admins) = people.remove(&id).unwrap_or_default();
    Ok(Some(Registered { id, content: Project { organization, members, admins }, registered_at }))
}
