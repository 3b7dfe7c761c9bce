//! The document, and what can't be tried through a token.

mod document;
mod examples;
mod parameters;

use axum::body::to_bytes;
use axum::http::header::{CACHE_CONTROL, LOCATION};

use super::access::issued;
use crate::access::{Access, Grant};
use crate::secret::Value;
use crate::store::access::ApiToken;

#[tokio::test]
async fn an_issued_token_is_shown_once_and_kept_by_nobody() {
    let token = ApiToken {
        id: "0123456789abcdef".into(),
        name: "a \"name\"".into(),
        grant: Grant::Operator,
        access: Access::Read,
        created_at: "2026-01-01T00:00:00Z".into(),
        created_by: "root".into(),
        expires_at: 1_800_000_000,
        revoked_at: None,
        used_at: None,
    };
    let text = format!("qgis_secrets_0123456789abcdef_{}", "0".repeat(64));
    let response = issued(token, &Value::from(text.as_str()));
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[LOCATION], "/v1/tokens/0123456789abcdef");
    let body = to_bytes(response.into_body(), 4096).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["token"], text);
    assert_eq!(body["name"], "a \"name\"");
    assert_eq!(body["expires_at"], "2027-01-15T08:00:00Z");
}
