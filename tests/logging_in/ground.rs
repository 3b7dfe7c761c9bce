//! A service with its store, a clock that tests set, and a provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::routing::{get, post};
use axum::{Json as Body, Router, middleware};
use jiff::Timestamp;
use qgis_secrets::membership::Membership;
use qgis_secrets::server::administration::{Administration, Policy};
use qgis_secrets::server::login::{self, Clock, Login, Person};
use qgis_secrets::settings::{Overrides, Settings};
use qgis_secrets::store::sqlite::Sqlite;
use qgis_secrets::store::{Pool, PrivateKey};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use url::Url;

use super::browser::{Browser, Page};
use super::provider::{CLIENT, Key, Provider, SECRET};

/// The service's address in most tests.
pub(super) const HOME: &str = "https://secrets.example";

/// A moment that everything begins at.
pub(super) const NOW: i64 = 1_800_000_000;

/// A store, and what the services on it share.
pub(super) struct Ground {
    directory: TempDir,
    pub(super) pool: Pool,
    administration: Administration,
    pub(super) now: Arc<AtomicI64>,
}

impl Ground {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate();
        let path = directory.path().join("store.db");
        drop(Sqlite::create(&path, key.public().id()).unwrap());
        let pool = Pool::sqlite(&path, 2).unwrap();
        let policy =
            Policy { membership: Membership::Trusted, organization_user: false, oldest_libpq: 13 };
        let administration = Administration::new(pool.clone(), key.public().clone(), policy);
        Self { directory, pool, administration, now: Arc::new(AtomicI64::new(NOW)) }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn clock(&self) -> impl Fn() -> i64 + Send + Sync + 'static {
        let now = Arc::clone(&self.now);
        move || now.load(Ordering::SeqCst)
    }

    /// Logins with `[service]` as given.
    pub(super) fn login(&self, settings: &str) -> Login {
        let file = self.directory.path().join("settings.toml");
        let secret = self.directory.path().join("client-secret");
        for (path, text) in [(&file, format!("[service]\n{settings}")), (&secret, SECRET.into())] {
            let text = text.replace("SECRET_FILE", secret.to_str().unwrap());
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        }
        let overrides = Overrides { file: Some(file), ..Overrides::default() };
        let home = |name: &str| (name == "HOME").then(|| "/nowhere".into());
        let service = Settings::load(&overrides, home).unwrap().service;
        let clock = self.clock();
        let clock = Clock::new(move || Timestamp::from_second(clock()).unwrap());
        Login::new(service, self.pool.clone(), self.administration.clone(), clock).unwrap()
    }

    /// The audit's rows: actor, action, decision, reason, detail.
    pub(super) async fn audit(&self) -> Vec<Json> {
        let rows = self.pool.read(|database| {
            let sql = "SELECT actor, action, decision, reason, detail FROM audit ORDER BY id";
            let rows = database.query(sql, &[])?;
            rows.iter()
                .map(|row| {
                    let detail: Json = serde_json::from_str(row.text(4)?).unwrap();
                    Ok(json!([
                        row.text(0)?,
                        row.text(1)?,
                        row.text(2)?,
                        row.optional_text(3)?,
                        detail
                    ]))
                })
                .collect()
        });
        rows.await.unwrap()
    }

    /// How many rows a table has.
    pub(super) async fn count(&self, table: &'static str) -> i64 {
        let rows = self.pool.read(move |database| {
            database.query(&format!("SELECT count(*) FROM {table}"), &[])?[0].integer(0)
        });
        rows.await.unwrap()
    }
}

/// The login's routes, and two pages that need a person.
pub(super) fn app(login: Login) -> Router {
    let pages = Router::new()
        .route("/whoami", get(who_am_i))
        .route("/change", post(who_am_i).put(who_am_i))
        .layer(middleware::from_fn_with_state(login.clone(), login::guard))
        .with_state(login.clone());
    let open =
        Router::new().route("/unguarded", get(who_am_i).post(who_am_i)).with_state(login.clone());
    login::router(login).merge(pages).merge(open)
}

async fn who_am_i(person: Person) -> Body<Json> {
    let grants: Vec<String> = person.actor.grants.iter().map(ToString::to_string).collect();
    Body(json!({
        "subject": person.actor.subject, "name": person.actor.name, "grants": grants,
        "via": format!("{:?}", person.actor.via), "csrf": person.csrf,
    }))
}

/// A service with a provider.
pub(super) struct Service {
    pub(super) ground: Ground,
    pub(super) provider: Provider,
    pub(super) app: Router,
}

/// What the settings say of the provider, besides its address.
const OIDC: &str = "
client_secret_file = 'SECRET_FILE'
grants = [{claim = 'groups', value = 'gis-admins', grant = 'operator'},
          {claim = 'groups', value = 'org-*-admins', grant = 'organization_admin:*'}]
";

impl Service {
    pub(super) async fn new() -> Self {
        Self::with(Key::ed25519(), OIDC).await
    }

    pub(super) async fn with(key: Key, oidc: &str) -> Self {
        let ground = Ground::new();
        let provider = Provider::new(key, ground.clock()).await;
        let app = app(ground.login(&settings(&provider, oidc)));
        Self { ground, provider, app }
    }

    /// Another process on the same store.
    pub(super) fn replica(&self) -> Router {
        app(self.ground.login(&settings(&self.provider, OIDC)))
    }

    pub(super) fn browser(&self) -> Browser {
        Browser::new(self.app.clone(), HOME)
    }

    /// Begins a login; gives the address that the provider sends the browser back to.
    pub(super) async fn begin(&self, browser: &mut Browser, return_to: &str) -> String {
        let mut start = Url::parse("http://x/login/start").unwrap();
        start.query_pairs_mut().append_pair("return_to", return_to);
        let start = format!("/login/start?{}", start.query().unwrap());
        let sent = browser.get(&start).await;
        assert_eq!(sent.status, 303, "{}", sent.body);
        self.at_provider(sent.location()).await
    }

    /// The person logs in at the provider.
    pub(super) async fn at_provider(&self, address: &str) -> String {
        assert!(address.starts_with(&self.provider.issuer), "{address}");
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let response = client.get(address).send().await.unwrap();
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    /// A whole login.
    pub(super) async fn log_in(&self, browser: &mut Browser) -> Page {
        let back = self.begin(browser, "/whoami").await;
        browser.get(&back).await
    }

    /// A browser that is logged in.
    pub(super) async fn logged_in(&self) -> Browser {
        let mut browser = self.browser();
        let page = self.log_in(&mut browser).await;
        assert_eq!((page.status, page.location()), (303, "/whoami"), "{}", page.body);
        browser
    }
}

fn settings(provider: &Provider, oidc: &str) -> String {
    format!(
        "public_url = '{HOME}'\n[service.sessions]\nidle_s = 1800\nlifetime_s = 43200\n\
         [service.oidc]\nissuer = '{}'\nclient_id = '{CLIENT}'\n{oidc}",
        provider.issuer
    )
}
