//! `secret`: adding, importing, listing and removing secrets, in the embedded store or at a service.

pub mod add;
pub mod import;
pub mod list;
mod remote;
pub mod remove;

use clap::Subcommand;

use super::output;
use crate::backend::BackendError;
use crate::error::Error;
use crate::pgservice::Service;
use crate::secret::{Owner, Value};
use crate::settings::{Place, Settings};
use crate::store::{
    KeyError, KeyId, Keyring, NewSecret, PublicKey, Record, Store, StoreError, keys,
};

/// Commands on secrets. There is none that shows a value or edits one. Each variant's help is that
/// of its arguments.
#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    Add(add::AddArgs),
    AddService(add::AddServiceArgs),
    Import(import::ImportArgs),
    List(list::ListArgs),
    Remove(remove::RemoveArgs),
    Purge(remove::PurgeArgs),
}

/// Runs one of them; returns the exit code.
pub(super) fn run(
    settings: &Settings,
    command: SecretCommand,
    token: Option<Value>,
) -> Result<u8, Error> {
    match command {
        SecretCommand::Add(args) => add::add(settings, args, token),
        SecretCommand::AddService(args) => add::add_service(settings, args, token),
        SecretCommand::Import(args) => import::import(settings, &args, token),
        SecretCommand::List(args) => list::list(settings, &args, token),
        SecretCommand::Remove(args) => remove::remove(settings, &args, token),
        SecretCommand::Purge(args) => remove::purge(settings, &args, token),
    }
}

/// Adds secrets, all or none. The first one on a fresh machine makes store and key.
fn store(settings: &Settings, secrets: &[NewSecret], replace: bool) -> Result<Vec<Record>, Error> {
    let mut tried: Option<KeyId> = None;
    loop {
        let error = match open_and_add(settings, secrets, replace) {
            Err(Error::Backend(BackendError::Store(error @ StoreError::OtherKey { .. }))) => error,
            result => return result,
        };
        // If the key was rotated between our two reads, the key file holds another one by now.
        if settings.store.public_key.is_some() {
            return Err(error.into());
        }
        let current = Some(Keyring::read(&settings.store.key)?.current().public().id().clone());
        if current == tried {
            return Err(error.into());
        }
        tried = current;
    }
}

fn open_and_add(
    settings: &Settings,
    secrets: &[NewSecret],
    replace: bool,
) -> Result<Vec<Record>, Error> {
    let (mut store, key) = if let Some(path) = &settings.store.public_key {
        let key = keys::read_public(path)?;
        (open_or_create(settings, &key)?, key)
    } else {
        let keys = keyring(settings)?;
        let mut store = open_or_create(settings, keys.current().public())?;
        // In the middle of a rotation the file holds two keys, and the store says which one counts.
        let recipient = store.check_keys(&keys)?;
        let key = keys.find(&recipient).unwrap_or(keys.current()).public().clone();
        (store, key)
    };
    Ok(store.add(&subject(), secrets, &key, replace)?)
}

/// The store that a service serves: the first one on a fresh machine makes it, and its key.
#[cfg(feature = "service")]
pub(super) fn store_for_service(settings: &Settings) -> Result<(), Error> {
    let files = &settings.store;
    if !settings.service.role.is_admin() || is_there(settings)? {
        return Ok(());
    }
    let key = match &files.public_key {
        Some(path) => keys::read_public(path)?,
        None => keyring(settings)?.current().public().clone(),
    };
    open_or_create(settings, &key).map(drop)
}

/// The key file's keys; made with the store, if neither is there.
fn keyring(settings: &Settings) -> Result<Keyring, Error> {
    let files = &settings.store;
    match Keyring::read(&files.key) {
        Err(KeyError::Missing(_)) if !is_there(settings)? => {
            let keys = Keyring::generate();
            match keys.create(&files.key) {
                Ok(()) => {
                    note_key(settings);
                    Ok(keys)
                }
                // Another `secret add` made it at the same time.
                Err(KeyError::Exists(_)) => Ok(Keyring::read(&files.key)?),
                Err(error) => Err(error.into()),
            }
        }
        // Another `secret add` made both between our two looks.
        Err(KeyError::Missing(_)) => Ok(Keyring::read(&files.key)?),
        keys => Ok(keys?),
    }
}

/// Says where a new key is, and what it protects.
pub(super) fn note_key(settings: &Settings) {
    let (key, store) = (settings.store.key.display(), &settings.store.place);
    output::note(&format!(
        "made the private key {key}\n  \
         Keep a copy apart from the store's: without it the store is lost. It protects copies of\n  \
         {store}, not the account that can read both."
    ));
}

/// Whether there is a store, or something in its place.
pub(super) fn is_there(settings: &Settings) -> Result<bool, Error> {
    if let Place::File(path) = &settings.store.place {
        return Ok(path.exists());
    }
    match Store::from_settings(&settings.store) {
        Ok(_) => Ok(true),
        Err(StoreError::Missing(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens the store, or makes it.
pub(super) fn open_or_create(settings: &Settings, key: &PublicKey) -> Result<Store, Error> {
    match Store::from_settings(&settings.store) {
        Err(StoreError::Missing(_)) => {
            let store = Store::make_from_settings(&settings.store, key)?;
            output::note(&format!("made the store {}", settings.store.place));
            Ok(store)
        }
        store => Ok(store?),
    }
}

/// Who adds a secret here: the account's name.
pub(super) fn author() -> String {
    let uid = nix::unistd::getuid().to_string();
    // Not getpwuid(3): a static program crashes where that loads a module for accounts that are
    // kept elsewhere.
    let accounts = std::fs::read("/etc/passwd").unwrap_or_default();
    let name = String::from_utf8_lossy(&accounts).lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// So many secrets, in words.
fn counted(secrets: u64) -> String {
    format!("{secrets} secret{}", if secrets == 1 { "" } else { "s" })
}

/// The same as a subject, for the audit.
pub(super) fn subject() -> String {
    format!("local:{}", author())
}

/// What people should know about a level before they rely on it.
fn warn_of_level(owner: &Owner) {
    if let Some(caveat) = owner.level().caveat() {
        output::warning(caveat);
    }
}

/// What libpq accepts, but its author may not have meant.
fn warn_of_service(service: &Service, settings: &Settings) {
    for warning in service.warnings(settings.oldest_libpq) {
        output::warning(&format!("service `{}`: {warning}", service.name()));
    }
}
