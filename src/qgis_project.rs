//! What a QGIS project says about the secrets that its jobs need: the connections to PostgreSQL,
//! and the expressions that ask for environment variables.
//!
//! Invariant: no value of a password leaves the parser. A project can hold credentials of its own;
//! of those, a [`Project`] says only that they are there, errors name the file and never quote it,
//! and the buffers that the project's text goes through are overwritten. Out of reach are the
//! working memory of the decompressor and of the XML parser.
//!
//! Nothing in the document is obeyed: no entity is expanded, no other file opened, and what is
//! read and kept is bounded.

mod datasource;
mod expression;
mod open;
mod walk;
mod xml;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The most XML, unpacked, that is read.
const MAX_XML: u64 = 256 * 1024 * 1024;

/// Reads a project: `.qgs`, or `.qgz` (a zip with one `.qgs` in it), told apart by content.
pub fn read(path: &Path) -> Result<Project, Unreadable> {
    open::with_xml(path, MAX_XML, walk::walk)
        .map_err(|fault| Unreadable { path: path.to_owned(), fault })
}

/// What was found in a project. All texts in it can be shown: control characters are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Project {
    /// The layers that come from PostgreSQL, in the project's order.
    pub layers: Vec<Layer>,
    /// How many layers are embedded from other projects, which are not read.
    pub embedded_layers: usize,
    /// The variables in capitals that expressions use (`@NAME`, `var('NAME')`) and neither the
    /// project, nor the layer or layout, nor the expression itself defines. Where a secret has
    /// that name, `env('NAME')` was meant. Sorted.
    pub variables: Vec<Use>,
    /// The environment variables that expressions ask for: `env('NAME')`. Sorted.
    pub env_calls: Vec<Use>,
}

/// A layer that comes from PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// The name that people see.
    pub name: String,
    /// QGIS's id, unique in the project.
    pub id: String,
    /// `postgres` or `postgresraster`; `ogr` or `gdal` for a data source that begins `PG:`.
    pub provider: String,
    /// How it reaches the database.
    pub source: PostgresSource,
}

/// How a layer reaches PostgreSQL, in its own words. What is empty in the project is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PostgresSource {
    /// Who reads the data source.
    pub client: Client,
    /// The service's name.
    pub service: Option<String>,
    /// The host, of no effect next to a service when QGIS is the client.
    pub host: Option<String>,
    /// The port, likewise.
    pub port: Option<String>,
    /// The user's name.
    pub user: Option<String>,
    /// The database's name.
    pub database: Option<String>,
    /// The SSL mode, unless it is one that QGIS does not send (`prefer`).
    pub ssl_mode: Option<String>,
    /// Whether it names an entry of QGIS's authentication database.
    pub authcfg: bool,
    /// Whether it holds a password: credentials in a file that gets shared.
    pub own_password: bool,
}

impl PostgresSource {
    /// What the layer brings that beats the service file, in libpq's words. Empty without a
    /// service.
    ///
    /// QGIS (`QgsDataSourceUri::connectionInfo`) leaves host and port away when there is a
    /// service, and a password when there is no user; GDAL passes on all of it.
    pub fn beats_service(&self) -> Vec<&'static str> {
        if self.service.is_none() {
            return Vec::new();
        }
        let gdal = self.client == Client::Gdal;
        [
            ("host", gdal && self.host.is_some()),
            ("port", gdal && self.port.is_some()),
            ("dbname", self.database.is_some()),
            ("user", self.user.is_some()),
            ("password", self.own_password && (gdal || self.user.is_some())),
            ("sslmode", self.ssl_mode.is_some()),
            ("authcfg", self.authcfg),
        ]
        .into_iter()
        .filter_map(|(key, beats)| beats.then_some(key))
        .collect()
    }
}

/// Who reads a data source, and by which rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// QGIS's own provider.
    Qgis,
    /// GDAL or OGR, which hand the text to libpq.
    Gdal,
}

/// A name that an expression uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Use {
    /// The name, without `@` or quotes.
    pub name: String,
    /// Where the expression stands.
    pub place: Place,
}

/// A place in a project, in the words of its XML.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The layer or layout.
    pub scope: Scope,
    /// The element: `default` for a default value, `text-style` for a label.
    pub element: String,
    /// The attribute; `None` for the element's text.
    pub attribute: Option<String>,
    /// Which of several: the field, or the path of the setting (`properties/Size/expression`).
    pub detail: Option<String>,
    /// Whether QGIS evaluates expressions here. It does not in the filter of a data source,
    /// which is SQL for the database, nor in the value of a variable (of which only calls of
    /// `env` are reported).
    pub evaluated: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Project => f.write_str("project")?,
            Scope::Layer { name, .. } => write!(f, "layer {name}")?,
            Scope::Layout { name } => write!(f, "layout {name}")?,
        }
        write!(f, ": {}", self.element)?;
        if let Some(attribute) = &self.attribute {
            write!(f, " {attribute}")?;
        }
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

/// The part of a project that has variables of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Scope {
    /// None in particular.
    Project,
    /// A layer.
    Layer {
        /// The name that people see.
        name: String,
        /// QGIS's id.
        id: String,
    },
    /// A print layout.
    Layout {
        /// Its name.
        name: String,
    },
}

/// Why a project cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a project's file. Holds nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such file.
    #[error("there is no such file; check the path")]
    Missing,
    /// A directory, a pipe, a device.
    #[error("this is not a file; name the .qgs or .qgz file itself")]
    NotAFile,
    /// Opening or reading failed.
    #[error("the file cannot be read ({0}); check its permissions")]
    Io(io::Error),
    /// No byte in it.
    #[error("the file is empty; save the project again")]
    Empty,
    /// Anything else than a project, a layer's style (`.qml`) included.
    #[error("this is not a QGIS project; name a .qgs or .qgz file that QGIS saved")]
    NotAProject,
    /// UTF-16, Latin-1, or bytes that are no text.
    #[error("the project is not in UTF-8, which QGIS writes; save it with QGIS again")]
    NotUtf8,
    /// Damaged or truncated XML.
    #[error("the project's XML is damaged before byte {0}; save the project again, or restore it")]
    Malformed(u64),
    /// An entity that XML itself does not define.
    #[error(
        "the project's XML uses an entity of its own, which is never expanded; save the project with QGIS again"
    )]
    Entity,
    /// Over one of the limits.
    #[error(
        "the project is too large: over 256 MiB of XML, 512 levels of elements, or 100000 layers and uses of variables; split the project"
    )]
    TooLarge,
    /// A zip without a `.qgs`.
    #[error("there is no .qgs file in the archive; name a .qgz file that QGIS saved")]
    NoProject,
    /// A zip with more than one.
    #[error(
        "there are several .qgs files in the archive; unpack it and name the one that is meant"
    )]
    SeveralProjects,
    /// A zip that asks for a password.
    #[error("the project in the archive is encrypted; unpack it and name the .qgs file")]
    Encrypted,
    /// A zip that is not packed as QGIS does it.
    #[error(
        "the project in the archive is packed with a method other than deflate; unpack it and name the .qgs file"
    )]
    Compression,
    /// A zip that is cut off or damaged.
    #[error("the archive is damaged or cut off; save the project again, or restore it")]
    BrokenZip,
}

/// A text from a project, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests;
