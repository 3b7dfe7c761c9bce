//! What the orchestrator registers: organizations, projects, and who belongs to them.

use crate::secret::Id;

/// An organization as the orchestrator registers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Organization {
    /// Its members, admins or not.
    pub members: Vec<Id>,
    /// Its admins, who are members too.
    pub admins: Vec<Id>,
}

/// A project as the orchestrator registers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Project {
    /// The organization that it belongs to; `None` for a personal project.
    pub organization: Option<Id>,
    /// Its members.
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
