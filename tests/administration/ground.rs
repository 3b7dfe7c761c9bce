//! What the tests of administration stand on: a store with people in it.

use qgis_secrets::access::{Access, Actor, Grant, Scope, Via};
use qgis_secrets::membership::{Membership, NonMember};
use qgis_secrets::secret::{Id, Name, Owner, Value};
use qgis_secrets::server::administration::{
    Addition, Administration, AuditFilter, AuditRow, Listed, Looked, Organization, PageRequest,
    Policy, Project, Refusal,
};
use qgis_secrets::store::database::Database;
use qgis_secrets::store::{Pool, Record};

use super::MakeStore;
use crate::stores::fixture::Fixture;

pub(super) const REGISTERED: Membership =
    Membership::Registered { non_member: NonMember::Unassigned };

pub(super) fn id(text: &str) -> Id {
    text.parse().unwrap()
}

pub(super) fn ids(texts: &[&str]) -> Vec<Id> {
    texts.iter().map(|text| id(text)).collect()
}

pub(super) fn organization(name: &str) -> Scope {
    Scope::Organization(id(name))
}

pub(super) fn project(name: &str) -> Scope {
    Scope::Project(id(name))
}

/// The first parts of what somebody administers, of this length.
pub(super) fn looked(words: &str, limit: u32) -> Looked {
    let page = PageRequest { after: None, limit };
    Looked { words: words.to_owned(), organizations: page.clone(), projects: page }
}

/// A store with its administration.
///
/// Registered are the organization `o` (members ann and boss, its admin), `x` (admin xavier), and
/// the projects `p` of `o` (members ann and bob, admin pat), `q` of `x` (admin quin), and `own` of
/// nobody (admin pat).
pub(super) struct Ground {
    store: Fixture,
    pub(super) pool: Pool,
    pub(super) service: Administration,
    pub(super) root: Actor,
}

impl Ground {
    /// One in which nobody is.
    pub(super) fn empty(store: MakeStore, membership: Membership) -> Self {
        let store = store();
        let pool = Pool::open(&store.settings.place, 2).unwrap();
        let policy = Policy { membership, organization_user: true, oldest_libpq: 15 };
        let service = Administration::new(pool.clone(), store.key().clone(), policy);
        let root = Actor {
            subject: "root".into(),
            name: String::new(),
            claimed: vec![Grant::Operator],
            grants: vec![Grant::Operator],
            access: Access::Delegate,
            via: Via::Link,
        };
        Self { store, pool, service, root }
    }

    pub(super) async fn new(store: MakeStore) -> Self {
        let ground = Self::empty(store, REGISTERED);
        ground.put_organization("o", &["ann"], &["boss"]).await;
        ground.put_organization("x", &[], &["xavier"]).await;
        ground.put_project("p", Some("o"), &["ann", "bob"], &["pat"]).await;
        ground.put_project("q", Some("x"), &[], &["quin"]).await;
        ground.put_project("own", None, &[], &["pat"]).await;
        ground
    }

    /// Administration of the same store, where something else was decided.
    pub(super) fn with(&self, policy: Policy) -> Administration {
        Administration::new(self.pool.clone(), self.store.key().clone(), policy)
    }

    pub(super) async fn put_organization(&self, name: &str, members: &[&str], admins: &[&str]) {
        let content = Organization { members: ids(members), admins: ids(admins) };
        self.service.put_organization(&self.root, &id(name), &content).await.unwrap();
    }

    pub(super) async fn put_project(
        &self,
        name: &str,
        organization: Option<&str>,
        members: &[&str],
        admins: &[&str],
    ) {
        let organization = organization.map(id);
        let content = Project { organization, members: ids(members), admins: ids(admins) };
        self.service.put_project(&self.root, &id(name), &content).await.unwrap();
    }

    pub(super) async fn person(&self, subject: &str) -> Actor {
        self.service.actor_of(subject, "", Vec::new()).await.unwrap()
    }

    /// Adds a variable as an operator.
    pub(super) async fn put(&self, owner: Owner, key: &str) -> Record {
        self.add(&self.root, owner, key).await.unwrap()
    }

    pub(super) async fn add(
        &self,
        actor: &Actor,
        owner: Owner,
        key: &str,
    ) -> Result<Record, Refusal> {
        let added = self.service.add(actor, vec![variable(owner, key)], false, None).await;
        added.map(|mut records| records.remove(0))
    }

    pub(super) async fn listed(&self, scope: &Scope) -> Vec<(String, bool)> {
        let page = self.service.list(&self.root, scope, PageRequest::first()).await.unwrap();
        let said =
            |item: Listed| (format!("{} {}", item.record.name, item.record.owner), item.dormant);
        page.items.into_iter().map(said).collect()
    }

    /// The audit's rows on an action, the newest first: actor, decision and reason, owner.
    pub(super) async fn audited(&self, action: &str) -> Vec<String> {
        let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
        let page = self.service.audit(&self.root, &filter, PageRequest::first()).await.unwrap();
        let said = |row: AuditRow| {
            let owner = row.owner.unwrap_or_default();
            format!("{} {}{} {owner}", row.actor, row.decision, row.reason.unwrap_or_default())
        };
        page.items.into_iter().map(said).collect()
    }

    /// Changes the store behind the administration's back.
    pub(super) async fn sql(&self, sql: &'static str) {
        self.pool.write(move |database| database.batch(sql)).await.unwrap();
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        let count = move |database: &mut dyn Database| database.query(sql, &[])?[0].integer(0);
        self.pool.read(count).await.unwrap()
    }
}

pub(super) fn variable(owner: Owner, key: &str) -> Addition {
    let value = Value::from("a canary of a value");
    Addition { name: Name::envvar(key), owner, sensitive: true, value }
}

pub(super) fn kind<T>(result: Result<T, Refusal>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(refusal) => {
            assert!((400..600).contains(&refusal.status()), "{refusal}");
            refusal.kind()
        }
    }
}
