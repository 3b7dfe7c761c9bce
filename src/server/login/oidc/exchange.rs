//! What is asked of the provider itself: tokens for a code, and more about somebody.
//!
//! Invariants: a code is sent once; what comes back stays in memory that is overwritten, and only
//! as long as the login takes.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::apart;
use super::metadata::{ClientAuthentication, Metadata};
use crate::http::{self, Endpoint, Form};
use crate::secret::Value;
use crate::server::login::fault::{Fault, Said};

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// For one request.
const DEADLINE: Duration = Duration::from_secs(10);

/// This service, to the provider.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<Value>,
    /// Where people come back to.
    pub(super) redirect: String,
}

/// What the provider gives for a code. `Debug` of a [`Value`] shows nothing.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) id_token: Value,
    access_token: Option<Value>,
}

impl Tokens {
    /// The access token's characters, for a hash of them.
    pub(super) fn access_token(&self) -> Option<&[u8]> {
        self.access_token.as_ref().map(Value::expose)
    }
}

#[derive(Deserialize)]
struct Answered {
    id_token: Option<String>,
    access_token: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Client {
    /// Fetches the tokens: Core 1.0, section 3.1.3.
    pub(super) async fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, Fault> {
        let client = Self {
            id: self.id.clone(),
            secret: self.secret.as_ref().map(|secret| copied(secret.expose())),
            redirect: self.redirect.clone(),
        };
        let authentication = metadata.authentication;
        let (url, code, verifier) =
            (metadata.token.as_str().to_owned(), code.to_owned(), verifier.to_owned());
        let (status, body) =
            apart(async move || client.post(&url, authentication, &code, &verifier).await)
                .await??;
        let answer: Answered = serde_json::from_slice(body.expose())
            .map_err(|_| Fault::Code(Said::new(Some("its answer is not JSON"), None)))?;
        if status != 200 {
            let (error, description) = (answer.error, answer.error_description);
            return Err(Fault::Code(Said::new(error.as_deref(), description.as_deref())));
        }
        let value = |text: String| Value::new(text.into_bytes());
        match answer.id_token {
            Some(id_token) => Ok(Tokens {
                id_token: value(id_token),
                access_token: answer.access_token.map(value),
            }),
            None => Err(Fault::Token("there is none; `openid` must be allowed for the client")),
        }
    }

    async fn post(
        &self,
        url: &str,
        authentication: Option<ClientAuthentication>,
        code: &str,
        verifier: &str,
    ) -> Result<(u16, Value), Fault> {
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("grant_type", b"authorization_code"),
            ("code", code.as_bytes()),
            ("redirect_uri", self.redirect.as_bytes()),
            ("code_verifier", verifier.as_bytes()),
        ];
        let mut basic = None;
        match (&self.secret, authentication) {
            (None, _) => fields.push(("client_id", self.id.as_bytes())),
            (Some(secret), Some(ClientAuthentication::Basic)) => {
                basic = Some((self.id.as_str(), secret));
            }
            (Some(secret), Some(ClientAuthentication::Post)) => {
                fields.push(("client_id", self.id.as_bytes()));
                fields.push(("client_secret", secret.expose()));
            }
            (Some(_), None) => {
                let why = "it takes a client's secret neither in a header nor in a form";
                return Err(Fault::Metadata(why));
            }
        }
        let form = Form { url, fields: &fields, basic, deadline: DEADLINE };
        Ok(http::post_form(&form, MAX_ANSWER).await?)
    }
}

fn copied(bytes: &[u8]) -> Value {
    Value::new(bytes.to_vec())
}

/// The claims at the provider's user info endpoint (Core 1.0, section 5.3), if it has one, and it
/// may be asked.
pub(super) async fn user_info(
    metadata: &Metadata,
    tokens: &Tokens,
) -> Result<Option<Map<String, Json>>, Fault> {
    let (Some(url), Some(token)) = (&metadata.userinfo, &tokens.access_token) else {
        return Ok(None);
    };
    let (url, token) = (url.as_str().to_owned(), copied(token.expose()));
    let body = apart(async move || {
        let endpoint = Endpoint { url: &url, token: Some(&token), deadline: DEADLINE };
        http::get(endpoint, MAX_ANSWER).await
    });
    match serde_json::from_slice(body.await??.expose()) {
        Ok(Json::Object(claims)) => Ok(Some(claims)),
        _ => Err(Fault::Metadata("its user info is no JSON object; ask it not to sign that")),
    }
}
