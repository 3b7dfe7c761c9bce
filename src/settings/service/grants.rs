//! What a provider's claims make people. Pure.
//!
//! Invariants: `operator` is given for a value that is named in full; an id that a pattern takes
//! from a claim is an id by the rule of every other id, or nothing is given.

use std::str::FromStr;

use serde_json::{Map, Value as Json};

use crate::secret::Id;

/// Which member of the claims: a name, or a JSON pointer (RFC 6901) if it begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(String);

impl Claim {
    /// A claim by its name or pointer; an empty one is none.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text != "/").then(|| Self(text.to_owned()))
    }

    /// As it stands in the settings.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the claims hold there.
    pub fn find<'a>(&self, claims: &'a Map<String, Json>) -> Option<&'a Json> {
        let Some(pointer) = self.0.strip_prefix('/') else { return claims.get(&self.0) };
        // `~1` and `~0` stand for `/` and `~`, in this order: RFC 6901, section 4.
        let plain = |token: &str| token.replace("~1", "/").replace("~0", "~");
        let mut tokens = pointer.split('/').map(plain);
        let first = claims.get(&tokens.next()?)?;
        tokens.try_fold(first, |found, token| found.as_object()?.get(&token))
    }

    /// The words there: a string is one, an array is those of its members that are strings.
    pub fn words<'a>(&self, claims: &'a Map<String, Json>) -> Vec<&'a str> {
        match self.find(claims) {
            Some(Json::String(word)) => vec![word],
            Some(Json::Array(list)) => list.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// What somebody is by a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantedRole {
    /// May do everything.
    Operator,
    /// Administers an organization.
    OrganizationAdmin(Id),
    /// Administers a project.
    ProjectAdmin(Id),
}

/// One of `[[service.oidc.grants]]`: whoever has this value in this claim is that.
#[derive(Clone, Debug)]
pub struct GrantRule {
    claim: Claim,
    meaning: Meaning,
}

#[derive(Clone, Debug)]
enum Meaning {
    /// Exactly this value.
    Exact(String, GrantedRole),
    /// An id between these two.
    Between(String, String, Role),
}

/// What an id makes of somebody.
type Role = fn(Id) -> GrantedRole;

impl GrantRule {
    /// Checks one; the error says what is wrong with it.
    pub(super) fn new(claim: &str, value: &str, grant: &str) -> Result<Self, &'static str> {
        let claim = Claim::new(claim).ok_or("has one whose `claim` is empty")?;
        if value.is_empty() {
            return Err("has one whose `value` is empty");
        }
        let whom: Option<(Role, &str)> = match grant.split_once(':') {
            None if grant == "operator" => None,
            Some(("organization_admin", id)) => Some((GrantedRole::OrganizationAdmin, id)),
            Some(("project_admin", id)) => Some((GrantedRole::ProjectAdmin, id)),
            _ => {
                return Err("has one whose `grant` is not operator, organization_admin:ID or \
                            project_admin:ID");
            }
        };
        let meaning = match (value.split_once('*'), whom) {
            (None, None) => Meaning::Exact(value.to_owned(), GrantedRole::Operator),
            (Some(_), None) => return Err("has an operator by a pattern; name the whole `value`"),
            (Some((_, after)), Some(_)) if after.contains('*') => {
                return Err("has one with more than one `*` in `value`");
            }
            (Some((before, after)), Some((role, "*"))) => {
                Meaning::Between(before.to_owned(), after.to_owned(), role)
            }
            (None, Some((_, "*"))) | (Some(_), Some(_)) => {
                return Err("has one with `*` in only one of `value` and `grant`");
            }
            (None, Some((role, id))) => {
                let id = Id::from_str(id).map_err(|_| "has one whose `grant` holds no valid id")?;
                Meaning::Exact(value.to_owned(), role(id))
            }
        };
        Ok(Self { claim, meaning })
    }

    /// The claim that it looks at.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What these claims make somebody by this rule.
    pub fn grants(&self, claims: &Map<String, Json>) -> Vec<GrantedRole> {
        self.claim.words(claims).into_iter().filter_map(|word| self.of_word(word)).collect()
    }

    fn of_word(&self, word: &str) -> Option<GrantedRole> {
        match &self.meaning {
            Meaning::Exact(value, role) => (word == value).then(|| role.clone()),
            Meaning::Between(before, after, role) => {
                word.strip_prefix(before)?.strip_suffix(after)?.parse().ok().map(role)
            }
        }
    }
}
