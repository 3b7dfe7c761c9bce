//! The two cookies: of a session, and of a browser that logs in.
//!
//! Invariants: over https a cookie has the prefix `__Host-`, which no other host of the domain and
//! no plain connection can set (RFC 6265bis, section 4.1.3.2); a script never sees one; a name that
//! is sent twice is believed neither time, for one of them is somebody else's.

use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::COOKIE;
use zeroize::Zeroizing;

use super::ticket::Ticket;

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Of a session. Gone when the browser is closed.
    Session,
    /// Of a browser that is about to log in: ties the login to it.
    Browser,
}

impl Cookie {
    /// Its name, by whether browsers come by TLS.
    pub(crate) fn name(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::Session, true) => "__Host-qgis_secrets",
            (Self::Session, false) => "qgis_secrets",
            (Self::Browser, true) => "__Host-qgis_secrets_login",
            (Self::Browser, false) => "qgis_secrets_login",
        }
    }

    /// The ticket in it, if it was sent once and in its form.
    pub(crate) fn read(self, headers: &HeaderMap, tls: bool) -> Option<Ticket> {
        let name = self.name(tls);
        let mut found = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == name);
        let (_, value) = found.next()?;
        if found.next().is_some() { None } else { Ticket::read(value) }
    }

    /// The header that sets it.
    ///
    /// `SameSite=Lax`, not `Strict`: the way back from the provider comes from another site, and
    /// must show the cookies. Changes are no `GET`, and have a token of their own besides.
    pub(crate) fn set(self, ticket: &Ticket, tls: bool) -> Option<HeaderValue> {
        let age = match self {
            Self::Session => "",
            Self::Browser => "; Max-Age=86400",
        };
        let text = ticket.to_text();
        let line = Zeroizing::new(format!("{}={}{}{age}", self.name(tls), *text, attributes(tls)));
        let mut header = HeaderValue::from_str(&line).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// The header that takes it away.
    pub(crate) fn clear(self, tls: bool) -> Option<HeaderValue> {
        let line = format!("{}={}; Max-Age=0", self.name(tls), attributes(tls));
        HeaderValue::from_str(&line).ok()
    }
}

fn attributes(tls: bool) -> &'static str {
    match tls {
        true => "; Path=/; HttpOnly; SameSite=Lax; Secure",
        false => "; Path=/; HttpOnly; SameSite=Lax",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, line.parse().unwrap())).collect()
    }

    #[test]
    fn flags_and_names() {
        let ticket = Ticket::read(&"A".repeat(43)).unwrap();
        let text = "A".repeat(43);
        for (cookie, tls, expected) in [
            (
                Cookie::Session,
                true,
                format!("__Host-qgis_secrets={text}; Path=/; HttpOnly; SameSite=Lax; Secure"),
            ),
            (
                Cookie::Session,
                false,
                format!("qgis_secrets={text}; Path=/; HttpOnly; SameSite=Lax"),
            ),
            (
                Cookie::Browser,
                true,
                format!(
                    "__Host-qgis_secrets_login={text}; Path=/; HttpOnly; SameSite=Lax; Secure; \
                     Max-Age=86400"
                ),
            ),
        ] {
            let header = cookie.set(&ticket, tls).unwrap();
            assert!(header.is_sensitive());
            assert_eq!(header.to_str().unwrap(), expected);
        }
        let cleared = Cookie::Session.clear(true).unwrap();
        let expected = "__Host-qgis_secrets=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0";
        assert_eq!(cleared, expected);
    }

    #[test]
    fn a_cookie_is_read_under_its_own_name_once() {
        let good = format!("qgis_secrets={}", "A".repeat(43));
        let other = format!("qgis_secrets={}", "B".repeat(42) + "A");
        let host = format!("__Host-{good}");
        for (lines, tls, expected) in [
            (vec![good.as_str()], false, true),
            (vec!["a=b; c", &good, "d=e"], false, true),
            (vec![&format!("a=b; {good} ; d=e")], false, true),
            (vec![&host], true, true),
            // A name without the prefix can come from a plain connection.
            (vec![&good], true, false),
            (vec![&host], false, false),
            (vec![&format!("{good}; {other}")], false, false),
            (vec![&good, &other], false, false),
            (vec![&good, &good], false, false),
            (vec!["qgis_secrets=short"], false, false),
            (vec!["QGIS_SECRETS=AAAA"], false, false),
            (vec![], false, false),
        ] {
            let found = Cookie::Session.read(&headers(&lines), tls);
            assert_eq!(found.is_some(), expected, "{lines:?}");
        }
    }
}
