//! Keys in files, which are read again when one of them changes.
//!
//! Invariant: the keys of all files are taken together or not at all. Files that can't be used
//! leave the last keys in force: a file that is half written must not turn every job away.

use std::path::PathBuf;
use std::sync::Arc;

use super::key_set::KeySet;
use super::refused::BadKey;
use crate::sys::followed::Followed;

/// The keys of some files, which trust each other's.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    keys: Followed<Arc<KeySet>>,
}

impl Files {
    /// Reads the files.
    pub(super) fn read(paths: Vec<PathBuf>) -> Result<Self, BadKey> {
        let keys = Followed::new(paths.clone(), || together(&paths))?;
        Ok(Self { paths, keys })
    }

    /// The keys that are in the files; a change is noticed after a second.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        let followed = self.keys.follow(|| together(&self.paths));
        let keys = self.keys.current();
        match followed {
            None => {}
            Some(Ok(())) => {
                let keys = keys.keys().len();
                tracing::info!(keys, "the keys for job tokens were read from their files again");
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the keys for job tokens stay as they were");
            }
        }
        keys
    }

    /// Reads the files again. Files that are not valid change nothing.
    pub(super) fn reload(&self) -> Result<(), BadKey> {
        self.keys.again(|| together(&self.paths))
    }
}

fn together(paths: &[PathBuf]) -> Result<Arc<KeySet>, BadKey> {
    let mut keys = KeySet::default();
    for path in paths {
        keys.join(KeySet::read(path)?, path)?;
    }
    Ok(Arc::new(keys))
}
