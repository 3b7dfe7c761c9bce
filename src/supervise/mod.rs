//! Running the job: from the start of its program to the end of its last process.

pub mod child;
pub mod feedback;
pub mod machine;
pub mod signals;

pub use child::{Command, Finished, StartError};
pub use machine::{Cause, Ending, Machine};
pub use signals::{Enough, Signals};
