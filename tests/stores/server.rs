//! What only a server does: it ends connections, other roles use it, and replicas start at once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use qgis_secrets::settings::{Host, Place, Postgres as Settings, Tls};
use qgis_secrets::store::database::{Database as Connected, Mode, transaction};
use qgis_secrets::store::postgres::Postgres;
use qgis_secrets::store::schema::VERSION;
use qgis_secrets::store::{Keyring, Pool, Selection, Store, StoreError, secrets};
use rustls::{ServerConfig, ServerConnection};

use super::cluster::Database;
use super::fixture::{Fixture, keys, project, run, variable};
use crate::support::tls::{Authority, Like};
use crate::support::{Sandbox, until};

fn settings(fixture: &Fixture) -> Settings {
    let Place::Postgres(settings) = &fixture.settings.place else { unreachable!() };
    (**settings).clone()
}

/// Ends every connection to a database but the administrator's.
fn end_connections(database: &Database) {
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    until("they have ended", || {
        database.sql(
            "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
        ) == "0\n"
    });
}

#[test]
fn replicas_that_start_at_once_make_one_store() {
    let database = Database::new();
    let settings = database.settings();
    let ids: Vec<_> = thread::scope(|scope| {
        let making: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let key = Keyring::generate();
                    let place = Place::Postgres(Box::new(settings.clone()));
                    let mut store = Store::make(&place, key.current().public().id()).unwrap();
                    store.recipient().unwrap()
                })
            })
            .collect();
        making.into_iter().map(|making| making.join().unwrap()).collect()
    });
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    assert_eq!(database.sql("SELECT count(*) FROM store_version"), "1\n");
}

#[test]
fn a_store_of_the_first_version_is_upgraded_once() {
    let fixture = Fixture::postgres();
    let later = qgis_secrets::store::schema::tables(VERSION).split_off(3);
    let drops: String = later.iter().map(|table| format!("DROP TABLE {};\n", table.name)).collect();
    fixture.tamper(&format!("{drops}UPDATE store_version SET version = 1"));
    fixture.add(&project("survey", None), &["A"]).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| Pool::postgres(&settings(&fixture), 1).unwrap());
        }
    });
    assert_eq!(fixture.open().version().unwrap(), VERSION);
    fixture.tamper(&format!("UPDATE store_version SET version = {}", VERSION + 1));
    let newer = Postgres::open(&settings(&fixture)).err();
    assert!(
        matches!(newer, Some(StoreError::Newer(_, later)) if later == VERSION + 1),
        "{newer:?}"
    );
}

#[test]
fn a_connection_that_was_ended_is_made_anew() {
    let fixture = Fixture::postgres();
    let owner = project("survey", None);
    let mut store = fixture.open();
    store.add("local:t", &[variable(&owner, "A", "a")], fixture.key(), false).unwrap();
    end_connections(fixture.database.as_ref().unwrap());
    assert_eq!(store.list(&Selection::All).unwrap().len(), 1);
    end_connections(fixture.database.as_ref().unwrap());
    store.add("local:t", &[variable(&owner, "B", "b")], fixture.key(), false).unwrap();
    assert_eq!(fixture.values(&[owner]).unwrap(), ["A=a", "B=b"]);
}

/// In the middle of a transaction it is ended: the whole is done again, and once.
#[test]
fn a_write_that_was_cut_off_is_done_again() {
    let fixture = Arc::new(Fixture::postgres());
    let pool = Pool::postgres(&settings(&fixture), 2).unwrap();
    let tries = Arc::new(AtomicUsize::new(0));
    let (inside, counted) = (Arc::clone(&fixture), Arc::clone(&tries));
    run(async {
        pool.write(move |database| {
            database.execute("INSERT INTO organization VALUES ('x', 'now')", &[])?;
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                end_connections(inside.database.as_ref().unwrap());
            }
            database.execute("INSERT INTO organization VALUES ('y', 'now')", &[])
        })
        .await
        .unwrap();
        let rows = pool.read(|database| database.query("SELECT id FROM organization", &[]));
        assert_eq!(rows.await.unwrap().len(), 2);
        pool.close().await;
    });
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

/// Each adds one to what both have read: the second does it again, and none is lost.
#[test]
fn writes_are_serializable() {
    let fixture = Fixture::postgres();
    let pool = Pool::postgres(&settings(&fixture), 2).unwrap();
    let both = Arc::new(Barrier::new(2));
    let tries = Arc::new(AtomicUsize::new(0));
    run(async {
        let first = "INSERT INTO job_token VALUES ('i', 'j', 0, 0)";
        pool.write(move |database| database.execute(first, &[])).await.unwrap();
        let adding = || {
            let (both, tries) = (Arc::clone(&both), Arc::clone(&tries));
            pool.write(move |database| {
                let rows = database.query("SELECT uses FROM job_token", &[])?;
                if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                    both.wait();
                }
                let uses = rows[0].integer(0)? + 1;
                database.execute("UPDATE job_token SET uses = $1", &[uses.into()])
            })
        };
        let (one, other) = tokio::join!(adding(), adding());
        assert_eq!((one.unwrap(), other.unwrap()), (1, 1));
        let rows = pool.read(|database| database.query("SELECT uses FROM job_token", &[]));
        assert_eq!(rows.await.unwrap()[0].integer(0).unwrap(), 2);
        let written = pool.read(|database| database.execute("DELETE FROM job_token", &[])).await;
        assert!(matches!(written, Err(StoreError::ReadOnly(_))), "{written:?}");
        pool.close().await;
    });
    assert!(tries.load(Ordering::SeqCst) > 2);
}

/// A statement that failed spoils the transaction, even if whoever ran it goes on.
#[test]
fn a_failed_statement_is_never_committed_over() {
    let fixture = Fixture::postgres();
    let mut database = Postgres::open(&settings(&fixture)).unwrap();
    let done = transaction(&mut database, Mode::Write, |database| {
        database.execute("INSERT INTO organization VALUES ('x', 'now')", &[])?;
        drop(database.execute("INSERT INTO organization VALUES ('x', 'now')", &[]));
        Ok(())
    });
    assert!(done.is_err());
    let rows = transaction(&mut database, Mode::Read, |database| {
        database.query("SELECT * FROM organization", &[])
    });
    assert!(rows.unwrap().is_empty());
}

/// Whenever it is in the middle, another is quicker: the second time, all others wait for it.
#[test]
fn a_slow_writer_does_not_lose_for_ever() {
    let fixture = Arc::new(Fixture::postgres());
    fixture.tamper("INSERT INTO job_token VALUES ('i', 'j', 0, 0)");
    let use_it = |database: &mut dyn Connected| {
        database.execute("UPDATE job_token SET uses = uses + 1", &[])
    };
    let tries = Arc::new(AtomicUsize::new(0));
    let (inside, counted) = (Arc::clone(&fixture), Arc::clone(&tries));
    let others = Arc::new(Mutex::new(Vec::new()));
    let started = Arc::clone(&others);
    run(async {
        let pool = Pool::postgres(&settings(&fixture), 1).unwrap();
        let slow = move |database: &mut dyn Connected| {
            counted.fetch_add(1, Ordering::SeqCst);
            database.query("SELECT uses FROM job_token", &[])?;
            let mut other = Postgres::open(&settings(&inside)).unwrap();
            let other = thread::spawn(move || transaction(&mut other, Mode::Write, use_it));
            let server = inside.database.as_ref().unwrap();
            until("another was quicker, or waits", || {
                let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                                   AND NOT granted AND database =
                                   (SELECT oid FROM pg_database WHERE datname = current_database())";
                other.is_finished() || server.sql(waiting) != "0\n"
            });
            started.lock().unwrap().push(other);
            use_it(database)
        };
        let done = pool.write(slow).await;
        pool.close().await;
        assert!(matches!(done, Ok(1)), "{done:?}");
    });
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    let others = std::mem::take(&mut *others.lock().unwrap());
    let ends: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
    assert!(matches!(ends[..], [Ok(1), _]), "{ends:?}");
}

/// A crash of the server: what is not on the disk is gone. The role has commits switched off that wait
/// for that, and the server takes its time.
#[test]
fn what_is_acknowledged_outlives_a_crash_of_the_server() {
    let fixture = Fixture::on(Database::alone());
    let server = fixture.database.as_ref().unwrap();
    server.sql("ALTER ROLE store SET synchronous_commit = off");
    server.sql("ALTER SYSTEM SET wal_writer_delay = '10s'");
    server.sql("SELECT pg_reload_conf()");
    let owner = project("survey", None);
    let names = ["A", "B", "C", "D"];
    for (nth, name) in names.iter().enumerate() {
        let open = || Postgres::open(&settings(&fixture)).unwrap();
        let (mut database, mut witness) = (open(), open());
        witness.begin(Mode::Read).unwrap();
        let pid = transaction(&mut database, Mode::Write, |database| {
            secrets::add(database, &[variable(&owner, name, name)], fixture.key(), false)?;
            database.query("SELECT pg_backend_pid()", &[])?[0].integer(0)
        });
        // A process that is killed may have spoilt what all share: the server gives that up, and
        // begins again with what is on the disk.
        kill(Pid::from_raw(pid.unwrap().try_into().unwrap()), Signal::SIGKILL).unwrap();
        until("all connections are ended", || witness.query("SELECT 1", &[]).is_err());
        until("the server is back", || database.version().is_ok());
        assert_eq!(keys(&fixture.open().list(&Selection::All).unwrap()), names[..=nth]);
    }
}

/// Somebody writes alone for longer than others wait: the server ends their statement, after it has
/// begun their transaction.
#[test]
fn who_waited_in_vain_writes_later() {
    let fixture = Fixture::postgres();
    let server = fixture.database.as_ref().unwrap();
    let mut alone = Postgres::open(&settings(&fixture)).unwrap();
    let mut other = Postgres::open(&settings(&fixture)).unwrap();
    let write = |database: &mut dyn Connected| {
        database.execute("INSERT INTO organization VALUES ('x', 'now')", &[])
    };
    alone.begin(Mode::Again).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| transaction(&mut other, Mode::Write, write));
        until("its statement is ended", || {
            let end = "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
                           AND NOT granted AND database =
                           (SELECT oid FROM pg_database WHERE datname = current_database())";
            server.sql(end).starts_with('t') || waiting.is_finished()
        });
        let refused = waiting.join().unwrap();
        assert!(matches!(refused, Err(StoreError::Busy(_))), "{refused:?}");
    });
    alone.commit().unwrap();
    assert_eq!(transaction(&mut other, Mode::Write, write).unwrap(), 1);
}

/// Stands between the store and its server, and cuts the line once the store commits.
fn cutter(port: u16) -> (TcpListener, impl FnOnce(TcpListener) + Send) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener, move |listener: TcpListener| {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut back, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let answers = thread::spawn(move || drop(std::io::copy(&mut back, &mut to_near)));
        let mut buffer = [0; 65536];
        loop {
            let read = near.read(&mut buffer).unwrap_or(0);
            if read == 0 {
                break;
            }
            if buffer[..read].windows(7).any(|word| word == b"COMMIT\0") {
                // The server hears of it, the store does not hear back.
                near.shutdown(std::net::Shutdown::Both).unwrap();
                far.write_all(&buffer[..read]).unwrap();
                let mut rest = Vec::new();
                far.shutdown(std::net::Shutdown::Write).unwrap();
                drop(far.read_to_end(&mut rest));
                break;
            }
            far.write_all(&buffer[..read]).unwrap();
        }
        drop((near, far));
        answers.join().unwrap();
    })
}

#[test]
fn a_commit_that_nobody_acknowledged_is_called_unknown() {
    let fixture = Fixture::postgres();
    let mut settings = settings(&fixture);
    let (listener, cut) = cutter(settings.hosts[0].port);
    settings.hosts =
        vec![Host { name: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() }];
    // To see the commit pass by.
    settings.tls = Tls::Never;
    let cutting = thread::spawn(move || cut(listener));
    let mut database = Postgres::later(&settings);
    let tries = AtomicUsize::new(0);
    let done = transaction(&mut database, Mode::Write, |database| {
        tries.fetch_add(1, Ordering::SeqCst);
        database.execute("INSERT INTO organization VALUES ('x', 'now')", &[])
    });
    cutting.join().unwrap();
    assert!(matches!(done, Err(StoreError::CommitUnknown(..))), "{done:?}");
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    let database = fixture.database.as_ref().unwrap();
    until("the server is done", || database.sql("SELECT count(*) FROM organization") == "1\n");
}

/// Something listens, and never says a word.
#[test]
fn a_server_that_is_silent_is_not_waited_for() {
    let fixture = Fixture::postgres();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(&fixture);
    let silent = Host { name: "localhost".into(), port: listener.local_addr().unwrap().port() };
    settings.connect_timeout = Duration::from_secs(1);
    let works = std::mem::replace(&mut settings.hosts, vec![silent.clone()]);
    let refused = Postgres::open(&settings).err();
    let Some(StoreError::Unreachable(_, why)) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("did not answer within 1 s"), "{why}");
    // The next one of the list is tried.
    settings.hosts = vec![silent, works[0].clone()];
    settings.connect_timeout = Duration::from_secs(5);
    Postgres::open(&settings).unwrap();
}

/// A service writes, if only what it decided; a runner may read wherever it is sent.
#[test]
fn a_service_passes_over_a_server_that_only_reads() {
    let fixture = Fixture::postgres();
    let server = fixture.database.as_ref().unwrap();
    let only_reads = |only: &str| {
        let name = &server.name;
        server.sql(&format!(
            "ALTER ROLE store IN DATABASE {name} SET default_transaction_read_only = {only}"
        ));
    };
    only_reads("on");
    let refused = Pool::postgres(&settings(&fixture), 1).err();
    Postgres::open(&settings(&fixture)).unwrap();
    only_reads("off");
    assert!(matches!(refused, Some(StoreError::Unreachable(..))), "{refused:?}");
    Pool::postgres(&settings(&fixture), 1).unwrap();
}

#[test]
fn what_is_encrypted_is_what_was_asked_for() {
    let fixture = Fixture::postgres();
    let mut settings = settings(&fixture);
    let ssl = |settings: &Settings| {
        let mut database = Postgres::open(settings).unwrap();
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let rows = transaction(&mut database, Mode::Read, |database| database.query(sql, &[]));
        rows.unwrap()[0].truth(0).unwrap()
    };
    for (tls, encrypted) in [(Tls::Never, false), (Tls::IfOffered, true), (Tls::Always, true)] {
        settings.tls = tls;
        assert_eq!(ssl(&settings), encrypted, "{tls:?}");
    }
    // Verified too where it is only preferred.
    settings.ca_file = None;
    settings.tls = Tls::IfOffered;
    let refused = Postgres::open(&settings).err();
    assert!(matches!(refused, Some(StoreError::Unreachable(..))), "{refused:?}");
    // By the socket, as the account that runs the tests: no password and no TLS.
    let database = fixture.database.as_ref().unwrap();
    let account = User::from_uid(geteuid()).unwrap().unwrap().name;
    database.sql(&format!(
        "DO $$ BEGIN CREATE ROLE \"{account}\" LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
         GRANT store TO \"{account}\""
    ));
    settings.tls = Tls::Always;
    settings.user = account;
    settings.password_file = None;
    let name = database.server().socket().display().to_string();
    settings.hosts = vec![Host { name, port: database.server().port }];
    assert!(!ssl(&settings));
}

/// Stands between the store and its server, and says that there is no TLS: as a server without it
/// would, or somebody who wants to listen.
fn without_tls(port: u16) -> (TcpListener, impl FnMut(&TcpListener) + Send) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener, move |listener: &TcpListener| {
        let (mut near, _) = listener.accept().unwrap();
        let mut first = [0; 8];
        near.read_exact(&mut first).unwrap();
        // SSLRequest: PostgreSQL manual, "Message Formats".
        let asks = first == [0, 0, 0, 8, 4, 210, 22, 47];
        let mut far = TcpStream::connect(("127.0.0.1", port)).unwrap();
        if asks {
            near.write_all(b"N").unwrap();
        } else {
            far.write_all(&first).unwrap();
        }
        let (mut back, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let answers = thread::spawn(move || {
            drop(std::io::copy(&mut back, &mut to_near));
            drop(to_near.shutdown(std::net::Shutdown::Both));
        });
        drop(std::io::copy(&mut near, &mut far));
        drop(far.shutdown(std::net::Shutdown::Both));
        answers.join().unwrap();
    })
}

/// The table of docs/store.md, second column.
#[test]
fn a_server_without_tls_is_used_where_that_was_allowed() {
    let fixture = Fixture::postgres();
    let mut settings = settings(&fixture);
    let (listener, mut forward) = without_tls(settings.hosts[0].port);
    let port = listener.local_addr().unwrap().port();
    settings.hosts = vec![Host { name: "localhost".into(), port }];
    for (tls, used) in [(Tls::Never, true), (Tls::IfOffered, true), (Tls::Always, false)] {
        settings.tls = tls;
        thread::scope(|scope| {
            scope.spawn(|| forward(&listener));
            match Postgres::open(&settings) {
                Ok(_) => assert!(used, "{tls:?}"),
                Err(StoreError::Unreachable(_, why)) => assert!(!used, "{tls:?}: {why}"),
                Err(error) => panic!("{tls:?}: {error:?}"),
            }
        });
    }
}

/// Says that there is TLS, and shows a certificate.
fn certified(listener: &TcpListener, config: ServerConfig) {
    let (mut near, _) = listener.accept().unwrap();
    near.read_exact(&mut [0; 8]).unwrap();
    near.write_all(b"S").unwrap();
    let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
    // Until the client has seen enough.
    while tls.complete_io(&mut near).is_ok_and(|(read, _)| read > 0) {}
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let fixture = Fixture::postgres();
    let mut settings = settings(&fixture);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    settings.hosts = vec![Host { name: "127.0.0.1".into(), port }];
    settings.tls = Tls::Always;
    let authority = Authority::new();
    let sandbox = Sandbox::new();
    settings.ca_file = Some(sandbox.write("trusted.pem", authority.pem()));
    for (signed_by, like, words) in [
        (&authority, Like::Expired, "has expired"),
        (&authority, Like::Early, "not valid yet; check the clocks"),
        (&authority, Like::Client, "not for a server"),
        (&authority, Like::Authority, "is an authority's (CA:TRUE)"),
        (&authority, Like::OtherName, "for another name (elsewhere.example); the `host` of"),
        (&Authority::named("another"), Like::Good, "name the authority's file in"),
    ] {
        let refused = thread::scope(|scope| {
            scope.spawn(|| certified(&listener, signed_by.server(like)));
            Postgres::open(&settings).err().unwrap()
        });
        let text = refused.to_string();
        assert!(text.contains(words), "{like:?}: {text}");
    }
}

/// The rights that docs/store.md lists are enough, and no more than that is possible.
#[test]
fn roles_need_no_more_than_the_documented_rights() {
    let fixture = Fixture::postgres();
    let owner = project("survey", None);
    let records = fixture.add(&owner, &["A"]).unwrap();
    let database = fixture.database.as_ref().unwrap();
    let roles = database.roles();
    let open = |role: &str| {
        let settings = Settings { user: role.into(), ..settings(&fixture) };
        Store::from_settings(&qgis_secrets::settings::Store {
            place: Place::Postgres(Box::new(settings)),
            ..fixture.settings.clone()
        })
        .unwrap()
    };
    let new = |name| [variable(&owner, name, "value")];
    // Who administers adds, replaces and removes; what is in the audit stays there.
    let mut admin = open(&roles[0]);
    let added = admin.add("local:t", &new("B"), fixture.key(), false).unwrap();
    admin.add("local:t", &new("A"), fixture.key(), true).unwrap();
    admin.remove("local:t", &added[0]).unwrap();
    let forbidden = |error: StoreError, what: &str| {
        assert!(matches!(error, StoreError::Forbidden(..)), "{what}: {error:?}");
    };
    forbidden(admin.set_recipient(fixture.key()).unwrap_err(), "another recipient");
    let audit = "INSERT INTO audit (id, at, actor, action, decision, detail)
                 VALUES ('1', 'now', 'ada', 'add', 'given', '{}')";
    let written = |role: &str, sql: &'static str| {
        let mut database = open(role).into_database();
        transaction(&mut *database, Mode::Write, |database| database.execute(sql, &[]))
    };
    for role in &roles[..2] {
        let audit = audit.replace("'1'", &format!("'{role}'"));
        written(role, audit.leak()).unwrap();
        forbidden(written(role, "DELETE FROM audit").unwrap_err(), role);
        forbidden(written(role, "UPDATE audit SET actor = 'x'").unwrap_err(), role);
    }
    // Who serves jobs, and who runs them, reads.
    for role in &roles[1..] {
        let mut store = open(role);
        assert_eq!(store.candidates(std::slice::from_ref(&owner)).unwrap().len(), 1);
        forbidden(store.add("local:t", &new("C"), fixture.key(), false).unwrap_err(), role);
        forbidden(store.purge("local:t", &Selection::All).unwrap_err(), role);
    }
    written(&roles[1], "INSERT INTO job_token VALUES ('i', 'j', 1, 1)").unwrap();
    forbidden(written(&roles[2], audit).unwrap_err(), "a runner");
    run(async {
        for role in &roles[..2] {
            let settings = Settings { user: role.clone(), ..settings(&fixture) };
            Pool::postgres(&settings, 1).unwrap().close().await;
        }
    });
    drop((records, admin));
}
