//! One id per request, on every line the request logs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

/// The number of a request in this process, from 1.
///
/// It is in the request's extensions, so that a handler can name it in a reply (`details.incident`). It is
/// put in no header: the protocols know none, and a client's own id would be text from outside in our log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

impl std::fmt::Display for RequestId {
    /// Writes `req-` and the number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "req-{}", self.0)
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Middleware: gives the request a [`RequestId`] and runs it in a span `http` with `id`, `method` and
/// `path`. The query is left out, since signatures travel in it. Outermost, so that every line has the id.
///
/// Cancel safe as far as the inner service is.
pub async fn with_request_id(mut request: Request, next: Next) -> Response {
    let id = RequestId(NEXT.fetch_add(1, Relaxed));
    request.extensions_mut().insert(id);
    let span = tracing::info_span!("http", %id, method = %request.method(), path = request.uri().path());
    async move {
        let answer = next.run(request).await;
        tracing::debug!(status = answer.status().as_u16(), "answered");
        answer
    }
    .instrument(span)
    .await
}
