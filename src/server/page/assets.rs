//! The style sheet, the script and the icon: each under a name that changes with its content, so
//! that browsers may keep it for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::failure::Failure;

/// A year, and never asked for again.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// One file.
#[derive(Debug)]
struct Asset {
    /// `page.<16 hex digits>.css`.
    name: String,
    media_type: &'static str,
    content: String,
}

impl Asset {
    fn new(stem: &str, extension: &str, media_type: &'static str, content: String) -> Self {
        let digest = Sha256::digest(content.as_bytes());
        let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("{stem}.{hash}.{extension}"), media_type, content }
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new(
            "page",
            "css",
            "text/css; charset=utf-8",
            include_str!("assets/page.css").into(),
        ),
        Asset::new(
            "page",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("assets/page.js").into(),
        ),
        Asset::new("logo", "svg", "image/svg+xml", include_str!("assets/logo.svg").into()),
    ]
});

/// Where the style sheet is.
pub(in crate::server) fn style() -> String {
    format!("/assets/{}", ASSETS[0].name)
}

/// Where the script is.
pub(in crate::server) fn script() -> String {
    format!("/assets/{}", ASSETS[1].name)
}

/// Where the icon is.
pub(in crate::server) fn logo() -> String {
    format!("/assets/{}", ASSETS[2].name)
}

/// `GET /assets/{name}`.
pub(super) async fn get(Path(name): Path<String>) -> Result<Response, Failure> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| {
        Failure::new(StatusCode::NOT_FOUND, "not_found", "There is no such file.")
    })?;
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, FOR_EVER)];
    Ok((headers, asset.content.as_str()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn assets_are_small_and_kept_for_ever() {
        let total: usize = ASSETS.iter().map(|asset| asset.content.len()).sum();
        assert!(total < 60_000, "{total} bytes");
        for asset in ASSETS.iter() {
            let response = get(Path(asset.name.clone())).await.unwrap();
            assert_eq!(response.headers()[CACHE_CONTROL], FOR_EVER);
            assert_eq!(response.headers()[CONTENT_TYPE], asset.media_type);
        }
        assert!(get(Path("page.css".into())).await.is_err());
    }
}
