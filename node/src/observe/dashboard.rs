//! The dashboard: a page, its style and its script, which are part of the binary. It asks this listener what others
//! may ask as well, and nothing else of anybody.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The paths of the dashboard.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/dashboard", get(|| async { page() }))
        .route(
            "/dashboard.css",
            get(|| async {
                file(
                    "text/css; charset=utf-8",
                    include_str!("dashboard/page.css"),
                )
            }),
        )
        .route(
            "/dashboard.js",
            get(|| async {
                file(
                    "text/javascript; charset=utf-8",
                    include_str!("dashboard/page.js"),
                )
            }),
        )
}

/// The page itself.
pub(super) fn page() -> Response {
    file(
        "text/html; charset=utf-8",
        include_str!("dashboard/page.html"),
    )
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A node that was upgraded shows its own page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
