//! A store moves to another database and back, and nothing of it changes.

use qgis_secrets::secret::Owner;
use qgis_secrets::settings::Place;
use qgis_secrets::store::database::{Column, Database, Mode, Parameter, transaction};
use qgis_secrets::store::schema::{SERVICE, VERSION, tables};
use qgis_secrets::store::{Keyring, Selection, Store, StoreError, migrate};

use super::fixture::{Fixture, organization, project};

/// Every row of every table, as text.
fn everything(database: &mut dyn Database) -> Vec<String> {
    transaction(database, Mode::Read, |database| {
        let mut all = Vec::new();
        for table in tables(VERSION) {
            let columns: Vec<_> =
                table.columns.iter().map(|column| format!("\"{column}\"")).collect();
            let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
            for row in database.query(&sql, &[])? {
                let columns = (0..table.columns.len()).map(|at| row.column(at).unwrap());
                let columns: Vec<String> = columns.map(|column| format!("{column:?}")).collect();
                all.push(format!("{}: {}", table.name, columns.join("|")));
            }
        }
        all.sort();
        Ok(all)
    })
    .unwrap()
}

/// A row in every table of the service, with what is odd about its columns.
fn fill(database: &mut dyn Database) {
    transaction(database, Mode::Write, |database| {
        for table in tables(VERSION)
            .iter()
            .filter(|table| !["recipient", "secret", "inventory"].contains(&table.name))
        {
            for (nth, odd) in ["é'\"\\ \u{1f600}", "Z", "a"].iter().enumerate() {
                let values: Vec<Column> = table
                    .columns
                    .iter()
                    .map(|column| match *column {
                        name if is(table.name, name, "BLOB") => {
                            Column::Bytes(vec![0, 255, nth as u8])
                        }
                        "revoked_at" | "used_at" | "reason" if nth == 0 => Column::Null,
                        "scope" => Column::Text("project".into()),
                        "role" => Column::Text("admin".into()),
                        "access" => Column::Text("read".into()),
                        "via" | "kind" => Column::Text("link".into()),
                        name if is(table.name, name, "INTEGER") => {
                            Column::Integer(i64::MAX - nth as i64)
                        }
                        _ => Column::Text((*odd).into()),
                    })
                    .collect();
                let parameters: Vec<Parameter<'_>> = values
                    .iter()
                    .map(|value| match value {
                        Column::Null => Parameter::Optional(None),
                        Column::Integer(number) => Parameter::Integer(*number),
                        Column::Text(text) => Parameter::Text(text),
                        Column::Bytes(bytes) => Parameter::Bytes(bytes),
                    })
                    .collect();
                let numbers: Vec<_> = (1..=values.len()).map(|n| format!("${n}")).collect();
                let sql = format!("INSERT INTO {} VALUES ({})", table.name, numbers.join(", "));
                database.execute(&sql, &parameters)?;
            }
        }
        Ok(())
    })
    .unwrap();
}

/// Whether a column is of a type.
fn is(table: &str, column: &str, kind: &str) -> bool {
    let text = SERVICE.split(&format!("CREATE TABLE {table} (")).nth(1).unwrap();
    let mut lines = text.split(") STRICT").next().unwrap().lines();
    lines.any(|line| line.trim().starts_with(&format!("{column} {kind}")))
}

/// A store with more secrets than one batch, at all levels, and rows in all tables.
fn filled(fixture: &Fixture) {
    for n in 0..50 {
        for owner in [
            project(&format!("p{n}"), None),
            project(&format!("p{n}"), Some("ada")),
            organization("org", Some(&format!("u{n}"))),
        ] {
            fixture.add(&owner, &["A", "b", "_"]).unwrap();
        }
    }
    fill(&mut *fixture.open().into_database());
}

fn copy(from: &Place, to: &Place) -> Result<migrate::Counts, StoreError> {
    let mut source = Store::from_settings(&settings(from)).unwrap().into_database();
    // Sealed to another key, until the copy says to which.
    let mut target = Store::make(to, Keyring::generate().current().public().id())?.into_database();
    let mut told = Vec::new();
    let counts = migrate::copy(&mut *source, &mut *target, |done, total| told.push((done, total)))?;
    assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0), "{told:?}");
    assert!(told.last().is_some_and(|(done, total)| done == total), "{told:?}");
    Ok(counts)
}

fn settings(place: &Place) -> qgis_secrets::settings::Store {
    let key = "/nowhere".into();
    qgis_secrets::settings::Store { place: place.clone(), key, public_key: None }
}

fn content(place: &Place) -> Vec<String> {
    everything(&mut *Store::from_settings(&settings(place)).unwrap().into_database())
}

#[test]
fn there_and_back_everything_is_the_same() {
    let mut fixture = Fixture::sqlite();
    filled(&fixture);
    let server = Fixture::postgres();
    let (file, server_place) = (fixture.settings.place.clone(), server.settings.place);
    let before = content(&file);
    let counts = copy(&file, &server_place).unwrap();
    assert!(counts.contains(&("secret", 450)) && counts.contains(&("audit", 153)), "{counts:?}");
    assert_eq!(content(&server_place), before);
    let back = Place::File(fixture.path("back/store.db"));
    assert_eq!(copy(&server_place, &back).unwrap(), counts);
    assert_eq!(content(&back), before);
    assert_eq!(content(&file), before, "the source is changed");
    // The values open, with the key that they were sealed to.
    for place in [server_place, back] {
        fixture.settings.place = place;
        let values = fixture.values(&[project("p7", None), project("p7", Some("ada"))]).unwrap();
        assert_eq!(values, ["A=A", "_=_", "b=b", "A=A", "_=_", "b=b"]);
        fixture.add(&project("p7", None), &["NEW"]).unwrap();
    }
}

#[test]
fn nothing_is_copied_over_anything() {
    let fixture = Fixture::sqlite();
    filled(&fixture);
    let server = Fixture::postgres();
    server.add(&project("survey", None), &["KEPT"]).unwrap();
    let before = content(&server.settings.place);
    let refused = copy(&fixture.settings.place, &server.settings.place);
    assert!(matches!(refused, Err(StoreError::NotEmpty(_))), "{refused:?}");
    assert_eq!(content(&server.settings.place), before);
    // Nor over what is no secret.
    server.open().purge("local:t", &Selection::All).unwrap();
    server.tamper("INSERT INTO organization VALUES ('x', 'y')");
    let refused = copy(&fixture.settings.place, &server.settings.place);
    assert!(matches!(refused, Err(StoreError::NotEmpty(_))), "{refused:?}");
    // Nor over itself.
    let refused = copy(&fixture.settings.place, &fixture.settings.place);
    assert!(matches!(refused, Err(StoreError::NotEmpty(_) | StoreError::Locked(_))), "{refused:?}");
}

/// What stops it in the middle leaves a place that it can be copied to again.
#[test]
fn what_was_interrupted_is_repeated() {
    let fixture = Fixture::sqlite();
    filled(&fixture);
    for target in [Fixture::postgres(), Fixture::sqlite()] {
        let empty = content(&target.settings.place);
        let mut source = fixture.open().into_database();
        let mut database = target.open().into_database();
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            migrate::copy(&mut *source, &mut *database, |done, _| assert!(done < 300, "stopped"))
        }));
        assert!(stopped.is_err());
        drop((source, database));
        assert_eq!(content(&target.settings.place), empty);
        copy(&fixture.settings.place, &target.settings.place).unwrap();
        assert_eq!(content(&target.settings.place), content(&fixture.settings.place));
    }
}

#[test]
fn what_was_altered_before_is_not_carried_on() {
    let fixture = Fixture::sqlite();
    filled(&fixture);
    fixture.tamper("DELETE FROM secret WHERE owner = 'p3' AND key = 'A' AND level = 'project'");
    let server = Fixture::postgres();
    let refused = copy(&fixture.settings.place, &server.settings.place);
    let Err(StoreError::Altered { place, owner }) = &refused else { panic!("{refused:?}") };
    assert_eq!(owner, &Owner::Project { project: "p3".parse().unwrap(), user: None });
    assert_eq!(place.to_string(), fixture.settings.place.to_string());
    assert_eq!(server.open().list(&Selection::All).unwrap(), []);
}
