//! What people look through: places, secrets, sessions. The same on every store.

use std::collections::{BTreeMap, BTreeSet};

use qgis_secrets::access::{Grant, Scope};
use qgis_secrets::secret::{Id, Kind};
use qgis_secrets::store::database::{Database, Mode, transaction};
use qgis_secrets::store::listing::{self, Behind, Filter};
use qgis_secrets::store::overview::{self, COUNTED, Figures, Source, Within};
use qgis_secrets::store::page::PageRequest;
use qgis_secrets::store::registry::{self, Organization, Project};
use qgis_secrets::store::sessions::{self, Entered, Session};
use qgis_secrets::store::{StoreError, access};

use super::fixture::{Fixture, id, organization, project};
use super::on_both;

on_both!(
    places_are_searched_and_come_in_parts,
    where_nothing_is_registered_secrets_show_what_is_there,
    places_say_how_much_is_in_them,
    a_list_of_secrets_is_filtered,
    sessions_are_listed_the_newest_first,
);

fn within<T>(
    fixture: &Fixture,
    mode: Mode,
    work: impl FnOnce(&mut dyn Database) -> Result<T, StoreError>,
) -> T {
    let mut database = fixture.open().into_database();
    transaction(&mut *database, mode, work).unwrap()
}

fn ids(texts: &[&str]) -> BTreeSet<Id> {
    texts.iter().map(|text| id(text)).collect()
}

fn put(database: &mut dyn Database, name: &str, of: Option<&str>) -> Result<(), StoreError> {
    let content = Project { organization: of.map(id), members: vec![id("ann")], admins: vec![] };
    registry::put_project(database, &id(name), &content).map(drop)
}

/// All parts of the projects, each of two.
fn projects(fixture: &Fixture, source: Source, which: &Within, words: &str) -> Vec<String> {
    within(fixture, Mode::Read, |database| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let request = PageRequest { after, limit: 2 };
            let part = overview::projects(database, source, which, words, &request)?;
            found.extend(part.items.into_iter().map(|(project, of)| match of {
                Some(of) => format!("{of}:{project}"),
                None => project.to_string(),
            }));
            after = part.next;
            if after.is_none() {
                break Ok(found);
            }
        }
    })
}

fn places_are_searched_and_come_in_parts(fixture: &mut Fixture) {
    within(fixture, Mode::Write, |database| {
        for name in ["Alp", "sea_%"] {
            let name = name.replace('%', "x");
            registry::put_organization(database, &id(&name), &Organization::default())?;
        }
        for (name, of) in [
            ("Zoo", None),
            ("a-b", None),
            ("a/b", Some("Alp")),
            ("a_b", Some("Alp")),
            ("b", Some("sea_x")),
        ] {
            put(database, name, of)?;
        }
        Ok(())
    });
    let all = |words| projects(fixture, Source::Registry, &Within::Everything, words);
    // Byte for byte, whatever the server's language.
    assert_eq!(all(""), ["Zoo", "a-b", "Alp:a/b", "Alp:a_b", "sea_x:b"]);
    assert_eq!(all("ALP"), ["Alp:a/b", "Alp:a_b"]);
    assert_eq!(all("a_"), ["Alp:a_b", "sea_x:b"]);
    assert_eq!(all("\\"), [""; 0]);
    let which = Within::Of { organizations: ids(&["sea_x"]), projects: ids(&["Zoo", "a/b", "no"]) };
    let own = |words| projects(fixture, Source::Registry, &which, words);
    assert_eq!(own(""), ["Zoo", "Alp:a/b", "sea_x:b"]);
    assert_eq!(own("zo"), ["Zoo"]);
    let organizations = |which: &Within, words| {
        within(fixture, Mode::Read, |database| {
            let first = PageRequest { after: None, limit: 1 };
            overview::organizations(database, Source::Registry, which, words, &first)
        })
    };
    let first = organizations(&Within::Everything, "");
    assert_eq!((first.items, first.next.as_deref()), (vec![id("Alp")], Some("Alp")));
    assert_eq!(organizations(&which, "").items, [id("sea_x")]);
    assert_eq!(organizations(&Within::Everything, "SEA").next, None);
}

fn where_nothing_is_registered_secrets_show_what_is_there(fixture: &mut Fixture) {
    for owner in [project("p", None), project("p", Some("ann")), project("q", Some("ann"))] {
        fixture.add(&owner, &["A"]).unwrap();
    }
    fixture.add(&organization("o", None), &["A"]).unwrap();
    let all = |words| projects(fixture, Source::Secrets, &Within::Everything, words);
    assert_eq!(all(""), ["p", "q"]);
    assert_eq!(all("Q"), ["q"]);
    let some = Within::Of { organizations: ids(&[]), projects: ids(&["p", "none"]) };
    assert_eq!(projects(fixture, Source::Secrets, &some, ""), ["none", "p"]);
}

fn places_say_how_much_is_in_them(fixture: &mut Fixture) {
    within(fixture, Mode::Write, |database| {
        let people = Organization { members: vec![id("bob")], admins: vec![id("ann")] };
        registry::put_organization(database, &id("o"), &people)?;
        put(database, "p", Some("o"))?;
        put(database, "full", None)?;
        for subject in ["ann", "eve"] {
            access::give(database, subject, &Grant::OrganizationAdmin(id("o")), "root")?;
            access::give(database, subject, &Grant::ProjectAdmin(id("p")), "root")?;
        }
        Ok(())
    });
    fixture.add(&project("p", None), &["A", "B"]).unwrap();
    fixture.add(&project("p", Some("ann")), &["A"]).unwrap();
    fixture.add(&organization("o", Some("ann")), &["A"]).unwrap();
    // A project and an organization of the same name are two.
    fixture.add(&project("o", None), &["A", "B", "C"]).unwrap();
    let names: Vec<String> = (0..COUNTED + 9).map(|n| format!("V{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    fixture.add(&project("full", None), &names).unwrap();
    let scope = |name: &str| Scope::Project(id(name));
    let mut asked = vec![Scope::Organization(id("o")), scope("p"), scope("none"), scope("full")];
    // More than go into one statement.
    asked.extend((0..120).map(|n| scope(&format!("x{n}"))));
    let figures: BTreeMap<Scope, Figures> =
        within(fixture, Mode::Read, |database| overview::figures(database, &asked));
    assert_eq!(figures.len(), asked.len());
    for (scope, secrets, members, admins) in [
        (Scope::Organization(id("o")), 1, 2, 2),
        (scope("p"), 3, 1, 2),
        (scope("none"), 0, 0, 0),
        (scope("full"), COUNTED + 1, 1, 0),
        (scope("x119"), 0, 0, 0),
    ] {
        assert_eq!(figures[&scope], Figures { secrets, members, admins }, "{scope}");
    }
}

fn a_list_of_secrets_is_filtered(fixture: &mut Fixture) {
    fixture.add(&project("p", None), &["KEY_A", "KEY_B", "X"]).unwrap();
    fixture.add(&project("p", Some("ann")), &["KEY_A"]).unwrap();
    fixture.add(&project("q", None), &["KEY_A"]).unwrap();
    let mut service = super::fixture::variable(&project("p", None), "Über_key", "v");
    service.name.kind = Kind::Pgservice;
    fixture.open().add("local:t", &[service], fixture.key(), false).unwrap();
    let search = |kind, user: &str, words: &str| {
        let filter = Filter { kind, user: user.to_owned(), words: words.to_owned() };
        let (mut found, mut behind) = (Vec::new(), None::<Behind>);
        loop {
            let scope = Scope::Project(id("p"));
            let first = PageRequest { after: None, limit: 2 };
            let part = within(fixture, Mode::Read, |database| {
                listing::secrets(database, &scope, &filter, behind.as_ref(), &first)
            });
            let user = |user: Option<&Id>| user.map(ToString::to_string).unwrap_or_default();
            found.extend(part.items.iter().map(|of| user(of.owner.user()) + &of.name.key));
            match part.next {
                Some(next) => behind = Some(next.parse().unwrap()),
                None => break found,
            }
        }
    };
    assert_eq!(search(None, "", "key"), ["KEY_A", "KEY_B", "Über_key", "annKEY_A"]);
    assert_eq!(search(None, "ann", ""), ["annKEY_A"]);
    assert_eq!(search(Some(Kind::Pgservice), "", ""), ["Über_key"]);
    assert_eq!(search(Some(Kind::Envvar), "", "_b"), ["KEY_B"]);
    assert_eq!(search(None, "", "Über"), ["Über_key"]);
    assert_eq!(search(None, "", "%"), [""; 0]);
}

fn sessions_are_listed_the_newest_first(fixture: &mut Fixture) {
    const NOW: i64 = 1_800_000_000;
    within(fixture, Mode::Write, |database| {
        for (digest, age, expires_at) in [
            (1, 30, NOW + 9),
            (0xfe, 20, NOW + 9),
            (3, 20, NOW + 9),
            (4, 10, NOW),
            (5, 90, NOW + 9),
        ] {
            let session = Session {
                subject: format!("s{digest}"),
                name: String::new(),
                claimed: vec![],
                entered: Entered::Login,
                created_at: NOW - age,
                seen_at: NOW - age,
                expires_at,
            };
            sessions::begin(database, &[digest; 32], &session)?;
        }
        Ok(())
    });
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let request = PageRequest { after, limit: 1 };
        let part =
            within(fixture, Mode::Read, |database| sessions::live(database, NOW, 60, &request));
        found.extend(part.items.into_iter().map(|(_, session)| session.subject));
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["s254", "s3", "s1"]);
}
