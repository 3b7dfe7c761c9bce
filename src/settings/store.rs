//! Where the store and its keys are.
//!
//! Invariant: a store is at one place, a file or a server.

use std::fmt;
use std::path::{Path, PathBuf};

use super::file;
use super::{InvalidSettings, Overrides, Postgres};

/// Where a store on PostgreSQL has what else it needs, for an account without a home.
const SYSTEM: &str = "/var/lib/qgis-secrets/store.db";

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    /// The database.
    pub place: Place,
    /// The private key's file.
    pub key: PathBuf,
    /// A public key's file: enough to add secrets where no private key is.
    pub public_key: Option<PathBuf>,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A database of PostgreSQL.
    Postgres(Box<Postgres>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(postgres) => postgres.fmt(f),
        }
    }
}

impl fmt::Display for Postgres {
    /// Where it is: servers, database and schema.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", host.name, host.port)?;
        }
        write!(f, "/{} (schema {})", self.dbname, self.schema)
    }
}

impl Place {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl file::Store {
    /// The store, and the file beside which the runner keeps what it has to keep. `default` is the
    /// store's place in the home directory.
    pub(super) fn check(
        self,
        overrides: &Overrides,
        default: Option<PathBuf>,
    ) -> Result<(Store, PathBuf), InvalidSettings> {
        let Self { path, key, public_key, postgres, .. } = self;
        let (password, ca, schema) =
            (self.postgres_password_file, self.postgres_ca_file, self.postgres_schema);
        if path.is_some() && postgres.is_some() {
            let both = "stands beside store.path, and a store is at one place: leave one away";
            return Err(InvalidSettings::Value("store.postgres", both));
        }
        let postgres =
            postgres.map(|text| Postgres::parse(&text, password, ca, schema)).transpose()?;
        let (place, beside) = match (overrides.store.clone().or(path), postgres) {
            (Some(path), _) => (Place::File(path.clone()), path),
            (None, Some(postgres)) => {
                let beside = default.unwrap_or_else(|| SYSTEM.into());
                (Place::Postgres(Box::new(postgres)), beside)
            }
            (None, None) => {
                let path = default.ok_or(InvalidSettings::NoHome)?;
                (Place::File(path.clone()), path)
            }
        };
        let store = Store {
            place,
            key: overrides.key.clone().or(key).unwrap_or_else(|| default_key(&beside)),
            public_key: overrides.public_key.clone().or(public_key),
        };
        Ok((store, beside))
    }
}

/// `store.key` for `store.db`: a key of each store's own, for a rotation of one would take another's
/// away.
fn default_key(store: &Path) -> PathBuf {
    let key = store.with_extension("key");
    if key == store { store.with_extension("key.key") } else { key }
}
