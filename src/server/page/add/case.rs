//! One form and what becomes of it: shown again, looked at twice, or saved.
//!
//! There is no idempotency key: a form that is sent twice, changed in between, must not be answered
//! with the first one's success. The second finds the name taken, and says so.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::view::{Assigned, FormView, Service, SeveralView};
use crate::access::Scope;
use crate::secret::{InvalidId, Kind, Owner, SecretId};
use crate::server::administration::{Member, Refusal};
use crate::server::page::failure::{self, Failure};
use crate::server::page::flash::{self, Done};
use crate::server::page::here::belongs;
use crate::server::page::layout::{self, Chrome, Place, Tab};
use crate::server::page::problems::Problems;
use crate::server::page::secret_form::{Editor, Press, SecretForm};
use crate::server::page::typed::Typed;
use crate::server::page::visitor::Visitor;
use crate::server::page::words::{self, Choice};
use crate::server::page::{Page, links};
use crate::server::submission::Accepted;
use crate::store::Record;

/// Who adds what kind of thing where.
pub(super) struct Case<'a> {
    page: &'a Page,
    visitor: &'a Visitor,
    pub(super) scope: &'a Scope,
    members: Vec<Member>,
    /// The secret that is replaced.
    fixed: Option<Record>,
}

impl<'a> Case<'a> {
    /// Somebody adds a secret. Refused to who may not look.
    pub(super) async fn adding(
        page: &'a Page,
        visitor: &'a Visitor,
        scope: &'a Scope,
    ) -> Result<Self, Failure> {
        let members = page.administration.members(&visitor.actor, scope).await?;
        Ok(Self { page, visitor, scope, members, fixed: None })
    }

    /// Somebody replaces one.
    pub(super) async fn replacing(
        page: &'a Page,
        visitor: &'a Visitor,
        scope: &'a Scope,
        id: &str,
    ) -> Result<Self, Failure> {
        let id = SecretId::from(id.to_owned());
        let record = page.administration.secret(&visitor.actor, &id).await?.record;
        belongs(&record, scope)?;
        Ok(Self { page, visitor, scope, members: vec![], fixed: Some(record) })
    }

    /// The kind of the secret that is replaced.
    pub(super) fn kind(&self) -> Kind {
        self.fixed.as_ref().map_or(Kind::Envvar, |record| record.name.kind)
    }

    /// Whether the secret that is replaced is marked as not sensitive.
    pub(super) fn is_open(&self) -> bool {
        self.fixed.as_ref().is_some_and(|record| !record.sensitive)
    }

    /// Puts the name and the user of the secret that is replaced into the form.
    pub(super) fn settle(&self, form: &mut SecretForm) {
        if let Some(record) = &self.fixed {
            let name = Typed::new(record.name.key.clone());
            let user = record.owner.user().map(ToString::to_string);
            form.assigned = Typed::new(user.unwrap_or_default());
            match record.name.kind {
                Kind::Envvar => form.name = name,
                Kind::Pgservice => form.service = name,
            }
        }
    }

    /// Does what the form asks for.
    pub(super) async fn submit(
        &self,
        mut form: SecretForm,
        press: Press,
    ) -> Result<Response, Failure> {
        let oldest = self.page.administration.policy().oldest_libpq;
        if press != Press::Add {
            form.press(press);
            self.settle(&mut form);
            let mut problems = Problems::default();
            if press == Press::Switch(Editor::Simple) && !form.is_simple() {
                let several =
                    || Problems::one("text", "the simple editor holds exactly one service");
                let owner = self.scope.owner(None);
                problems = form.check(&owner, oldest).err().unwrap_or_else(several);
            }
            return self.form(form, problems, vec![], StatusCode::OK);
        }
        let accepted = self.owner(&form).and_then(|owner| {
            let accepted = form.check(&owner, oldest)?;
            self.keeps_its_name(&accepted)?;
            Ok((owner, accepted))
        });
        match accepted {
            Err(problems) => self.form(form, problems, vec![], StatusCode::UNPROCESSABLE_ENTITY),
            Ok((owner, accepted)) if accepted.additions.len() > 1 => {
                self.add_several(form, owner, accepted).await
            }
            Ok((_, accepted)) if form.is_new(&accepted.warnings) => {
                self.form(form, Problems::default(), accepted.warnings, StatusCode::OK)
            }
            Ok((_, accepted)) => self.add_one(form, accepted).await,
        }
    }

    /// Whose it will be.
    fn owner(&self, form: &SecretForm) -> Result<Owner, Problems> {
        match (&self.fixed, form.assigned.text()) {
            (Some(record), _) => Ok(record.owner.clone()),
            (None, "") => Ok(self.scope.owner(None)),
            // Before any doubt is asked about: the form must not come back without its user, and then
            // be saved for everybody.
            (None, _) if !self.offers_users() => {
                Err(Problems::one("assigned", &Refusal::LevelDisabled.to_string()))
            }
            (None, user) => match user.parse() {
                Ok(user) => Ok(self.scope.owner(Some(user))),
                Err(invalid) => Err(Problems::one("assigned", &InvalidId::to_string(&invalid))),
            },
        }
    }

    fn keeps_its_name(&self, accepted: &Accepted) -> Result<(), Problems> {
        match &self.fixed {
            Some(record) if accepted.additions.iter().any(|new| new.name != record.name) => {
                let text = format!(
                    "this replaces the service {}; the text must hold that one, and no other",
                    record.name.key
                );
                Err(Problems::one("text", &text))
            }
            _ => Ok(()),
        }
    }

    async fn add_one(&self, form: SecretForm, accepted: Accepted) -> Result<Response, Failure> {
        let (page, actor) = (self.page, &self.visitor.actor);
        let replace = self.fixed.is_some();
        match page.administration.add(actor, accepted.additions, replace, None).await {
            Ok(records) => {
                let done = if replace { Done::Replaced } else { Done::Added };
                let id = records.first().map(|record| &record.id);
                Ok(flash::redirect(&self.list(), done, id, page.tls))
            }
            Err(refusal) => {
                let field = form.name_field();
                let (status, problems) = refused(refusal, field)?;
                self.form(form, problems, accepted.warnings, status)
            }
        }
    }

    async fn add_several(
        &self,
        form: SecretForm,
        owner: Owner,
        accepted: Accepted,
    ) -> Result<Response, Failure> {
        let (page, actor) = (self.page, &self.visitor.actor);
        let there = page.administration.taken(actor, &owner, Kind::Pgservice).await?;
        let services: Vec<Service> = accepted
            .additions
            .iter()
            .map(|new| Service {
                name: new.name.key.clone(),
                exists: there.contains(&new.name.key),
            })
            .collect();
        let (mut problems, mut status) = (Problems::default(), StatusCode::OK);
        if form.previewed {
            let added = page.administration.add(actor, accepted.additions, form.replace, None);
            match added.await {
                Ok(_) => {
                    return Ok(flash::redirect(&self.list(), Done::AddedSeveral, None, page.tls));
                }
                Err(refusal) => (status, problems) = refused(refusal, "replace")?,
            }
        }
        let place = self.place().step("Add services");
        let view = SeveralView {
            chrome: Chrome::new("Add services", self.visitor).wrong(!problems.is_empty()),
            action: format!("{}/secrets/new", place.link),
            place,
            level: words::level(&owner),
            clash: services.iter().any(|service| service.exists),
            existing: services.iter().filter(|service| service.exists).count(),
            services,
            form,
            problems,
            warnings: accepted.warnings,
        };
        Ok((status, layout::show(&view)?).into_response())
    }

    /// The form, as it was typed.
    pub(super) fn form(
        &self,
        form: SecretForm,
        problems: Problems,
        warnings: Vec<String>,
        status: StatusCode,
    ) -> Result<Response, Failure> {
        let place = self.place();
        let (heading, action, submit, step) = match (&self.fixed, form.kind) {
            (Some(record), _) => {
                let action = format!("{}/replace", links::secret(self.scope, &record.id));
                (format!("Replace {}", record.name.key), action, "Replace the secret", "Replace")
            }
            (None, kind) => {
                let heading = match kind {
                    Kind::Envvar => "Add an environment variable",
                    Kind::Pgservice => "Add a pg_service configuration",
                };
                let action = format!("{}/secrets/new", place.link);
                (heading.to_owned(), action, "Save the secret", "Add a secret")
            }
        };
        let mut chrome = Chrome::new(heading.clone(), self.visitor).wrong(!problems.is_empty());
        if form.lost_comments > 0 {
            let lost = form.lost_comments;
            chrome.done = Some(format!(
                "Lines of comments left out, for which fields have no place: {lost}."
            ));
        }
        let view = FormView {
            chrome,
            place: place.step(step),
            heading,
            fixed: self.fixed.as_ref().map(|record| words::level(&record.owner)),
            action,
            submit,
            assigned: self.assigned(form.assigned.text()),
            form,
            problems,
            warnings,
        };
        Ok((status, layout::show(&view)?).into_response())
    }

    /// Whether a secret here can be for one user.
    fn offers_users(&self) -> bool {
        let policy = self.page.administration.policy();
        policy.organization_user || matches!(self.scope, Scope::Project(_))
    }

    /// The field of the user, where there is something to choose, or something was chosen.
    fn assigned(&self, sent: &str) -> Option<Assigned> {
        let (label, help) = match self.scope {
            _ if self.fixed.is_some() => return None,
            Scope::Project(_) => (
                "Assigned to",
                "Only jobs that run for this user get it, and they get it before a secret of the \
                 same name for everybody.",
            ),
            Scope::Organization(_) if self.offers_users() || !sent.is_empty() => (
                "Default for one member",
                "For this member's jobs in all projects of the organization. A plain project secret \
                 of the same name comes before it.",
            ),
            Scope::Organization(_) => return None,
        };
        if self.page.registered() && self.members.is_empty() && sent.is_empty() {
            return None;
        }
        let choice = |member: &Member| {
            let role = if member.admin { " (admin)" } else { "" };
            Choice::new(member.user.as_str(), format!("{}{role}", member.user), sent)
        };
        let mut members: Vec<Choice> = match self.members.len() {
            0..=words::CHOOSABLE => self.members.iter().map(choice).collect(),
            _ => vec![],
        };
        if !members.is_empty() && !sent.is_empty() && !members.iter().any(|member| member.chosen) {
            members.push(Choice::new(sent, sent, sent));
        }
        Some(Assigned { label, help, members })
    }

    fn place(&self) -> Place {
        Place::new(self.scope, self.page.registered(), Tab::Secrets)
    }

    fn list(&self) -> String {
        format!("{}/secrets", links::scope(self.scope))
    }
}

/// What was refused, to be said on the form, so that what was typed isn't lost; unless the visitor
/// may not be here at all.
fn refused(refusal: Refusal, taken: &'static str) -> Result<(StatusCode, Problems), Failure> {
    if matches!(refusal, Refusal::Denied(_)) {
        return Err(refusal.into());
    }
    let problems = match &refusal {
        Refusal::Exists { .. } | Refusal::Twice { .. } => {
            Problems::one(taken, &refusal.to_string())
        }
        refusal => Problems::of_refusal(refusal, |field| match field {
            "user" => "assigned",
            "name" => taken,
            "value" => "value",
            _ => "",
        }),
    };
    Ok((failure::logged(&refusal), problems))
}
