//! What the Access tab shows.

use askama::Template;

use crate::access::{Access, Scope};
use crate::server::administration::{ApiToken, Granted, Page, PageRequest};
use crate::server::page::body::Fields;
use crate::server::page::layout::{Chrome, Place};
use crate::server::page::links::{self, Part};
use crate::server::page::problems::Problems;
use crate::server::page::words::{self, When};

/// How many grants, and how many tokens, a page shows.
const SHOWN: u32 = 100;

/// The tab of a scope.
#[derive(Template)]
#[template(path = "access.html", config = "src/server/page/askama.toml")]
pub(in crate::server::page) struct ScopeView {
    pub(in crate::server::page) chrome: Chrome,
    pub(in crate::server::page) place: Place,
    pub(in crate::server::page) link: String,
    pub(in crate::server::page) words: Words,
    pub(in crate::server::page) lists: Lists,
    pub(in crate::server::page) typing: Typing,
    pub(in crate::server::page) problems: Problems,
}

/// The operators' page.
#[derive(Template)]
#[template(path = "operators.html", config = "src/server/page/askama.toml")]
pub(in crate::server::page) struct OperatorsView {
    pub(in crate::server::page) chrome: Chrome,
    pub(in crate::server::page) link: String,
    pub(in crate::server::page) words: Words,
    pub(in crate::server::page) lists: Lists,
    pub(in crate::server::page) typing: Typing,
    pub(in crate::server::page) problems: Problems,
}

/// What the lists are called.
#[derive(Debug)]
pub(in crate::server::page) struct Words {
    pub(in crate::server::page) people: &'static str,
    pub(in crate::server::page) give: &'static str,
    /// Who else has access without being in the list.
    pub(in crate::server::page) others: &'static str,
}

impl Words {
    /// For a scope, or for operators.
    pub(in crate::server::page) fn of(scope: Option<&Scope>, registered: bool) -> Self {
        let (people, give, others) = match (scope, registered) {
            (None, _) => (
                "Operators",
                "Make somebody an operator",
                "Operators by their login (a group of the identity provider, a one-time link) are \
                 not listed.",
            ),
            (Some(Scope::Project(_)), true) => (
                "Admins of this project",
                "Make somebody an admin of this project",
                "Operators, and the admins that are registered for the project or its organization, \
                 have access besides and are not listed.",
            ),
            (Some(Scope::Organization(_)), true) => (
                "Admins of this organization",
                "Make somebody an admin of this organization",
                "Operators, and the admins that are registered for the organization, have access \
                 besides and are not listed.",
            ),
            (Some(Scope::Project(_)), false) => (
                "Admins of this project",
                "Make somebody an admin of this project",
                "Operators, and admins by their login, have access besides and are not listed.",
            ),
            (Some(Scope::Organization(_)), false) => (
                "Admins of this organization",
                "Make somebody an admin of this organization",
                "Operators, and admins by their login, have access besides and are not listed.",
            ),
        };
        Self { people, give, others }
    }
}

/// What was typed into the forms of the tab.
#[derive(Debug)]
pub(in crate::server::page) struct Typing {
    pub(in crate::server::page) subject: String,
    pub(in crate::server::page) token: String,
    pub(in crate::server::page) access: Access,
    pub(in crate::server::page) days: String,
}

impl Default for Typing {
    fn default() -> Self {
        let (subject, token) = (String::new(), String::new());
        Self { subject, token, access: Access::Read, days: "90".to_owned() }
    }
}

/// Both lists.
#[derive(Debug, Default)]
pub(in crate::server::page) struct Lists {
    pub(in crate::server::page) grants: Vec<GrantRow>,
    pub(in crate::server::page) grants_part: Part,
    pub(in crate::server::page) tokens: Vec<TokenRow>,
    pub(in crate::server::page) tokens_part: Part,
}

/// Which parts of both lists are shown.
#[derive(Clone, Debug)]
pub(in crate::server::page) struct Parts {
    pub(in crate::server::page) grants: PageRequest,
    pub(in crate::server::page) tokens: PageRequest,
}

impl Parts {
    /// What a query asks for.
    pub(in crate::server::page) fn of(query: &Fields) -> Self {
        Self { grants: query.part("grants", SHOWN), tokens: query.part("tokens", SHOWN) }
    }
}

impl Lists {
    /// From parts of both, in a page that has this address; `now` in seconds since 1970.
    pub(in crate::server::page) fn new(
        address: &str,
        parts: &Parts,
        grants: Page<Granted>,
        tokens: Page<ApiToken>,
        now: i64,
    ) -> Self {
        let of = |grants: &str, tokens: &str| {
            format!("{address}{}", links::query(&[("grants", grants), ("tokens", tokens)]))
        };
        let begun = |request: &PageRequest| request.after.clone().unwrap_or_default();
        let (grants_after, tokens_after) = (&begun(&parts.grants), &begun(&parts.tokens));
        Self {
            grants_part: Part {
                first: (!grants_after.is_empty()).then(|| of("", tokens_after)),
                next: grants.next.as_deref().map(|next| of(next, tokens_after)),
            },
            grants: grants.items.into_iter().map(GrantRow::from).collect(),
            tokens_part: Part {
                first: (!tokens_after.is_empty()).then(|| of(grants_after, "")),
                next: tokens.next.as_deref().map(|next| of(grants_after, next)),
            },
            tokens: tokens.items.into_iter().map(|token| TokenRow::new(token, now)).collect(),
        }
    }
}

/// A grant.
#[derive(Debug)]
pub(in crate::server::page) struct GrantRow {
    pub(in crate::server::page) id: String,
    pub(in crate::server::page) subject: String,
    pub(in crate::server::page) at: When,
    pub(in crate::server::page) by: String,
}

impl From<Granted> for GrantRow {
    fn from(granted: Granted) -> Self {
        Self {
            id: links::encoded(&granted.id),
            subject: granted.subject,
            at: When::of(&granted.granted_at),
            by: words::person(&granted.granted_by),
        }
    }
}

/// A token.
#[derive(Debug)]
pub(in crate::server::page) struct TokenRow {
    pub(in crate::server::page) id: String,
    pub(in crate::server::page) name: String,
    pub(in crate::server::page) may: &'static str,
    pub(in crate::server::page) created: When,
    pub(in crate::server::page) by: String,
    pub(in crate::server::page) until: When,
    /// Why it doesn't work any more.
    pub(in crate::server::page) over: Option<&'static str>,
    pub(in crate::server::page) used: Option<When>,
}

impl TokenRow {
    /// How a token is shown at a time, in seconds since 1970.
    pub(in crate::server::page) fn new(token: ApiToken, now: i64) -> Self {
        let over = match token.revoked_at {
            Some(_) => Some("revoked"),
            None if token.expires_at <= now => Some("expired"),
            None => None,
        };
        Self {
            id: links::encoded(&token.id),
            may: may(token.access),
            name: token.name,
            created: When::of(&token.created_at),
            by: words::person(&token.created_by),
            until: When::seconds(token.expires_at),
            over,
            used: token.used_at.map(When::seconds),
        }
    }
}

/// What a token may do.
pub(in crate::server::page) fn may(access: Access) -> &'static str {
    match access {
        Access::Read => "list and explain only",
        Access::Manage => "add and remove secrets too",
        Access::Delegate => "add and remove secrets, admins and tokens too",
    }
}

/// The question before something is taken away.
#[derive(Template)]
#[template(path = "revoke.html", config = "src/server/page/askama.toml")]
pub(in crate::server::page) struct RevokeView {
    pub(in crate::server::page) chrome: Chrome,
    pub(in crate::server::page) heading: &'static str,
    pub(in crate::server::page) sentence: String,
    pub(in crate::server::page) tokens: Vec<String>,
    pub(in crate::server::page) action: String,
    pub(in crate::server::page) submit: &'static str,
    pub(in crate::server::page) link: String,
}
