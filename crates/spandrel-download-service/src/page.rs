//! The page at `/`: its files in the program.

use std::sync::LazyLock;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use spandrel_http::{Asset, Assets};

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const fn asset(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset { path, content_type, bytes }
}

const JS: &str = "text/javascript; charset=utf-8";

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let files = [
        asset("/", "text/html; charset=utf-8", include_bytes!("../web/index.html")),
        asset("/app.js", JS, include_bytes!("../web/app.js")),
        asset("/client.js", JS, include_bytes!("../web/client.js")),
        asset("/exports.js", JS, include_bytes!("../web/exports.js")),
        asset("/form.js", JS, include_bytes!("../web/form.js")),
        asset("/http.js", JS, include_bytes!("../web/http.js")),
        asset("/link.js", JS, include_bytes!("../web/link.js")),
        asset("/secure.js", JS, include_bytes!("../web/secure.js")),
        asset("/session.js", JS, include_bytes!("../web/session.js")),
        asset("/signin.js", JS, include_bytes!("../web/signin.js")),
        asset("/style.css", "text/css; charset=utf-8", include_bytes!("../web/style.css")),
        asset("/text.js", JS, include_bytes!("../web/text.js")),
    ];
    Assets::new(&files, CSP)
});

pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.paths()
}

pub(crate) async fn page(request: Request) -> Response {
    let answer = ASSETS.answer(request.uri().path(), request.method(), request.headers());
    answer.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}
