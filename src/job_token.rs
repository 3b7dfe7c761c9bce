//! Job tokens: who a job is, signed by the orchestrator (JWT, RFC 7519).
//!
//! A token names a job and whom it works for; the service gives that job's secrets to whoever
//! presents it. What is refused follows RFC 8725, the best current practices for JWTs.
//!
//! Invariants: a [`Verifier`] gives out no [`Claims`] before signature, times, audience and issuer
//! were checked; a key has one algorithm, its own type's, whatever a token says; no key
//! comes from a token, or from an address in one; organization and user must be there, null or not,
//! for a forgotten claim must not mean fewer secrets; a refusal says why and never holds the token.

mod claims;
mod compact;
mod files;
mod freshness;
mod key_set;
mod pem;
mod public_key;
mod refused;
mod remote;
mod signing;
mod verifier;

pub use claims::{Claims, MAX_ID, Policy};
pub use compact::{MAX_LEN, Unverified};
pub use freshness::{MAX_OUTAGE, MIN_INTERVAL};
pub use key_set::KeySet;
pub use public_key::{Algorithm, PublicKey};
pub use refused::{BadKey, Refused};
pub use signing::{SigningKey, write_private};
pub use verifier::{Source, Verifier};
