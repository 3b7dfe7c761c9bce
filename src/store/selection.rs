//! Which rows are meant, as SQL with parameters.

use super::database::Parameter;
use crate::secret::{Id, Name, Owner};

/// Which rows to list or to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every row.
    All,
    /// One level of one owner.
    Owner(Owner),
    /// All of a project, user-assigned ones included.
    Project(Id),
    /// All of an organization, its members' defaults included. Not those of its projects.
    Organization(Id),
    /// All that are for one user, whatever the project or organization.
    User(Id),
    /// All of one name, wherever they stand.
    Named(Name),
}

impl Selection {
    /// The condition in SQL, and its parameters.
    pub(super) fn sql(&self) -> (&'static str, Vec<Parameter<'_>>) {
        match self {
            Self::All => ("true", vec![]),
            Self::Owner(owner) => {
                ("level = $1 AND owner = $2 AND \"user\" = $3", place(owner).to_vec())
            }
            Self::Project(id) => {
                ("level IN ('project', 'project_user') AND owner = $1", vec![id.as_str().into()])
            }
            Self::Organization(id) => (
                "level IN ('organization', 'organization_user') AND owner = $1",
                vec![id.as_str().into()],
            ),
            Self::User(id) => ("\"user\" = $1 AND \"user\" <> ''", vec![id.as_str().into()]),
            Self::Named(name) => {
                ("kind = $1 AND key = $2", vec![name.kind.as_str().into(), (&name.key).into()])
            }
        }
    }
}

/// How the absence of a user is written: a unique index takes two NULLs for different.
pub(super) fn user(owner: &Owner) -> &str {
    owner.user().map_or("", Id::as_str)
}

/// A level of an owner, as three parameters.
pub(super) fn place(owner: &Owner) -> [Parameter<'_>; 3] {
    [owner.level().as_str().into(), owner.id().as_str().into(), user(owner).into()]
}
