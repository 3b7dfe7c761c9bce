//! A store that an earlier version of the program made becomes one of this version's.

use qgis_secrets::access::{Access, Grant};
use qgis_secrets::settings::Place;
use qgis_secrets::store::access::{self, ApiToken};
use qgis_secrets::store::database::{Database, Mode, transaction};
use qgis_secrets::store::schema::VERSION;
use qgis_secrets::store::{Pool, StoreError};

use super::fixture::Fixture;
use super::on_both;

on_both!(
    the_second_version_is_upgraded_with_what_it_holds,
    what_a_later_program_has_made_of_it_stays,
);

/// What the second version made of a new store, where it was not the same.
const SECOND: &str = "
    DROP TABLE api_token;
    CREATE TABLE api_token (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        role TEXT NOT NULL,
        owner TEXT NOT NULL,
        access TEXT NOT NULL CHECK (access IN ('read', 'manage')),
        created_at TEXT NOT NULL,
        created_by TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at TEXT,
        used_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX api_token_by_owner ON api_token (role, owner, id);
";

fn token(id: &str, access: Access) -> ApiToken {
    ApiToken {
        id: id.into(),
        name: "a name".into(),
        grant: Grant::Operator,
        access,
        created_at: "2026-01-01T00:00:00Z".into(),
        created_by: "root".into(),
        expires_at: 1_900_000_000,
        revoked_at: None,
        used_at: None,
    }
}

fn put(fixture: &Fixture, token: &ApiToken, digest: u8) -> Result<(), StoreError> {
    let mut database = open(fixture);
    transaction(&mut *database, Mode::Write, |database| {
        access::put_token(database, token, &[digest; 32])
    })
}

fn open(fixture: &Fixture) -> Box<dyn Database> {
    match &fixture.settings.place {
        Place::File(path) => Box::new(qgis_secrets::store::sqlite::Sqlite::open(path).unwrap()),
        Place::Postgres(settings) => {
            Box::new(qgis_secrets::store::postgres::Postgres::open(settings).unwrap())
        }
    }
}

fn the_second_version_is_upgraded_with_what_it_holds(fixture: &mut Fixture) {
    let server = fixture.database.is_some();
    if server {
        let second = SECOND
            .replace(" STRICT, WITHOUT ROWID", "")
            .replace(" INTEGER", " bigint")
            .replace(" BLOB", " bytea")
            .replace(" TEXT", " text COLLATE \"C\"");
        fixture.tamper(&format!("{second} UPDATE store_version SET version = 2;"));
        // Made by the administrator here, and by the store's own role there.
        fixture.tamper("ALTER TABLE api_token OWNER TO store");
        fixture.tamper("GRANT SELECT ON api_token TO pg_monitor");
    } else {
        fixture.tamper(&format!("{SECOND} PRAGMA user_version = 2;"));
    }
    let old = token("old", Access::Manage);
    put(fixture, &old, 1).unwrap();
    put(fixture, &token("early", Access::Delegate), 2).unwrap_err();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Twice: what is upgraded stays as it is.
    for _ in 0..2 {
        runtime.block_on(async { Pool::open(&fixture.settings.place, 1).unwrap().close().await });
        assert_eq!(fixture.open().version().unwrap(), VERSION);
    }
    let mut database = open(fixture);
    let found =
        transaction(&mut *database, Mode::Read, |database| access::find_token(database, "old"));
    assert_eq!(found.unwrap(), Some(old));
    put(fixture, &token("new", Access::Delegate), 3).unwrap();
    put(fixture, &token("same digest", Access::Delegate), 3).unwrap_err();
    let all = "UPDATE api_token SET access = 'all'";
    let mut database = open(fixture);
    transaction(&mut *database, Mode::Write, |database| database.execute(all, &[])).unwrap_err();
    if let Some(database) = &fixture.database {
        let kept = "SELECT has_table_privilege('pg_monitor', 'api_token', 'SELECT')";
        assert_eq!(database.sql(kept), "t\n");
        let index = "SELECT count(*) FROM pg_indexes WHERE indexname = 'api_token_by_maker'";
        assert_eq!(database.sql(index), "1\n");
    }
}

/// A later program was quicker: between this one's first look at the version and its upgrade.
fn what_a_later_program_has_made_of_it_stays(fixture: &mut Fixture) {
    let mut database = open(fixture);
    let later = VERSION + 1;
    fixture.tamper(&match fixture.database {
        Some(_) => format!("UPDATE store_version SET version = {later}"),
        None => format!("PRAGMA user_version = {later}"),
    });
    let refused = database.upgrade();
    assert!(
        matches!(refused, Err(StoreError::Newer(_, version)) if version == later),
        "{refused:?}"
    );
    assert_eq!(database.version().unwrap(), later);
}
