//! The program and its PostgreSQL database: moving there, and what the server refuses.

use std::fs;

use qgis_secrets::store::schema::VERSION;

use super::cluster::{Database, PASSWORD, private};
use super::fixture::Fixture;
use crate::support::tls::Authority;
use crate::support::{Ended, Sandbox, end};

/// A sandbox whose settings name a database.
struct Remote {
    sandbox: Sandbox,
    database: Database,
}

impl Remote {
    fn new() -> Self {
        let remote = Self { sandbox: Sandbox::new(), database: Database::new() };
        remote.settings(&remote.database.section());
        remote
    }

    fn settings(&self, text: &str) {
        let directory = self.sandbox.path(".config/qgis-secrets");
        fs::create_dir_all(&directory).unwrap();
        private(&directory.join("settings.toml"), text);
    }

    /// Runs the program; the password is in nothing that it says.
    fn run(&self, arguments: &str) -> Ended {
        quiet(self.sandbox.run(arguments.split(' ')))
    }
}

fn quiet(ended: Ended) -> Ended {
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    ended
}

#[test]
fn a_store_is_moved_by_a_command() {
    let remote = Remote::new();
    let Remote { sandbox, database } = &remote;
    remote.settings("");
    for n in 0..9 {
        sandbox.add("-P survey", &format!("N{n}"), &format!("value-{n}"));
    }
    let connection = format!(
        "host=localhost port={} dbname={} user=store",
        database.server().port,
        database.name
    );
    let (password, ca) = (database.password_file(), database.server().certificate());
    let arguments = [
        "store",
        "migrate",
        "--to-postgres",
        &connection,
        "--postgres-password-file",
        password.to_str().unwrap(),
        "--postgres-ca-file",
        ca.to_str().unwrap(),
    ];
    let Ended { stdout: moved, stderr: said, .. } = quiet(sandbox.run(arguments)).success();
    assert!(said.contains("`key rotate` of one takes the other's away"), "{said}");
    assert!(moved.starts_with("copied 9 secrets, and all else, from "), "{moved}");
    quiet(sandbox.run(arguments)).error(65, "store_not_empty", "an empty one only");
    fs::remove_file(sandbox.store()).unwrap();
    remote.settings(&database.section());
    assert_eq!(sandbox.printed("printf %s \"$N0 $N8\""), "value-0 value-8");
    let back = sandbox.path("back/store.db");
    remote.run(&format!("store migrate --to {}", back.display())).success();
    let mut command = sandbox.command(["store", "info"]);
    command.env("QGIS_SECRETS_STORE", &back);
    let info = end(command).success().stdout;
    assert!(info.contains("secret") && info.contains('9'), "{info}");
}

#[test]
fn what_the_server_refuses_is_said_plainly() {
    let remote = Remote::new();
    remote.sandbox.add("-P survey", "A", "value-a");
    let good = remote.database.section();
    let name = format!("dbname={}", remote.database.name);
    let port = format!("port={}", remote.database.server().port);
    let free = crate::connecting::server::free_port();
    let other = remote.sandbox.path("other");
    private(&other, "another-password\n");
    let open = remote.sandbox.write("open", "x\n");
    let certificates = remote.sandbox.write("empty.pem", "no certificate\n");
    let password = remote.database.password_file().display().to_string();
    let ca = remote.database.server().certificate().display().to_string();
    for (settings, code, kind, words) in [
        (good.replace(&name, "dbname=nothing"), 78, "store_login", "\"nothing\" does not exist"),
        (good.replace("user=store", "user=nobody"), 78, "store_login", "authentication failed"),
        (
            good.replace(&password, other.to_str().unwrap()),
            78,
            "store_login",
            "authentication failed",
        ),
        (good.replace(&password, open.to_str().unwrap()), 78, "permissions_too_wide", "chmod 600"),
        (good.replace(&password, "/nowhere/x"), 78, "store_file_unusable", "/nowhere/x"),
        (good.replace(&port, &format!("port={free}")), 69, "store_unreachable", "refused"),
        (
            good.replace("host=localhost", "host=127.0.0.1"),
            69,
            "store_unreachable",
            "for another name",
        ),
        (
            good.replace(&ca, certificates.to_str().unwrap()),
            78,
            "store_file_unusable",
            "holds no certificates",
        ),
        (
            good.lines().filter(|line| !line.contains("ca_file")).collect::<Vec<_>>().join("\n"),
            69,
            "store_unreachable",
            "not trusted here",
        ),
        (good.replace("user=store", "user=store password=x"), 78, "settings_invalid", "password"),
        (good.replace("[store]", "[store]\npath = '/x'"), 78, "settings_invalid", "one place"),
    ] {
        remote.settings(&settings);
        remote.run("secret list").error(code, kind, words);
        remote.run("exec -P survey -- true").error(code, kind, words);
    }
    remote.settings(&good);
    remote.run("exec -P survey --require envvar:A -- true").success();
}

/// Without `postgres_ca_file` the system's authorities are trusted; with it, those in it alone.
#[test]
fn named_authorities_are_trusted_instead_of_the_systems() {
    let remote = Remote::new();
    remote.sandbox.add("-P survey", "A", "value-a");
    let named = remote.database.section();
    let own = remote.database.server().certificate();
    let unnamed: Vec<_> = named.lines().filter(|line| !line.contains("ca_file")).collect();
    let other = remote.sandbox.write("other.pem", Authority::new().pem());
    let others = named.replace(own.to_str().unwrap(), other.to_str().unwrap());
    for (settings, system, trusted) in [
        (&named, &other, true),
        (&unnamed.join("\n"), &own, true),
        (&unnamed.join("\n"), &other, false),
        (&others, &own, false),
    ] {
        remote.settings(settings);
        let mut command = remote.sandbox.command(["secret", "list"]);
        // What the system trusts, to this process.
        command.env("SSL_CERT_FILE", system);
        let ended = quiet(end(command));
        if trusted {
            ended.success();
        } else {
            ended.error(69, "store_unreachable", "not trusted here");
        }
    }
}

/// A password's file is the credential of the store: a job that could read it doesn't start.
#[test]
fn a_job_cannot_read_the_password() {
    let remote = Remote::new();
    remote.sandbox.add("-P survey", "A", "value-a");
    let script =
        format!("cat '{}' >seen 2>/dev/null; true", remote.database.password_file().display());
    remote.sandbox.shell(&script).success();
    assert_eq!(fs::read_to_string(remote.sandbox.path("seen")).unwrap(), "");
}

/// Tables of version 1 have secrets and nothing else: no audit, in which a change would be.
#[test]
fn a_store_of_the_first_version_is_read_as_it_is_and_upgraded_to_be_changed_or_served() {
    let owner = super::fixture::project("survey", None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for change in [true, false] {
        let fixture = Fixture::sqlite();
        let path = fixture.settings.place.file().unwrap().to_owned();
        fixture.add(&owner, &["A"]).unwrap();
        fixture.tamper(&first_version());
        let version = || fixture.open().version().unwrap();
        assert_eq!(fixture.values(std::slice::from_ref(&owner)).unwrap(), ["A=A"]);
        assert_eq!(version(), 1);
        if change {
            fixture.add(&owner, &["B"]).unwrap();
            assert_eq!(version(), VERSION);
        }
        let pool = qgis_secrets::store::Pool::sqlite(&path, 1).unwrap();
        runtime.block_on(async {
            let rows = pool.read(|database| database.query("SELECT * FROM audit", &[]));
            assert_eq!(rows.await.unwrap().len(), usize::from(change));
            pool.close().await;
        });
        assert_eq!(version(), VERSION);
        let values = fixture.values(std::slice::from_ref(&owner)).unwrap();
        assert_eq!(values, if change { vec!["A=A", "B=B"] } else { vec!["A=A"] });
    }
}

/// What makes a new store one of version 1.
fn first_version() -> String {
    let tables = qgis_secrets::store::schema::tables(VERSION);
    let since = tables.iter().filter(|table| {
        !qgis_secrets::store::schema::tables(1).iter().any(|old| old.name == table.name)
    });
    let drops: String = since.map(|table| format!("DROP TABLE {};\n", table.name)).collect();
    format!("{drops} PRAGMA user_version = 1;")
}

/// It opened the store, and then could not go on.
#[test]
fn a_command_that_fails_leaves_no_log() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "A", "value-a");
    for _ in 0..9 {
        let ended = sandbox.run(["--public-key", "/nowhere", "audit", "export"]);
        ended.error(78, "key_missing", "/nowhere");
        let entries = fs::read_dir(sandbox.store().parent().unwrap()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["store.db", "store.key"]);
    }
}
