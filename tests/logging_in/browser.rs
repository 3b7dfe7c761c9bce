//! A browser, as far as a login needs one: cookies, the address bar, forms, and what it says of
//! where a request comes from.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request};
use serde_json::Value as Json;
use tower::ServiceExt;
use url::{Url, form_urlencoded};

/// A browser at one service.
#[derive(Clone)]
pub(super) struct Browser {
    app: Router,
    origin: String,
    pub(super) cookies: BTreeMap<String, String>,
}

/// What came back.
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Page {
    /// Where it leads.
    pub(super) fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    /// A line of `Set-Cookie`, by the cookie's name.
    pub(super) fn set_cookie(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        lines.map(str::to_owned).find(|line| line.starts_with(&format!("{name}=")))
    }

    /// The stable word of a problem.
    pub(super) fn kind(&self) -> String {
        let problem: Json = serde_json::from_str(&self.body).unwrap_or_default();
        problem["kind"].as_str().unwrap_or("none").to_owned()
    }

    /// The value of a hidden field.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\""))?;
        Some(rest.split('"').next().unwrap().to_owned())
    }

    /// The answer of `/whoami`.
    pub(super) fn json(&self) -> Json {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Browser {
    /// One without cookies, at a service whose pages have this origin.
    pub(super) fn new(app: Router, origin: &str) -> Self {
        Self { app, origin: origin.to_owned(), cookies: BTreeMap::new() }
    }

    /// Another one at the same service.
    pub(super) fn another(&self) -> Self {
        Self::new(self.app.clone(), &self.origin)
    }

    /// The same browser, sent to another replica.
    pub(super) fn at(&self, app: Router) -> Self {
        Self { app, ..self.clone() }
    }

    pub(super) async fn get(&mut self, address: &str) -> Page {
        self.send(Method::GET, address, &[("accept", "text/html")], None).await
    }

    /// Sends a form of one of the service's own pages.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let origin = self.origin.clone();
        let own = [("sec-fetch-site", "same-origin"), (ORIGIN.as_str(), origin.as_str())];
        self.post_from(path, &own, fields).await
    }

    /// Sends a form with these headers.
    pub(super) async fn post_from(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Page {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, path, headers, Some(form)).await
    }

    /// Sends anything; a header in `headers` beats the browser's own.
    pub(super) async fn send(
        &mut self,
        method: Method,
        address: &str,
        headers: &[(&str, &str)],
        form: Option<String>,
    ) -> Page {
        let url = Url::parse(&self.origin).unwrap().join(address).unwrap();
        assert_eq!(url.origin().ascii_serialization(), self.origin, "{address} is elsewhere");
        let host = self.origin.split_once("://").unwrap().1;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(format!("{}{query}", url.path()));
        if !headers.iter().any(|(name, _)| *name == HOST.as_str()) {
            request = request.header(HOST, host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        if form.is_some() && !headers.iter().any(|(name, _)| *name == CONTENT_TYPE.as_str()) {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request.body(form.map_or_else(Body::empty, Body::from)).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let page = Page {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        self.keep(&page);
        page
    }

    fn keep(&mut self, page: &Page) {
        for line in page.headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
