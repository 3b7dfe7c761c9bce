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
mod overview;
mod refusal;
mod registration;
mod rehearsal;
mod secrets;
mod sessions;
mod work;

use std::sync::Arc;

use crate::membership::Membership;
use crate::server::recipient::Recipient;
use crate::store::StoreError;
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
    recipient: Arc<Recipient>,
    policy: Policy,
}

impl Administration {
    /// Administration of a store that is sealed to a recipient's key.
    pub fn new(pool: Pool, recipient: impl Into<Recipient>, policy: Policy) -> Self {
        Self { pool, recipient: Arc::new(recipient.into()), policy }
    }

    /// Refuses a key that isn't the store's: nothing could be added.
    pub async fn check_key(&self) -> Result<(), StoreError> {
        let want = self.pool.read(crate::store::secrets::recipient).await?;
        let have = self.recipient.key(&want)?.id().clone();
        if have == want {
            return Ok(());
        }
        Err(StoreError::OtherKey { place: self.pool.place().clone(), have, want })
    }

    /// What the operator decided.
    pub fn policy(&self) -> &Policy {
        &self.policy
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
