//! What the orchestrator registers, and the audit: for operators.

use serde_json::json;

use super::delegation::{grant_taken, token_ended};
use super::work::Work;
use super::{
    Administration, AuditFilter, AuditRow, Deleted, Organization, Page, PageRequest, Project,
    Refusal, Registered, key,
};
use crate::access::{Action, Actor, Scope};
use crate::secret::Id;
use crate::store::access as stored;
use crate::store::changes::said;
use crate::store::ledger::{self, Entry};
use crate::store::{Selection, StoreError, registry, secrets};

/// How many rows of the audit are read at a time.
const AT_ONCE: u32 = 8;

/// Of how many bytes of detail a part of the audit ends.
const ENOUGH: usize = 1024 * 1024;

impl Administration {
    /// Registers an organization, in place of what was registered. Returns it as it stands then;
    /// true if it is new.
    pub async fn put_organization(
        &self,
        actor: &Actor,
        id: &Id,
        organization: &Organization,
    ) -> Result<(Registered<Organization>, bool), Refusal> {
        let scope = Scope::Organization(id.clone());
        let attempt = Entry::allowed(&actor.subject, "organization.put").of_scope(&scope);
        let decide = |work: &mut Work<'_>| {
            work.permit(Action::Register, None)?;
            Ok(is_on(work)?)
        };
        let (id, content) = (id.clone(), organization.clone());
        let act = move |work: &mut Work<'_>, ()| {
            let new = registry::put_organization(work.database, &id, &content)?;
            let registered = registry::organization(work.database, &id)?;
            let registered = registered.ok_or_else(|| contended(work))?;
            let detail =
                json!({ "new": new, "members": content.members.len(), "admins": content.admins });
            Ok(((registered, new), vec![work.attempt.clone().with(detail)]))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// Registers a project; as [`Administration::put_organization`]. Its organization has to be
    /// registered before.
    pub async fn put_project(
        &self,
        actor: &Actor,
        id: &Id,
        project: &Project,
    ) -> Result<(Registered<Project>, bool), Refusal> {
        let scope = Scope::Project(id.clone());
        let attempt = Entry::allowed(&actor.subject, "project.put").of_scope(&scope);
        let organization = project.organization.clone();
        let decide = move |work: &mut Work<'_>| {
            work.permit(Action::Register, None)?;
            is_on(work)?;
            let Some(organization) = &organization else { return Ok(()) };
            let scope = Scope::Organization(organization.clone());
            if registry::is_registered(work.database, &scope)? {
                Ok(())
            } else {
                Err(Refusal::OrganizationUnknown(organization.clone()).into())
            }
        };
        let (id, content) = (id.clone(), project.clone());
        let act = move |work: &mut Work<'_>, ()| {
            let new = registry::put_project(work.database, &id, &content)?;
            let registered = registry::project(work.database, &id)?;
            let registered = registered.ok_or_else(|| contended(work))?;
            let detail = json!({
                "new": new, "organization": content.organization,
                "members": content.members.len(), "admins": content.admins,
            });
            Ok(((registered, new), vec![work.attempt.clone().with(detail)]))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// Ends the registration of an organization, to which no project may belong any more.
    ///
    /// Its secrets, grants and tokens lie dormant, in case the same id is registered again. With
    /// `purge` they end as well, also where the registration had ended before.
    pub async fn delete_organization(
        &self,
        actor: &Actor,
        id: &Id,
        purge: bool,
    ) -> Result<Deleted, Refusal> {
        self.delete(actor, Scope::Organization(id.clone()), "organization.delete", purge).await
    }

    /// Ends the registration of a project; as [`Administration::delete_organization`].
    pub async fn delete_project(
        &self,
        actor: &Actor,
        id: &Id,
        purge: bool,
    ) -> Result<Deleted, Refusal> {
        self.delete(actor, Scope::Project(id.clone()), "project.delete", purge).await
    }

    async fn delete(
        &self,
        actor: &Actor,
        scope: Scope,
        action: &'static str,
        purge: bool,
    ) -> Result<Deleted, Refusal> {
        let attempt = Entry::allowed(&actor.subject, action).of_scope(&scope);
        let decide = {
            let scope = scope.clone();
            move |work: &mut Work<'_>| {
                work.permit(Action::Register, None)?;
                is_on(work)?;
                if let Scope::Organization(id) = &scope
                    && registry::has_projects(work.database, id)?
                {
                    return Err(Refusal::OrganizationInUse(id.clone()).into());
                }
                Ok(())
            }
        };
        let act = move |work: &mut Work<'_>, ()| {
            let was_there = registry::delete(work.database, &scope)?;
            let selection = match scope.clone() {
                Scope::Organization(id) => Selection::Organization(id),
                Scope::Project(id) => Selection::Project(id),
            };
            let records = secrets::list(work.database, &selection)?;
            let detail =
                json!({ "was_registered": was_there, "purge": purge, "secrets": said(&records) });
            let mut entries = vec![work.attempt.clone().with(detail)];
            if !purge {
                let dormant = records.len() as u64;
                return Ok((Deleted { purged: Vec::new(), dormant }, entries));
            }
            secrets::purge(work.database, &selection)?;
            let (grants, tokens) = stored::end(work.database, &scope)?;
            entries.extend(grants.iter().map(|grant| grant_taken(&work.actor, grant)));
            entries.extend(tokens.iter().map(|token| token_ended(&work.actor, token)));
            Ok((Deleted { purged: records, dormant: 0 }, entries))
        };
        self.write(actor, attempt, decide, act).await
    }

    /// The registered organizations, by id.
    pub async fn organizations(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<Registered<Organization>>, Refusal> {
        let page = key(page)?;
        let attempt = Entry::allowed(&actor.subject, "registry.list");
        let work = move |work: &mut Work<'_>| {
            work.permit(Action::Register, None)?;
            Ok(registry::organizations(work.database, &page)?)
        };
        self.read(actor, attempt, work).await
    }

    /// The registered projects, by id.
    pub async fn projects(
        &self,
        actor: &Actor,
        page: PageRequest,
    ) -> Result<Page<Registered<Project>>, Refusal> {
        let page = key(page)?;
        let attempt = Entry::allowed(&actor.subject, "registry.list");
        let work = move |work: &mut Work<'_>| {
            work.permit(Action::Register, None)?;
            Ok(registry::projects(work.database, &page)?)
        };
        self.read(actor, attempt, work).await
    }

    /// One registered organization.
    pub async fn organization(
        &self,
        actor: &Actor,
        id: &Id,
    ) -> Result<Registered<Organization>, Refusal> {
        let attempt = Entry::allowed(&actor.subject, "registry.list")
            .of_scope(&Scope::Organization(id.clone()));
        let id = id.clone();
        let work = move |work: &mut Work<'_>| {
            work.permit(Action::Register, None)?;
            let found = registry::organization(work.database, &id)?;
            Ok(found.ok_or(Refusal::NOT_FOUND)?)
        };
        self.read(actor, attempt, work).await
    }

    /// One registered project.
    pub async fn project(&self, actor: &Actor, id: &Id) -> Result<Registered<Project>, Refusal> {
        let attempt =
            Entry::allowed(&actor.subject, "registry.list").of_scope(&Scope::Project(id.clone()));
        let id = id.clone();
        let work = move |work: &mut Work<'_>| {
            work.permit(Action::Register, None)?;
            let found = registry::project(work.database, &id)?;
            Ok(found.ok_or(Refusal::NOT_FOUND)?)
        };
        self.read(actor, attempt, work).await
    }

    /// Rows of the audit, the newest first. Admins have to say of which scope. Fewer than asked for
    /// where they are long.
    pub async fn audit(
        &self,
        actor: &Actor,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditRow>, Refusal> {
        let page = key(page)?;
        let words = [&filter.actor, &filter.action, &filter.decision];
        if words.into_iter().flatten().any(|word| word.len() > 300 || word.contains('\0')) {
            return Err(Refusal::invalid("filter", "a word of the audit has at most 300 bytes"));
        }
        let attempt = Entry::allowed(&actor.subject, "audit.list");
        let attempt = match &filter.scope {
            Some(scope) => attempt.of_scope(scope),
            None => attempt,
        };
        let filter = filter.clone();
        let work = move |work: &mut Work<'_>| {
            work.permit_for(Action::SeeAudit, filter.scope.as_ref())?;
            Ok(rows(work, &filter, &page)?)
        };
        self.read(actor, attempt, work).await
    }
}

/// A part of the audit, of bounded size: a single row may name two thousand secrets.
fn rows(
    work: &mut Work<'_>,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<Page<AuditRow>, StoreError> {
    let (mut items, mut after, mut size) = (Vec::new(), page.after.clone(), 0);
    let mut left = page.limit.clamp(1, PageRequest::MAX);
    loop {
        let request = PageRequest { after, limit: left.min(AT_ONCE) };
        let part = ledger::audit(work.database, filter, &request)?;
        left -= request.limit;
        size += part.items.iter().map(|row| row.detail.len()).sum::<usize>();
        items.extend(part.items);
        if part.next.is_none() || left == 0 || size >= ENOUGH {
            return Ok(Page { items, next: part.next });
        }
        after = part.next;
    }
}

/// What was just written is not there.
fn contended(work: &Work<'_>) -> StoreError {
    StoreError::Contended(work.database.place().clone())
}

/// Refuses registrations that nobody would look at.
fn is_on(work: &Work<'_>) -> Result<(), Refusal> {
    if work.registered() { Ok(()) } else { Err(Refusal::RegistrationOff) }
}
