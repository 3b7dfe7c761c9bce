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

/// A secret's.
pub(super) fn secret(of: &Scope, id: &SecretId) -> String {
    format!("{}/secrets/{}", scope(of), encoded(id.as_str()))
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
}
