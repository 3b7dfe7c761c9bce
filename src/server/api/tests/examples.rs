//! Examples of the document. Those of answers are made from the types that make answers.

use serde_json::{Value as Json, json};

use crate::secret::{Kind, Level};
use crate::wire::management::*;

const ID: &str = "019ab2c4-5d6e-7f80-8a1b-2c3d4e5f6071";
const AT: &str = "2026-11-23T09:30:00Z";

fn secret() -> Secret {
    Secret {
        id: ID.into(),
        kind: Kind::Envvar,
        key: "API_KEY".into(),
        level: Level::ProjectUser,
        owner: "ninja/field-survey".into(),
        user: Some("u-1204".into()),
        sensitive: true,
        dormant: None,
        created_at: AT.into(),
        created_by: "ada (u-17)".into(),
    }
}

fn listed() -> Secret {
    Secret { dormant: Some(false), ..secret() }
}

fn grant() -> Grant {
    Grant {
        id: ID.into(),
        subject: "u-17".into(),
        role: "project_admin".into(),
        organization: None,
        project: Some("ninja/field-survey".into()),
        granted_at: AT.into(),
        granted_by: "u-1".into(),
    }
}

fn token() -> Token {
    Token {
        id: "0123456789abcdef".into(),
        name: "nightly import".into(),
        role: "organization_admin".into(),
        organization: Some("org-81".into()),
        project: None,
        access: "manage".into(),
        created_at: AT.into(),
        created_by: "u-1".into(),
        expires_at: "2027-02-21T09:30:00Z".into(),
        revoked_at: None,
        used_at: None,
    }
}

fn organization() -> Organization {
    Organization {
        id: "org-81".into(),
        members: vec!["u-1204".into()],
        admins: vec!["u-17".into()],
        registered_at: AT.into(),
    }
}

fn project() -> Project {
    Project {
        id: "ninja/field-survey".into(),
        organization: Some("org-81".into()),
        members: vec!["u-1204".into()],
        admins: vec![],
        registered_at: AT.into(),
    }
}

fn explanation() -> Explanation {
    let place = |level, id: &str, user: Option<&str>| LookedAt {
        level,
        id: id.into(),
        user: user.map(Into::into),
    };
    Explanation {
        looked_at: vec![
            place(Level::ProjectUser, "ninja/field-survey", Some("u-1204")),
            place(Level::Project, "ninja/field-survey", None),
            place(Level::Organization, "org-81", None),
        ],
        secrets: vec![Winner {
            id: ID.into(),
            kind: Kind::Envvar,
            key: "API_KEY".into(),
            level: Level::ProjectUser,
            owner: "ninja/field-survey".into(),
            user: Some("u-1204".into()),
            sensitive: true,
            shadowed: vec![Beaten {
                id: "019ab2c4-1111-7f80-8a1b-2c3d4e5f6071".into(),
                level: Level::Project,
            }],
        }],
        dormant: vec![],
        missing: vec![Missing {
            kind: Kind::Pgservice,
            key: "ninja".into(),
            why: "Nobody added it for project ninja/field-survey, user u-1204.".into(),
        }],
        refused: None,
    }
}

fn audit_row() -> AuditRow {
    AuditRow {
        id: ID.into(),
        at: AT.into(),
        actor: "u-17".into(),
        action: "secret.add".into(),
        decision: "allowed".into(),
        reason: None,
        level: Some("project".into()),
        owner: Some("ninja/field-survey".into()),
        user: None,
        detail: json!({"added": {"count": 1, "secrets": [
            {"id": ID, "name": "envvar:API_KEY", "sensitive": true},
        ]}}),
    }
}

/// An example of an answer of this type.
pub(super) fn of(schema: &str) -> Json {
    let next = Some(ID.to_owned());
    match schema {
        "Secret" => json!(listed()),
        "Secrets" => json!(Secrets { secrets: vec![listed()], next: None }),
        "Added" => json!(Added { secrets: vec![secret()], warnings: vec![] }),
        "Rehearsed" => json!(Rehearsed {
            secrets: vec![WouldAdd { kind: Kind::Envvar, key: "API_KEY".into(), taken: true }],
            warnings: vec!["API_KEY: the value has under 8 bytes".into()],
        }),
        "Removed" => json!(Removed {
            removed: secret(),
            instead: None,
            sentence: "Without it, jobs for project ninja/field-survey, user u-1204 get none."
                .into(),
        }),
        "Purged" => json!(Purged { dry_run: true, secrets: vec![secret()] }),
        "Explanation" => json!(explanation()),
        "Whoami" => json!(Whoami {
            subject: "token:0123456789abcdef".into(),
            name: "nightly import".into(),
            access: "manage".into(),
            grants: vec![Role {
                role: "organization_admin".into(),
                organization: Some("org-81".into()),
                project: None,
            }],
        }),
        "Grant" => json!(grant()),
        "Grants" => json!(Grants { grants: vec![grant()], next: None }),
        "Revoked" => json!(Revoked { revoked: grant(), tokens: vec![] }),
        "Token" => json!(token()),
        "Tokens" => json!(Tokens { tokens: vec![token()], next: None }),
        "EndedToken" => {
            let revoked_at = Some(AT.to_owned());
            json!(EndedToken { token: Token { revoked_at, ..token() }, made: vec![] })
        }
        "IssuedToken" => {
            let mut issued = json!(token());
            issued["token"] = "qgis_secrets_0123456789abcdef_…".into();
            issued
        }
        "Organization" => json!(organization()),
        "Organizations" => json!(Organizations { organizations: vec![organization()], next }),
        "Project" => json!(project()),
        "Projects" => json!(Projects { projects: vec![project()], next }),
        "Deleted" => json!(Deleted { purged: vec![], dormant: 3 }),
        "Audit" => json!(Audit { rows: vec![audit_row()], next }),
        other => panic!("{other} has no example"),
    }
}

/// Examples of requests of this type, by name.
pub(super) fn requests(schema: &str) -> Json {
    let of = |value: Json| json!({ "value": value });
    match schema {
        "NewSecret" => json!({
            "variable": of(json!({
                "kind": "envvar", "key": "API_KEY", "value": "s3cr3t-key", "user": "u-1204",
            })),
            "service by fields": of(json!({
                "kind": "pgservice", "fields": {
                    "service": "ninja", "host": "db.example", "dbname": "survey",
                    "user": "ninja_project", "password": "s3cr3t", "sslmode": "verify-full",
                    "extra": [{"key": "connect_timeout", "value": "10"}],
                },
            })),
            "service by text": of(json!({
                "kind": "pgservice", "text": "[ninja]\nhost=db.example\ndbname=survey\n",
            })),
        }),
        "Import" => json!({"file": of(json!({
            "format": "dotenv", "text": "API_KEY=s3cr3t-key\nCRS=EPSG:4326\n", "dry_run": true,
        }))}),
        "NewGrant" => json!({"grant": of(json!({
            "subject": "u-17", "role": "project_admin", "project": "ninja/field-survey",
        }))}),
        "NewToken" => json!({"token": of(json!({
            "name": "nightly import", "role": "organization_admin", "organization": "org-81",
            "access": "manage", "days": 30,
        }))}),
        "PutOrganization" => json!({"organization": of(json!({
            "members": ["u-1204"], "admins": ["u-17"],
        }))}),
        "PutProject" => json!({"project": of(json!({
            "organization": "org-81", "members": ["u-1204"], "admins": [],
        }))}),
        other => panic!("{other} has no example"),
    }
}
