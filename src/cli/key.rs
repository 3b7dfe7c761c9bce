//! `key`: the key pair that the store is sealed to.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::output;
use super::secret::{is_there, note_key, open_or_create};
use crate::error::Error;
use crate::settings::{Place, Settings};
use crate::store::keys::DirectoryLock;
use crate::store::{KeyError, Keyring, Store};

/// Values that are sealed anew in one transaction: other processes wait this long at most.
const BATCH: u32 = 500;

/// Between two of them, where the store is a file: who waits for SQLite's lock looks every 100 ms
/// whether it is free, and would wait in vain if it was taken again at once.
const PAUSE: Duration = Duration::from_millis(120);

/// Commands on the key.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key, and an empty store that is sealed to it
    New,
    /// Print the public key: whoever has it can add secrets, and read none
    Public,
    /// Make a new key, seal every value to it anew, and forget the old one.
    ///
    /// Jobs and `secret add` go on meanwhile. If it is interrupted, run it again: it goes on where
    /// it stopped.
    Rotate(RotateArgs),
}

/// How to rotate.
#[derive(Clone, Copy, Debug, Args)]
pub struct RotateArgs {
    /// Only put the new key into the key file, beside the old one: to bring that file to all who have
    /// a copy of it, before values are sealed to the new key
    #[arg(long)]
    prepare: bool,
}

/// Runs one of them; returns the exit code.
pub fn run(settings: &Settings, command: KeyCommand) -> Result<u8, Error> {
    match command {
        KeyCommand::New => new(settings),
        KeyCommand::Public => {
            let keys = Keyring::read(&settings.store.key)?;
            output::line(&keys.current().public().to_string())?;
            Ok(0)
        }
        KeyCommand::Rotate(args) => rotate(settings, args),
    }
}

fn new(settings: &Settings) -> Result<u8, Error> {
    let keys = Keyring::generate();
    if is_there(settings)? {
        let id = Store::from_settings(&settings.store)?.recipient()?;
        return Err(Error::Input(format!(
            "the store {} is there and sealed to the key {id}, and a new key would not open it. To \
             change its key, run: qgis-secrets key rotate. If the key is lost, so is the store: \
             move it away first",
            settings.store.place
        )));
    }
    let keys = match keys.create(&settings.store.key) {
        Ok(()) => {
            note_key(settings);
            keys
        }
        // Left by one that was interrupted, or brought here for a new store.
        Err(KeyError::Exists(_)) => Keyring::read(&settings.store.key)?,
        Err(error) => return Err(error.into()),
    };
    drop(open_or_create(settings, keys.current().public())?);
    Ok(0)
}

/// The order makes every instant safe to die at: first the key file holds both keys, then new
/// values go to the new one, then the old ones follow in batches, and only when none is left is
/// the old key dropped.
fn rotate(settings: &Settings, args: RotateArgs) -> Result<u8, Error> {
    let path = &settings.store.key;
    let lock = DirectoryLock::try_for_rotation(path)?;
    let mut keys = Keyring::read(path)?;
    let mut store = Store::from_settings(&settings.store)?;
    store.check_keys(&keys)?;
    if keys.older().is_empty() {
        keys.advance();
        keys.replace(path, &lock)?;
    } else if !args.prepare {
        output::note("going on with a rotation that was begun");
    }
    let current = keys.current().public().clone();
    if args.prepare {
        output::line(&format!(
            "prepared: {} holds the new key {} beside the old one; bring it to all who have a copy, \
             then run: qgis-secrets key rotate",
            path.display(),
            current.id()
        ))?;
        return Ok(0);
    }
    store.set_recipient(&current)?;
    let total = store.stale(current.id())?;
    let mut done = 0;
    loop {
        let sealed = store.reseal(&keys, BATCH)?;
        if sealed == 0 {
            break;
        }
        done += sealed as u64;
        output::progress(&format!("sealed {done} of {} values anew", total.max(done)));
        if matches!(settings.store.place, Place::File(_)) && sealed >= BATCH as usize {
            #[expect(clippy::disallowed_methods, reason = "nothing tells who waits for the lock")]
            std::thread::sleep(PAUSE);
        }
    }
    output::progress("");
    keys.retire();
    keys.replace(path, &lock)?;
    output::line(&format!("rotated: {done} values are sealed to the new key {}", current.id()))?;
    Ok(0)
}
