//! Addresses inside the page. An id is one percent-encoded segment, slashes included.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::access::Scope;
use crate::secret::SecretId;

/// The characters that RFC 3986 calls unreserved stay as they are.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Text as a segment of a path, or as a value in a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The address that all of a scope's pages begin with.
pub(super) fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Organization(id) => format!("/organizations/{}", encoded(id.as_str())),
        Scope::Project(id) => format!("/projects/{}", encoded(id.as_str())),
    }
}

/// Behind an address: what isn't empty, as a query.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let said: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    if said.is_empty() { String::new() } else { format!("?{}", said.join("&")) }
}

/// A secret's.
pub(super) fn secret(of: &Scope, id: &SecretId) -> String {
    format!("{}/secrets/{}", scope(of), encoded(id.as_str()))
}

/// Where the first part of a list is, if another is shown, and where it goes on.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) first: Option<String>,
    pub(super) next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_segment() {
        let project = Scope::Project("ninja/field+survey@x.org".parse().unwrap());
        assert_eq!(scope(&project), "/projects/ninja%2Ffield%2Bsurvey%40x.org");
        let organization = Scope::Organization("org-81".parse().unwrap());
        assert_eq!(
            secret(&organization, &SecretId::from("a/b?c".to_owned())),
            "/organizations/org-81/secrets/a%2Fb%3Fc"
        );
    }

    #[test]
    fn what_is_empty_is_not_asked() {
        assert_eq!(query(&[("q", ""), ("after", "")]), "");
        assert_eq!(query(&[("q", "a&b=c"), ("x", ""), ("after", "1")]), "?q=a%26b%3Dc&after=1");
    }
}
