//! What keeps a run apart from everything else on the machine, and takes it away afterwards.
//!
//! Invariant: containment comes before the first secret is in memory, and either the level that
//! was asked for is in force, or the run does not start.
//!
//! ```text
//! outer process   waits, passes signals on, mirrors the end; holds no value
//!   inner process   pulls, resolves, supervises, wipes
//!     leader          the job: its own view of the file system, no privileges
//! ```

pub mod account;
pub mod enter;
pub mod exposure;
pub mod guard;
pub mod handover;
pub mod landlock;
pub mod level;
pub mod namespace;
pub mod notes;
pub mod receipt;
mod removal;
pub mod sweep;
mod terminal;
pub mod workspace;

pub use account::{Account, UnknownAccount};
pub use enter::{Aftermath, Contained, ContainmentError, Grip, Hold, Request, Side, enter};
pub use exposure::{Exposed, Needed, Protected};
pub use guard::Guarded;
pub use handover::Handover;
pub use landlock::LandlockError;
pub use level::Level;
pub use notes::{Note, Notes};
pub use receipt::{Receipt, Wiper};
pub use workspace::{Places, Workspace, WorkspaceError};
