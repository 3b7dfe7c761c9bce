//! Gives a headless QGIS job its secrets, and takes them away again.
//!
//! # What it does
//!
//! An orchestrator starts `qgis-secrets run JOB` once for each job. The program reads a job
//! [descriptor](job), asks a [`backend`] which secrets that job gets, writes a private
//! `pg_service.conf`, starts the job's command with `PGSERVICEFILE` and the environment variables
//! set, supervises it, wipes everything, and reports. [`pipeline`] is that in one function.
//!
//! # Three promises
//!
//! 1. **Nothing remains** of what the runner wrote, and no process of the job, however the job
//!    ends, a SIGKILL of the runner included.
//! 2. **Nothing leaks**: no value in the output of the runner and of the job, logs, reports, errors,
//!    arguments, or the store's file.
//! 3. **Never the wrong secret**: the most specific level wins, for exactly this project and this
//!    user. In doubt the job does not start, and the message says what is missing, where it was
//!    looked for, and what to do.
//!
//! # How the code keeps them
//!
//! *Decide, then act.* What can go wrong by deciding wrongly is a pure function, tested by tables
//! and properties: [`precedence`] (who wins), [`environment`] (what the job sees), [`pgservice`]
//! (what libpq will read), [`job`] (what a descriptor means), [`redact`] (what is masked),
//! [`supervise::machine`] (who is signalled when).
//!
//! *Contain first.* Before a secret is in memory, [`containment`] divides the program into an outer
//! process, which holds no value, and an inner one, the first of new PID and IPC namespaces, which
//! does the work. The workspace is on a tmpfs that is mounted nowhere but in the job's own mount
//! namespace. When either process dies, by whatever, the kernel ends the job and frees the tmpfs:
//! that wipe needs no code to run. Where namespaces are refused, the two processes watch each other.
//!
//! *Values and facts are different types.* A [`secret::Value`] has no `Clone`, `Display` or
//! `Serialize`; its memory is overwritten when it is dropped; looking inside is confined to named
//! files. A [`report::Report`] has no place for one.
//!
//! *No longer than needed.* Credentials are taken out of the runner's environment before anything
//! else, and only the inner process gets those that are passed on ([`containment::handover`]); the
//! allocator overwrites what is freed, in libraries too. `docs/containment.md` says what is in
//! memory when.
//!
//! *What comes out is masked.* The job's output goes through [`supervise::output`], and that, its
//! feedback, the report and every line of the runner go through [`redact`]. The masker knows forms
//! as a grammar and compares them with the text in place, so that what it finds depends on the text
//! alone, and neither many secrets nor long ones cost memory.
//!
//! *Decided, recorded, opened.* A resolution is written to the audit before a value is opened; one
//! that can't be recorded doesn't happen.
//!
//! *Metadata first.* A backend offers candidates without values; only winners are opened. A winner
//! that cannot be opened stops the job: no lower level steps in.
//!
//! *The seal binds the row.* Values are sealed with HPKE ([`store::seal`]) to a public key, with
//! level, owner, kind and key as associated data. Who adds secrets needs no key that can read them;
//! a row that was moved in the database does not open.
//!
//! *Signed, then believed.* A [`job_token`] says which job somebody is, and whom it works for.
//! Nothing of it counts before its signature is right, and the type of a trusted key, never the
//! token, says how it must be signed.
//!
//! *The leader is reaped last.* [`supervise`] looks at the end of the job's leader without reaping
//! it, kills what the job left running, and only then lets go of its number, so that no signal can
//! reach a stranger.
//!
//! # Layers
//!
//! A module imports only from lines above its own; those on one line don't know each other. A test
//! keeps it.
//!
//! ```text
//! sys  secret  task
//! pgservice  environment  job  redact  settings  http  dotenv  qgis_project  connect  access
//! membership
//! precedence  store  log  wire
//! job_token
//! backend  containment  supervise  client
//! report
//! error
//! pipeline
//! preflight
//! server
//! cli
//! ```
//!
//! `unsafe` is in [`sys`] only.
//!
//! # What it protects against, and what not
//!
//! - Another project, organization or user: never loaded, and refused by [`precedence`] even if a
//!   backend offers it.
//! - Who reads the store's file, or a copy of it: sealed values. Names, levels, owners and times are
//!   in the clear.
//! - Who can change the store's file but not read the key: an altered, moved, renamed or deleted row
//!   stops the jobs that would get it. **Not** noticed: a change that rewrites the checksum as well,
//!   which takes secrets away, puts back older ones, or, with the public key, puts in others.
//! - Who can read the key and the store: everything. The embedded store's key lies beside it unless
//!   the settings say otherwise.
//! - The job itself: it has its secrets, and can send them anywhere. Whoever decides what a job
//!   runs, or uploads the project that it opens, can obtain what that job gets. Masking is for
//!   accidents: what a job encrypts or spells out comes through.
//! - A job that wants to reach the key, the store, a token, the runner's memory or another job: the
//!   job's mount namespace hides their directories, its PID namespace the processes; without
//!   namespaces Landlock denies both, or another account (`run_as`). Where nothing of that is to be
//!   had, the job does not start, unless the settings say so. `docs/containment.md` has the table of
//!   attacks that are tried in the tests, with what holds in which level.
//! - A job that wants to stay: in namespaces it can't. Without them, a job that empties its
//!   environment and gets out of its session survives if both processes of the runner are killed at
//!   once; a job of the same account can do that itself where Landlock is older than version 6.
//! - Root on the same machine, a debugger with its rights, the kernel: not at all.

pub mod access;
pub mod backend;
pub mod cli;
pub mod client;
pub mod connect;
pub mod containment;
pub mod dotenv;
pub mod environment;
pub mod error;
pub mod http;
pub mod job;
pub mod job_token;
pub mod log;
pub mod membership;
pub mod pgservice;
pub mod pipeline;
pub mod precedence;
pub mod preflight;
pub mod qgis_project;
pub mod redact;
pub mod report;
pub mod secret;
#[cfg(feature = "service")]
pub mod server;
pub mod settings;
pub mod store;
pub mod supervise;
pub mod sys;
pub mod task;
pub mod wire;
