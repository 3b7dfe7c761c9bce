//! Secrets: listing, adding, importing, removing, explaining.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::caller::Caller;
use super::forms::{Format, Import, NewSecret, Object, Text};
use super::input::{Asked, Named, Sent, There, id, idempotency_key};
use super::refused::Refused;
use super::shapes;
use crate::access::Scope;
use crate::secret::{Kind, Name, Owner, SecretId};
use crate::server::administration::{Addition, Administration, Page, Purge, Question};
use crate::server::submission::{self, Accepted};
use crate::wire::management as wire;

type Answer = Result<Response, Refused>;

/// `GET …/secrets`
pub(super) async fn list(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
) -> Answer {
    let page = Asked::read(&uri, &["limit", "after"])?.page()?;
    let Page { items, next } = administration.list(&actor, &scope, page).await?;
    let secrets = items.into_iter().map(shapes::listed).collect();
    Ok(shapes::ok(&wire::Secrets { secrets, next }))
}

/// `POST …/secrets`
pub(super) async fn add(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
    headers: HeaderMap,
    Sent(new): Sent<NewSecret>,
) -> Answer {
    Asked::nothing(&uri)?;
    let key = idempotency_key(&headers)?;
    let replace = new.replace.unwrap_or_default();
    let Accepted { additions, warnings } = accept(&administration, &scope, new)?;
    let added = administration.add(&actor, additions, replace, key).await?;
    let secrets = shapes::secrets(added);
    let first = secrets.first().map(|secret| wire::segment(&secret.id)).unwrap_or_default();
    Ok(shapes::created(format!("/v1/secrets/{first}"), &wire::Added { secrets, warnings }))
}

/// `POST …/secrets/import`
pub(super) async fn import(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
    headers: HeaderMap,
    Sent(file): Sent<Import>,
) -> Answer {
    Asked::nothing(&uri)?;
    let key = idempotency_key(&headers)?;
    let Import { format, text: Text(text), user, replace, dry_run } = file;
    let owner = owner(&scope, user.as_deref())?;
    let accepted = match format {
        Format::Dotenv => submission::variables(&owner, &text),
        Format::PgService => {
            submission::services(&owner, &text, administration.policy().oldest_libpq)
        }
    };
    drop(text);
    let Accepted { additions, warnings } =
        accepted.map_err(|faults| Refused::faults(faults, ""))?;
    if dry_run.unwrap_or_default() {
        let taken = administration.would_add(&actor, &additions).await?;
        let secrets = additions.into_iter().map(|Addition { name, owner, .. }| {
            let at = (name, owner);
            let taken = taken.contains(&at);
            let Name { kind, key } = at.0;
            wire::WouldAdd { kind, key, taken }
        });
        return Ok(shapes::ok(&wire::Rehearsed { secrets: secrets.collect(), warnings }));
    }
    let added = administration.add(&actor, additions, replace.unwrap_or_default(), key).await?;
    let location = format!("{}/secrets", shapes::path(&scope));
    let secrets = shapes::secrets(added);
    Ok(shapes::created(location, &wire::Added { secrets, warnings }))
}

/// `DELETE …/secrets`
pub(super) async fn purge(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
) -> Answer {
    let dry_run = Asked::read(&uri, &["dry_run"])?.flag("dry_run")?;
    let what = match scope {
        Scope::Organization(id) => Purge::Organization(id),
        Scope::Project(id) => Purge::Project(id),
    };
    let secrets = shapes::secrets(administration.purge(&actor, &what, dry_run).await?);
    Ok(shapes::ok(&wire::Purged { dry_run, secrets }))
}

/// `DELETE /v1/users/{user}/secrets`
pub(super) async fn purge_user(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    Named(user): Named,
    uri: Uri,
) -> Answer {
    let dry_run = Asked::read(&uri, &["dry_run"])?.flag("dry_run")?;
    let what = Purge::User(id("user", &user)?);
    let secrets = shapes::secrets(administration.purge(&actor, &what, dry_run).await?);
    Ok(shapes::ok(&wire::Purged { dry_run, secrets }))
}

/// `GET /v1/secrets/{id}`
pub(super) async fn see(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    Named(id): Named,
    uri: Uri,
) -> Answer {
    Asked::nothing(&uri)?;
    let secret = administration.secret(&actor, &SecretId::from(id)).await?;
    Ok(shapes::ok(&shapes::listed(secret)))
}

/// `DELETE /v1/secrets/{id}`
pub(super) async fn remove(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    Named(id): Named,
    uri: Uri,
) -> Answer {
    Asked::nothing(&uri)?;
    let removed = administration.remove(&actor, &SecretId::from(id)).await?;
    Ok(shapes::ok(&shapes::removed(removed)))
}

/// `GET /v1/projects/{project}/explain`
pub(super) async fn explain(
    Caller(actor): Caller,
    State(administration): State<Administration>,
    There(scope): There,
    uri: Uri,
) -> Answer {
    let asked = Asked::read(&uri, &["organization", "user", "require"])?;
    let require = asked.all("require").map(|text| {
        let why = |why: crate::secret::UnknownWord| Refused::form("require", why.to_string());
        text.parse().map_err(why)
    });
    let question = Question {
        project: scope.id().clone(),
        organization: asked.id("organization")?,
        user: asked.id("user")?,
        require: require.collect::<Result<_, _>>()?,
    };
    let explanation = administration.explain(&actor, &question).await?;
    Ok(shapes::ok(&shapes::explanation(explanation)))
}

fn owner(scope: &Scope, user: Option<&str>) -> Result<Owner, Refused> {
    Ok(scope.owner(user.map(|user| id("user", user)).transpose()?))
}

/// Checks one secret.
fn accept(
    administration: &Administration,
    scope: &Scope,
    new: NewSecret,
) -> Result<Accepted, Refused> {
    let NewSecret { kind, key, value, fields, text, user, sensitive, replace: _ } = new;
    let owner = owner(scope, user.as_deref())?;
    let oldest = administration.policy().oldest_libpq;
    let misplaced = match kind {
        Kind::Envvar => [("fields", fields.is_some()), ("text", text.is_some()), ("", false)],
        Kind::Pgservice => {
            [("key", key.is_some()), ("value", value.is_some()), ("sensitive", sensitive.is_some())]
        }
    };
    if let Some((field, _)) = misplaced.into_iter().find(|(_, there)| *there) {
        let why = format!("it doesn't belong to a secret of the kind {kind}");
        return Err(Refused::invalid(field, &why));
    }
    match (kind, fields, text) {
        (Kind::Envvar, ..) => {
            let key = key.ok_or_else(|| Refused::invalid("key", "give the variable's name"))?;
            let Text(value) =
                value.ok_or_else(|| Refused::invalid("value", "give the variable's value"))?;
            submission::variable(&owner, &key, value, sensitive.unwrap_or(true))
                .map_err(|faults| Refused::faults(faults, ""))
        }
        (Kind::Pgservice, Some(Object(fields)), None) => {
            submission::service(&owner, fields.into(), oldest)
                .map_err(|faults| Refused::faults(faults, "fields."))
        }
        (Kind::Pgservice, None, Some(Text(text))) => {
            let accepted = submission::services(&owner, &text, oldest)
                .map_err(|faults| Refused::faults(faults, ""))?;
            if accepted.additions.len() == 1 {
                return Ok(accepted);
            }
            let why = "there is more than one section; import it, or give one";
            Err(Refused::invalid("text", why))
        }
        (Kind::Pgservice, ..) => {
            Err(Refused::invalid("fields", "give `fields` or `text`, not both"))
        }
    }
}
