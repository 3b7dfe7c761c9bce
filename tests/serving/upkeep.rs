//! What a service does without being asked.

use qgis_secrets::settings::{self, Place};
use qgis_secrets::store::Store;
use qgis_secrets::store::database::{Database as Connected, Mode, Parameter, transaction};

use super::*;
use crate::stores::cluster::Database;
use crate::support::until;

const TWO_DAYS: &str = "[service.audit]\nkeep_days = 2\n";

#[test]
fn old_rows_of_the_audit_go_in_every_role() {
    let ground = Ground::new(TWO_DAYS);
    ground.fill();
    old_rows_go(&ground, Place::File(ground.sandbox.store()));
}

#[test]
fn old_rows_of_the_audit_go_from_postgres() {
    let database = Database::new();
    let ground = replicas::ground(&database, TWO_DAYS);
    old_rows_go(&ground, Place::Postgres(Box::new(database.settings())));
}

fn old_rows_go(ground: &Ground, place: Place) {
    let public = ground.sandbox.run(["key", "public"]).success().stdout;
    let public = ground.sandbox.write("key.pub", public).display().to_string();
    let store = settings::Store { place, key: ground.sandbox.key(), public_key: None };
    let mut store = Store::from_settings(&store).unwrap().into_database();
    for role in [&["--role", "resolve"][..], &["--role", "admin", "--public-key", &public]] {
        let now = Timestamp::now().as_millisecond();
        // More than one batch of old ones, and some of yesterday.
        for (days, rows) in [(3, 1200), (1, 5)] {
            let hex = format!("{:012x}", now - days * 24 * 3600 * 1000);
            let write = |store: &mut dyn Connected| {
                for n in 0..rows {
                    let id = format!("{}-{}-7000-8000-{n:012x}", &hex[..8], &hex[8..]);
                    let sql = "INSERT INTO audit (id, at, actor, action, decision, detail)
                               VALUES ($1, '2026-01-02T03:04:05Z', 'a', 'old', 'allowed', '{}')";
                    store.execute(sql, &[Parameter::from(&id)])?;
                }
                Ok(())
            };
            transaction(&mut *store, Mode::Write, write).unwrap();
        }
        let mut count = || {
            let sql = "SELECT count(*) FROM audit WHERE action = 'old'";
            let read = |store: &mut dyn Connected| store.query(sql, &[])?[0].integer(0);
            transaction(&mut *store, Mode::Read, read).unwrap()
        };
        assert_eq!(count(), 1205);
        let service = ground.serve(role);
        until("old rows are gone", || count() == 5);
        service.stop();
        let sql = "DELETE FROM audit WHERE action = 'old'";
        transaction(&mut *store, Mode::Write, |store| store.execute(sql, &[])).unwrap();
    }
}
