//! What a provider says of itself (OpenID Connect Discovery 1.0, section 3). Pure.
//!
//! Invariants: the document is of exactly the issuer that the settings name; every address in it
//! that something is sent to is confidential.

use serde::Deserialize;

use crate::settings::service::HttpUrl;

/// Where the document stands, below the issuer.
const PATH: &str = "/.well-known/openid-configuration";

/// The address of an issuer's document: section 4.1.
pub(super) fn address(issuer: &HttpUrl) -> String {
    format!("{}{PATH}", issuer.as_str().trim_end_matches('/'))
}

/// How the client proves itself at the token endpoint (OpenID Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuthentication {
    /// In a header.
    Basic,
    /// In the form.
    Post,
}

/// The part of the document that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) authorization: HttpUrl,
    pub(super) token: HttpUrl,
    pub(super) keys: HttpUrl,
    pub(super) userinfo: Option<HttpUrl>,
    pub(super) end_session: Option<HttpUrl>,
    /// How a client with a secret proves itself; `None`: in no way that is known here.
    pub(super) authentication: Option<ClientAuthentication>,
    /// Whether every answer names its issuer (RFC 9207, section 3).
    pub(super) names_issuer: bool,
}

#[derive(Deserialize)]
struct Raw {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads the document.
    pub(super) fn read(json: &[u8], issuer: &HttpUrl) -> Result<Self, &'static str> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|_| "it is not JSON, or an address is missing in it")?;
        // Else a provider could speak for another one: section 4.3.
        if raw.issuer != issuer.as_str() {
            return Err("its `issuer` is not byte for byte `service.oidc.issuer`");
        }
        // An endpoint may have a query: RFC 6749, section 3.1.
        let url = |text: &str| {
            HttpUrl::with_query(text).ok_or("an address in it does not begin with https://")
        };
        let optional = |text: &Option<String>| text.as_deref().map(url).transpose();
        let methods = raw.token_endpoint_auth_methods_supported;
        let supports = |method: &str| {
            methods.as_ref().is_some_and(|methods| methods.iter().any(|word| word == method))
        };
        let authentication = if methods.is_none() || supports("client_secret_basic") {
            Some(ClientAuthentication::Basic)
        } else if supports("client_secret_post") {
            Some(ClientAuthentication::Post)
        } else {
            None
        };
        Ok(Self {
            authorization: url(&raw.authorization_endpoint)?,
            token: url(&raw.token_endpoint)?,
            keys: url(&raw.jwks_uri)?,
            userinfo: optional(&raw.userinfo_endpoint)?,
            end_session: optional(&raw.end_session_endpoint)?,
            authentication,
            names_issuer: raw.authorization_response_iss_parameter_supported,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn document() -> Json {
        json!({
            "issuer": "https://i.example",
            "authorization_endpoint": "https://i.example/auth?tenant=a",
            "token_endpoint": "https://t.example/token",
            "jwks_uri": "https://i.example/keys",
            "unknown": [1],
        })
    }

    fn read(document: &Json) -> Result<Metadata, &'static str> {
        Metadata::read(document.to_string().as_bytes(), &"https://i.example".parse().unwrap())
    }

    #[test]
    fn the_address_of_the_document() {
        for issuer in ["https://i.example/realms/a", "https://i.example/realms/a/"] {
            let address = address(&issuer.parse().unwrap());
            assert_eq!(address, "https://i.example/realms/a/.well-known/openid-configuration");
        }
    }

    #[test]
    fn a_document_is_read() {
        let metadata = read(&document()).unwrap();
        assert_eq!(metadata.authorization.as_str(), "https://i.example/auth?tenant=a");
        assert_eq!(metadata.authentication, Some(ClientAuthentication::Basic));
        assert!(metadata.userinfo.is_none() && !metadata.names_issuer);
        for (methods, expected) in [
            (json!(["client_secret_post"]), Some(ClientAuthentication::Post)),
            (
                json!(["client_secret_post", "client_secret_basic"]),
                Some(ClientAuthentication::Basic),
            ),
            (json!(["private_key_jwt"]), None),
        ] {
            let mut with = document();
            with["token_endpoint_auth_methods_supported"] = methods;
            assert_eq!(read(&with).unwrap().authentication, expected);
        }
    }

    #[test]
    fn what_is_of_somebody_else_or_in_clear_is_refused() {
        for (member, value, message) in [
            ("issuer", json!("https://i.example/"), "its `issuer`"),
            ("issuer", json!("https://evil.example"), "its `issuer`"),
            ("issuer", json!(null), "an address is missing"),
            ("token_endpoint", json!("http://i.example/token"), "does not begin with https://"),
            ("jwks_uri", json!("http://10.0.0.1/keys"), "does not begin with https://"),
            ("jwks_uri", json!(null), "an address is missing"),
            ("authorization_endpoint", json!("javascript:alert(1)"), "does not begin with"),
            ("userinfo_endpoint", json!("http://i.example/me"), "does not begin with https://"),
            ("end_session_endpoint", json!("data:text/html,a"), "does not begin with https://"),
            ("token_endpoint", json!("https://a:b@i.example/"), "does not begin with https://"),
        ] {
            let mut document = document();
            document[member] = value;
            let error = read(&document).unwrap_err();
            assert!(error.contains(message), "{member}: {error}");
        }
    }
}
