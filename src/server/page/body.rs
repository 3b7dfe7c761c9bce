//! A form or a query as it was sent, `application/x-www-form-urlencoded`: pure.
//!
//! Invariant: text is decoded exactly or not at all. The common decoders put U+FFFD where bytes
//! are not UTF-8; a value that was changed like that would open nothing, and nobody would know why.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::typed::Typed;
use crate::server::administration::PageRequest;

/// Names and what was typed, in their order.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, Typed)>);

impl Fields {
    /// Decodes pairs; `None` if anything of it isn't UTF-8.
    pub(super) fn decode(encoded: &[u8]) -> Option<Self> {
        encoded
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let middle = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
                let value = pair.get(middle + 1..).unwrap_or_default();
                Some((decoded(&pair[..middle])?, Typed::new(decoded(value)?)))
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    /// What was typed under a name, the first time it stands there; nothing if it doesn't.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, typed)| typed.text())
    }

    /// Which part of a list is asked for: the first, or the one behind what stands under a name.
    pub(super) fn part(&self, name: &str, limit: u32) -> PageRequest {
        let after = Some(self.get(name).to_owned()).filter(|after| !after.is_empty());
        PageRequest { after, limit }
    }

    /// The same, to keep.
    pub(super) fn take(&mut self, name: &str) -> Typed {
        self.take_all(name).into_iter().next().unwrap_or_default()
    }

    /// All that was typed under a name.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<Typed> {
        let (taken, rest) =
            std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = rest;
        let taken: Vec<(String, Typed)> = taken;
        taken.into_iter().map(|(_, typed)| typed).collect()
    }
}

impl IntoIterator for Fields {
    type Item = (String, Typed);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

fn decoded(part: &[u8]) -> Option<String> {
    let spaced: Zeroizing<Vec<u8>> =
        Zeroizing::new(part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect());
    match percent_decode(&spaced).decode_utf8().ok()? {
        Cow::Borrowed(text) => Some(text.to_owned()),
        Cow::Owned(text) => Some(text),
    }
}

fn not_text() -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "not_utf8",
        "The form was sent in another encoding than UTF-8, so nothing was saved. Load the page again \
         and send it once more.",
    )
}

/// What stands behind the `?`.
#[derive(Debug)]
pub(super) struct Query(pub(super) Fields);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        Fields::decode(query.as_bytes()).map(Self).ok_or_else(not_text)
    }
}

/// What was sent in a body.
#[derive(Debug)]
pub(super) struct Sent(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            Failure::new(
                rejection.status(),
                "body_unreadable",
                "What was sent is too long or did not arrive whole, so nothing was saved.",
            )
        })?;
        Fields::decode(&body).map(Self).ok_or_else(not_text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs() {
        let mut fields = Fields::decode(b"a=1&b=x+y%2B%0D%0Az%C3%A4&a=2&c&=d&&e==f").unwrap();
        assert_eq!(fields.get("a"), "1");
        assert_eq!(fields.get("b"), "x y+\r\nzä");
        assert_eq!((fields.get("c"), fields.get(""), fields.get("e")), ("", "d", "=f"));
        assert_eq!(fields.get("nothing"), "");
        let all: Vec<_> = fields.take_all("a").iter().map(|t| t.text().to_owned()).collect();
        assert_eq!(all, ["1", "2"]);
        assert!(fields.take("a").is_empty());
    }

    #[test]
    fn what_is_not_text_is_not_changed_into_some() {
        for bad in [&b"a=%FF"[..], b"a=%C3", b"%ff=a", b"a=\xff", b"ok=1&a=%C3%28"] {
            assert!(Fields::decode(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_through(text in any::<String>()) {
            let encoded = percent_encoding::utf8_percent_encode(
                &text, percent_encoding::NON_ALPHANUMERIC,
            );
            let fields = Fields::decode(format!("a={encoded}").as_bytes()).unwrap();
            prop_assert_eq!(fields.get("a"), text);
        }
    }
}
