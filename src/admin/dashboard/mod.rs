//! The dashboard's files, compiled in.
//!
//! Three small files without a build step or any outside asset. The policy allows scripts
//! and styles from this listener alone and nothing inline, so text from a URL can never
//! become code; the token lives in the tab's session storage and travels in a field, so
//! no other site can use it.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let fields: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (fields, text)
}

/// `GET /`.
pub(super) async fn page() -> impl IntoResponse {
    file("text/html; charset=utf-8", include_str!("index.html"))
}

/// `GET /dashboard/style.css`.
pub(super) async fn style() -> impl IntoResponse {
    file("text/css; charset=utf-8", include_str!("style.css"))
}

/// `GET /dashboard/app.js`.
pub(super) async fn script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("app.js"))
}

/// `GET /dashboard/lab.js`.
pub(super) async fn lab() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("lab.js"))
}

/// `GET /dashboard/icon.svg`.
pub(super) async fn icon() -> impl IntoResponse {
    file("image/svg+xml", include_str!("icon.svg"))
}
