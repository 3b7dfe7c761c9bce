//! What keeps a run apart from everything else on the machine, and takes it away afterwards.

pub mod workspace;

pub use workspace::{Receipt, Workspace, WorkspaceError};
