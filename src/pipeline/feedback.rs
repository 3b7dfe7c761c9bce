//! What the feedback file and the workspace have to do with each other.
//!
//! Invariant: where something is to be masked, whichever process of the runner survives knows where
//! the feedback is before the job can write to it.

use std::path::Path;
use std::sync::Arc;

use crate::containment::{Note, Notes, Workspace};
use crate::redact::Masker;
use crate::supervise::Command;
use crate::supervise::feedback::{Detour, Place, Promise, Settled};

/// Prepares the place of the file that a job promises.
pub(super) fn promise(
    path: &Path,
    command: &Command,
    workspace: &Workspace,
    notes: Option<&Notes>,
) -> Promise {
    let mut promise = Promise::new(path);
    if command.masker.is_empty() {
        return promise;
    }
    let ids = command.confinement.ids.as_ref();
    let owner = ids.map(|ids| (ids.uid.as_raw(), ids.gid.as_raw()));
    let led = workspace.feedback(promise.name(), owner).and_then(|(directory, path)| {
        promise.lead(Detour { directory, path, owner }, |place| note(notes, Some(place)))
    });
    if let Err(error) = led {
        tracing::info!(%error, "the feedback is masked where the job writes it, after its end");
        note(notes, Some(promise.place()));
    }
    promise
}

/// Reads it after the job, and leaves it masked.
pub(super) fn settle(promise: Promise, masker: &Arc<Masker>, notes: Option<&Notes>) -> Settled {
    let settled = promise.settle(masker);
    if !masker.is_empty() && settled.leak.is_none() {
        note(notes, None);
    }
    settled
}

/// Takes care of it after an inner process that was killed. Says what is left, if something is.
pub(super) fn abandoned(notes: &[Note]) -> Option<String> {
    let place = notes.iter().rev().find_map(|note| match note {
        Note::Feedback(place) => Some(place),
        Note::Refused(..) | Note::Report(_) | Note::Told => None,
    })?;
    let place: Option<Place> = serde_json::from_value(place.clone()).ok()?;
    place?.abandon()
}

fn note(notes: Option<&Notes>, place: Option<&Place>) {
    let Some(notes) = notes else { return };
    let told = serde_json::to_value(place)
        .map_err(Into::into)
        .and_then(|place| notes.add(&Note::Feedback(place)));
    if let Err(error) = told {
        tracing::warn!(%error, "the outer process could not be told of the feedback");
    }
}
