//! A store with jobs' secrets, the orchestrator's key, and a service on them.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qgis_secrets::job::Identity;
use qgis_secrets::job_token::{Claims, SigningKey};
use qgis_secrets::secret::{Id, Name, Owner};
use qgis_secrets::settings::Place;
use qgis_secrets::store::{Keyring, NewSecret, Store};

use super::load::Connection;
use super::postgres::Cluster;
use crate::{Home, private};

/// How many jobs ask, each of a project and an organization of its own.
pub(super) const JOBS: u32 = 200;

/// How many secrets each gets.
pub(super) const EACH: u32 = 5;

/// A store and what it takes to serve it.
pub(super) struct Ground {
    home: Home,
    settings: PathBuf,
    orchestrator: SigningKey,
    /// From the number of one job to that of the next.
    stride: u32,
}

impl Ground {
    /// In a SQLite file: so many secrets, 1,000 of them for jobs that ask. Those lie among the others as
    /// they would if anybody asked; the others are copies of sealed values, and open for nobody.
    pub(super) fn sqlite(secrets: u32) -> Self {
        let home = Home { home: tempfile::tempdir().unwrap() };
        let path = home.home.path().join("store.db");
        let stride = secrets / (JOBS * EACH);
        let text = format!("path = '{}'\n", path.display());
        let ground = Self::new(home, &Place::File(path.clone()), &text, stride);
        if stride > 1 {
            eprintln!("filling a store with {secrets} secrets");
            fill(&path, stride);
        }
        ground
    }

    /// In a PostgreSQL database: 1,000 secrets.
    pub(super) fn postgres(cluster: &Cluster) -> Self {
        let home = Home { home: tempfile::tempdir().unwrap() };
        let text = format!("postgres = '{}'\n", cluster.connection());
        Self::new(home, &cluster.place(), &text, 1)
    }

    fn new(home: Home, place: &Place, store: &str, stride: u32) -> Self {
        let folder = home.home.path();
        let (key, settings) = (folder.join("store.key"), folder.join("settings.toml"));
        let keys = Keyring::generate();
        keys.create(&key).unwrap();
        let public = keys.current().public();
        let mut all = Store::make(place, public.id()).unwrap();
        let secrets: Vec<NewSecret> = (0..JOBS).flat_map(|job| secrets_of(job * stride)).collect();
        all.add("local:bench", &secrets, public, false).unwrap();
        let pem = folder.join("orchestrator.pem");
        let mut new_key = home.program(&["token", "new-key"]);
        new_key.arg(&pem).stderr(Stdio::null());
        assert!(new_key.status().unwrap().success());
        let text = format!(
            "[store]\n{store}key = '{}'\n[service]\nlisten = '127.0.0.1:0'\n\
             [service.limits]\nfailures_per_minute = 1_000_000_000\nrequests_per_second = 1_000_000\n\
             [service.job_tokens]\nkeys_files = ['{}.pub']\n",
            key.display(),
            pem.display(),
        );
        private(&settings, &text);
        Self { orchestrator: SigningKey::read(&pem).unwrap(), home, settings, stride }
    }

    /// Requests for the jobs in turn, each with a token of its own.
    pub(super) fn requests(&self, count: usize) -> Vec<Vec<u8>> {
        let expires = Timestamp::now() + SignedDuration::from_hours(1);
        let request = |index: usize| {
            let (project, organization, user) = names(index as u32 % JOBS * self.stride);
            let claims = Claims {
                id: uuid::Uuid::now_v7().to_string(),
                issuer: None,
                audience: vec!["qgis-secrets".into()],
                expires,
                not_before: None,
                issued: None,
                job: id("job-1"),
                attempt: None,
                identity: Identity {
                    project: id(&project),
                    organization: Some(id(&organization)),
                    user: Some(id(&user)),
                },
            };
            let token = self.orchestrator.issue(&claims).unwrap();
            let body = format!(
                "{{\"version\":1,\"job\":{{\"id\":\"job-1\",\"attempt\":1}},\"organization\":\
                 \"{organization}\",\"project\":\"{project}\",\"user\":\"{user}\",\"require\":[]}}"
            );
            let head = format!(
                "POST /v1/resolve HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nAuthorization: Bearer ",
                body.len()
            );
            [head.as_bytes(), token.expose(), b"\r\n\r\n", body.as_bytes()].concat()
        };
        (0..count).map(request).collect()
    }

    /// Starts a service, which answers a job all of its secrets.
    pub(super) fn serve(&self) -> Service {
        let log = self.home.home.path().join("serve.log");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&log).unwrap();
        let mut command = self.program(&["serve"]);
        // As it is in production: a line for each resolution.
        command.env_remove("QGIS_SECRETS_LOG").stderr(file);
        let child = command.spawn().unwrap();
        let mut service = Service { child, address: String::new(), log };
        service.address = service.said("listening at http://");
        let mut connection = Connection::new(&service.address);
        let answer = connection.ask(&self.requests(1)[0]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body.matches("\"value\":").count(), EACH as usize, "{}", answer.body);
        service
    }

    /// A new API token for everything.
    pub(super) fn api_token(&self) -> String {
        let mut command = self.program(&["api-token", "create", "bench", "--operator"]);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::null()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// How large the store's file is, and its log: bytes.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let size = |name| fs::metadata(self.home.home.path().join(name)).map_or(0, |it| it.len());
        (size("store.db"), size("store.db-wal"))
    }

    fn program(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.home.program(arguments);
        command.arg("--settings").arg(&self.settings);
        command
    }
}

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

/// Project, organization and user of a job.
fn names(job: u32) -> (String, String, String) {
    (format!("project-{job:06}"), format!("organization-{job:06}"), format!("user-{job:06}"))
}

/// Two of the organization, two of the project, and one of the user.
fn secrets_of(job: u32) -> Vec<NewSecret> {
    let (project, organization, user) = names(job);
    let (project, organization) = (id(&project), id(&organization));
    let of_organization = Owner::Organization { organization, user: None };
    let of_project = Owner::Project { project: project.clone(), user: None };
    let of_user = Owner::Project { project, user: Some(id(&user)) };
    [
        ("SECRET_0", &of_organization),
        ("SECRET_1", &of_organization),
        ("SECRET_2", &of_project),
        ("SECRET_3", &of_project),
        ("SECRET_4", &of_user),
    ]
    .map(|(key, owner)| NewSecret {
        name: Name::envvar(key),
        owner: owner.clone(),
        sensitive: true,
        created_by: "bench".into(),
        value: format!("a password of usual length {job}").as_str().into(),
    })
    .into()
}

/// Puts the rows of other jobs between those that are there: a number more in each id.
fn fill(path: &Path, stride: u32) {
    let mut store = rusqlite::Connection::open(path).unwrap();
    let tx = store.transaction().unwrap();
    let shifted = |column: &str| {
        format!(
            "CASE {column} WHEN '' THEN '' ELSE
             substr({column}, 1, length({column}) - 6) || printf('%06d', substr({column}, -6) + i) END"
        )
    };
    let (owner, user) = (shifted("owner"), shifted("user"));
    let numbers =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)";
    for (table, columns) in [
        ("secret", "kind, key, id || '-' || i, sensitive, created_at, created_by, key_id, sealed"),
        ("inventory", "digest"),
    ] {
        let sql = format!(
            "{numbers} INSERT INTO {table} SELECT level, {owner}, {user}, {columns}
             FROM {table}, n ORDER BY 1, 2, 3"
        );
        tx.execute(&sql, [stride]).unwrap();
    }
    tx.commit().unwrap();
}

/// What the threads of a process have worked: seconds.
pub(super) fn worked(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    // From the third field on: 14 and 15 are user and system time, in hundredths (proc(5)).
    let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}

/// A service that runs.
pub(super) struct Service {
    child: Child,
    pub(super) address: String,
    log: PathBuf,
}

impl Service {
    /// The rest of the line in which it says this, once it does.
    pub(super) fn said(&mut self, what: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(&self.log).unwrap();
            if let Some((_, rest)) = text.split_once(what)
                && let Some((rest, _)) = rest.split_once('\n')
            {
                return rest.to_owned();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {text}");
            assert!(Instant::now() < until, "not said: {what}\n{text}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// What its threads have worked: seconds.
    pub(super) fn worked(&self) -> f64 {
        worked(self.child.id())
    }

    /// Its memory in MiB: all that it has mapped, and its share of what others have mapped as well.
    pub(super) fn memory(&self) -> (f64, f64) {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(path).unwrap();
        let of = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_ascii_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
        };
        (of("Rss:"), of("Pss:"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap_or_default();
        drop(self.child.wait());
    }
}
