//! OpenID Connect: the authorization code flow with PKCE (Core 1.0, section 3.1; RFC 7636).
//!
//! Invariants: nothing that a browser brings is believed but an answer to its own login; who
//! somebody is comes from an ID token that the provider's own keys signed, fetched by this service
//! from the provider itself; the provider is exactly the one that the settings name.
//!
//! The provider's description and keys are fetched when somebody logs in, and kept: it need not be
//! there when the service starts.

mod exchange;
mod id_token;
mod known;
mod metadata;
mod who;

use axum::http::uri::Uri;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use tokio::runtime::Handle;
use url::Url;

use super::attempt::Attempt;
use super::fault::{Fault, Said};
use super::ticket::Ticket;
use crate::secret::Value;
use crate::settings::service::{Oidc, Origin};
use exchange::Client;
use known::Known;
pub(crate) use who::Who;

/// A provider, as this service's client.
#[derive(Debug)]
pub(crate) struct Provider {
    settings: Oidc,
    client: Client,
    home: Origin,
    known: Known,
}

/// What came back from the provider by way of the browser: RFC 6749, sections 4.1.2 and 4.1.2.1,
/// and RFC 9207.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Answer {
    code: Option<String>,
    pub(crate) state: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    iss: Option<String>,
}

impl Provider {
    /// The provider of the settings; `home` is where it sends people back to.
    pub(crate) fn new(settings: Oidc, secret: Option<Value>, home: Origin) -> Self {
        let client =
            Client { id: settings.client_id.clone(), secret, redirect: redirect_of(&home) };
        Self { known: Known::new(settings.issuer.clone()), settings, client, home }
    }

    /// What people know it by: its host.
    pub(crate) fn name(&self) -> String {
        let issuer = self.settings.issuer.as_str();
        let uri = issuer.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host);
        host.unwrap_or(issuer).to_owned()
    }

    /// Where a browser goes to log in.
    pub(crate) async fn begin(
        &self,
        attempt: &Attempt,
        browser: &Ticket,
        now: Timestamp,
    ) -> Result<String, Fault> {
        let facts = self.known.get(now).await?;
        let mut url = Url::parse(facts.metadata.authorization.as_str())
            .map_err(|_| Fault::Metadata("its authorization endpoint is no address"))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.id)
            .append_pair("redirect_uri", &self.client.redirect)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &attempt.state(browser))
            .append_pair("nonce", &attempt.nonce(browser))
            .append_pair("code_challenge", &attempt.challenge(browser))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Who it is, by an answer to `attempt`, which was begun in this browser.
    pub(crate) async fn finish(
        &self,
        answer: &Answer,
        attempt: &Attempt,
        browser: &Ticket,
        now: Timestamp,
    ) -> Result<Who, Fault> {
        let facts = self.known.get(now).await?;
        let metadata = &facts.metadata;
        // An answer of another provider could bring a code of its own: RFC 9207, section 2.4.
        match &answer.iss {
            Some(issuer) if issuer != self.settings.issuer.as_str() => return Err(Fault::Issuer),
            None if metadata.names_issuer => return Err(Fault::Issuer),
            _ => {}
        }
        let Some(code) = &answer.code else {
            let description = answer.error_description.as_deref();
            return Err(Fault::Refused(Said::new(answer.error.as_deref(), description)));
        };
        let verifier = attempt.verifier(browser);
        let tokens = self.client.exchange(metadata, code, &verifier).await?;
        let (algorithm, claims) =
            facts.verifier.signed(&tokens.id_token, now).await.map_err(known::unsigned)?;
        let nonce = attempt.nonce(browser);
        let expected = id_token::Expected {
            issuer: self.settings.issuer.as_str(),
            client_id: &self.client.id,
            nonce: &nonce,
            now: now.as_second(),
            algorithm,
            access_token: tokens.access_token(),
        };
        let subject = id_token::check(&claims, expected)?.to_owned();
        let claims = self.completed(claims, &subject, metadata, &tokens).await?;
        Who::new(&self.settings, &claims)
    }

    /// Asks for more claims where one of those that matter isn't in the token. The token's own
    /// count before others.
    async fn completed(
        &self,
        mut claims: Map<String, Json>,
        subject: &str,
        metadata: &metadata::Metadata,
        tokens: &exchange::Tokens,
    ) -> Result<Map<String, Json>, Fault> {
        if who::needed(&self.settings).all(|claim| claim.find(&claims).is_some()) {
            return Ok(claims);
        }
        let Some(more) = exchange::user_info(metadata, tokens).await? else { return Ok(claims) };
        // Core 1.0, section 5.3.4: else it may be about somebody else.
        if more.get("sub").and_then(Json::as_str) != Some(subject) {
            return Err(Fault::Token("the provider's user info is about somebody else"));
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(claims)
    }

    /// Where to end the provider's own session (RP-Initiated Logout 1.0, section 2), if it has such
    /// an address. Nothing is fetched for it.
    ///
    /// Without `id_token_hint`, for the token isn't kept; the provider asks the person instead.
    pub(crate) fn end_session(&self) -> Option<String> {
        let facts = self.known.now()?;
        let mut url = Url::parse(facts.metadata.end_session.as_ref()?.as_str()).ok()?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.client.id)
            .append_pair("post_logout_redirect_uri", &format!("{}/login", self.home));
        Some(url.into())
    }
}

/// Where the provider sends people back to.
fn redirect_of(home: &Origin) -> String {
    format!("{home}/login/callback")
}

/// Does `work` on a thread of its own: making an HTTP client reads the host's certificates.
async fn apart<T: Send + 'static>(
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work()))
        .await
        .map_err(|_| Fault::Unavailable("the request was given up".to_owned()))
}
