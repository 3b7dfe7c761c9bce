//! The one integration binary: linking is what a test run waits for.
//!
//! - `administration`: who may do what, and what comes of it, on both databases
//! - `api`: the management API: who may do what, what is sent, and that no value comes back
//! - `bad_input`: each bad input gives its error and exit code; nothing starts, nothing is lost
//! - `browsing`: the page in a real browser: tasks, accessibility, hostile text
//! - `cli`: help, transcripts, completions and man pages
//! - `connecting`: which role a service leads to, with real libpq and PostGIS
//! - `containment`: levels, accounts, what a host refuses, and what remains of a run: nothing
//! - `demonstration`: the three roles of the user documentation, with real QGIS and PostGIS
//! - `differential`: the grammar of services against the real libpq
//! - `documents`: the documents and the code say the same
//! - `durability`: SIGKILL at any instant leaves the store whole
//! - `hostile`: what a job cannot do in each level of containment, and what it can
//! - `hunting`: nothing leaks, whatever a job does with its secrets
//! - `job_tokens`: which tokens count, which keys, and what of it other programs see
//! - `killing`: nothing remains of a run that is killed, wherever and by whatever
//! - `layers`: which module may import which, and which file may do what
//! - `memory`: the runner's own memory holds no value longer than it is needed
//! - `listening`: the service against clients that are slow, many, hostile or wrong
//! - `logging_in`: how people log in, and how nobody else does
//! - `masking`: what comes out of a stream that holds values, against a second, slow masker
//! - `running`: environment, exit codes, signals, limits, reports
//! - `secrets`: adding, listing, removing, importing, explaining
//! - `service_backend`: secrets from a service, over TLS, with a job token, and of nobody else
//! - `serving`: the whole service: jobs, roles, rotation, ends, replicas, TLS, and nothing shown
//! - `stores`: SQLite and PostgreSQL do the same, and what only one of them can do

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "a test hands over what `json!` makes")]

mod support;

#[cfg(feature = "service")]
mod administration;
mod api;
mod bad_input;
#[cfg(feature = "service")]
mod browsing;
mod checking;
mod cli;
mod connecting;
mod containment;
mod demonstration;
mod differential;
mod documents;
mod durability;
mod hostile;
mod hunting;
mod job_tokens;
mod killing;
mod layers;
mod listening;
mod logging_in;
mod masking;
mod memory;
mod running;
mod secrets;
mod service_backend;
#[cfg(feature = "service")]
mod serving;
#[cfg(feature = "service")]
mod stores;
