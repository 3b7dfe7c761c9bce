//! Facts of administration in the forms of the wire.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::access::{Grant, Scope};
use crate::precedence::{Candidate, Winner};
use crate::secret::{Id, Owner};
use crate::server::administration as facts;
use crate::store::Record;
use crate::wire::management as wire;

/// An answer.
pub(super) fn ok(body: &impl Serialize) -> Response {
    Json(body).into_response()
}

/// The answer to what has made something at `location`.
pub(super) fn created(location: String, body: &impl Serialize) -> Response {
    (StatusCode::CREATED, [(LOCATION, location)], Json(body)).into_response()
}

/// Where a scope stands.
pub(super) fn path(scope: &Scope) -> String {
    format!("/v1/{}s/{}", scope.word(), wire::segment(scope.id().as_str()))
}

fn text(id: &Id) -> String {
    id.to_string()
}

fn texts(ids: &[Id]) -> Vec<String> {
    ids.iter().map(text).collect()
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

pub(super) fn secret(record: Record) -> wire::Secret {
    let Record { id, name, owner, sensitive, created_at, created_by, key_id: _ } = record;
    wire::Secret {
        id: id.to_string(),
        kind: name.kind,
        key: name.key,
        level: owner.level(),
        owner: owner.id().to_string(),
        user: owner.user().map(text),
        sensitive,
        dormant: None,
        created_at,
        created_by,
    }
}

pub(super) fn secrets(records: Vec<Record>) -> Vec<wire::Secret> {
    records.into_iter().map(secret).collect()
}

fn candidate(candidate: Candidate) -> wire::Candidate {
    let Candidate { id, name, owner, sensitive } = candidate;
    wire::Candidate {
        id: id.to_string(),
        kind: name.kind,
        key: name.key,
        level: owner.level(),
        owner: owner.id().to_string(),
        user: owner.user().map(text),
        sensitive,
    }
}

pub(super) fn listed(facts::Listed { record, dormant }: facts::Listed) -> wire::Secret {
    wire::Secret { dormant: Some(dormant), ..secret(record) }
}

pub(super) fn removed(removed: facts::Removed) -> wire::Removed {
    let facts::Removed { record, instead, sentence } = removed;
    wire::Removed { removed: secret(record), instead: instead.map(candidate), sentence }
}

pub(super) fn explanation(explanation: facts::Explanation) -> wire::Explanation {
    let facts::Explanation { looked_at, winners, dormant, missing, refused } = explanation;
    let place = |owner: Owner| wire::LookedAt {
        level: owner.level(),
        id: owner.id().to_string(),
        user: owner.user().map(text),
    };
    let winner = |winner: Winner| wire::Winner {
        id: winner.secret.id.to_string(),
        kind: winner.secret.name.kind,
        level: winner.secret.level(),
        owner: winner.secret.owner.id().to_string(),
        user: winner.secret.owner.user().map(text),
        sensitive: winner.secret.sensitive,
        shadowed: winner
            .shadowed
            .iter()
            .map(|beaten| wire::Beaten { id: beaten.id.to_string(), level: beaten.level() })
            .collect(),
        key: winner.secret.name.key,
    };
    let lacking =
        |facts::Missing { name, why }| wire::Missing { kind: name.kind, key: name.key, why };
    wire::Explanation {
        looked_at: looked_at.into_iter().map(place).collect(),
        secrets: winners.into_iter().map(winner).collect(),
        dormant: dormant.into_iter().map(candidate).collect(),
        missing: missing.into_iter().map(lacking).collect(),
        refused: refused.map(|denied| wire::WouldRefuse {
            kind: denied.kind().to_owned(),
            detail: denied.to_string(),
        }),
    }
}

pub(super) fn role(grant: &Grant) -> wire::Role {
    let (organization, project) = match grant {
        Grant::Operator => (None, None),
        Grant::OrganizationAdmin(id) => (Some(id.to_string()), None),
        Grant::ProjectAdmin(id) => (None, Some(id.to_string())),
    };
    wire::Role { role: grant.role().to_string(), organization, project }
}

pub(crate) fn granted(granted: facts::Granted) -> wire::Grant {
    let facts::Granted { id, subject, grant, granted_at, granted_by } = granted;
    let wire::Role { role, organization, project } = role(&grant);
    wire::Grant { id, subject, role, organization, project, granted_at, granted_by }
}

pub(crate) fn revoked(revoked: facts::Revoked) -> wire::Revoked {
    let facts::Revoked { granted: grant, tokens } = revoked;
    wire::Revoked { revoked: granted(grant), tokens: tokens.into_iter().map(token).collect() }
}

pub(crate) fn token(token: facts::ApiToken) -> wire::Token {
    let wire::Role { role, organization, project } = role(&token.grant);
    wire::Token {
        id: token.id,
        name: token.name,
        role,
        organization,
        project,
        access: token.access.to_string(),
        created_at: token.created_at,
        created_by: token.created_by,
        expires_at: date(token.expires_at),
        revoked_at: token.revoked_at,
        used_at: token.used_at.map(date),
    }
}

pub(crate) fn ended(ended: facts::Ended) -> wire::EndedToken {
    let made = ended.made.into_iter().map(token).collect();
    wire::EndedToken { token: token(ended.token), made }
}

pub(super) fn organization(
    registered: facts::Registered<facts::Organization>,
) -> wire::Organization {
    let facts::Registered { id, content, registered_at } = registered;
    wire::Organization {
        id: id.to_string(),
        members: texts(&content.members),
        admins: texts(&content.admins),
        registered_at,
    }
}

pub(super) fn project(registered: facts::Registered<facts::Project>) -> wire::Project {
    let facts::Registered { id, content, registered_at } = registered;
    wire::Project {
        id: id.to_string(),
        organization: content.organization.as_ref().map(text),
        members: texts(&content.members),
        admins: texts(&content.admins),
        registered_at,
    }
}

pub(crate) fn audit_row(row: facts::AuditRow) -> wire::AuditRow {
    let facts::AuditRow { id, at, actor, action, decision, reason, level, owner, user, detail } =
        row;
    let detail = serde_json::from_str(&detail).unwrap_or_default();
    wire::AuditRow { id, at, actor, action, decision, reason, level, owner, user, detail }
}
