//! What both databases do with organizations, projects and their people.

use qgis_secrets::access::{Grant, Scope};
use qgis_secrets::job::Identity;
use qgis_secrets::membership::{Denied, Membership, NonMember};
use qgis_secrets::secret::Id;
use qgis_secrets::store::database::Database;
use qgis_secrets::store::page::{Page, PageRequest};
use qgis_secrets::store::registry::{
    Organization, Project, admin_grants, assignable, delete, facts, has_projects, is_assignable,
    is_registered, organization, organization_of, organizations, owners_for, place, project,
    projects, put_organization, put_project, unregistered,
};
use qgis_secrets::store::{Pool, StoreError};

use super::fixture::{self, Fixture, id, run, write};
use super::on_both;

on_both!(
    what_is_registered_comes_back,
    a_registration_replaces_the_one_before,
    what_is_deleted_is_gone_and_nothing_else,
    lists_come_in_parts_byte_by_byte,
    who_belongs_where,
    owners_of_a_job_follow_the_registration,
    what_has_secrets_and_is_not_registered_is_found,
    many_that_register_the_same_at_once,
    a_role_that_cannot_be_read_is_damage,
);

const REGISTERED: Membership = Membership::Registered { non_member: NonMember::Unassigned };

fn ids(texts: &[&str]) -> Vec<Id> {
    texts.iter().map(|text| id(text)).collect()
}

fn of_project(name: &str) -> Scope {
    Scope::Project(id(name))
}

fn of_organization(name: &str) -> Scope {
    Scope::Organization(id(name))
}

/// The organization `o` (ann; admin boss) with its project `p` (bob; admin pat), and the project
/// `own` of nobody (admin pat).
fn people(database: &mut dyn Database) -> Result<(), StoreError> {
    let o = Organization { members: ids(&["ann"]), admins: ids(&["boss"]) };
    assert!(put_organization(database, &id("o"), &o)?);
    let (members, admins) = (ids(&["bob"]), ids(&["pat"]));
    let p = Project { organization: Some(id("o")), members, admins: admins.clone() };
    assert!(put_project(database, &id("p"), &p)?);
    assert!(put_project(database, &id("own"), &Project { admins, ..Project::default() })?);
    Ok(())
}

fn what_is_registered_comes_back(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        people(database)?;
        let o = organization(database, &id("o"))?.unwrap();
        assert_eq!((o.content.members, o.content.admins), (ids(&["ann"]), ids(&["boss"])));
        let p = project(database, &id("p"))?.unwrap();
        assert_eq!((p.content.members, p.content.admins), (ids(&["bob"]), ids(&["pat"])));
        assert_eq!(p.content.organization, Some(id("o")));
        assert!(p.registered_at.parse::<jiff::Timestamp>().is_ok(), "{}", p.registered_at);
        assert_eq!(project(database, &id("own"))?.unwrap().content.organization, None);
        // An organization and a project of one id are two, and ids differ by every letter.
        for (wanted, of_o, of_p) in [("o", true, false), ("p", false, true), ("P", false, false)] {
            assert_eq!(organization(database, &id(wanted))?.is_some(), of_o, "{wanted}");
            assert_eq!(project(database, &id(wanted))?.is_some(), of_p, "{wanted}");
            assert_eq!(is_registered(database, &of_organization(wanted))?, of_o, "{wanted}");
            assert_eq!(is_registered(database, &of_project(wanted))?, of_p, "{wanted}");
        }
        assert_eq!(organization_of(database, &id("p"))?, Some(Some(id("o"))));
        assert_eq!(organization_of(database, &id("own"))?, Some(None));
        assert_eq!(organization_of(database, &id("o"))?, None);
        assert!(has_projects(database, &id("o"))? && !has_projects(database, &id("p"))?);
        Ok(())
    });
}

fn a_registration_replaces_the_one_before(fixture: &mut Fixture) {
    let mut database = fixture.connect();
    let before = write(&mut *database, |database| {
        people(database)?;
        project(database, &id("p"))
    });
    let both = Project { organization: None, members: ids(&["new", "x"]), admins: ids(&["x"]) };
    write(&mut *database, |database| {
        for _ in 0..2 {
            assert!(!put_project(database, &id("p"), &both)?);
        }
        let empty = Organization::default();
        assert!(!put_organization(database, &id("o"), &empty)?);
        let after = project(database, &id("p"))?.unwrap();
        // Who is both is an admin.
        let content = Project { members: ids(&["new"]), ..both.clone() };
        assert_eq!(after.content, content);
        assert_eq!(after.registered_at, before.unwrap().registered_at);
        assert_eq!(organization(database, &id("o"))?.unwrap().content, empty);
        assert!(!has_projects(database, &id("o"))?);
        Ok(())
    });
}

fn what_is_deleted_is_gone_and_nothing_else(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        people(database)?;
        let same = Project { members: ids(&["zoe"]), ..Project::default() };
        put_project(database, &id("o"), &same)?;
        assert!(delete(database, &of_organization("o"))?);
        assert!(!delete(database, &of_organization("o"))?);
        assert_eq!(organization(database, &id("o"))?, None);
        assert_eq!(project(database, &id("o"))?.unwrap().content, same);
        assert!(project(database, &id("p"))?.is_some());
        // Nobody is left in it when it comes back.
        assert!(put_organization(database, &id("o"), &Organization::default())?);
        let o = organization(database, &id("o"))?.unwrap();
        assert_eq!(o.content, Organization::default());
        assert!(delete(database, &of_project("p"))? && delete(database, &of_project("own"))?);
        assert!(admin_grants(database, "pat")?.is_empty());
        Ok(())
    });
}

/// All items of a list, in parts of `limit`.
fn parts<T>(
    limit: u32,
    mut ask: impl FnMut(&PageRequest) -> Result<Page<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = ask(&PageRequest { after, limit })?;
        assert!(page.items.len() <= limit as usize);
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

fn lists_come_in_parts_byte_by_byte(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        let sorted = ["10", "9", "B", "Z", "Z_", "a", "a-b", "a/b", "a0", "aB", "ab"];
        let mut mixed = sorted;
        mixed.reverse();
        for name in mixed {
            let (members, admins) = (ids(&["b", "a", "C"]), ids(&["z"]));
            let o = Organization { members: members.clone(), admins: admins.clone() };
            put_organization(database, &id(name), &o)?;
            let organization = Some(id(if name == "B" { "Z" } else { "a" }));
            put_project(database, &id(name), &Project { organization, members, admins })?;
        }
        for limit in [1, 2, 500] {
            let all = parts(limit, |request| organizations(database, request))?;
            let names: Vec<_> = all.iter().map(|o| o.id.as_str()).collect();
            assert_eq!(names, sorted, "{limit}");
            assert!(all.iter().all(|o| o.content.members == ids(&["C", "a", "b"])), "{all:?}");
            let all = parts(limit, |request| projects(database, request))?;
            assert_eq!(all.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), sorted);
            assert!(all.iter().all(|p| p.content.admins == ids(&["z"])), "{all:?}");
            assert_eq!(all[2].content.organization, Some(id("Z")));
        }
        Ok(())
    });
}

fn who_belongs_where(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        people(database)?;
        let (o, p) = (of_organization("o"), of_project("p"));
        for (user, at_o, at_p) in [
            ("ann", true, false),
            ("boss", true, true),
            ("bob", false, true),
            ("pat", false, true),
            ("Ann", false, false),
        ] {
            assert_eq!(is_assignable(database, &o, &id(user))?, at_o, "{user}");
            assert_eq!(is_assignable(database, &p, &id(user))?, at_p, "{user}");
        }
        let said = |scope: &Scope, database: &mut dyn Database| {
            let found = assignable(database, scope)?;
            Ok::<_, StoreError>(found.iter().map(|(id, admin)| format!("{id} {admin}")).collect())
        };
        let at_o: Vec<String> = said(&o, database)?;
        let at_p: Vec<String> = said(&p, database)?;
        assert_eq!(at_o, ["ann false", "boss true"]);
        assert_eq!(at_p, ["bob false", "boss true", "pat true"]);
        let mut grants = admin_grants(database, "pat")?;
        grants.sort_by_key(ToString::to_string);
        assert_eq!(grants, [Grant::ProjectAdmin(id("own")), Grant::ProjectAdmin(id("p"))]);
        assert_eq!(admin_grants(database, "boss")?, [Grant::OrganizationAdmin(id("o"))]);
        assert!(admin_grants(database, "ann")?.is_empty());
        let found = facts(database, &id("p"), Some(&id("boss")))?;
        assert!(!found.in_project && found.in_organization && found.organization_admin);
        let found = facts(database, &id("p"), Some(&id("bob")))?;
        assert!(found.in_project && !found.in_organization && !found.organization_admin);
        assert_eq!(facts(database, &id("none"), None)?.project, None);
        for (scope, known, organization) in [
            (p, true, Some(id("o"))),
            (o, true, None),
            (of_project("own"), true, None),
            (of_project("none"), false, None),
        ] {
            let found = place(database, &scope, REGISTERED)?;
            assert_eq!((found.known, found.organization), (known, organization), "{scope}");
            let trusted = place(database, &scope, Membership::Trusted)?;
            assert_eq!((trusted.known, trusted.organization), (true, None));
        }
        Ok(())
    });
}

fn owners_of_a_job_follow_the_registration(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), |database| {
        people(database)?;
        let identity = |organization: Option<&str>, user: &str| Identity {
            organization: organization.map(id),
            project: id("p"),
            user: Some(id(user)),
        };
        let mut ask = |organization, user, membership| {
            owners_for(database, &identity(organization, user), membership).unwrap()
        };
        let count = |owners: Result<Vec<_>, Denied>| owners.map(|owners| owners.len());
        assert_eq!(count(ask(Some("o"), "bob", REGISTERED)).unwrap(), 3);
        assert_eq!(count(ask(Some("o"), "boss", REGISTERED)).unwrap(), 4);
        assert_eq!(count(ask(Some("o"), "eve", REGISTERED)).unwrap(), 2);
        assert!(ask(Some("x"), "bob", REGISTERED).is_err());
        assert_eq!(count(ask(Some("x"), "bob", Membership::Trusted)).unwrap(), 4);
        let deny = Membership::Registered { non_member: NonMember::Deny };
        assert!(ask(Some("o"), "eve", deny).is_err());
        Ok(())
    });
}

fn what_has_secrets_and_is_not_registered_is_found(fixture: &mut Fixture) {
    for owner in [
        fixture::project("p", None),
        fixture::project("z", Some("ada")),
        fixture::project("Z", None),
        fixture::organization("o", Some("ada")),
        fixture::organization("a", None),
        fixture::organization("z", None),
    ] {
        fixture.add(&owner, &["A", "B"]).unwrap();
    }
    write(&mut *fixture.connect(), |database| {
        people(database)?;
        for limit in [1, 2, 3, 500] {
            let all = parts(limit, |request| unregistered(database, request))?;
            let o = of_organization;
            assert_eq!(all, [o("a"), o("z"), of_project("Z"), of_project("z")], "{limit}");
        }
        Ok(())
    });
}

/// Each registers as a whole, whatever the others do: the last one's members are there, and no mix.
fn many_that_register_the_same_at_once(fixture: &mut Fixture) {
    let added = run(async {
        let pool = Pool::open(&fixture.settings.place, 4).unwrap();
        let mut putting = tokio::task::JoinSet::new();
        for n in 0..12 {
            let pool = pool.clone();
            let user = |k: usize| id(&format!("u{n}-{k}"));
            let members: Vec<Id> = (0..3).map(user).collect();
            let content = Project { members, ..Project::default() };
            let work = move |database: &mut dyn Database| put_project(database, &id("p"), &content);
            putting.spawn(async move { pool.write(work).await.unwrap() });
        }
        let added = putting.join_all().await;
        pool.close().await;
        added
    });
    assert_eq!(added.iter().filter(|added| **added).count(), 1, "{added:?}");
    let p = write(&mut *fixture.connect(), |database| project(database, &id("p"))).unwrap();
    let members: Vec<&str> = p.content.members.iter().map(Id::as_str).collect();
    let whose = members[0].split_once('-').unwrap().0;
    assert!(members.len() == 3 && members.iter().all(|m| m.starts_with(&format!("{whose}-"))));
}

fn a_role_that_cannot_be_read_is_damage(fixture: &mut Fixture) {
    write(&mut *fixture.connect(), people);
    fixture.tamper("UPDATE member SET \"user\" = '../x' WHERE \"user\" = 'bob'");
    let mut database = fixture.connect();
    let ask = |database: &mut dyn Database| project(database, &id("p"));
    let found = qgis_secrets::store::database::transaction(
        &mut *database,
        qgis_secrets::store::database::Mode::Read,
        ask,
    );
    assert!(matches!(found, Err(StoreError::Damaged(_))), "{found:?}");
}
