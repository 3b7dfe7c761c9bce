//! Running the job: from the start of its program to the end of its last process.

pub mod child;
pub mod feedback;
pub mod machine;
pub mod output;
pub mod signals;
pub mod terminal;

pub use child::{Command, Finished, StartError};
pub use machine::{Cause, Ending, Machine};
pub use output::{Output, Streamed, Streams};
pub use signals::{Enough, Signals};
