//! Adding, replacing and removing; who gets what after somebody leaves or a project moves.

use qgis_secrets::access::{Access, Actor, Scope};
use qgis_secrets::membership::{Membership, NonMember};
use qgis_secrets::precedence;
use qgis_secrets::secret::{Id, Name, Owner, Value};
use qgis_secrets::server::administration::{
    Addition, Administration, Explanation, IdempotencyKey, PageRequest, Policy, Purge, Question,
    Refusal, TokenRequest,
};

use super::ground::{Ground, id, kind, looked, organization, project, variable};
use super::{MakeStore, on_both};

on_both!(
    what_is_added_is_listed_in_parts_without_its_value,
    of_two_at_once_one_wins,
    all_are_added_or_none_and_replacing_is_one_step,
    what_is_not_fit_is_refused_before_anything_is_done,
    a_repeated_request_gets_the_first_answer,
    what_cannot_be_recorded_does_not_happen,
    removing_says_what_becomes_effective,
    a_removed_member_gets_nothing_assigned_until_they_are_back,
    a_transferred_project_keeps_its_own_and_loses_the_organizations,
    a_public_project_gives_strangers_nothing_assigned,
    explaining_shows_what_wins_and_why_something_is_missing,
    a_job_that_names_another_organization_is_refused,
    the_level_of_defaults_is_named_where_it_counts,
    on_trust_an_organization_is_known_by_its_own_admins_only,
);

async fn explain(ground: &Ground, name: &str, user: Option<&str>) -> Explanation {
    let user = user.map(id);
    let question = Question { project: id(name), organization: None, user, require: vec![] };
    ground.service.explain(&ground.root, &question).await.unwrap()
}

/// Owners of what a job of `p` gets, or why it gets nothing.
async fn gets(ground: &Ground, user: Option<&str>) -> Vec<String> {
    let explanation = explain(ground, "p", user).await;
    match explanation.refused {
        Some(refused) => vec![refused.kind().to_owned()],
        None => explanation.winners.iter().map(|winner| winner.secret.owner.to_string()).collect(),
    }
}

fn idempotency(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

async fn what_is_added_is_listed_in_parts_without_its_value(store: MakeStore) {
    let ground = Ground::new(store).await;
    let pat = ground.service.actor_of("pat", "Pat Doe", vec![]).await.unwrap();
    let p = project("p");
    for key in ["B", "A", "C"] {
        ground.add(&pat, p.owner(None), key).await.unwrap();
        ground.add(&pat, p.owner(Some(id("ann"))), key).await.unwrap();
        ground.add(&pat, p.owner(Some(id("bob"))), key).await.unwrap();
        ground.put(project("q").owner(None), key).await;
    }
    let whole = ground.service.list(&pat, &p, PageRequest::first()).await.unwrap();
    assert_eq!((whole.items.len(), &whole.next), (9, &None));
    assert_eq!(whole.items[0].record.created_by, "Pat Doe (pat)");
    let names: Vec<String> = whole
        .items
        .iter()
        .map(|item| format!("{} {}", item.record.name.key, item.record.owner))
        .collect();
    assert_eq!(names[..4], ["A project p", "B project p", "C project p", "A project p, user ann"]);
    let mut parts = Vec::new();
    let mut after = None;
    loop {
        let part = ground.service.list(&pat, &p, PageRequest { after, limit: 2 }).await.unwrap();
        // What goes and comes between two requests disturbs nobody else.
        let last = part.items.last().unwrap().record.id.clone();
        parts.extend(part.items);
        if parts.len() == 4 {
            ground.service.remove(&pat, &last).await.unwrap();
            ground.add(&pat, p.owner(None), "AA").await.unwrap();
        }
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(parts, whole.items);
    for bad in ["x", "eA", "=", "\0"] {
        let page = PageRequest { after: Some(bad.into()), limit: 2 };
        assert_eq!(kind(ground.service.list(&pat, &p, page).await), "invalid");
    }
}

async fn of_two_at_once_one_wins(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (pat, boss) = (ground.person("pat").await, ground.person("boss").await);
    let owner = project("p").owner(None);
    let (one, other) =
        tokio::join!(ground.add(&pat, owner.clone(), "A"), ground.add(&boss, owner, "A"));
    let mut kinds = [kind(one), kind(other)];
    kinds.sort_unstable();
    assert_eq!(kinds, ["ok", "secret_exists"]);
    assert_eq!(ground.listed(&project("p")).await.len(), 1);
    assert_eq!(ground.audited("secret.add").await.len(), 1);
}

async fn all_are_added_or_none_and_replacing_is_one_step(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (p, root) = (project("p").owner(None), &ground.root);
    let first = ground.put(p.clone(), "A").await;
    let two = || vec![variable(p.clone(), "B"), variable(p.clone(), "A")];
    assert_eq!(kind(ground.service.add(root, two(), false, None).await), "secret_exists");
    assert_eq!(ground.listed(&project("p")).await.len(), 1);
    let added = ground.service.add(root, two(), true, None).await.unwrap();
    assert_ne!(added[1].id, first.id);
    assert_eq!(ground.listed(&project("p")).await.len(), 2);
    let page = ground.service.audit(root, &Default::default(), PageRequest::first()).await.unwrap();
    let detail = &page.items[0].detail;
    assert!(
        detail.contains(first.id.as_str()) && detail.contains(added[1].id.as_str()),
        "{detail}"
    );
    assert!(!detail.contains("canary"), "{detail}");
}

async fn what_is_not_fit_is_refused_before_anything_is_done(store: MakeStore) {
    let ground = Ground::new(store).await;
    let p = project("p").owner(None);
    let service = &ground.service;
    let add = async |additions| kind(service.add(&ground.root, additions, true, None).await);
    assert_eq!(add(vec![]).await, "invalid");
    assert_eq!(add(vec![variable(p.clone(), "A"), variable(p.clone(), "A")]).await, "secret_twice");
    assert_eq!(add(vec![variable(p.clone(), "A"), variable(p.clone(), "PATH")]).await, "invalid");
    let many = (0..1001).map(|n| variable(p.clone(), &format!("A{n}"))).collect();
    assert_eq!(add(many).await, "invalid");
    let name = Name::pgservice("other");
    let value = Value::from("[db]\nhost=h\n");
    assert_eq!(add(vec![Addition { name, owner: p, sensitive: true, value }]).await, "invalid");
    assert_eq!(add(vec![variable(project("none").owner(None), "A")]).await, "not_registered");
    for (scope, user, expected) in [
        (project("p"), "ann", "ok"),
        (project("p"), "pat", "ok"),
        (project("p"), "boss", "ok"),
        (project("p"), "quin", "not_a_member"),
        (project("own"), "boss", "not_a_member"),
        (organization("o"), "ann", "ok"),
        (organization("o"), "boss", "ok"),
        (organization("o"), "bob", "not_a_member"),
    ] {
        let owner = scope.owner(Some(id(user)));
        assert_eq!(add(vec![variable(owner, "A")]).await, expected, "{scope} {user}");
    }
    // Of one request, all or nothing.
    let mixed = vec![
        variable(project("p").owner(None), "MIXED"),
        variable(project("p").owner(Some(id("quin"))), "MIXED"),
    ];
    assert_eq!(add(mixed).await, "not_a_member");
    assert!(!ground.listed(&project("p")).await.iter().any(|(name, _)| name.contains("MIXED")));
    let policy = Policy { organization_user: false, ..*ground.service.policy() };
    let off = ground.with(policy);
    let default = vec![variable(organization("o").owner(Some(id("ann"))), "B")];
    assert_eq!(kind(off.add(&ground.root, default, true, None).await), "level_disabled");
}

async fn a_repeated_request_gets_the_first_answer(store: MakeStore) {
    let ground = Ground::new(store).await;
    let p = project("p").owner(None);
    let add = async |actor: &Actor, addition, replace, key| {
        ground.service.add(actor, vec![addition], replace, Some(idempotency(key))).await
    };
    let root = &ground.root;
    let first = add(root, variable(p.clone(), "A"), false, "k").await.unwrap();
    assert_eq!(add(root, variable(p.clone(), "A"), false, "k").await.unwrap(), first);
    // The value is no part of what makes it the same.
    let other = Addition { value: Value::from("another value"), ..variable(p.clone(), "A") };
    assert_eq!(add(root, other, false, "k").await.unwrap(), first);
    assert_eq!(ground.audited("secret.add").await.len(), 1);
    let mismatch = "idempotency_mismatch";
    assert_eq!(kind(add(root, variable(p.clone(), "A"), true, "k").await), mismatch);
    assert_eq!(kind(add(root, variable(p.clone(), "B"), false, "k").await), mismatch);
    let plain = Addition { sensitive: false, ..variable(p.clone(), "A") };
    assert_eq!(kind(add(root, plain, false, "k").await), mismatch);
    let own = project("own").owner(None);
    assert_eq!(kind(add(root, variable(own, "A"), false, "k").await), mismatch);
    // Somebody else's key is another.
    let pat = ground.person("pat").await;
    assert_eq!(kind(add(&pat, variable(p.clone(), "A"), false, "k").await), "secret_exists");
    // Who may not gets no answer either.
    let quin = ground.person("quin").await;
    assert_eq!(kind(add(&quin, variable(p.clone(), "A"), false, "k").await), "not_found");
    // It is forgotten after a day, and what failed was never kept.
    ground.sql("UPDATE idempotency SET expires_at = 1").await;
    assert_eq!(kind(add(root, variable(p.clone(), "A"), false, "k").await), "secret_exists");
    assert_eq!(kind(add(root, variable(p.clone(), "C"), false, "k").await), "ok");
    let kept = ground.count("SELECT count(*) FROM idempotency WHERE answer LIKE '%canary%'").await;
    assert_eq!(kept, 0);
    // A replacement that is repeated doesn't replace again.
    let replaced = add(root, variable(p.clone(), "A"), true, "r").await.unwrap();
    assert_eq!(add(root, variable(p, "A"), true, "r").await.unwrap(), replaced);
}

async fn what_cannot_be_recorded_does_not_happen(store: MakeStore) {
    let ground = Ground::new(store).await;
    let secret = ground.put(project("p").owner(None), "A").await;
    let pat = ground.person("pat").await;
    ground.sql("ALTER TABLE audit RENAME TO audit_away").await;
    // Which word it is depends on the database.
    let failed = |result: Result<(), Refusal>| {
        let refusal = result.unwrap_err();
        assert!(refusal.status() == 500 && refusal.kind().starts_with("store_"), "{refusal}");
    };
    failed(ground.add(&pat, project("p").owner(None), "B").await.map(drop));
    failed(ground.service.remove(&pat, &secret.id).await.map(drop));
    let purge = Purge::Project(id("p"));
    failed(ground.service.purge(&pat, &purge, false).await.map(drop));
    let admin = project("p").admin();
    failed(ground.service.grant(&pat, "new", &admin).await.map(drop));
    failed(ground.service.delete_project(&ground.root, &id("p"), true).await.map(drop));
    // Nor is a denial an answer that leaves no trace.
    failed(ground.service.list(&pat, &project("q"), PageRequest::first()).await.map(drop));
    ground.sql("ALTER TABLE audit_away RENAME TO audit").await;
    assert_eq!(ground.listed(&project("p")).await, [("envvar:A project p".to_owned(), false)]);
    assert_eq!(ground.person("new").await.grants, []);
    let refusal = ground.service.list(&pat, &project("q"), PageRequest::first()).await;
    assert_eq!(kind(refusal), "not_found");
    assert_eq!(ground.audited("secret.list").await, ["pat deniednot_found q"]);
}

async fn removing_says_what_becomes_effective(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (o, p) = (organization("o"), project("p"));
    let ann = || Some(id("ann"));
    let owners = [o.owner(None), o.owner(ann()), p.owner(None), p.owner(ann())];
    let sentence = async |owner: &Owner, before: &[&Owner]| {
        for owner in owners.iter().filter(|owner| before.contains(owner)) {
            ground.put(owner.clone(), "A").await;
        }
        ground.put(owner.clone(), "OTHER").await;
        let scope = Scope::from(owner);
        let page = ground.service.list(&ground.root, &scope, PageRequest::first());
        let items = page.await.unwrap().items;
        let mine = items
            .iter()
            .find(|item| item.record.owner == *owner && item.record.name == Name::envvar("A"));
        let mine = &mine.unwrap().record.id;
        let before = ground.service.would_be_effective(&ground.root, mine).await.unwrap();
        let removed = ground.service.remove(&ground.root, mine).await.unwrap();
        assert_eq!(removed, before);
        let jobs = gets(&ground, Some("ann")).await;
        for scope in [&o, &p] {
            let purge = match scope {
                Scope::Organization(id) => Purge::Organization(id.clone()),
                Scope::Project(id) => Purge::Project(id.clone()),
            };
            ground.service.purge(&ground.root, &purge, false).await.unwrap();
        }
        let instead = removed.instead.map_or("", |candidate| candidate.level().as_str());
        (removed.sentence, instead, jobs)
    };
    let [org, default, plain, assigned] = &owners;
    for (removed, before, now, instead) in [
        (assigned, vec![assigned, plain, default, org], "get the project's.", "project"),
        (
            assigned,
            vec![assigned, default, org],
            "get the organization's default for this member.",
            "organization_user",
        ),
        (assigned, vec![assigned, org], "get the organization's.", "organization"),
        (assigned, vec![assigned], "get none.", ""),
        (plain, vec![plain, assigned, org], "get the organization's.", "organization"),
        (
            plain,
            vec![plain, org, default],
            "get the organization's; members with a default of the organization's get that.",
            "organization",
        ),
        (
            default,
            vec![default, org, plain],
            "get the organization's, where no project has one of its own.",
            "organization",
        ),
        (default, vec![default], "get none, where no project has one of its own.", ""),
        (org, vec![org, plain, default], "get none, where no project has one of its own.", ""),
    ] {
        let (text, found, _) = sentence(removed, &before).await;
        assert!(text.ends_with(now), "{removed}: {text}");
        assert_eq!(found, instead, "{removed}");
    }
    // It is what such a job really gets.
    let (_, _, jobs) = sentence(assigned, &[assigned, default, org]).await;
    assert!(jobs.contains(&default.to_string()), "{jobs:?}");
}

async fn a_removed_member_gets_nothing_assigned_until_they_are_back(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (o, p) = (organization("o"), project("p"));
    for owner in [p.owner(Some(id("ann"))), p.owner(Some(id("bob"))), o.owner(Some(id("ann")))] {
        ground.put(owner, "A").await;
    }
    ground.put(p.owner(None), "B").await;
    let (project_ann, plain) = ("project p, user ann".to_owned(), "project p".to_owned());
    assert_eq!(gets(&ground, Some("ann")).await, [project_ann.clone(), plain.clone()]);
    ground.put_project("p", Some("o"), &["bob"], &["pat"]).await;
    let default = "organization o, user ann".to_owned();
    assert_eq!(gets(&ground, Some("ann")).await, [default.clone(), plain.clone()]);
    let listed = ground.listed(&p).await;
    let dormant: Vec<_> = listed.iter().filter(|(_, dormant)| *dormant).collect();
    assert_eq!(dormant, [&("envvar:A project p, user ann".to_owned(), true)]);
    ground.put_organization("o", &[], &["boss"]).await;
    assert_eq!(gets(&ground, Some("ann")).await, std::slice::from_ref(&plain));
    assert_eq!(ground.listed(&o).await, [("envvar:A organization o, user ann".to_owned(), true)]);
    let explanation = explain(&ground, "p", Some("ann")).await;
    assert_eq!(explanation.dormant.len(), 2);
    // Of the organization's, only to its own admins.
    let question =
        Question { project: id("p"), organization: None, user: Some(id("ann")), require: vec![] };
    let dormant = async |actor: &Actor, by: &Administration| {
        let dormant = by.explain(actor, &question).await.unwrap().dormant;
        dormant.iter().map(|secret| secret.owner.to_string()).collect::<Vec<_>>()
    };
    let (pat, boss) = (ground.person("pat").await, ground.person("boss").await);
    assert_eq!(dormant(&boss, &ground.service).await, [default.clone(), project_ann.clone()]);
    assert_eq!(dormant(&pat, &ground.service).await, std::slice::from_ref(&project_ann));
    // Nor what stands there for everybody, of a job that would be refused.
    let everybodys = ground.put(o.owner(None), "B").await;
    let membership = Membership::Registered { non_member: NonMember::Deny };
    let strict = ground.with(Policy { membership, ..*ground.service.policy() });
    assert_eq!(dormant(&boss, &strict).await.len(), 4);
    assert_eq!(dormant(&pat, &strict).await, [plain.clone(), project_ann.clone()]);
    ground.service.remove(&ground.root, &everybodys.id).await.unwrap();
    // Removing what is dormant changes no job.
    let gone = explanation.dormant.iter().find(|record| record.owner.id() == &id("o")).unwrap();
    let removed = ground.service.remove(&ground.root, &gone.id).await.unwrap();
    assert!(removed.sentence.starts_with("No job got it") && removed.instead.is_none());
    ground.put_organization("o", &["ann"], &["boss"]).await;
    ground.put_project("p", Some("o"), &["ann", "bob"], &["pat"]).await;
    assert_eq!(gets(&ground, Some("ann")).await, [project_ann, plain]);
}

async fn a_transferred_project_keeps_its_own_and_loses_the_organizations(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (o, p, x) = (organization("o"), project("p"), organization("x"));
    let secret = ground.put(p.owner(None), "A").await;
    ground.put(o.owner(None), "B").await;
    ground.put(x.owner(None), "B").await;
    let request = |grant, access| TokenRequest { name: "t".into(), grant, access, days: None };
    let made = request(o.admin(), Access::Delegate);
    let (_, of_o) = ground.service.issue_api_token(&ground.root, &made).await.unwrap();
    let of_o = ground.service.authenticate_token(&of_o).await.unwrap();
    let made = request(p.admin(), Access::Manage);
    let (left, of_p) = ground.service.issue_api_token(&of_o, &made).await.unwrap();
    let of_p = ground.service.authenticate_token(&of_p).await.unwrap();
    let boss = ground.person("boss").await;
    let xavier = ground.person("xavier").await;
    let service = &ground.service;
    assert_eq!(gets(&ground, None).await, ["project p", "organization o"]);
    assert_eq!(kind(service.secret(&boss, &secret.id).await), "ok");
    assert_eq!(kind(service.secret(&xavier, &secret.id).await), "not_found");
    ground.put_project("p", Some("x"), &["ann", "bob"], &["pat"]).await;
    assert_eq!(gets(&ground, None).await, ["project p", "organization x"]);
    assert_eq!(kind(service.secret(&boss, &secret.id).await), "not_found");
    assert_eq!(kind(service.secret(&xavier, &secret.id).await), "ok");
    // Nor is it the former organization's token's; what that made for the project stays with it.
    assert_eq!(kind(service.secret(&of_o, &secret.id).await), "not_found");
    assert_eq!(kind(service.secret(&of_p, &secret.id).await), "ok");
    let seen = service.api_tokens(&xavier, Some(&p), PageRequest::first()).await.unwrap();
    assert_eq!(seen.items.iter().map(|token| &token.id).collect::<Vec<_>>(), [&left.id]);
    assert_eq!(kind(service.revoke_api_token(&xavier, &left.id).await), "ok");
    assert_eq!(kind(service.secret(&of_p, &secret.id).await), "token_invalid");
    ground.put_project("p", None, &[], &["pat"]).await;
    assert_eq!(gets(&ground, None).await, ["project p"]);
    assert_eq!(kind(service.secret(&xavier, &secret.id).await), "not_found");
}

async fn a_public_project_gives_strangers_nothing_assigned(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (o, p) = (organization("o"), project("p"));
    ground.put(p.owner(None), "A").await;
    ground.put(p.owner(Some(id("ann"))), "A").await;
    ground.put(o.owner(None), "B").await;
    assert_eq!(gets(&ground, Some("stranger")).await, ["project p", "organization o"]);
    let non_member = NonMember::Deny;
    let membership = Membership::Registered { non_member };
    let strict = ground.with(Policy { membership, ..*ground.service.policy() });
    let question = Question {
        project: id("p"),
        organization: None,
        user: Some(id("stranger")),
        require: vec![Name::envvar("A")],
    };
    let explanation = strict.explain(&ground.root, &question).await.unwrap();
    assert_eq!(explanation.refused.as_ref().unwrap().kind(), "not_a_member");
    assert!(explanation.winners.is_empty() && explanation.looked_at.is_empty());
    assert!(explanation.missing[0].why.contains("stranger is no member"), "{explanation:?}");
}

async fn explaining_shows_what_wins_and_why_something_is_missing(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (o, p) = (organization("o"), project("p"));
    ground.put(o.owner(None), "A").await;
    ground.put(p.owner(None), "A").await;
    ground.put(p.owner(Some(id("ann"))), "A").await;
    ground.put(p.owner(Some(id("ann"))), "MINE").await;
    ground.put(project("own").owner(None), "FOREIGN").await;
    let pat = ground.person("pat").await;
    let ask = async |user: Option<&str>, require: &str| {
        let question = Question {
            project: id("p"),
            organization: None,
            user: user.map(id),
            require: vec![Name::envvar(require)],
        };
        ground.service.explain(&pat, &question).await.unwrap()
    };
    let explanation = ask(Some("ann"), "A").await;
    let winner = &explanation.winners[0];
    assert_eq!(winner.secret.owner, p.owner(Some(id("ann"))));
    let shadowed: Vec<_> = winner.shadowed.iter().map(|lost| lost.owner.clone()).collect();
    assert_eq!(shadowed, [p.owner(None), o.owner(None)]);
    assert_eq!(explanation.missing, []);
    let levels: Vec<_> = explanation.looked_at.iter().map(|owner| owner.level().as_str()).collect();
    assert_eq!(levels, ["project_user", "project", "organization_user", "organization"]);
    let why = ask(None, "FOREIGN").await.missing.remove(0).why;
    assert!(why.contains("project p; organization o") && why.contains("no user"), "{why}");
    ground.put_project("p", Some("o"), &[], &["pat"]).await;
    let why = ask(Some("ann"), "MINE").await.missing.remove(0).why;
    assert!(why.contains("project p, user ann") && why.contains("no member"), "{why}");
}

async fn on_trust_an_organization_is_known_by_its_own_admins_only(store: MakeStore) {
    let ground = Ground::empty(store, Membership::Trusted);
    let (o, p) = (organization("o"), project("p"));
    ground.put(o.owner(None), "A").await;
    ground.put(p.owner(Some(id("anybody"))), "B").await;
    let mine = ground.put(p.owner(None), "A").await;
    let both = async |subject: &str, scopes: &[&Scope]| {
        for scope in scopes {
            ground.service.grant(&ground.root, subject, &scope.admin()).await.unwrap();
        }
        ground.person(subject).await
    };
    let (pat, boss) = (both("pat", &[&p]).await, both("boss", &[&p, &o]).await);
    let ask = async |actor: &Actor, organization: Option<&str>| {
        let organization = organization.map(id);
        let question = Question { project: id("p"), organization, user: None, require: vec![] };
        let explained = ground.service.explain(actor, &question).await;
        explained.map(|explanation| explanation.looked_at.len())
    };
    assert_eq!(ask(&pat, None).await.unwrap(), 1);
    assert_eq!(kind(ask(&pat, Some("o")).await), "not_found");
    assert_eq!(kind(ask(&pat, Some("none")).await), "not_found");
    assert_eq!(ask(&boss, Some("o")).await.unwrap(), 2);
    // What other organizations have is not told.
    let removed = ground.service.remove(&pat, &mine.id).await.unwrap();
    assert_eq!(removed.instead, None);
    assert!(removed.sentence.contains("if that has one"), "{}", removed.sentence);
    assert!(ground.listed(&p).await.iter().all(|(_, dormant)| !dormant));
    assert_eq!(ground.service.members(&pat, &p).await.unwrap(), []);
    let landing = ground.service.landing(&ground.root, looked("", 50)).await.unwrap();
    let organizations: Vec<Id> =
        landing.organizations.items.iter().map(|of| of.scope.id().clone()).collect();
    assert_eq!((organizations, landing.projects.items.len()), (vec![id("o")], 1));
    let put = ground.service.put_project(&ground.root, &id("p"), &Default::default()).await;
    assert_eq!(kind(put), "registration_off");
}

async fn the_level_of_defaults_is_named_where_it_counts(store: MakeStore) {
    let mut ground = Ground::new(store).await;
    let levels = async |ground: &Ground| {
        let question = Question {
            project: id("p"),
            organization: None,
            user: Some(id("ann")),
            require: vec![Name::envvar("NONE")],
        };
        let explanation = ground.service.explain(&ground.root, &question).await.unwrap();
        let levels = explanation.looked_at.iter().map(|owner| owner.level().as_str());
        (levels.collect::<Vec<_>>(), explanation.missing[0].why.contains("organization o, user"))
    };
    let all = ["project_user", "project", "organization_user", "organization"];
    assert_eq!(levels(&ground).await, (all.to_vec(), true));
    let policy = Policy { organization_user: false, ..*ground.service.policy() };
    let left = ground.put(organization("o").owner(Some(id("ann"))), "LEFT").await;
    ground.service = ground.with(policy);
    // What was added before is given to jobs still.
    assert_eq!(levels(&ground).await, (all.to_vec(), true));
    ground.service.remove(&ground.root, &left.id).await.unwrap();
    assert_eq!(levels(&ground).await, (vec!["project_user", "project", "organization"], false));
}

/// Where projects are registered, a job that names another organization gets nothing, and whoever
/// asks learns nothing of that one.
async fn a_job_that_names_another_organization_is_refused(store: MakeStore) {
    let ground = Ground::new(store).await;
    let p = project("p");
    for scope in [&p, &organization("o"), &organization("x")] {
        ground.put(scope.owner(None), "A").await;
    }
    let pat = ground.person("pat").await;
    let ask = async |name: &str, organization: Option<&str>| {
        let organization = organization.map(id);
        let question = Question { project: id(name), organization, user: None, require: vec![] };
        ground.service.explain(&pat, &question).await.unwrap()
    };
    let plain = ask("p", None).await;
    assert_eq!((plain.refused.as_ref(), plain.looked_at.len()), (None, 2));
    assert_eq!(ask("p", Some("o")).await, plain);
    for (name, organization) in [("p", "x"), ("p", "none"), ("own", "o"), ("own", "x")] {
        let explained = ask(name, Some(organization)).await;
        let refused = explained.refused.unwrap();
        assert_eq!(refused.kind(), "organization_mismatch", "{name} {organization}");
        assert_eq!((explained.looked_at, explained.winners), (vec![], vec![]));
        let beyond = |candidate: &precedence::Candidate| *candidate.owner.id() == id("x");
        assert!(!explained.dormant.iter().any(beyond), "{:?}", explained.dormant);
    }
}
