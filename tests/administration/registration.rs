//! What is registered, what is left when it isn't any more, and who reads the audit.

use qgis_secrets::access::Access;
use qgis_secrets::server::administration::{
    AuditFilter, Organization, PageRequest, Project, Purge, TokenRequest,
};
use qgis_secrets::store::ledger::{Entry, record};
use serde_json::json;

use super::ground::{Ground, id, ids, kind, organization, project};
use super::{MakeStore, on_both};

on_both!(
    a_registration_replaces_the_one_before_as_a_whole,
    lists_of_registrations_come_in_parts,
    what_is_deleted_lies_dormant_until_it_is_back_or_purged,
    purging_a_user_takes_what_is_theirs_everywhere,
    admins_read_what_happened_in_their_scope,
    an_audit_of_long_rows_comes_in_small_parts,
);

async fn a_registration_replaces_the_one_before_as_a_whole(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let before = ground.count("SELECT count(*) FROM member").await;
    let content = Project {
        organization: Some(id("x")),
        members: ids(&["new", "pat", "both"]),
        admins: ids(&["both"]),
    };
    let (put, new) = service.put_project(root, &id("p"), &content).await.unwrap();
    assert!(!new);
    assert_eq!(service.put_project(root, &id("p"), &content).await.unwrap(), (put.clone(), false));
    assert_eq!(ground.count("SELECT count(*) FROM member").await, before);
    let projects = service.projects(root, PageRequest::first()).await.unwrap();
    let p = projects.items.iter().find(|item| item.id == id("p")).unwrap();
    let people = Project { members: ids(&["new", "pat"]), admins: ids(&["both"]), ..content };
    assert_eq!(p.content, people);
    assert_eq!(p, &put);
    let members = service.members(root, &project("p")).await.unwrap();
    let members: Vec<_> =
        members.iter().map(|member| (member.user.as_str(), member.admin)).collect();
    assert_eq!(members, [("both", true), ("new", false), ("pat", false), ("xavier", true)]);
    let z = service.put_organization(root, &id("z"), &Organization::default()).await.unwrap();
    assert_eq!(z, (service.organization(root, &id("z")).await.unwrap(), true));
    let unknown = Project { organization: Some(id("none")), ..Project::default() };
    let refused = service.put_project(root, &id("p"), &unknown).await.unwrap_err();
    assert_eq!((refused.kind(), refused.field()), ("organization_unknown", Some("organization")));
}

async fn lists_of_registrations_come_in_parts(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    for name in ["a", "b/c", "B", "z"] {
        ground.put_organization(name, &["m"], &["n"]).await;
        ground.put_project(name, Some(name), &["m"], &["n"]).await;
    }
    let mut organizations = Vec::new();
    let mut projects = Vec::new();
    let page = |after: &Option<String>| PageRequest { after: after.clone(), limit: 2 };
    let mut after = None;
    loop {
        let part = service.organizations(root, page(&after)).await.unwrap();
        organizations.extend(part.items);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let part = service.projects(root, page(&after)).await.unwrap();
        projects.extend(part.items);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    let names: Vec<_> = organizations.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(names, ["B", "a", "b/c", "o", "x", "z"]);
    assert_eq!(organizations[2].content.members, ids(&["m"]));
    let names: Vec<_> = projects.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(names, ["B", "a", "b/c", "own", "p", "q", "z"]);
    assert_eq!(
        (&projects[2].content.organization, &projects[2].content.admins),
        (&Some(id("b/c")), &ids(&["n"]))
    );
}

async fn what_is_deleted_lies_dormant_until_it_is_back_or_purged(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let (p, o) = (project("p"), organization("o"));
    let secret = ground.put(p.owner(None), "A").await;
    ground.put(p.owner(Some(id("ann"))), "A").await;
    ground.put(o.owner(None), "A").await;
    service.grant(root, "admin", &p.admin()).await.unwrap();
    let admin = ground.person("admin").await;
    let request =
        TokenRequest { name: "t".into(), grant: p.admin(), access: Access::Manage, days: None };
    let (_, text) = service.issue_api_token(&admin, &request).await.unwrap();
    let token = service.authenticate_token(&text).await.unwrap();

    assert_eq!(
        kind(service.delete_organization(root, &id("o"), true).await),
        "organization_in_use"
    );
    let deleted = service.delete_project(root, &id("p"), false).await.unwrap();
    assert_eq!((deleted.purged.len(), deleted.dormant), (0, 2));
    for actor in [&admin, &token, &ground.person("boss").await] {
        assert_eq!(kind(service.secret(actor, &secret.id).await), "not_found");
    }
    assert!(service.secret(root, &secret.id).await.unwrap().dormant);
    assert_eq!(kind(ground.add(root, p.owner(None), "B").await), "not_registered");
    let deleted = service.delete_organization(root, &id("o"), false).await.unwrap();
    assert_eq!(deleted.dormant, 1);
    let first = PageRequest { after: None, limit: 1 };
    let page = service.unregistered(root, first).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&o));
    let page =
        service.unregistered(root, PageRequest { after: page.next, limit: 1 }).await.unwrap();
    assert_eq!((page.items, page.next), (vec![p.clone()], None));

    // The same id, registered again: everything is as it was.
    ground.put_organization("o", &[], &["boss"]).await;
    ground.put_project("p", Some("o"), &[], &[]).await;
    for actor in [&admin, &token] {
        assert!(!service.secret(actor, &secret.id).await.unwrap().dormant);
    }
    assert_eq!(ground.audited("grant.revoke").await, [""; 0]);
    let deleted = service.delete_project(root, &id("p"), true).await.unwrap();
    assert_eq!((deleted.purged.len(), deleted.dormant), (2, 0));
    for action in ["project.delete", "grant.revoke", "token.revoke"] {
        assert_eq!(ground.audited(action).await[0], "root allowed p", "{action}");
    }
    // Also what was left by a deletion before, and again.
    service.delete_organization(root, &id("o"), false).await.unwrap();
    let deleted = service.delete_organization(root, &id("o"), true).await.unwrap();
    assert_eq!((deleted.purged.len(), deleted.dormant), (1, 0));
    let deleted = service.delete_organization(root, &id("o"), true).await.unwrap();
    assert_eq!(deleted.purged.len(), 0);
    assert_eq!(service.unregistered(root, PageRequest::first()).await.unwrap().items, []);
    // A purge ends what was given for it, too.
    ground.put_project("p", None, &[], &[]).await;
    assert_eq!(ground.person("admin").await.grants, []);
    assert_eq!(kind(service.authenticate_token(&text).await), "token_invalid");
}

async fn purging_a_user_takes_what_is_theirs_everywhere(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    for scope in [project("p"), organization("o")] {
        ground.put(scope.owner(Some(id("ann"))), "A").await;
        ground.put(scope.owner(None), "A").await;
    }
    let purge = Purge::User(id("ann"));
    let would = service.purge(root, &purge, true).await.unwrap();
    assert_eq!(would.len(), 2);
    assert_eq!(service.purge(root, &purge, false).await.unwrap(), would);
    assert_eq!(service.purge(root, &purge, false).await.unwrap(), []);
    assert_eq!(ground.listed(&project("p")).await.len(), 1);
    assert_eq!(ground.listed(&organization("o")).await.len(), 1);
    // Where each of them stood, its own admins see what became of it.
    let rows = ["root allowed ", "root allowed o", "root allowed p"];
    let mut audited = ground.audited("secret.purge").await;
    audited.sort();
    assert_eq!(audited, rows);
}

async fn admins_read_what_happened_in_their_scope(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let pat = ground.person("pat").await;
    let quin = ground.person("quin").await;
    let secret = ground.add(&pat, project("p").owner(None), "A").await.unwrap();
    ground.add(&pat, project("p").owner(Some(id("ann"))), "A").await.unwrap();
    ground.add(&quin, project("q").owner(None), "A").await.unwrap();
    // Of an organization of the same id as the project.
    ground.put_organization("p", &[], &[]).await;
    assert_eq!(kind(service.remove(&quin, &secret.id).await), "not_found");
    service.remove(&pat, &secret.id).await.unwrap();
    let filter = |scope| AuditFilter { scope, ..AuditFilter::default() };
    let rows = async |actor, filter: &AuditFilter, limit| {
        let mut said = Vec::new();
        let mut after = None;
        loop {
            let page = PageRequest { after, limit };
            let part = service.audit(actor, filter, page).await.unwrap();
            said.extend(part.items.into_iter().map(|row| {
                format!(
                    "{} {} {} {}",
                    row.actor,
                    row.action,
                    row.decision,
                    row.level.unwrap_or_default()
                )
            }));
            after = part.next;
            if after.is_none() {
                return said;
            }
        }
    };
    let expected = [
        "pat secret.remove allowed project",
        "quin secret.remove denied project",
        "pat secret.add allowed project_user",
        "pat secret.add allowed project",
        "root project.put allowed project",
    ];
    assert_eq!(rows(&pat, &filter(Some(project("p"))), 2).await, expected);
    assert_eq!(rows(root, &filter(Some(organization("p"))), 500).await.len(), 1);
    let denied = AuditFilter { decision: Some("denied".into()), ..filter(None) };
    assert_eq!(rows(root, &denied, 1).await, [expected[1]]);
    let by =
        AuditFilter { actor: Some("quin".into()), action: Some("secret.add".into()), ..denied };
    let by = AuditFilter { decision: None, ..by };
    assert_eq!(rows(root, &by, 500).await, ["quin secret.add allowed project"]);
    let long = AuditFilter { actor: Some("x\0".into()), ..filter(None) };
    assert_eq!(kind(service.audit(root, &long, PageRequest::first()).await), "invalid");
    let values = "SELECT count(*) FROM audit WHERE detail LIKE '%canary%'";
    assert_eq!(ground.count(values).await, 0);
}

/// Whoever imports much, often, can neither fill the service's memory by asking for it nor keep
/// others from reading.
async fn an_audit_of_long_rows_comes_in_small_parts(store: MakeStore) {
    let ground = Ground::new(store).await;
    for number in 0..30 {
        let detail = json!({ "number": number, "much": "x".repeat(100_000) });
        let entry = Entry::allowed("pat", "long").of_scope(&project("p")).with(detail);
        ground.pool.write(move |database| record(database, &entry)).await.unwrap();
    }
    let filter = AuditFilter { action: Some("long".into()), ..AuditFilter::default() };
    let mut numbers = Vec::new();
    let mut page = PageRequest { after: None, limit: 500 };
    loop {
        let part = ground.service.audit(&ground.root, &filter, page).await.unwrap();
        let size: usize = part.items.iter().map(|row| row.detail.len()).sum();
        assert!(size < 2 * 1024 * 1024, "{size}");
        numbers.extend(part.items.iter().map(|row| {
            let detail: serde_json::Value = serde_json::from_str(&row.detail).unwrap();
            detail["number"].as_u64().unwrap()
        }));
        let Some(next) = part.next else { break };
        page = PageRequest { after: Some(next), limit: 500 };
    }
    assert_eq!(numbers, (0..30).rev().collect::<Vec<_>>());
    let page = PageRequest { after: None, limit: 3 };
    let part = ground.service.audit(&ground.root, &filter, page).await.unwrap();
    assert!(part.items.len() == 3 && part.next.is_some());
}
