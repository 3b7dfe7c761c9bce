//! What keeps a run apart from everything else on the machine, and takes it away afterwards.

pub mod account;
pub mod landlock;
pub mod workspace;

pub use account::{Account, UnknownAccount};
pub use landlock::LandlockError;
pub use workspace::{Receipt, Workspace, WorkspaceError};
