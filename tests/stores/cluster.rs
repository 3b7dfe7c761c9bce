//! One PostgreSQL server for all tests that run at the same time, with a database for each.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use qgis_secrets::settings::{Host, Postgres, Tls};
use tempfile::TempDir;

use crate::connecting::server::Server;

/// What must never be seen.
pub(super) const PASSWORD: &str = "Canary-of-Role-9";

/// A server with the thread that started it, and with which it would end.
struct Cluster {
    server: Option<Server>,
    starter: Option<(Sender<()>, JoinHandle<()>)>,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

fn shared() -> Arc<Cluster> {
    // One that could not be started is tried again by the next test.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = start();
    *shared = Arc::downgrade(&cluster);
    cluster
}

fn start() -> Arc<Cluster> {
    let (done, ended) = channel::<()>();
    let (ready, started) = channel();
    let starter = std::thread::spawn(move || {
        ready.send(Server::start()).unwrap();
        ended.recv().unwrap_or_default();
    });
    let server = started.recv().expect("no server");
    server.sql("postgres", &format!("CREATE ROLE store LOGIN PASSWORD '{PASSWORD}'"));
    Arc::new(Cluster { server: Some(server), starter: Some((done, starter)) })
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.server.take());
        if let Some((done, starter)) = self.starter.take() {
            drop(done);
            drop(starter.join());
        }
    }
}

/// A database of a test's own, which belongs to the role `store`.
pub(crate) struct Database {
    cluster: Arc<Cluster>,
    pub(super) name: String,
    files: TempDir,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self::on(shared())
    }

    /// On a server of its own, for tests that break it.
    pub(crate) fn alone() -> Self {
        Self::on(start())
    }

    fn on(cluster: Arc<Cluster>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NUMBER.fetch_add(1, Ordering::SeqCst));
        let database = Self { cluster, name, files: tempfile::tempdir().unwrap() };
        // One that would order texts as people do, if the tables didn't say otherwise.
        let sql = format!(
            "CREATE DATABASE {} OWNER store TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'",
            database.name
        );
        database.server().sql("postgres", &sql);
        let password = database.password_file();
        private(&password, &format!("{PASSWORD}\n"));
        database
    }

    pub(super) fn server(&self) -> &Server {
        self.cluster.server.as_ref().unwrap()
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.files.path().join("password")
    }

    /// Runs SQL as the administrator, in the store's schema.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server().sql(&self.name, &format!("SET search_path = qgis_secrets;\n{sql}"))
    }

    /// How to connect to it, as the role `store`.
    pub(crate) fn settings(&self) -> Postgres {
        Postgres {
            hosts: vec![Host { name: "localhost".into(), port: self.server().port }],
            dbname: self.name.clone(),
            user: "store".into(),
            tls: Tls::Always,
            writable: false,
            connect_timeout: Duration::from_secs(20),
            password_file: Some(self.password_file()),
            ca_file: Some(self.server().certificate()),
            schema: "qgis_secrets".into(),
        }
    }

    /// Three roles with the rights that docs/store.md lists: for administration, for serving jobs,
    /// and for runners that read the store themselves.
    pub(crate) fn roles(&self) -> [String; 3] {
        let document = include_str!("../../docs/store.md");
        let grants = document.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next());
        let mut sql = grants.expect("no grants in docs/store.md").to_owned();
        let roles = ["admin", "resolve", "runner"].map(|name| {
            let (documented, role) =
                (format!("qgis_secrets_{name}"), format!("qgis_secrets_{name}_{}", self.name));
            assert!(sql.contains(&documented), "no grants for {documented}");
            let granted = sql.replace(&documented, &role);
            sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';\n{granted}");
            role
        });
        self.sql(&sql);
        roles
    }

    /// The same as a section of a settings file.
    pub(crate) fn section(&self) -> String {
        self.section_of("store")
    }

    /// The same for another role.
    pub(crate) fn section_of(&self, role: &str) -> String {
        format!(
            "[store]\npostgres = 'host=localhost port={} dbname={} user={role}'\n\
             postgres_password_file = '{}'\npostgres_ca_file = '{}'\n",
            self.server().port,
            self.name,
            self.password_file().display(),
            self.server().certificate().display(),
        )
    }
}

/// Writes a file that is its owner's alone.
pub(crate) fn private(path: &Path, content: &str) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap().write_all(content.as_bytes()).unwrap();
}
