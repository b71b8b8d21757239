//! The axum middleware around [`Guard`].

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::{Guard, Refused};

/// A [`Guard`] and how to word its refusals, as state of [`guard_requests`].
#[derive(Debug, Clone)]
pub struct GuardFace {
    /// The rules.
    pub guard: Guard,
    /// Makes the 403 of the application's protocol.
    pub refuse: fn(Refused) -> Response,
}

/// Middleware: refuses what the guard refuses, answers preflights, adds CORS headers to answers.
///
/// ```
/// use std::sync::Arc;
/// use axum::{Router, middleware::from_fn_with_state, response::IntoResponse, routing::get};
/// use spandrel_http::{Guard, GuardConfig, GuardFace, guard_requests};
///
/// let guard = Guard::new(&GuardConfig { listen_is_loopback: true, ..GuardConfig::default() })?;
/// let face = GuardFace { guard, refuse: |why| (http::StatusCode::FORBIDDEN, why.to_string()).into_response() };
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(from_fn_with_state(Arc::new(face), guard_requests));
/// # Ok::<(), spandrel_http::GuardConfigError>(())
/// ```
///
/// Put it on the whole router, outside routing errors: a layer on the router covers its fallback as well.
/// Cancel safe as far as the inner service is.
pub async fn guard_requests(State(face): State<Arc<GuardFace>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_upgrade = headers.contains_key(header::UPGRADE);
    // RFC 9112 section 3.2.2: a target with authority replaces `Host`.
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => single(headers, &header::HOST),
    };
    let origin = single(headers, &header::ORIGIN);
    if let Err(why) = face.guard.check(request.method(), host, origin, is_upgrade) {
        tracing::info!(%why, host, origin, "request refused");
        return (face.refuse)(why);
    }
    if let Some(answer) = face.guard.preflight(request.method(), headers) {
        return answer.map(|()| Body::empty());
    }
    let origin = headers.get(header::ORIGIN).cloned();
    let mut answer = next.run(request).await;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        face.guard.add_cors(origin.as_ref(), answer.headers_mut());
    }
    answer
}

/// The value of a header that is there once and is text; `""` when it is there in any other way.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().unwrap_or("")),
        _ => Some(""),
    }
}
