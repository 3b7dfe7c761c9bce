//! Who logged in, by the claims. Pure.
//!
//! Invariant: a subject is what the settings' claim says, and nobody who can choose that freely:
//! an email address counts only if the provider vouches for it.

use serde_json::{Map, Value as Json};

use crate::access::Grant;
use crate::server::login::fault::Fault;
use crate::settings::service::{Claim, GrantedRole, Oidc};

/// The longest name that is kept, in characters.
const MAX_NAME: usize = 100;

/// Somebody who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// For ever the same.
    pub(crate) subject: String,
    /// For people.
    pub(crate) name: String,
    /// What the claims make them.
    pub(crate) claimed: Vec<Grant>,
}

/// The claims that a login looks at.
pub(super) fn needed(settings: &Oidc) -> impl Iterator<Item = &Claim> {
    let own = [&settings.subject_claim, &settings.name_claim];
    own.into_iter().chain(settings.grants.iter().map(|rule| rule.claim()))
}

impl Who {
    /// Reads the claims.
    pub(super) fn new(settings: &Oidc, claims: &Map<String, Json>) -> Result<Self, Fault> {
        let claim = &settings.subject_claim;
        let fault = |problem| Fault::Claim { claim: claim.as_str().to_owned(), problem };
        let subject = match claim.find(claims) {
            Some(Json::String(subject)) => subject,
            Some(_) => return Err(fault("is not a string")),
            None => return Err(fault("is missing; ask for a scope that has it")),
        };
        let plain = subject.bytes().all(|b| b.is_ascii_graphic());
        if !(1..=255).contains(&subject.len()) || !plain {
            return Err(fault("is not 1 to 255 visible ASCII characters"));
        }
        // What the audit calls API tokens and one-time links.
        if subject.starts_with("token:") || subject.starts_with("link:") {
            return Err(fault("begins as the name of a token or a link does"));
        }
        if claim.as_str() == "email" && !is_verified(claims) {
            return Err(fault("is not verified: the provider doesn't say `email_verified`"));
        }
        let name = settings.name_claim.find(claims).and_then(Json::as_str).unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        let name = if name.trim().is_empty() { subject.clone() } else { name };
        let mut claimed = Vec::new();
        for role in settings.grants.iter().flat_map(|rule| rule.grants(claims)) {
            let grant = match role {
                GrantedRole::Operator => Grant::Operator,
                GrantedRole::OrganizationAdmin(id) => Grant::OrganizationAdmin(id),
                GrantedRole::ProjectAdmin(id) => Grant::ProjectAdmin(id),
            };
            if !claimed.contains(&grant) {
                claimed.push(grant);
            }
        }
        Ok(Self { subject: subject.clone(), name, claimed })
    }
}

/// Some providers say it as a string.
fn is_verified(claims: &Map<String, Json>) -> bool {
    match claims.get("email_verified") {
        Some(Json::Bool(verified)) => *verified,
        Some(Json::String(word)) => word == "true",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Overrides, Settings};
    use serde_json::json;

    fn settings(more: &str) -> Oidc {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "[service]\npublic_url = 'https://s.example'\n[service.oidc]\n\
             issuer = 'https://i.example'\nclient_id = 'us'\n{more}"
        );
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let overrides = Overrides { file: Some(file.path().into()), ..Overrides::default() };
        let home = |name: &str| (name == "HOME").then(|| "/nowhere".into());
        Settings::load(&overrides, home).unwrap().service.oidc.unwrap()
    }

    fn who(settings: &Oidc, claims: &Json) -> Result<Who, String> {
        Who::new(settings, claims.as_object().unwrap()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn claims_say_who_it_is() {
        let plain = settings("");
        for (claims, name) in [
            (json!({"sub": "ada", "name": "Ada Lovelace"}), "Ada Lovelace"),
            (json!({"sub": "ada", "name": "A\u{7}d\na"}), "Ada"),
            (json!({"sub": "ada", "name": " "}), "ada"),
            (json!({"sub": "ada", "name": 7}), "ada"),
            (json!({"sub": "ada"}), "ada"),
        ] {
            let who = who(&plain, &claims).unwrap();
            assert_eq!((who.subject.as_str(), who.name.as_str()), ("ada", name));
            assert_eq!(who.claimed, []);
        }
        let rules = settings(
            "grants = [{claim = 'groups', value = 'gis', grant = 'operator'},
                       {claim = 'groups', value = 'o-*', grant = 'organization_admin:*'},
                       {claim = 'roles', value = 'p', grant = 'project_admin:a/b'},
                       {claim = 'groups', value = 'p', grant = 'project_admin:a/b'}]",
        );
        let claims = json!({"sub": "ada", "groups": ["gis", "o-1", "p", "x"], "roles": "p"});
        let expected = [
            Grant::Operator,
            Grant::OrganizationAdmin("1".parse().unwrap()),
            Grant::ProjectAdmin("a/b".parse().unwrap()),
        ];
        assert_eq!(who(&rules, &claims).unwrap().claimed, expected);
        assert_eq!(needed(&rules).count(), 6);
    }

    #[test]
    fn subjects_that_are_none() {
        let plain = settings("");
        for (claims, message) in [
            (json!({}), "`sub` is missing"),
            (json!({"sub": 7}), "`sub` is not a string"),
            (json!({"sub": ""}), "`sub` is not 1 to 255"),
            (json!({"sub": "a b"}), "`sub` is not 1 to 255"),
            (json!({"sub": "token:1"}), "begins as"),
            (json!({"sub": "link:operator"}), "begins as"),
        ] {
            let error = who(&plain, &claims).unwrap_err();
            assert!(error.contains(message), "{claims}: {error}");
        }
    }

    #[test]
    fn an_address_counts_only_if_it_is_verified() {
        let mail = settings("subject_claim = 'email'");
        for (verified, fine) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("false"), false),
            (json!(1), false),
            (json!(null), false),
        ] {
            let claims = json!({"sub": "x", "email": "a@b.example", "email_verified": verified});
            assert_eq!(who(&mail, &claims).is_ok(), fine, "{verified}");
        }
        assert!(who(&mail, &json!({"sub": "x", "email": "a@b.example"})).is_err());
    }
}
