//! Operators see who is logged in, and end it.

use std::time::Duration;

use jiff::Timestamp;
use qgis_secrets::access::Grant;
use qgis_secrets::server::administration::{AuditFilter, PageRequest};
use qgis_secrets::store::database::Database;
use qgis_secrets::store::sessions::{self, Entered, Session};

use super::ground::{Ground, kind};
use super::{MakeStore, on_both};

on_both!(operators_see_who_is_logged_in_and_end_it, nobody_else_does,);

/// Seconds since 1970.
fn now() -> i64 {
    Timestamp::now().as_second()
}

async fn log_in(ground: &Ground, digest: u8, subject: &str, seen_at: i64) {
    let session = Session {
        subject: subject.to_owned(),
        name: "Somebody".to_owned(),
        claimed: vec![],
        entered: Entered::Login,
        created_at: seen_at,
        seen_at,
        expires_at: now() + 1000,
    };
    let begin =
        move |database: &mut dyn Database| sessions::begin(database, &[digest; 32], &session);
    ground.pool.write(begin).await.unwrap();
}

async fn operators_see_who_is_logged_in_and_end_it(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let idle = Duration::from_secs(60);
    let now = now();
    for (digest, subject, seen) in [(1, "ann", 9), (2, "bob", 8), (3, "ann", 7), (4, "old", 90)] {
        log_in(&ground, digest, subject, now - seen).await;
    }
    let who = async || {
        let page = service.sessions(root, idle, PageRequest::first()).await.unwrap();
        page.items.into_iter().map(|of| (of.session.subject, of.id)).collect::<Vec<_>>()
    };
    let listed = who().await;
    let subjects: Vec<&str> = listed.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["ann", "bob", "ann"]);
    assert_eq!(service.end_session(root, &listed[1].1, false).await.unwrap(), 1);
    // Somebody was faster.
    assert_eq!(service.end_session(root, &listed[1].1, false).await.unwrap(), 0);
    assert_eq!(service.end_session(root, "no id at all", true).await.unwrap(), 0);
    assert_eq!(who().await.len(), 2);
    assert_eq!(service.end_session(root, &listed[0].1, true).await.unwrap(), 2);
    assert_eq!(who().await, []);

    let filter = AuditFilter { action: Some("session.end".to_owned()), ..AuditFilter::default() };
    let rows = service.audit(root, &filter, PageRequest::first()).await.unwrap().items;
    let said: Vec<_> = rows.iter().map(|row| (&*row.actor, &*row.detail)).collect();
    assert_eq!(
        said,
        [
            ("root", r#"{"sessions":2,"subject":"ann"}"#),
            ("root", r#"{"sessions":1,"subject":"bob"}"#),
        ]
    );
}

async fn nobody_else_does(store: MakeStore) {
    let ground = Ground::new(store).await;
    log_in(&ground, 1, "ann", now()).await;
    let session = sessions::hex(&[1; 32]);
    for subject in ["boss", "pat", "ann", "nobody"] {
        let actor = ground.person(subject).await;
        let idle = Duration::from_secs(60);
        let seen = ground.service.sessions(&actor, idle, PageRequest::first()).await;
        assert_eq!(kind(seen), "operator_only");
        let ended = ground.service.end_session(&actor, &session, true).await;
        assert_eq!(kind(ended), "operator_only");
    }
    ground.service.grant(&ground.root, "pat", &Grant::Operator).await.unwrap();
    let pat = ground.person("pat").await;
    assert_eq!(ground.service.end_session(&pat, &session, false).await.unwrap(), 1);
}
