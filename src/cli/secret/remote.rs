//! The same at a secrets service, by its management API.
//!
//! Invariant: what a service answers is checked like any other input before it is shown.

use std::iter;

use super::list::Dormant;
use super::{counted, import, output};
use crate::cli::args::OwnerArgs;
use crate::cli::block_on;
use crate::client::{Body, ClientError, Server};
use crate::error::Error;
use crate::secret::{Level, Name, Owner, SecretId, Value};
use crate::store::{KeyId, Record, Selection};
use crate::wire::management::{Added, Purged, Rehearsed, Removed, Secret, Secrets, segment};

/// Adds an environment variable.
pub(super) fn add(
    server: &Server,
    owner: &Owner,
    name: &str,
    value: &Value,
    sensitive: bool,
    replace: bool,
) -> Result<u8, Error> {
    let body = begin(owner, replace).with("kind", "envvar").with("key", name);
    finish(server, owner, body.with("sensitive", &sensitive).with_value("value", value))
}

/// Adds a service.
pub(super) fn add_service(
    server: &Server,
    owner: &Owner,
    text: &Value,
    replace: bool,
) -> Result<u8, Error> {
    let body = begin(owner, replace).with("kind", "pgservice");
    finish(server, owner, body.with_value("text", text))
}

fn finish(server: &Server, owner: &Owner, body: Option<Body>) -> Result<u8, Error> {
    let body = body.ok_or_else(not_text)?;
    let added: Added = block_on(server.post(&path(owner), body))??;
    warn(&added.warnings);
    for record in records(added.secrets)? {
        let Record { id, name, owner, .. } = record;
        output::line(&format!("added {name} to {owner}, id {id}"))?;
    }
    Ok(0)
}

/// Adds all of a file.
pub(super) fn import(
    server: &Server,
    owner: &Owner,
    format: &str,
    text: &Value,
    replace: bool,
    yes: bool,
) -> Result<u8, Error> {
    let body = |dry_run: bool| {
        let body = begin(owner, replace).with("format", format).with("dry_run", &dry_run);
        body.with_value("text", text).ok_or_else(not_text)
    };
    let path = format!("{}/import", path(owner));
    let would: Rehearsed = block_on(server.post(&path, body(true)?))??;
    let rows = would.secrets.iter().map(|secret| {
        let key = output::harmless(&secret.key);
        (Name { kind: secret.kind, key }, secret.taken)
    });
    output::print(&import::table(rows, owner, replace))?;
    warn(&would.warnings);
    if !import::agreed(yes)? {
        return Ok(0);
    }
    let added: Added = block_on(server.post(&path, body(false)?))??;
    output::line(&format!("added {} to {owner}", counted(added.secrets.len() as u64)))?;
    Ok(0)
}

/// What the options select, and which of it no job gets.
pub(super) fn list(server: &Server, args: &OwnerArgs) -> Result<(Vec<Record>, Dormant), Error> {
    let owner = args.owner().map_err(|_| {
        Error::Usage("say whose secrets a service is to list: -O ORGANIZATION or -P PROJECT".into())
    })?;
    let mut found = all(server, &owner)?;
    if let Some(user) = owner.user() {
        found.retain(|secret| secret.user.as_deref() == Some(user.as_str()));
    }
    let asleep = found.iter().filter(|secret| secret.dormant == Some(true));
    let dormant: Dormant = asleep.map(|secret| secret.id.clone()).collect();
    if !dormant.is_empty() {
        output::note(
            "no job gets what is dormant: its organization or project is not registered, or its \
             user is no member",
        );
    }
    Ok((records(found)?, dormant))
}

/// Removes one secret.
pub(super) fn remove(server: &Server, secret: &str, args: &OwnerArgs) -> Result<u8, Error> {
    let id = match secret.parse::<Name>() {
        Ok(name) => {
            let owner = args.owner()?;
            let found = records(all(server, &owner)?)?;
            let found = found.into_iter().find(|other| other.name == name && other.owner == owner);
            let none = || Error::Input(format!("{owner} has no secret {name} of its own"));
            found.ok_or_else(none)?.id.to_string()
        }
        Err(_) if args.is_empty() => secret.to_owned(),
        Err(_) => {
            return Err(Error::Usage(
                "with a level, name the secret as envvar:NAME or pgservice:NAME".into(),
            ));
        }
    };
    let path = format!("/v1/secrets/{}", segment(&id));
    let removed: Removed = block_on(server.delete(&path))??;
    for Record { name, owner, .. } in records(iter::once(removed.removed))? {
        output::line(&format!("removed {name} of {owner}"))?;
    }
    output::line(&output::harmless(&removed.sentence))?;
    Ok(0)
}

/// Removes many, or says which.
pub(super) fn purge(
    server: &Server,
    selection: &Selection,
    dry_run: bool,
) -> Result<Vec<Record>, Error> {
    let (kind, id) = match selection {
        Selection::Organization(id) => ("organizations", id),
        Selection::Project(id) => ("projects", id),
        Selection::User(id) => ("users", id),
        _ => return Err(Error::Usage("say whose: -P, -O or -U".into())),
    };
    let path = format!("/v1/{kind}/{}/secrets?dry_run={dry_run}", segment(id.as_str()));
    let purged: Purged = block_on(server.delete(&path))??;
    records(purged.secrets)
}

fn all(server: &Server, owner: &Owner) -> Result<Vec<Secret>, Error> {
    let mut found = Vec::new();
    let take = |part: Secrets| {
        found.extend(part.secrets);
        true
    };
    block_on(server.all(&path(owner), |part: &Secrets| part.next.clone(), take))??;
    Ok(found)
}

fn path(owner: &Owner) -> String {
    let kind = match owner {
        Owner::Organization { .. } => "organizations",
        Owner::Project { .. } => "projects",
    };
    format!("/v1/{kind}/{}/secrets", segment(owner.id().as_str()))
}

fn begin(owner: &Owner, replace: bool) -> Body {
    Body::new().with("user", &owner.user()).with("replace", &replace)
}

fn not_text() -> Error {
    Error::Input("the value is not UTF-8 text".into())
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        output::warning(&output::harmless(warning));
    }
}

/// What a service answered, as what a store has.
fn records(secrets: impl IntoIterator<Item = Secret>) -> Result<Vec<Record>, Error> {
    let found = secrets.into_iter().map(|secret| record(secret).ok_or_else(malformed));
    found.collect()
}

fn malformed() -> Error {
    ClientError::Malformed { at: "--server".into() }.into()
}

fn record(secret: Secret) -> Option<Record> {
    let Secret { id, kind, key, level, owner, user, sensitive, created_at, created_by, .. } =
        secret;
    let texts = [&id, &key, &created_at, &created_by];
    if texts.into_iter().any(|text| text.contains(char::is_control)) {
        return None;
    }
    let user = user.map(|user| user.parse()).transpose().ok()?;
    let scope = owner.parse().ok()?;
    let owner = match level {
        Level::Organization | Level::OrganizationUser => {
            Owner::Organization { organization: scope, user }
        }
        Level::Project | Level::ProjectUser => Owner::Project { project: scope, user },
    };
    (owner.level() == level).then(|| Record {
        id: SecretId::from(id),
        name: Name { kind, key },
        owner,
        sensitive,
        created_at,
        created_by,
        key_id: KeyId::from(String::new()),
    })
}
