//! What a service does without being asked.

use super::*;
use crate::support::until;

#[test]
fn old_rows_of_the_audit_go_in_every_role() {
    let ground = Ground::new("[service.audit]\nkeep_days = 2\n");
    ground.fill();
    let public = ground.sandbox.run(["key", "public"]).success().stdout;
    let public = ground.sandbox.write("key.pub", public).display().to_string();
    for role in [&["--role", "resolve"][..], &["--role", "admin", "--public-key", &public]] {
        let store = rusqlite::Connection::open(ground.sandbox.store()).unwrap();
        let now = Timestamp::now().as_millisecond();
        // More than one batch of old ones, and some of yesterday.
        for (days, rows) in [(3, 1200), (1, 5)] {
            let sql = "INSERT INTO audit (id, at, actor, action, decision, detail)
                       VALUES (?1, '2026-01-02T03:04:05Z', 'a', 'old', 'allowed', '{}')";
            let hex = format!("{:012x}", now - days * 24 * 3600 * 1000);
            store.execute_batch("BEGIN").unwrap();
            for n in 0..rows {
                let id = format!("{}-{}-7000-8000-{n:012x}", &hex[..8], &hex[8..]);
                store.execute(sql, [id]).unwrap();
            }
            store.execute_batch("COMMIT").unwrap();
        }
        let count = || -> i64 {
            let sql = "SELECT count(*) FROM audit WHERE action = 'old'";
            store.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count(), 1205);
        let service = ground.serve(role);
        store.busy_timeout(PATIENCE).unwrap();
        until("old rows are gone", || count() == 5);
        service.stop();
        store.execute("DELETE FROM audit WHERE action = 'old'", []).unwrap();
    }
}
