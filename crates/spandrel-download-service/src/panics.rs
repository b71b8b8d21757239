//! A bug in one request or connection ends that one only.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use spandrel_export_engine::{internal, panic_text};

use crate::error::Refusal;
use crate::service::Inner;

/// Answers 500 with an incident where a handler panics.
pub(crate) async fn catch(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            inner.metrics.panics.inc();
            Refusal(internal(panic_text(&*panic))).into_response()
        }
    }
}

/// Runs a connection to its end; a panic is logged and counted, and what the connection held is dropped.
pub(crate) async fn contained(inner: &Inner, connection: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(connection).catch_unwind().await {
        inner.metrics.panics.inc();
        internal(panic_text(&*panic));
    }
}
