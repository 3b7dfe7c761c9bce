//! What adding would do, without doing it.

use std::collections::BTreeSet;

use super::secrets::may_add;
use super::work::Work;
use super::{Addition, Administration, Refusal};
use crate::access::Actor;
use crate::secret::{Name, Owner};
use crate::store::ledger::Entry;
use crate::store::secrets;

impl Administration {
    /// Which of the additions have a name that is taken. Refuses what [`Administration::add`]
    /// would, but for those.
    pub async fn would_add(
        &self,
        actor: &Actor,
        additions: &[Addition],
    ) -> Result<BTreeSet<(Name, Owner)>, Refusal> {
        self.check(additions)?;
        let attempt = Entry::allowed(&actor.subject, "secret.add");
        let wanted: BTreeSet<(Name, Owner)> =
            additions.iter().map(|new| (new.name.clone(), new.owner.clone())).collect();
        let owners: BTreeSet<Owner> = additions.iter().map(|new| new.owner.clone()).collect();
        let work = move |work: &mut Work<'_>| {
            for owner in &owners {
                work.attempt = work.attempt.clone().of_owner(owner);
                may_add(work, owner)?;
            }
            let there = secrets::candidates(work.database, &Vec::from_iter(owners))?;
            let names = there.into_iter().map(|record| (record.name, record.owner));
            Ok(names.filter(|name| wanted.contains(name)).collect())
        };
        self.read(actor, attempt, work).await
    }
}
