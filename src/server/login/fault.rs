//! Why somebody isn't logged in.
//!
//! Invariant: a message holds no ticket, code or token; what the provider says is shown only to the
//! browser that the answer is for, cut and without control characters.

use std::fmt;

use axum::http::StatusCode;

use super::ticket::NoRandomness;
use crate::http::{HttpError, TokenError};
use crate::server::administration::Refusal;
use crate::store::StoreError;

/// Why somebody isn't logged in; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// An answer to nothing that this browser asked.
    #[error(
        "this login was not begun in this browser, or more than ten minutes ago, or is over \
         already; log in again"
    )]
    State,
    /// An answer that was used.
    #[error("this login was used already; log in again")]
    Replayed,
    /// The provider says no.
    #[error("the login provider refused: {0}")]
    Refused(Said),
    /// An answer by somebody else than the provider.
    #[error("the answer is not from the login provider that the settings name; log in again")]
    Issuer,
    /// The provider didn't take the code.
    #[error("the login provider did not take the code: {0}; log in again, or check the client")]
    Code(Said),
    /// An ID token that doesn't count.
    #[error("the login provider's ID token does not count: {0}")]
    Token(&'static str),
    /// A claim that a login needs.
    #[error("the login provider's claim `{claim}` {problem}")]
    Claim {
        /// Which.
        claim: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The provider can't be reached.
    #[error("the login provider cannot be reached: {0}; try again later")]
    Unavailable(String),
    /// The provider says of itself what can't be used.
    #[error("the login provider's own description is of no use: {0}")]
    Metadata(&'static str),
    /// The client's secret.
    #[error("`service.oidc.client_secret_file`: {0}")]
    ClientSecret(#[source] TokenError),
    /// No link, or one that was used.
    #[error("this link was used, is more than 15 minutes old, or is none; start the service again")]
    Link,
    /// Nobody can log in that way.
    #[error("this service is not set up for that way to log in")]
    NotOffered,
    /// A form of another page.
    #[error("the form is not of this browser's login page; open the login page again")]
    Form,
    /// The store.
    #[error("{0}")]
    Store(Refusal),
    /// The kernel.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Fault {
    /// The stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::State => "login_state",
            Self::Replayed => "login_replayed",
            Self::Refused(_) => "login_refused",
            Self::Issuer => "login_issuer",
            Self::Code(_) => "login_code",
            Self::Token(_) => "id_token_invalid",
            Self::Claim { .. } => "claim_invalid",
            Self::Unavailable(_) => "provider_unavailable",
            Self::Metadata(_) => "provider_misconfigured",
            Self::ClientSecret(_) => "client_secret_unreadable",
            Self::Link => "link_invalid",
            Self::NotOffered => "login_not_offered",
            Self::Form => "login_form",
            Self::Store(refusal) => refusal.kind(),
            Self::Random(_) => "internal",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unavailable(_) | Self::Metadata(_) => StatusCode::BAD_GATEWAY,
            Self::ClientSecret(_) | Self::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotOffered => StatusCode::NOT_FOUND,
            Self::Form => StatusCode::FORBIDDEN,
            Self::Store(refusal) => {
                StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

/// What a provider says of a failure: an error's code and its description (RFC 6749, sections
/// 4.1.2.1 and 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said(String);

impl Said {
    /// The longest text that is shown, in characters.
    const MAX: usize = 200;

    /// From an error's members.
    pub(crate) fn new(error: Option<&str>, description: Option<&str>) -> Self {
        let plain = |text: &str| -> String {
            text.chars().filter(|c| !c.is_control()).take(Self::MAX).collect()
        };
        match (error.map(plain), description.map(plain)) {
            (Some(error), Some(description)) => Self(format!("{error} ({description})")),
            (Some(text), None) | (None, Some(text)) => Self(text),
            (None, None) => Self("it doesn't say why".to_owned()),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_is_cut_and_plain() {
        let long = "x".repeat(1000);
        for (error, description, shown) in [
            (Some("access_denied"), None, "access_denied"),
            (Some("a"), Some("b\r\n\u{1b}[31mc"), "a (b[31mc)"),
            (None, Some(long.as_str()), &long[..200]),
            (None, None, "it doesn't say why"),
        ] {
            assert_eq!(Said::new(error, description).to_string(), shown);
        }
    }
}
