//! Whether a request comes from the service's own pages. Pure.
//!
//! Invariants: what a browser says of a request's source must be there, and must be this service;
//! without a public address only a loopback host is the service's own, so that a name that somebody
//! points at this machine (DNS rebinding) gets nothing.

use std::borrow::Cow;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};

use crate::settings::service::Origin;

/// How browsers reach the service.
#[derive(Clone, Debug)]
pub(crate) enum Site {
    /// At one address.
    Public(Origin),
    /// At whatever address of this machine, with or without TLS.
    Loopback { tls: bool },
}

/// Why a request is refused before anybody looks at who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// The request names a host that isn't the service's.
    Host,
    /// Another site's page sent it, or nobody says which.
    Origin,
}

impl Site {
    /// Whether browsers come by TLS.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Public(origin) => origin.is_https(),
            Self::Loopback { tls } => *tls,
        }
    }

    /// The origin that the service's own pages have for who sends this request.
    ///
    /// A public address is told by the settings alone: a proxy may put another name into `Host`.
    pub(crate) fn origin(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Cow<'_, Origin>, Foreign> {
        match self {
            Self::Public(origin) => Ok(Cow::Borrowed(origin)),
            Self::Loopback { tls } => own(uri, headers, *tls).map(Cow::Owned).ok_or(Foreign::Host),
        }
    }

    /// The same, where the host must be right whatever stands in the settings.
    pub(crate) fn strict_origin(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Cow<'_, Origin>, Foreign> {
        let origin = self.origin(uri, headers)?;
        let named = host(uri, headers).map(str::to_ascii_lowercase);
        match self {
            Self::Public(public) if named.as_deref() != Some(public.authority()) => {
                Err(Foreign::Host)
            }
            _ => Ok(origin),
        }
    }
}

/// Checks that a change was sent by a page of `origin`.
///
/// Browsers say so in `Sec-Fetch-Site` (W3C Fetch Metadata) and in `Origin` (RFC 6454), which is
/// `null` where a page sends no referrer. One of them must be there and say so, and none may
/// contradict.
pub(crate) fn same_origin(origin: &Origin, headers: &HeaderMap) -> Result<(), Foreign> {
    let all = |name: &str| headers.get_all(name).iter().collect::<Vec<_>>();
    let fetched = match all("sec-fetch-site").as_slice() {
        [] => None,
        [one] => Some(*one == "same-origin"),
        _ => Some(false),
    };
    let sent = match all(ORIGIN.as_str()).as_slice() {
        [] => None,
        // Says nothing, neither for nor against.
        [one] if *one == "null" => None,
        [one] => Some(*one == origin.as_str()),
        _ => Some(false),
    };
    match (fetched, sent) {
        (Some(false), _) | (_, Some(false)) | (None, None) => Err(Foreign::Origin),
        _ => Ok(()),
    }
}

/// Whether a method only looks (RFC 9110, section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// HTTP/2 has it in the address.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST)?.to_str().ok(),
    }
}

fn own(uri: &Uri, headers: &HeaderMap, tls: bool) -> Option<Origin> {
    let host = host(uri, headers)?;
    // Only at a loopback host is an http:// origin one.
    format!("http://{host}").parse::<Origin>().ok()?;
    format!("{}://{host}", if tls { "https" } else { "http" }).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn without_a_public_address_only_loopback_hosts_are_its_own() {
        for (host, expected) in [
            ("127.0.0.1:8470", Some("http://127.0.0.1:8470")),
            ("127.9.9.9", Some("http://127.9.9.9")),
            ("localhost:8470", Some("http://localhost:8470")),
            ("LOCALHOST", Some("http://localhost")),
            ("[::1]:8470", Some("http://[::1]:8470")),
            ("evil.example:8470", None),
            ("127.0.0.1.evil.example", None),
            ("localhost.evil.example", None),
            ("127.0.0.1@evil.example", None),
            ("evil.example/127.0.0.1", None),
            ("evil.example#127.0.0.1", None),
            ("", None),
        ] {
            let site = Site::Loopback { tls: false };
            let origin = site.origin(&Uri::from_static("/"), &headers(&[("host", host)]));
            assert_eq!(origin.ok().as_ref().map(|origin| origin.as_str()), expected, "{host}");
        }
        let site = Site::Loopback { tls: true };
        let own = site.origin(&Uri::from_static("/"), &headers(&[("host", "localhost:1")]));
        assert_eq!(own.unwrap().as_str(), "https://localhost:1");
        assert!(site.is_tls());
        assert_eq!(site.origin(&Uri::from_static("/"), &headers(&[])).unwrap_err(), Foreign::Host);
        // HTTP/2: what stands in the address counts.
        let uri = Uri::from_static("http://evil.example/");
        assert!(site.origin(&uri, &headers(&[("host", "127.0.0.1")])).is_err());
    }

    #[test]
    fn a_public_address_is_its_own_whatever_the_host() {
        let site = Site::Public("https://s.example".parse().unwrap());
        for (host, strict) in [("s.example", true), ("S.EXAMPLE", true), ("10.0.0.1:80", false)] {
            let headers = headers(&[("host", host)]);
            let uri = Uri::from_static("/");
            assert_eq!(site.origin(&uri, &headers).unwrap().as_str(), "https://s.example");
            assert_eq!(site.strict_origin(&uri, &headers).is_ok(), strict, "{host}");
        }
    }

    #[test]
    fn a_change_comes_from_a_page_of_its_own() {
        let own: Origin = "https://s.example".parse().unwrap();
        let table: &[(&[(&'static str, &str)], bool)] = &[
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://s.example")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", "https://s.example")], true),
            // No referrer, no origin: `Referrer-Policy: no-referrer`.
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            (&[("origin", "null")], false),
            (&[], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://s.example")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false),
            (&[("origin", "https://s.example:8443")], false),
            (&[("origin", "http://s.example")], false),
            (&[("origin", "https://s.example.evil.example")], false),
            (&[("origin", "https://s.example"), ("origin", "https://s.example")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false),
        ];
        for (pairs, expected) in table {
            assert_eq!(same_origin(&own, &headers(pairs)).is_ok(), *expected, "{pairs:?}");
        }
    }

    #[test]
    fn methods_that_only_look() {
        for (method, safe) in [("GET", true), ("HEAD", true), ("POST", false), ("DELETE", false)] {
            assert_eq!(is_safe(&method.parse().unwrap()), safe);
        }
        assert!(!is_safe(&"PURGE".parse().unwrap()));
    }
}
