//! Whether the service can do its work now: checks, each with a name.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A check that takes longer has failed: who asks waits no longer either.
const PATIENCE: Duration = Duration::from_secs(2);

type Checked = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

struct Check {
    name: &'static str,
    run: Box<dyn Fn() -> Checked + Send + Sync>,
    /// As it was last time: only a change is logged, for probes come every few seconds.
    failing: AtomicBool,
}

/// Checks; without any the service is ready.
pub struct Readiness {
    checks: Vec<Check>,
    pub(super) patience: Duration,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { checks: Vec::new(), patience: PATIENCE }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| check.name)).finish()
    }
}

impl Readiness {
    /// One check more. What it fails with is for the log, and holds no secret value.
    pub fn with<F>(
        mut self,
        name: &'static str,
        check: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let run = Box::new(move || -> Checked { Box::pin(check()) });
        self.checks.push(Check { name, run, failing: AtomicBool::new(false) });
        self
    }

    /// The names of those that fail now.
    pub(super) async fn failing(&self) -> Vec<&'static str> {
        let mut failing = Vec::new();
        for check in &self.checks {
            let result = match tokio::time::timeout(self.patience, (check.run)()).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {:?}", self.patience)),
            };
            let before = check.failing.swap(result.is_err(), Ordering::Relaxed);
            match result {
                Ok(()) if before => tracing::info!(check = check.name, "ready again"),
                Ok(()) => {}
                Err(why) => {
                    if !before {
                        tracing::warn!(check = check.name, why, "not ready");
                    }
                    failing.push(check.name);
                }
            }
        }
        failing
    }
}
