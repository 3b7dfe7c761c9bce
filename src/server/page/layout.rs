//! What every page has around it: the head, who is logged in, the tabs of a scope.

use askama::Template;
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse, Response};

use super::failure::Failure;
use super::links;
use super::visitor::Visitor;
use crate::access::Scope;
use crate::server::login::LINK_SUBJECT;

/// What the layout needs to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Chrome {
    /// What the window is called.
    pub(super) title: String,
    /// Whether the page says that something went wrong.
    pub(super) wrong: bool,
    /// Who is logged in.
    pub(super) person: Option<Person>,
    /// What has just been done.
    pub(super) done: Option<String>,
}

/// Who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// For people.
    pub(super) name: String,
    /// Their id; none for whoever came by a one-time link.
    pub(super) subject: Option<String>,
    /// What shows that a form is from this session.
    pub(super) csrf: String,
}

impl Chrome {
    /// The layout of a page for somebody.
    pub(super) fn new(title: impl Into<String>, visitor: &Visitor) -> Self {
        let actor = &visitor.actor;
        let by_link = actor.subject == LINK_SUBJECT;
        let name = match actor.name.as_str() {
            _ if by_link => "Operator",
            "" => &actor.subject,
            name => name,
        };
        let person = Person {
            name: name.to_owned(),
            subject: (!by_link).then(|| actor.subject.clone()),
            csrf: visitor.csrf.clone(),
        };
        Self { title: title.into(), person: Some(person), ..Self::default() }
    }

    /// With a word in the title if something went wrong: what a screen reader says first.
    pub(super) fn wrong(mut self, wrong: bool) -> Self {
        self.wrong = wrong;
        self
    }

    /// The token for forms; empty where nobody is logged in.
    pub(super) fn csrf(&self) -> &str {
        self.person.as_ref().map_or("", |person| &person.csrf)
    }
}

/// Which tab of a scope is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Secrets,
    Effective,
    Members,
    Access,
}

/// An organization or a project, as the head of its pages.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its id.
    pub(super) id: String,
    /// What its addresses begin with.
    pub(super) link: String,
    /// A project, or an organization.
    pub(super) is_project: bool,
    /// Whether it is known here who its members are.
    pub(super) registered: bool,
    /// The tab.
    pub(super) tab: Tab,
    /// A page behind the tab.
    pub(super) step: Option<&'static str>,
}

impl Place {
    /// The head of a tab.
    pub(super) fn new(scope: &Scope, registered: bool, tab: Tab) -> Self {
        Self {
            id: scope.id().to_string(),
            link: links::scope(scope),
            is_project: matches!(scope, Scope::Project(_)),
            registered,
            tab,
            step: None,
        }
    }

    /// The head of a page behind a tab.
    pub(super) fn step(mut self, step: &'static str) -> Self {
        self.step = Some(step);
        self
    }

    /// What it is.
    pub(super) fn word(&self) -> &'static str {
        if self.is_project { "Project" } else { "Organization" }
    }

    /// Which jobs get what is added here.
    pub(super) fn reach(&self) -> &'static str {
        if self.is_project {
            "For all jobs of this project, or for those of one user if you assign it. It comes before \
             a secret of the same name at the organization."
        } else {
            "For the jobs of all projects of this organization, unless a project has a secret of the \
             same name."
        }
    }

    pub(super) fn is_secrets(&self) -> bool {
        self.tab == Tab::Secrets
    }

    pub(super) fn is_effective(&self) -> bool {
        self.tab == Tab::Effective
    }

    pub(super) fn is_members(&self) -> bool {
        self.tab == Tab::Members
    }

    pub(super) fn is_access(&self) -> bool {
        self.tab == Tab::Access
    }
}

/// Shows a page.
pub(super) fn show(template: &impl Template) -> Result<Response, Failure> {
    match template.render() {
        Ok(text) => Ok(([(CACHE_CONTROL, "no-store")], Html(text)).into_response()),
        Err(error) => Err(Failure::internal(&error)),
    }
}
