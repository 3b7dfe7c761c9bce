//! Who may do what, through all that administration offers: the table, and any sequence of calls.

use proptest::prelude::*;
use qgis_secrets::access::{Access, Actor, Grant, Scope};
use qgis_secrets::secret::{Kind, Owner, SecretId};
use qgis_secrets::server::administration::{
    AuditFilter, Filter, Organization, PageRequest, Project, Purge, Question, Refusal, TokenRequest,
};
use qgis_secrets::store::Record;

use super::ground::{Ground, id, ids, kind, organization, project, variable};
use super::{MakeStore, on_both};
use crate::stores::fixture::{Fixture, run};

on_both!(the_whole_table, what_is_hidden_looks_like_what_is_not_there,);

/// Does everything once at the project `p`, at the organization `o`, and to everything; says what
/// came out.
async fn everything(ground: &Ground, actor: &Actor) -> Vec<(&'static str, [&'static str; 3])> {
    let Ground { service, root, .. } = ground;
    let page = PageRequest::first;
    let mut table = Vec::new();
    let (o, p) = (organization("o"), project("p"));
    let (at_o, at_p) =
        (ground.put(o.owner(None), "AT_O").await, ground.put(p.owner(None), "AT_P").await);
    let mut row = |name, p, o, all| table.push((name, [p, o, all]));
    row(
        "list",
        kind(service.list(actor, &p, page()).await),
        kind(service.list(actor, &o, page()).await),
        "",
    );
    row(
        "search",
        kind(service.search(actor, &p, Filter::default(), page()).await),
        kind(service.search(actor, &o, Filter::default(), page()).await),
        "",
    );
    row(
        "taken",
        kind(service.taken(actor, &p.owner(None), Kind::Envvar).await),
        kind(service.taken(actor, &o.owner(None), Kind::Envvar).await),
        "",
    );
    row(
        "see",
        kind(service.secret(actor, &at_p.id).await),
        kind(service.secret(actor, &at_o.id).await),
        "",
    );
    let question = Question { project: id("p"), organization: None, user: None, require: vec![] };
    row("explain", kind(service.explain(actor, &question).await), "", "");
    row(
        "members",
        kind(service.members(actor, &p).await),
        kind(service.members(actor, &o).await),
        "",
    );
    row(
        "add",
        kind(ground.add(actor, p.owner(None), "NEW").await),
        kind(ground.add(actor, o.owner(None), "NEW").await),
        "",
    );
    row(
        "would remove",
        kind(service.would_be_effective(actor, &at_p.id).await),
        kind(service.would_be_effective(actor, &at_o.id).await),
        "",
    );
    row(
        "remove",
        kind(service.remove(actor, &at_p.id).await),
        kind(service.remove(actor, &at_o.id).await),
        "",
    );
    let (purge_p, purge_o) = (Purge::Project(id("p")), Purge::Organization(id("o")));
    for dry in [true, false] {
        row(
            "purge",
            kind(service.purge(actor, &purge_p, dry).await),
            kind(service.purge(actor, &purge_o, dry).await),
            kind(service.purge(actor, &Purge::User(id("ann")), dry).await),
        );
    }
    row(
        "grants",
        kind(service.grants(actor, Some(&p), page()).await),
        kind(service.grants(actor, Some(&o), page()).await),
        kind(service.grants(actor, None, page()).await),
    );
    row(
        "give",
        kind(service.grant(actor, "new", &p.admin()).await),
        kind(service.grant(actor, "new", &o.admin()).await),
        kind(service.grant(actor, "new", &Grant::Operator).await),
    );
    let given = async |grant| service.grant(root, "other", &grant).await.unwrap().id;
    let given = [given(p.admin()).await, given(o.admin()).await, given(Grant::Operator).await];
    row(
        "see a grant",
        kind(service.granted(actor, &given[0]).await),
        kind(service.granted(actor, &given[1]).await),
        kind(service.granted(actor, &given[2]).await),
    );
    row(
        "revoke",
        kind(service.revoke_grant(actor, &given[0]).await),
        kind(service.revoke_grant(actor, &given[1]).await),
        kind(service.revoke_grant(actor, &given[2]).await),
    );
    row(
        "tokens",
        kind(service.api_tokens(actor, Some(&p), page()).await),
        kind(service.api_tokens(actor, Some(&o), page()).await),
        kind(service.api_tokens(actor, None, page()).await),
    );
    let request =
        |grant| TokenRequest { name: "t".into(), grant, access: Access::Read, days: None };
    row(
        "issue",
        kind(service.issue_api_token(actor, &request(p.admin())).await),
        kind(service.issue_api_token(actor, &request(o.admin())).await),
        kind(service.issue_api_token(actor, &request(Grant::Operator)).await),
    );
    let issued = async |grant| service.issue_api_token(root, &request(grant)).await.unwrap().0.id;
    let issued = [issued(p.admin()).await, issued(o.admin()).await, issued(Grant::Operator).await];
    row(
        "see a token",
        kind(service.api_token(actor, &issued[0]).await),
        kind(service.api_token(actor, &issued[1]).await),
        kind(service.api_token(actor, &issued[2]).await),
    );
    row(
        "end a token",
        kind(service.revoke_api_token(actor, &issued[0]).await),
        kind(service.revoke_api_token(actor, &issued[1]).await),
        kind(service.revoke_api_token(actor, &issued[2]).await),
    );
    let about = |scope| AuditFilter { scope, ..AuditFilter::default() };
    row(
        "audit",
        kind(service.audit(actor, &about(Some(p)), page()).await),
        kind(service.audit(actor, &about(Some(o)), page()).await),
        kind(service.audit(actor, &about(None), page()).await),
    );
    let idle = std::time::Duration::from_secs(60);
    row("sessions", "", "", kind(service.sessions(actor, idle, page()).await));
    row("end a session", "", "", kind(service.end_session(actor, "none", true).await));
    let none = Organization::default();
    row("organizations", "", "", kind(service.organizations(actor, page()).await));
    row("projects", "", "", kind(service.projects(actor, page()).await));
    row("unregistered", "", "", kind(service.unregistered(actor, page()).await));
    row("put organization", "", "", kind(service.put_organization(actor, &id("new"), &none).await));
    row(
        "put project",
        "",
        "",
        kind(service.put_project(actor, &id("new"), &Project::default()).await),
    );
    row("delete project", "", "", kind(service.delete_project(actor, &id("new"), true).await));
    row(
        "delete organization",
        "",
        "",
        kind(service.delete_organization(actor, &id("new"), true).await),
    );
    table
}

/// What is expected at `p`, at `o`, and of everything, of who sees, changes and delegates there.
fn outcome(
    name: &str,
    see: [&'static str; 3],
    change: [&'static str; 3],
    give: [&'static str; 3],
) -> [&'static str; 3] {
    match name {
        "list" | "search" | "see" | "taken" => [see[0], see[1], ""],
        "explain" => [see[0], "", ""],
        "members" | "add" | "would remove" | "remove" => [change[0], change[1], ""],
        "give" | "issue" => give,
        // A grant or token that one can't see is hidden, whatever it is for.
        "revoke" | "end a token" if give[2] == "operator_only" => [give[0], give[1], "not_found"],
        "revoke" | "end a token" => give,
        "end a session" => ["", "", give[2]],
        "see a grant" | "see a token" if change[2] == "operator_only" => {
            [change[0], change[1], "not_found"]
        }
        "purge" | "grants" | "tokens" | "audit" | "see a grant" | "see a token" => change,
        _ => ["", "", change[2]],
    }
}

async fn the_whole_table(store: MakeStore) {
    const OK: &str = "ok";
    const HID: &str = "not_found";
    const OP: &str = "operator_only";
    const RO: &str = "read_only";
    const ND: &str = "no_delegation";
    const BAD: [&str; 3] = ["token_invalid"; 3];
    let token = |grant, access| (grant, access, "");
    let over = |grant, how| (grant, Access::Manage, how);
    let (o, p, q) = (organization("o").admin(), project("p").admin(), project("q").admin());
    for (who, made, see, change, give) in [
        ("root", None, [OK; 3], [OK; 3], [OK; 3]),
        ("boss", None, [OK, OK, OP], [OK, OK, OP], [OK, OK, OP]),
        ("pat", None, [OK, HID, OP], [OK, HID, OP], [OK, HID, OP]),
        ("quin", None, [HID, HID, OP], [HID, HID, OP], [HID, HID, OP]),
        ("xavier", None, [HID, HID, OP], [HID, HID, OP], [HID, HID, OP]),
        ("ann", None, [HID, HID, OP], [HID, HID, OP], [HID, HID, OP]),
        ("nobody", None, [HID, HID, OP], [HID, HID, OP], [HID, HID, OP]),
        ("", Some(token(Grant::Operator, Access::Delegate)), [OK; 3], [OK; 3], [OK; 3]),
        ("", Some(token(o.clone(), Access::Delegate)), [OK, OK, OP], [OK, OK, OP], [OK, OK, OP]),
        ("", Some(token(p.clone(), Access::Delegate)), [OK, HID, OP], [OK, HID, OP], [OK, HID, OP]),
        (
            "",
            Some(token(q.clone(), Access::Delegate)),
            [HID, HID, OP],
            [HID, HID, OP],
            [HID, HID, OP],
        ),
        ("", Some(token(Grant::Operator, Access::Manage)), [OK; 3], [OK; 3], [ND; 3]),
        ("", Some(token(o.clone(), Access::Manage)), [OK, OK, OP], [OK, OK, OP], [ND, ND, OP]),
        ("", Some(token(p.clone(), Access::Manage)), [OK, HID, OP], [OK, HID, OP], [ND, HID, OP]),
        ("", Some(token(q, Access::Manage)), [HID, HID, OP], [HID, HID, OP], [HID, HID, OP]),
        ("", Some(token(Grant::Operator, Access::Read)), [OK; 3], [RO; 3], [RO; 3]),
        ("", Some(token(o.clone(), Access::Read)), [OK, OK, OP], [RO, RO, OP], [RO, RO, OP]),
        ("", Some(token(p, Access::Read)), [OK, HID, OP], [RO, HID, OP], [RO, HID, OP]),
        ("", Some(over(Grant::Operator, "expired")), BAD, BAD, BAD),
        ("", Some(over(o, "revoked")), BAD, BAD, BAD),
    ] {
        let ground = Ground::new(store).await;
        let actor = match &made {
            None if who == "root" => ground.root.clone(),
            None => ground.person(who).await,
            Some((grant, access, how)) => {
                let request = TokenRequest {
                    name: "t".into(),
                    grant: grant.clone(),
                    access: *access,
                    days: None,
                };
                let (facts, text) =
                    ground.service.issue_api_token(&ground.root, &request).await.unwrap();
                let actor = ground.service.authenticate_token(&text).await.unwrap();
                match *how {
                    "expired" => ground.sql("UPDATE api_token SET expires_at = 1").await,
                    "revoked" => {
                        ground.service.revoke_api_token(&ground.root, &facts.id).await.unwrap();
                    }
                    _ => {}
                }
                if !how.is_empty() {
                    assert_eq!(
                        kind(ground.service.authenticate_token(&text).await),
                        "token_invalid"
                    );
                }
                actor
            }
        };
        let denied_before =
            ground.count("SELECT count(*) FROM audit WHERE decision = 'denied'").await;
        let mut denials = 0;
        for (name, got) in everything(&ground, &actor).await {
            let mut expected = outcome(name, see, change, give);
            if see == BAD {
                // Before anything is looked at.
                expected = got.map(|word| if word.is_empty() { "" } else { "token_invalid" });
            }
            assert_eq!(got, expected, "{who} {made:?}: {name}");
            denials += got.iter().filter(|word| !["", "ok"].contains(word)).count();
        }
        let denied = ground.count("SELECT count(*) FROM audit WHERE decision = 'denied'").await;
        assert_eq!(denied - denied_before, i64::try_from(denials).unwrap(), "{who} {made:?}");
    }
}

/// What may not be seen is answered as what isn't there, to the last word.
async fn what_is_hidden_looks_like_what_is_not_there(store: MakeStore) {
    let ground = Ground::new(store).await;
    let Ground { service, root, .. } = &ground;
    let quin = ground.person("quin").await;
    let secret = ground.put(project("p").owner(None), "A").await;
    let grant = service.grant(root, "other", &project("p").admin()).await.unwrap();
    let request =
        TokenRequest { name: "t".into(), grant: Grant::Operator, access: Access::Read, days: None };
    let (token, _) = service.issue_api_token(root, &request).await.unwrap();
    let said = |refusal: Refusal| (refusal.kind(), refusal.status(), refusal.to_string());
    let page = PageRequest::first;
    let missing = SecretId::new();
    let mut answers = Vec::new();
    for id in [
        &secret.id,
        &missing,
        &SecretId::from(String::from("\0")),
        &SecretId::from("x".repeat(999)),
    ] {
        answers.push(said(service.secret(&quin, id).await.unwrap_err()));
        answers.push(said(service.remove(&quin, id).await.unwrap_err()));
        answers.push(said(service.would_be_effective(&quin, id).await.unwrap_err()));
    }
    for scope in [project("p"), organization("o"), project("none"), organization("none")] {
        answers.push(said(service.list(&quin, &scope, page()).await.unwrap_err()));
        answers.push(said(ground.add(&quin, scope.owner(None), "B").await.unwrap_err()));
        answers.push(said(ground.add(&quin, scope.owner(Some(id("ann"))), "B").await.unwrap_err()));
        answers.push(said(service.grants(&quin, Some(&scope), page()).await.unwrap_err()));
        answers.push(said(service.grant(&quin, "quin", &scope.admin()).await.unwrap_err()));
    }
    for id in [&grant.id, &token.id, "none", "\0"] {
        answers.push(said(service.revoke_grant(&quin, id).await.unwrap_err()));
        answers.push(said(service.revoke_api_token(&quin, id).await.unwrap_err()));
    }
    assert_eq!(answers.len(), 40);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((answers[0].0, answers[0].1), ("not_found", 404));
}

/// One call, with numbers that stand for whatever it needs.
async fn call(
    ground: &Ground,
    actor: &Actor,
    all: &[Record],
    what: usize,
    a: usize,
    b: usize,
) -> Vec<Record> {
    let service = &ground.service;
    let scopes = [project("p"), project("own"), project("q"), organization("o"), organization("x")];
    let scope = &scopes[a % scopes.len()];
    let users = ["ann", "bob", "pat", "boss"];
    let user = (b % 5 < 4).then(|| id(users[b % 5 % 4]));
    let secret = &all[(a + b) % all.len()];
    let page = PageRequest::first();
    let (grant, subject) = (scope.admin(), actor.subject.as_str());
    match what {
        0 => service.list(actor, scope, page).await.map_or_else(
            |_| vec![],
            |page| page.items.into_iter().map(|item| item.record).collect(),
        ),
        1 => service
            .secret(actor, &secret.id)
            .await
            .map_or_else(|_| vec![], |item| vec![item.record]),
        2 => service
            .remove(actor, &secret.id)
            .await
            .map_or_else(|_| vec![], |gone| vec![gone.record]),
        3 => {
            let name = format!("NEW_{b}");
            let addition = vec![variable(scope.owner(user), &name)];
            service.add(actor, addition, b.is_multiple_of(2), None).await.unwrap_or_default()
        }
        4 => {
            let purge = match (b % 3, scope) {
                (0, _) => Purge::User(id(users[b % 4])),
                (_, Scope::Project(id)) => Purge::Project(id.clone()),
                (_, Scope::Organization(id)) => Purge::Organization(id.clone()),
            };
            service.purge(actor, &purge, b.is_multiple_of(2)).await.unwrap_or_default()
        }
        5 => {
            service.grant(actor, subject, &grant).await.map(drop).unwrap_or_default();
            service.grant(actor, subject, &Grant::Operator).await.map(drop).unwrap_or_default();
            vec![]
        }
        6 => {
            let access = Access::ALL[b % 3];
            let grant = if b.is_multiple_of(3) { Grant::Operator } else { grant };
            let request = TokenRequest { name: "t".into(), grant, access, days: None };
            let Ok((_, text)) = service.issue_api_token(actor, &request).await else {
                return vec![];
            };
            let token = service.authenticate_token(&text).await.unwrap();
            // Not the same twice running, so that this ends.
            let next = [0, 2, 3, 4, 8, 5, 6][(a + b) % 7];
            Box::pin(call(ground, &token, all, next, a + 1, b)).await
        }
        7 => {
            let content = Project { admins: ids(&["pat"]), ..Project::default() };
            service.put_project(actor, &id("q"), &content).await.map(drop).unwrap_or_default();
            service.delete_project(actor, &id("q"), true).await.map(drop).unwrap_or_default();
            vec![]
        }
        _ => {
            let question = Question {
                project: scope.id().clone(),
                organization: Some(id("x")),
                user,
                require: vec![],
            };
            let winners = service.explain(actor, &question).await.map(|answer| answer.winners);
            let winners = winners.unwrap_or_default().into_iter().map(|winner| winner.secret);
            winners
                .filter(|secret| secret.owner.id() != &id("o"))
                .map(|secret| Record { name: secret.name, owner: secret.owner, ..all[0].clone() })
                .collect()
        }
    }
}

/// A project's admin, by whatever sequence of calls, sees and changes nothing but the secrets of
/// their projects, and of their organization only what wins in them.
fn no_sequence_of_calls_reaches_beyond_the_scopes(store: MakeStore) {
    let all_calls = proptest::collection::vec((0..9_usize, 0..60_usize, 0..60_usize), 1..16);
    proptest!(ProptestConfig::with_cases(24), |(calls in all_calls)| {
        run(sequence(store, calls));
    });
}

async fn sequence(store: MakeStore, calls: Vec<(usize, usize, usize)>) {
    let ground = Ground::new(store).await;
    let mut all = Vec::new();
    for scope in [project("p"), project("own"), project("q"), organization("o"), organization("x")]
    {
        all.push(ground.put(scope.owner(None), "A").await);
    }
    all.push(ground.put(project("p").owner(Some(id("ann"))), "A").await);
    all.push(ground.put(organization("o").owner(Some(id("ann"))), "A").await);
    let pat = ground.person("pat").await;
    let mine = |owner: &Owner| matches!(owner, Owner::Project { project, .. } if ["p", "own"].contains(&project.as_str()));
    for (what, a, b) in calls {
        for record in call(&ground, &pat, &all, what, a, b).await {
            assert!(mine(&record.owner), "call {what} {a} {b} reached {record:?}");
        }
    }
    for record in all.iter().filter(|record| !mine(&record.owner)) {
        let there = ground.service.secret(&ground.root, &record.id).await.unwrap();
        assert_eq!(&there.record, record);
    }
    for scope in [project("q"), organization("x")] {
        assert_eq!(ground.listed(&scope).await.len(), 1);
    }
    assert_eq!(ground.listed(&organization("o")).await.len(), 2);
    assert_eq!(ground.person("pat").await.grants, [project("own").admin(), project("p").admin()]);
}

#[test]
fn no_sequence_of_calls_reaches_beyond_the_scopes_on_sqlite() {
    no_sequence_of_calls_reaches_beyond_the_scopes(Fixture::sqlite);
}

#[test]
fn no_sequence_of_calls_reaches_beyond_the_scopes_on_postgres() {
    no_sequence_of_calls_reaches_beyond_the_scopes(Fixture::postgres);
}
