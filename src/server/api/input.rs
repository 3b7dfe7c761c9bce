//! What a request holds besides its token: the path's ids, the query, the body.
//!
//! Invariants: an unknown parameter or member is refused, and no error repeats what was sent but
//! for a word that looks like a name; a body is read as JSON whatever a browser may be talked
//! into sending as a form.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use url::form_urlencoded;

use super::forms::Object;
use super::refused::Refused;
use crate::access::Scope;
use crate::secret::Id;
use crate::server::administration::{Administration, IdempotencyKey, PageRequest};
use crate::wire::management::IDEMPOTENCY_KEY;

/// How many items a list gives if nobody says.
const LIMIT: u32 = 100;

/// The longest query, in bytes.
const MAX_QUERY: usize = 8 * 1024;

/// The organization or the project of the path.
pub(super) struct There(pub(super) Scope);

/// What the path says in its only parameter.
pub(super) struct Named(pub(super) String);

async fn parameter(parts: &mut Parts) -> Result<(String, String), Refused> {
    let fault = || Refused::form("path", "it is not percent-encoded UTF-8");
    let parameters = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| fault())?;
    let first = parameters.iter().next().ok_or_else(fault)?;
    Ok((first.0.to_owned(), first.1.to_owned()))
}

impl FromRequestParts<Administration> for There {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Administration) -> Result<Self, Refused> {
        let (name, value) = parameter(parts).await?;
        let id = id(&name, &value)?;
        Ok(Self(if name == "project" { Scope::Project(id) } else { Scope::Organization(id) }))
    }
}

impl FromRequestParts<Administration> for Named {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Administration) -> Result<Self, Refused> {
        parameter(parts).await.map(|(_, value)| Self(value))
    }
}

/// An id that was sent.
pub(super) fn id(field: &str, text: &str) -> Result<Id, Refused> {
    text.parse().map_err(|why: crate::secret::InvalidId| Refused::form(field, why.to_string()))
}

/// Ids that were sent.
pub(super) fn ids(field: &str, texts: &[String]) -> Result<Vec<Id>, Refused> {
    texts.iter().map(|text| id(field, text)).collect()
}

/// Whose grants or tokens are asked for.
pub(super) enum Whose {
    /// Everybody's.
    All,
    /// Those of an organization or a project; operators' for `None`.
    Of(Option<Scope>),
}

/// The parameters of a query.
pub(super) struct Asked(Vec<(String, String)>);

impl Asked {
    /// Reads a query that may hold these parameters, each once but `require`.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Refused> {
        let query = uri.query().unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(Refused::form("query", "it is longer than 8 KiB"));
        }
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let unknown = word(&name).map_or("one", |name| name);
                let text = format!("it is not known here; known are: {known}");
                return Err(Refused::form(unknown, text));
            }
            if name != "require" && found.iter().any(|(other, _)| *other == name) {
                return Err(Refused::form(name, "it stands twice"));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// Refuses every query.
    pub(super) fn nothing(uri: &Uri) -> Result<(), Refused> {
        Self::read(uri, &[]).map(drop)
    }

    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All texts of a parameter that may be repeated.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// An id.
    pub(super) fn id(&self, name: &str) -> Result<Option<Id>, Refused> {
        self.text(name).map(|text| id(name, text)).transpose()
    }

    /// `true` or `false`; not given is false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refused> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refused::form(name, "give true or false")),
        }
    }

    /// `organization` or `project`.
    pub(super) fn scope(&self) -> Result<Option<Scope>, Refused> {
        match (self.id("organization")?, self.id("project")?) {
            (None, None) => Ok(None),
            (Some(id), None) => Ok(Some(Scope::Organization(id))),
            (None, Some(id)) => Ok(Some(Scope::Project(id))),
            (Some(_), Some(_)) => {
                Err(Refused::form("project", "give an organization or a project, not both"))
            }
        }
    }

    /// `all`, or `organization` or `project`.
    pub(super) fn whose(&self) -> Result<Whose, Refused> {
        match (self.flag("all")?, self.scope()?) {
            (false, scope) => Ok(Whose::Of(scope)),
            (true, None) => Ok(Whose::All),
            (true, Some(_)) => {
                Err(Refused::form("all", "give it without an organization or a project"))
            }
        }
    }

    /// `limit` and `after`.
    pub(super) fn page(&self) -> Result<PageRequest, Refused> {
        let limit = match self.text("limit") {
            None => Ok(LIMIT),
            // A number with its sign is none here: JSON has none with a plus either.
            Some(text) if text.starts_with('+') => Err(()),
            Some(text) => text.parse().map_err(drop),
        };
        match limit {
            Ok(limit) if (1..=PageRequest::MAX).contains(&limit) => {
                Ok(PageRequest { after: self.text("after").map(ToOwned::to_owned), limit })
            }
            _ => Err(Refused::form("limit", format!("give 1 to {}", PageRequest::MAX))),
        }
    }
}

/// A body of JSON.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Administration> for Sent<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &Administration) -> Result<Self, Refused> {
        if !is_json(request.headers()) {
            return Err(Refused::media_type());
        }
        // What ends a body too early answers for itself; see `limits::body`.
        let body = Bytes::from_request(request, &()).await;
        let body = body.map_err(|_| Refused::form("", "the body is too large, or broke off"))?;
        decode(&body).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let (media, parameters) = media.split_once(';').unwrap_or((media, "charset=utf-8"));
    let parameters = parameters.trim().replace('"', "");
    media.trim().eq_ignore_ascii_case("application/json")
        && parameters.eq_ignore_ascii_case("charset=utf-8")
}

fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refused> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut json)
        .map_err(|error| (error.path().to_string(), error.into_inner()))
        .and_then(|Object(read)| match json.end() {
            Ok(()) => Ok(read),
            Err(error) => Err((String::new(), error)),
        });
    read.map_err(|(path, error)| {
        let message = match error.classify() {
            Category::Eof => "the JSON ends in the middle".to_owned(),
            Category::Syntax | Category::Io => {
                format!("no JSON at line {}, column {}", error.line(), error.column())
            }
            Category::Data => without_values(&error.to_string()),
        };
        Refused::form(plain(path), message)
    })
}

/// A path whose members are plain names; any other could hold whatever somebody pasted.
fn plain(path: String) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.[]".contains(&b);
    if path == "." || path.len() > 60 || !path.bytes().all(plain) { String::new() } else { path }
}

/// A name that can be shown: nothing else looks like one.
fn word(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (1..=32).contains(&text.len()).then_some(text).filter(|text| text.bytes().all(plain))
}

/// Keeps of serde's message what it expected and drops what it read.
fn without_values(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (member, known) = rest.rsplit_once("`, expected ").unwrap_or((rest, ""));
        let member = word(member).map_or("a member".to_owned(), |name| format!("`{name}`"));
        return format!("{member} is not known here; known are: {known}");
    }
    // These name members of the API's own.
    if message.starts_with("missing field") || message.starts_with("duplicate field") {
        return message.replace("field", "member");
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("give {expected}"),
        None => "it has the wrong form".to_owned(),
    }
}

/// The key that marks repetitions of a request.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refused> {
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = all.next() else { return Ok(None) };
    let key = first.to_str().ok().and_then(|text| text.parse().ok());
    match (key, all.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let text = "give one, of 1 to 255 visible ASCII characters";
            Err(Refused::form(IDEMPOTENCY_KEY, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_read_is_not_repeated() {
        for (message, expected) in [
            (
                "unknown field `hunter2!`, expected `a` or `b` at line 1 column 2",
                "a member is not known here; known are: `a` or `b`",
            ),
            (
                "unknown field `vlaue`, expected one of `a`, `b` at line 1 column 2",
                "`vlaue` is not known here; known are: one of `a`, `b`",
            ),
            (
                "invalid type: string \"x, expected hunter2\", expected a boolean at line 1 column 9",
                "give a boolean",
            ),
            ("missing field `kind` at line 1 column 2", "missing member `kind`"),
            ("hunter2", "it has the wrong form"),
        ] {
            assert_eq!(without_values(message), expected);
        }
    }

    #[test]
    fn only_json_is_json() {
        let of = |media: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(media));
            is_json(&headers)
        };
        assert!(of("application/json") && of("Application/JSON; charset=\"UTF-8\""));
        for other in ["text/plain", "application/json; charset=utf-16", "application/jsonp", ""] {
            assert!(!of(other), "{other}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
