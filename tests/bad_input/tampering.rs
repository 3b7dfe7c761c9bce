//! Rows that were changed behind the program's back: what was sealed for one row opens in no
//! other, and no lower level steps in.

use rusqlite::Connection;

use super::{CANARY, KEPT, complained, nothing_is_lost, overwrite, refused, sandbox};
use crate::support::{Ended, Sandbox, end};

/// A secret at each level, all of one name, and another name beside.
fn four_levels() -> Sandbox {
    let sandbox = sandbox();
    for place in ["-O org", "-O org -U ada", "-P survey", "-P survey -U ada"] {
        sandbox.add_sensitive(place, "API_KEY", &format!("{CANARY} {place}"));
    }
    sandbox.add_sensitive("-P survey -U ada", "OTHER", &format!("{CANARY} other"));
    sandbox.add_service("-P survey -U ada", "ninja", "ada", &format!("{CANARY} password"));
    sandbox
}

fn alter(sandbox: &Sandbox, sql: &str) {
    let store = Connection::open(sandbox.store()).unwrap();
    let changed = store.execute(sql, []).unwrap();
    assert!(changed > 0, "{sql}: nothing was changed");
}

/// A job of this identity: `survey org ada`.
fn job_of(sandbox: &Sandbox, identity: &str, command: &[&str]) -> Ended {
    let mut ids = identity.split(' ');
    let mut arguments = vec!["exec", "--report", "report.json"];
    for option in ["-P", "-O", "-U"] {
        arguments.extend(ids.next().into_iter().flat_map(|id| [option, id]));
    }
    end(sandbox.command(arguments.into_iter().chain(["--"]).chain(command.iter().copied())))
}

/// What a job of this identity gets under these names, a line each. It goes into a file, where
/// nothing is masked.
#[track_caller]
fn got(sandbox: &Sandbox, identity: &str, names: &str) -> String {
    let written = sandbox.path("written");
    drop(std::fs::remove_file(&written));
    let script = format!("printenv {names} >written");
    job_of(sandbox, identity, &["sh", "-c", &script]).success();
    std::fs::read_to_string(written).unwrap()
}

const WINNER: &str = "level = 'project_user' AND key = 'API_KEY'";

/// A column of the winning row, what is put there in SQL, a job that would then get the row, and
/// under what name.
const TAMPERED: &[(&str, &str, &str, &str)] = &[
    ("sealed", "zeroblob(0)", "survey org ada", "envvar:API_KEY"),
    ("sealed", "zeroblob(length(sealed))", "survey org ada", "envvar:API_KEY"),
    ("sealed", "substr(sealed, 1, length(sealed) - 1)", "survey org ada", "envvar:API_KEY"),
    // Another row's, of the same name and of another.
    (
        "sealed",
        "(SELECT sealed FROM secret WHERE level = 'organization')",
        "survey org ada",
        "envvar:API_KEY",
    ),
    (
        "sealed",
        "(SELECT sealed FROM secret WHERE key = 'OTHER')",
        "survey org ada",
        "envvar:API_KEY",
    ),
    ("key", "'NEW_NAME'", "survey org ada", "envvar:NEW_NAME"),
    ("kind", "'pgservice'", "survey org ada", "pgservice:API_KEY"),
    ("user", "'bob'", "survey org bob", "envvar:API_KEY"),
    ("owner", "'forest'", "forest org ada", "envvar:API_KEY"),
    ("level = 'organization_user', owner", "'guild'", "lake guild ada", "envvar:API_KEY"),
    ("level = 'project', user = '', owner", "'forest'", "forest org bob", "envvar:API_KEY"),
    ("sensitive", "0", "survey org ada", "envvar:API_KEY"),
    ("id", "'019ab2c4-0000-7000-8000-000000000000'", "survey org ada", "envvar:API_KEY"),
    ("key_id", "'0123456789abcdef'", "survey org ada", "envvar:API_KEY"),
];

/// A job that would get the altered row does not start; one that doesn't is none the worse.
#[track_caller]
fn stops(sandbox: &Sandbox, identity: &str, name: &str) {
    let ended = job_of(sandbox, identity, &["touch", "started"]);
    let words: &[&str] = if ended.stderr.contains("are not those that were put there") {
        &["restore it from a copy, or purge them"]
    } else {
        &[name, "cannot be opened", "remove it and add it again"]
    };
    refused(sandbox, ended, 69, "secret_damaged", words);
    assert_eq!(got(sandbox, "survey org eve", "API_KEY"), format!("{CANARY} -P survey\n"));
}

#[test]
fn a_row_that_was_changed_stops_every_job_that_would_get_it() {
    let sandbox = four_levels();
    let good = std::fs::read(sandbox.store()).unwrap();
    for (column, value, identity, name) in TAMPERED {
        overwrite(&sandbox.store(), &good);
        alter(&sandbox, &format!("UPDATE secret SET {column} = {value} WHERE {WINNER}"));
        stops(&sandbox, identity, name);
        // Nor does the project's own secret step in where the altered one is missed.
        let ended = job_of(&sandbox, "survey org ada", &["touch", "started"]);
        refused(&sandbox, ended, 69, "secret_damaged", &[]);
    }
}

#[test]
fn a_row_that_was_taken_away_stops_every_job_that_would_get_it() {
    let sandbox = four_levels();
    alter(&sandbox, &format!("DELETE FROM secret WHERE {WINNER}"));
    let words = ["project survey, user ada", "purge them and add them again"];
    let ended = job_of(&sandbox, "survey org ada", &["touch", "started"]);
    refused(&sandbox, ended, 69, "secret_damaged", &words);
    // Adding does not make it good; purging does, as the message says.
    let add = ["secret", "add", "NEW", "-P", "survey", "-U", "ada"];
    complained(sandbox.run_with(add, CANARY), 69, "secret_damaged", &words);
    sandbox.run(["secret", "purge", "-P", "survey", "--yes"]).success();
    sandbox.run_with(add, CANARY).success();
    assert_eq!(got(&sandbox, "survey org ada", "NEW"), format!("{CANARY}\n"));
}

#[test]
fn one_flipped_bit_of_a_sealed_value_stops_the_job() {
    let sandbox = four_levels();
    let query = format!("SELECT hex(sealed) FROM secret WHERE {WINNER}");
    let store = Connection::open(sandbox.store()).unwrap();
    let sealed: String = store.query_row(&query, [], |row| row.get(0)).unwrap();
    drop(store);
    // In the envelope's header, the encapsulated key, the value, the tag.
    for digit in [1, 15, 60, 85, sealed.len() - 1] {
        let flipped = u8::from_str_radix(&sealed[digit..=digit], 16).unwrap() ^ 1;
        let bad = format!("{}{flipped:X}{}", &sealed[..digit], &sealed[digit + 1..]);
        alter(&sandbox, &format!("UPDATE secret SET sealed = x'{bad}' WHERE {WINNER}"));
        stops(&sandbox, "survey org ada", "envvar:API_KEY");
    }
    alter(&sandbox, &format!("UPDATE secret SET sealed = x'{sealed}' WHERE {WINNER}"));
    assert_eq!(got(&sandbox, "survey org ada", "API_KEY"), format!("{CANARY} -P survey -U ada\n"));
}

#[test]
fn swapped_values_open_in_neither_row() {
    let sandbox = four_levels();
    let store = Connection::open(sandbox.store()).unwrap();
    let sealed = |key: &str| -> Vec<u8> {
        let sql = "SELECT sealed FROM secret WHERE level = 'project_user' AND key = ?1";
        store.query_row(sql, [key], |row| row.get(0)).unwrap()
    };
    let (first, second) = (sealed("API_KEY"), sealed("ninja"));
    for (key, value) in [("API_KEY", &second), ("ninja", &first)] {
        let sql = "UPDATE secret SET sealed = ?2 WHERE level = 'project_user' AND key = ?1";
        store.execute(sql, rusqlite::params![key, value]).unwrap();
    }
    drop(store);
    let ended = job_of(&sandbox, "survey org ada", &["touch", "started"]);
    refused(&sandbox, ended, 69, "secret_damaged", &["of project survey, user ada"]);
    for name in ["envvar:API_KEY", "pgservice:ninja"] {
        sandbox.run(["secret", "remove", name, "-P", "survey", "-U", "ada"]).success();
    }
    let expected = format!("{CANARY} -P survey\n{KEPT}\n");
    assert_eq!(got(&sandbox, "survey org ada", "API_KEY KEPT"), expected);
}

/// The message says what to do; it has to work.
#[test]
fn a_damaged_secret_is_mended_by_removing_and_adding_it() {
    let sandbox = four_levels();
    alter(&sandbox, &format!("UPDATE secret SET sensitive = 0 WHERE {WINNER}"));
    let ended = job_of(&sandbox, "survey org ada", &["touch", "started"]);
    refused(&sandbox, ended, 69, "secret_damaged", &["remove it and add it again"]);
    let add = ["secret", "add", "API_KEY", "-P", "survey", "-U", "ada"];
    let words = ["envvar:API_KEY already"];
    complained(sandbox.run_with(add, CANARY), 65, "secret_exists", &words);
    sandbox.run(["secret", "remove", "envvar:API_KEY", "-P", "survey", "-U", "ada"]).success();
    sandbox.run_with(add, CANARY).success();
    assert_eq!(got(&sandbox, "survey org ada", "API_KEY"), format!("{CANARY}\n"));
    nothing_is_lost(&sandbox);
}

#[test]
fn a_row_that_was_replaced_cannot_be_put_back() {
    let sandbox = four_levels();
    let select = format!("CREATE TABLE kept AS SELECT * FROM secret WHERE {WINNER}");
    Connection::open(sandbox.store()).unwrap().execute_batch(&select).unwrap();
    let replace = ["secret", "add", "API_KEY", "-P", "survey", "-U", "ada", "--replace"];
    sandbox.run_with(replace, "the-new-value").success();
    alter(&sandbox, &format!("DELETE FROM secret WHERE {WINNER}"));
    alter(&sandbox, "INSERT INTO secret SELECT * FROM kept");
    stops(&sandbox, "survey org ada", "envvar:API_KEY");
}

#[test]
fn a_level_that_was_emptied_is_mended_by_purging_it() {
    let sandbox = four_levels();
    alter(&sandbox, "DELETE FROM secret WHERE owner = 'survey'");
    let ended = job_of(&sandbox, "survey org ada", &["touch", "started"]);
    refused(&sandbox, ended, 69, "secret_damaged", &["purge them and add them again"]);
    sandbox.run(["secret", "purge", "-P", "survey", "--yes"]).success();
    assert_eq!(got(&sandbox, "survey org ada", "API_KEY"), format!("{CANARY} -O org -U ada\n"));
}
