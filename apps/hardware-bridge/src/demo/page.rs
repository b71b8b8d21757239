//! The page of the demonstration: its files in the program, served on a loopback port of its own.

use std::sync::Arc;

use spandrel_http::axum::Router;
use spandrel_http::axum::extract::{Request, State};
use spandrel_http::axum::response::{IntoResponse as _, Response};
use spandrel_http::http::{StatusCode, header};
use spandrel_http::{Asset, Assets, Guard, GuardConfig};
use tokio::net::TcpListener;

/// The page may reach this machine only: itself, and the bridge beside it.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws://127.0.0.1:*; \
                   img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const JS: &str = "text/javascript; charset=utf-8";

/// The modules that the pages of the bridge share lie beside the status page.
const FILES: [Asset; 5] = [
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        bytes: include_bytes!("../../web/index.html"),
    },
    Asset {
        path: "/demo.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../web/demo.css"),
    },
    Asset { path: "/demo.mjs", content_type: JS, bytes: include_bytes!("../../web/demo.mjs") },
    Asset {
        path: "/chart.mjs",
        content_type: JS,
        bytes: include_bytes!("../../../../crates/spandrel-bridge-service/web/status/chart.mjs"),
    },
    Asset {
        path: "/socket.mjs",
        content_type: JS,
        bytes: include_bytes!("../../../../crates/spandrel-bridge-service/web/socket.mjs"),
    },
];

struct Page {
    assets: Assets,
    guard: Guard,
    /// `/bridge.json`: where the page finds the bridge and its status.
    places: String,
}

/// Serves the page until the future is dropped.
///
/// # Errors
///
/// When the listener fails for good.
pub(crate) async fn serve(listener: TcpListener, places: String) -> std::io::Result<()> {
    let config = GuardConfig { listen_is_loopback: true, ..GuardConfig::default() };
    let guard = Guard::new(&config).map_err(std::io::Error::other)?;
    let page = Page { assets: Assets::new(&FILES, CSP), guard, places };
    let router = Router::new().fallback(answer).with_state(Arc::new(page));
    spandrel_http::axum::serve(listener, router).await
}

async fn answer(State(page): State<Arc<Page>>, request: Request) -> Response {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    // A name that somebody else resolves to this machine is none of ours.
    if page.guard.check(request.method(), text(header::HOST), text(header::ORIGIN), false).is_err() {
        return (StatusCode::FORBIDDEN, "this page is at http://127.0.0.1 only\n").into_response();
    }
    if request.uri().path() == "/bridge.json" {
        return ([(header::CONTENT_TYPE, "application/json")], page.places.clone()).into_response();
    }
    let answer = page.assets.answer(request.uri().path(), request.method(), request.headers());
    answer.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}
