//! What was wiped, by whom, and whether anything is left.
//!
//! Invariant: facts only.

use serde::{Deserialize, Serialize};

use crate::sys::tree::Ended;

/// The proof that nothing remains. Facts only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receipt {
    /// Who wiped.
    pub by: Wiper,
    /// Files and directories that were removed.
    pub files_removed: u64,
    /// Processes that the job left running and that were killed.
    pub processes_killed: u32,
    /// Whether a second look found nothing left.
    pub verified: bool,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Who took away what a run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Wiper {
    /// The inner process, as always when nobody kills it.
    Inner,
    /// The outer one, in its stead.
    Outer,
    /// The kernel: the inner process was the first of its PID namespace, and took all others and
    /// the private tmpfs along. Their numbers are not known.
    Kernel,
}

impl Receipt {
    /// For what the kernel took away.
    pub fn by_kernel() -> Self {
        Self { by: Wiper::Kernel, ..Self::of_nothing() }
    }

    /// For a run that had no workspace.
    pub fn of_nothing() -> Self {
        Self {
            by: Wiper::Inner,
            files_removed: 0,
            processes_killed: 0,
            verified: true,
            problem: None,
        }
    }

    /// With something else that is left, if there is.
    #[must_use]
    pub fn with_problem(mut self, problem: Option<String>) -> Self {
        if let Some(problem) = problem {
            self.verified = false;
            self.problem.get_or_insert(problem);
        }
        self
    }

    /// With what became of the processes.
    #[must_use]
    pub fn with_processes(mut self, tree: Ended) -> Self {
        self.processes_killed = tree.killed;
        let left =
            (tree.left > 0).then(|| format!("{} processes of the job cannot be killed", tree.left));
        self.with_problem(left)
    }
}
