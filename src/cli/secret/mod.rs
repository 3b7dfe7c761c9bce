//! `secret`: adding, importing, listing and removing secrets of the embedded store.

pub mod add;
pub mod import;
pub mod list;
pub mod remove;

use clap::Subcommand;

use super::output;
use crate::error::Error;
use crate::pgservice::Service;
use crate::secret::{Level, Owner, SecretId};
use crate::settings::Settings;
use crate::store::{KeyError, Keyring, NewSecret, PublicKey, Store, StoreError, keys};

/// Commands on secrets. There is none that shows a value or edits one.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Add an environment variable; its value comes from standard input, a file or a prompt
    Add(add::AddArgs),
    /// Add a PostgreSQL service
    AddService(add::AddServiceArgs),
    /// Add all of a pg_service.conf or a .env file, after a preview
    Import(import::ImportArgs),
    /// List secrets, without their values
    List(list::ListArgs),
    /// Remove a secret, and say what becomes effective instead
    Remove(remove::RemoveArgs),
    /// Remove everything of a project, an organization or a user
    Purge(remove::PurgeArgs),
}

/// Runs one of them; returns the exit code.
pub fn run(settings: &Settings, command: SecretCommand) -> Result<u8, Error> {
    match command {
        SecretCommand::Add(args) => add::add(settings, args),
        SecretCommand::AddService(args) => add::add_service(settings, args),
        SecretCommand::Import(args) => import::import(settings, &args),
        SecretCommand::List(args) => list::list(settings, &args),
        SecretCommand::Remove(args) => remove::remove(settings, &args),
        SecretCommand::Purge(args) => remove::purge(settings, &args),
    }
}

/// Adds secrets, all or none. The first one on a fresh machine makes store and key.
fn store(
    settings: &Settings,
    secrets: &[NewSecret],
    replace: bool,
) -> Result<Vec<SecretId>, Error> {
    match open_and_add(settings, secrets, replace) {
        // The key was rotated between our two reads: the key file holds the new one by now.
        Err(Error::Backend(crate::backend::BackendError::Store(StoreError::OtherKey {
            ..
        }))) => open_and_add(settings, secrets, replace),
        result => result,
    }
}

fn open_and_add(
    settings: &Settings,
    secrets: &[NewSecret],
    replace: bool,
) -> Result<Vec<SecretId>, Error> {
    let key = public_key(settings)?;
    let mut store = open_or_create(settings, &key)?;
    Ok(store.add(secrets, &key, replace)?)
}

/// The key that new values are sealed to; made with the store, if neither is there.
fn public_key(settings: &Settings) -> Result<PublicKey, Error> {
    let files = &settings.store;
    if let Some(path) = &files.public_key {
        return Ok(keys::read_public(path)?);
    }
    match Keyring::read(&files.key) {
        Err(KeyError::Missing(_)) if !files.path.exists() => {
            let keys = Keyring::generate();
            match keys.create(&files.key) {
                Ok(()) => {
                    note_key(settings);
                    Ok(keys.current().public().clone())
                }
                // Another `secret add` made it at the same time.
                Err(KeyError::Exists(_)) => {
                    Ok(Keyring::read(&files.key)?.current().public().clone())
                }
                Err(error) => Err(error.into()),
            }
        }
        keys => Ok(keys?.current().public().clone()),
    }
}

/// Says where a new key is, and what it protects.
pub(super) fn note_key(settings: &Settings) {
    let (key, store) = (settings.store.key.display(), settings.store.path.display());
    output::note(&format!(
        "made the private key {key}\n  \
         Keep a copy apart from the store's: without it the store is lost. It protects copies of\n  \
         {store}, not the account that can read both."
    ));
}

/// Opens the store, or makes it.
pub(super) fn open_or_create(settings: &Settings, key: &PublicKey) -> Result<Store, Error> {
    let path = &settings.store.path;
    match Store::open(path) {
        Err(StoreError::Missing(_)) => {
            let store = Store::create(path, key)?;
            output::note(&format!("made the store {}", path.display()));
            Ok(store)
        }
        store => Ok(store?),
    }
}

/// Who adds a secret here: the account's name.
fn author() -> String {
    let uid = nix::unistd::getuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// What people should know about a level before they rely on it.
fn warn_of_level(owner: &Owner) {
    if owner.level() == Level::OrganizationUser {
        output::warning(
            "this is the organization's default for one member, not a user-assigned secret: a \
             plain project secret of the same name beats it",
        );
    }
}

/// What libpq accepts, but its author may not have meant.
fn warn_of_service(service: &Service, settings: &Settings) {
    for warning in service.warnings(settings.oldest_libpq) {
        output::warning(&format!("service `{}`: {warning}", service.name()));
    }
}
