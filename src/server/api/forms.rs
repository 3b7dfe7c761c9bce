//! Bodies of requests.
//!
//! Invariants: a value goes from the text into a [`Value`] without a copy that is not overwritten;
//! what carries values has no `Clone`, `Serialize` or `Display`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::secret::{Kind, Value, ValueBuf};
use crate::server::submission::ServiceFields;

/// An object: serde alone would take an array for the members in their order.
pub(super) struct Object<T>(pub(super) T);

impl<'d, T: Deserialize<'d>> Deserialize<'d> for Object<T> {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'d, T: Deserialize<'d>> Visitor<'d> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'d>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A text that becomes a value.
pub(super) struct Text(pub(super) Value);

impl<'d> Deserialize<'d> for Text {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taken;

        impl Visitor<'_> for Taken {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                let mut value = ValueBuf::new();
                value.push(text.as_bytes());
                Ok(Text(value.finish()))
            }
        }

        deserializer.deserialize_str(Taken)
    }
}

/// A secret to add: an environment variable by `key` and `value`, or a service by `fields` or by
/// `text`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct NewSecret {
    /// What it becomes in a job.
    pub(super) kind: Kind,
    /// The variable's name: `^[A-Z][A-Z0-9_]*$`.
    pub(super) key: Option<String>,
    /// The variable's value.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub(super) value: Option<Text>,
    /// The service, setting by setting.
    #[cfg_attr(test, schema(value_type = Option<Fields>))]
    pub(super) fields: Option<Object<Fields>>,
    /// The service as one section of a `pg_service.conf`.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub(super) text: Option<Text>,
    /// In a project: assigned to this user. In an organization: the default for this member.
    pub(super) user: Option<String>,
    /// Whether a variable's value is masked in what jobs print (default: true).
    pub(super) sensitive: Option<bool>,
    /// Put it in the place of the secret that is there (default: false).
    pub(super) replace: Option<bool>,
}

/// The settings of a service.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// Its name.
    service: String,
    /// The server's name, address, or socket directory.
    host: Option<String>,
    /// Its port.
    port: Option<String>,
    /// The database.
    dbname: Option<String>,
    /// The role.
    user: Option<String>,
    /// The role's password.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    password: Option<Text>,
    /// TLS: disable, allow, prefer, require, verify-ca or verify-full.
    sslmode: Option<String>,
    /// Any other setting of libpq, in its order.
    #[cfg_attr(test, schema(value_type = Option<Vec<Setting>>))]
    extra: Option<Vec<Object<Setting>>>,
}

/// A setting of libpq.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    /// Its name.
    key: String,
    /// Its value.
    #[cfg_attr(test, schema(value_type = String))]
    value: Text,
}

impl From<Fields> for ServiceFields {
    fn from(fields: Fields) -> Self {
        let extra = fields.extra.unwrap_or_default().into_iter();
        Self {
            service: fields.service,
            dbname: fields.dbname.unwrap_or_default(),
            user: fields.user.unwrap_or_default(),
            password: fields.password.map(|Text(password)| password),
            host: fields.host.unwrap_or_default(),
            port: fields.port.unwrap_or_default(),
            sslmode: fields.sslmode.unwrap_or_default(),
            extra: extra.map(|Object(Setting { key, value: Text(value) })| (key, value)).collect(),
        }
    }
}

/// A whole file of secrets.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    /// What the text is.
    pub(super) format: Format,
    /// The file.
    #[cfg_attr(test, schema(value_type = String))]
    pub(super) text: Text,
    /// In a project: assigned to this user. In an organization: the default for this member.
    pub(super) user: Option<String>,
    /// Put them in the place of secrets that are there (default: false).
    pub(super) replace: Option<bool>,
    /// Only say what would be added (default: false).
    pub(super) dry_run: Option<bool>,
}

/// A form of files.
#[derive(Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Lines `NAME=value`: a variable each.
    Dotenv,
    /// Sections of libpq's `pg_service.conf`: a service each.
    PgService,
}

/// Something to give.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct NewGrant {
    /// To whom: the stable id of a person.
    pub(super) subject: String,
    /// `operator`, `organization_admin` or `project_admin`.
    pub(super) role: String,
    /// The organization of an `organization_admin`.
    pub(super) organization: Option<String>,
    /// The project of a `project_admin`.
    pub(super) project: Option<String>,
}

/// An API token to make.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What to call it: 1 to 100 characters.
    pub(super) name: String,
    /// `operator`, `organization_admin` or `project_admin`.
    pub(super) role: String,
    /// The organization of an `organization_admin`.
    pub(super) organization: Option<String>,
    /// The project of a `project_admin`.
    pub(super) project: Option<String>,
    /// `read`, `manage` (default) or `delegate`.
    pub(super) access: Option<String>,
    /// For how many days, 1 to 365 (default: 90, or as long as the token that asks works). Not
    /// longer than that one.
    #[cfg_attr(test, schema(minimum = 1, maximum = 365))]
    pub(super) days: Option<u32>,
}

/// An organization, as a whole.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct PutOrganization {
    /// Its members. Who is also an admin is an admin.
    pub(super) members: Vec<String>,
    /// Its admins.
    pub(super) admins: Vec<String>,
}

/// A project, as a whole.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct PutProject {
    /// The organization that it belongs to; `null` says that it is a personal project.
    #[serde(deserialize_with = "there")]
    #[cfg_attr(test, schema(required = true))]
    pub(super) organization: Option<String>,
    /// Its members. Who is also an admin is an admin.
    pub(super) members: Vec<String>,
    /// Its admins.
    pub(super) admins: Vec<String>,
}

/// `null`, or a text; but it must be there.
fn there<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}
