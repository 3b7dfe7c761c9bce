//! All that admins can do. The page and the API call only this.
//!
//! Invariants: permission is checked in the transaction that does what it permits, over the grants
//! that hold there; a change and its audit row are one transaction, and so is a denial; nothing
//! here can open a value, for there is no private key.
//!
//! What an actor may not see is answered exactly as what doesn't exist: `not_found`, 404.

mod answers;
mod delegation;
mod effective;
mod explain;
mod refusal;
mod registration;
mod secrets;
mod work;

use std::sync::{Arc, PoisonError, RwLock};

use crate::membership::Membership;
use crate::store::PublicKey;
use crate::store::pool::Pool;

pub use self::answers::*;
pub use self::refusal::Refusal;
pub use crate::store::ledger::IdempotencyKey;

/// What the operator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where it is known who belongs where.
    pub membership: Membership,
    /// Whether an organization's defaults for single members can be added.
    pub organization_user: bool,
    /// The oldest major version of libpq that reads services.
    pub oldest_libpq: u16,
}

/// What admins can do. A clone is another handle on the same store.
#[derive(Clone, Debug)]
pub struct Administration {
    pool: Pool,
    key: Arc<RwLock<PublicKey>>,
    policy: Policy,
}

impl Administration {
    /// Administration of a store that is sealed to `key`.
    pub fn new(pool: Pool, key: PublicKey, policy: Policy) -> Self {
        Self { pool, key: Arc::new(RwLock::new(key)), policy }
    }

    /// What the operator decided.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Seals to another key from now on, as after a rotation. Until then adding is refused with
    /// `key_of_another_store`.
    pub fn set_key(&self, key: PublicKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn key(&self) -> PublicKey {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Refuses what no list gave as its `next`.
fn key(page: PageRequest) -> Result<PageRequest, Refusal> {
    let sound =
        |after: &String| after.len() <= 300 && after.bytes().all(|byte| byte.is_ascii_graphic());
    if page.after.as_ref().is_none_or(sound) {
        Ok(page)
    } else {
        Err(Refusal::invalid(
            "after",
            "this is not where a list goes on; begin with its first part",
        ))
    }
}

#[cfg(test)]
mod ground;
#[cfg(test)]
mod tests;
