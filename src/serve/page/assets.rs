//! The style sheet, the script and the icon. Each has a hash of its content in its name, so browsers may keep it for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};

/// A file with its name.
pub(super) struct StaticFile {
    /// Its path on the server.
    pub(super) path: String,
    content: &'static str,
    content_type: &'static str,
}

/// The style sheet.
pub(super) static STYLE: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new("page", "css", "text/css; charset=utf-8", include_str!("page.css")));
/// The script that keeps a page up to date.
pub(super) static SCRIPT: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new("page", "js", "text/javascript; charset=utf-8", include_str!("page.js")));
/// The icon of the browser's tab.
pub(super) static ICON: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

impl StaticFile {
    fn new(name: &str, ending: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash: String =
            digest(&SHA256, content.as_bytes()).as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { path: format!("/static/{name}-{hash}.{ending}"), content, content_type }
    }
}

/// Serves one of them.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let all = [&*STYLE, &*SCRIPT, &*ICON];
    let Some(file) = all.into_iter().find(|file| file.path.strip_prefix("/static/") == Some(name.as_str())) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, file.content_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, file.content).into_response()
}
