//! What somebody sees that they administer, in parts, and how much is there.

use qgis_secrets::membership::Membership;
use qgis_secrets::server::administration::{Looked, PageRequest, Project, Seen};
use qgis_secrets::store::overview;

use super::ground::{Ground, REGISTERED, id, looked, organization, project};
use super::{MakeStore, on_both};

on_both!(
    each_place_says_how_much_is_there_and_as_what_one_administers_it,
    what_is_searched_is_in_an_id_or_the_organizations,
    parts_neither_repeat_nor_hide_anything,
    where_nothing_is_registered_secrets_and_grants_say_what_is_there,
);

/// What somebody sees, each with what is said about it.
async fn see(ground: &Ground, subject: &str, words: &str) -> Vec<String> {
    let actor = match subject {
        "root" => ground.root.clone(),
        subject => ground.person(subject).await,
    };
    let landing = ground.service.landing(&actor, looked(words, 50)).await.unwrap();
    let (first, second) = (landing.organizations.items, landing.projects.items);
    let said = first.into_iter().chain(second).map(|Seen { scope, role, figures, .. }| {
        let overview::Figures { secrets, members, admins } = figures;
        format!("{scope} {role} {secrets} {members} {admins}")
    });
    said.collect()
}

async fn each_place_says_how_much_is_there_and_as_what_one_administers_it(store: MakeStore) {
    let ground = Ground::new(store).await;
    let (o, p) = (organization("o"), project("p"));
    ground.put(o.owner(None), "A").await;
    ground.put(p.owner(None), "A").await;
    ground.put(p.owner(Some(id("ann"))), "A").await;
    // Twice an admin is one.
    for subject in ["eve", "pat"] {
        ground.service.grant(&ground.root, subject, &p.admin()).await.unwrap();
    }
    assert_eq!(
        see(&ground, "root", "").await,
        [
            "organization o operator 1 2 1",
            "organization x operator 0 1 1",
            "project own operator 0 1 1",
            "project p operator 2 3 2",
            "project q operator 0 1 1",
        ]
    );
    assert_eq!(
        see(&ground, "boss", "").await,
        ["organization o organization_admin 1 2 1", "project p organization_admin 2 3 2"]
    );
    assert_eq!(
        see(&ground, "pat", "").await,
        ["project own project_admin 0 1 1", "project p project_admin 2 3 2"]
    );
    assert_eq!(see(&ground, "ann", "").await, [""; 0]);
}

async fn what_is_searched_is_in_an_id_or_the_organizations(store: MakeStore) {
    let ground = Ground::new(store).await;
    let ids = async |subject, words| -> Vec<String> {
        let seen = see(&ground, subject, words).await;
        seen.iter().map(|said| said.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(ids("root", "O").await, ["o", "own", "p"]);
    assert_eq!(ids("root", "x").await, ["x", "q"]);
    assert_eq!(ids("pat", "OW").await, ["own"]);
    assert_eq!(ids("pat", "o").await, ["own", "p"]);
    assert_eq!(ids("boss", "p").await, ["p"]);
    assert_eq!(ids("root", "%").await, [""; 0]);
    assert_eq!(ids("root", "o' OR '1'='1").await, [""; 0]);
    for wrong in ["\0".to_owned(), "a".repeat(256)] {
        let refused = ground.service.landing(&ground.root, looked(&wrong, 1)).await;
        assert_eq!(refused.unwrap_err().kind(), "invalid");
    }
}

async fn parts_neither_repeat_nor_hide_anything(store: MakeStore) {
    let ground = Ground::empty(store, REGISTERED);
    let put = async |name: &str, organization: Option<&str>| {
        let content = Project { organization: organization.map(id), ..Project::default() };
        ground.service.put_project(&ground.root, &id(name), &content).await.unwrap();
    };
    for name in ["o", "x"] {
        let root = &ground.root;
        ground.service.put_organization(root, &id(name), &Default::default()).await.unwrap();
    }
    let mut own = Vec::new();
    for n in 0..150 {
        let name = format!("p{n:03}");
        put(&name, [None, Some("o"), Some("x")][n % 3]).await;
        // More single projects than go into one statement, some of them the organization's too.
        if n % 3 < 2 {
            ground.service.grant(&ground.root, "ann", &project(&name).admin()).await.unwrap();
        }
        own.push(name);
    }
    let boss = organization("x").admin();
    ground.service.grant(&ground.root, "ann", &boss).await.unwrap();
    let ann = ground.person("ann").await;
    for actor in [&ann, &ground.root] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let projects = PageRequest { after, limit: 7 };
            let looked = Looked { projects, ..looked("", 7) };
            let part = ground.service.landing(actor, looked).await.unwrap().projects;
            found.extend(part.items.into_iter().map(|seen| seen.scope.id().to_string()));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, own);
    }
}

async fn where_nothing_is_registered_secrets_and_grants_say_what_is_there(store: MakeStore) {
    let ground = Ground::empty(store, Membership::Trusted);
    ground.put(organization("o").owner(None), "A").await;
    ground.put(project("a/p").owner(None), "A").await;
    for place in [project("b/p"), project("a/p"), organization("none")] {
        ground.service.grant(&ground.root, "ann", &place.admin()).await.unwrap();
    }
    assert_eq!(
        see(&ground, "root", "").await,
        ["organization o operator 1 0 0", "project a/p operator 1 0 1"]
    );
    assert_eq!(
        see(&ground, "ann", "").await,
        [
            "organization none organization_admin 0 0 1",
            "project a/p project_admin 1 0 1",
            "project b/p project_admin 0 0 1",
        ]
    );
    assert_eq!(see(&ground, "ann", "B/").await, ["project b/p project_admin 0 0 1"]);
}
