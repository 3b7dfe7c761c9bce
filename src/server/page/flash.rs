//! What has just been done, said once on the next page.
//!
//! Invariant: what is said is from a fixed set, chosen by a word in a short-lived cookie; nothing
//! is taken over from an address, where anybody could put it.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};

use crate::secret::SecretId;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Added,
    AddedSeveral,
    Replaced,
    Removed,
    Granted,
    GrantRevoked,
    TokenRevoked,
    SessionEnded,
    SessionGone,
}

impl Done {
    const ALL: [Self; 9] = [
        Self::Added,
        Self::AddedSeveral,
        Self::Replaced,
        Self::Removed,
        Self::Granted,
        Self::GrantRevoked,
        Self::TokenRevoked,
        Self::SessionEnded,
        Self::SessionGone,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::AddedSeveral => "added-several",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
            Self::Granted => "granted",
            Self::GrantRevoked => "grant-revoked",
            Self::TokenRevoked => "token-revoked",
            Self::SessionEnded => "session-ended",
            Self::SessionGone => "session-gone",
        }
    }

    /// The sentence for it.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Added => "The secret was added. Jobs that start from now on get it.",
            Self::AddedSeveral => "The secrets were added. Jobs that start from now on get them.",
            Self::Replaced => {
                "The secret was replaced. Jobs that start from now on get the new value."
            }
            Self::Removed => "The secret was removed.",
            Self::Granted => "Access was given.",
            Self::GrantRevoked => "The access was taken away.",
            Self::TokenRevoked => "The token was revoked.",
            Self::SessionEnded => "Ended: who was logged in there has to log in again.",
            Self::SessionGone => "That session is over already.",
        }
    }
}

/// What the last answer left for this page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flash {
    /// What was done.
    pub(super) done: Option<Done>,
    /// The secret that it was done to.
    pub(super) secret: Option<SecretId>,
}

impl Flash {
    /// Reads it from a request.
    pub(super) fn read(parts: &Parts, tls: bool) -> Self {
        Self::of(&parts.headers, tls).unwrap_or_default()
    }

    fn of(headers: &HeaderMap, tls: bool) -> Option<Self> {
        let value = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(key, value)| (key == name(tls)).then_some(value))?;
        let (word, id) = value.split_once('.').unwrap_or((value, ""));
        let done = Done::ALL.into_iter().find(|done| done.word() == word)?;
        let secret = (!id.is_empty()).then(|| SecretId::from(id.to_owned()));
        Some(Self { done: Some(done), secret })
    }

    /// The sentence, if there is one.
    pub(super) fn sentence(&self) -> Option<String> {
        self.done.map(|done| done.sentence().to_owned())
    }

    /// Takes the cookie away from an answer that has said it.
    pub(super) fn said(&self, mut response: Response, tls: bool) -> Response {
        if self.done.is_some() {
            set(&mut response, &format!("{}=; Max-Age=0{}", name(tls), attributes(tls)));
        }
        response
    }
}

/// Leads to another page, which says what was done. 303: a reload there does nothing again.
pub(super) fn redirect(to: &str, done: Done, secret: Option<&SecretId>, tls: bool) -> Response {
    let mut response = Redirect::to(to).into_response();
    let id = secret.map(|id| format!(".{id}")).unwrap_or_default();
    let text = format!("{}={}{id}; Max-Age=60{}", name(tls), done.word(), attributes(tls));
    set(&mut response, &text);
    response
}

fn set(response: &mut Response, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

fn name(tls: bool) -> &'static str {
    if tls { "__Host-qgis_secrets_done" } else { "qgis_secrets_done" }
}

fn attributes(tls: bool) -> &'static str {
    match tls {
        true => "; Path=/; HttpOnly; SameSite=Strict; Secure",
        false => "; Path=/; HttpOnly; SameSite=Strict",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cookie: &str, tls: bool) -> Option<Flash> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookie.parse().unwrap());
        Flash::of(&headers, tls)
    }

    #[test]
    fn what_is_set_is_said_once() {
        for tls in [false, true] {
            for done in Done::ALL {
                let id = SecretId::from("0193-ab".to_owned());
                let response = redirect("/projects/p/secrets", done, Some(&id), tls);
                assert_eq!(response.status(), 303);
                let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
                assert!(cookie.contains("HttpOnly") && cookie.contains("Secure") == tls);
                let flash = read(cookie.split(';').next().unwrap(), tls).unwrap();
                assert_eq!(flash, Flash { done: Some(done), secret: Some(id) });
                let after = flash.said(().into_response(), tls);
                assert!(after.headers()[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
            }
        }
    }

    #[test]
    fn only_the_fixed_words_count() {
        assert_eq!(read("qgis_secrets_done=<b>hello</b>", false), None);
        assert_eq!(read("qgis_secrets_done=removed", true), None);
        assert_eq!(read("other=removed", false), None);
        assert!(Flash::default().said(().into_response(), false).headers().is_empty());
    }
}
