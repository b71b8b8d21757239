//! The router: protocol section 12, the message endpoint, the page.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use spandrel_download_protocol::ErrorCode;
use spandrel_http::{GuardFace, METRICS_CONTENT_TYPE, guard_requests, with_request_id};

use crate::error::Refusal;
use crate::service::Inner;
use crate::{files, page, panics, rest, socket};

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    let mut router = Router::new()
        .route("/v1/downloads", post(rest::create).get(rest::list))
        .route("/v1/downloads/{id}", get(rest::one).delete(rest::delete))
        .route("/v1/downloads/{id}/cancel", post(rest::cancel))
        .route("/v1/downloads/{id}/pause", post(rest::pause))
        .route("/v1/downloads/{id}/resume", post(rest::resume))
        .route("/v1/files/{id}/{fileName}", get(files::file))
        .route("/v1/datasets", get(rest::datasets))
        .route("/v1/preview", post(rest::preview))
        .route("/v1/health", get(rest::health))
        .route("/v1/openapi.json", get(rest::openapi))
        .route("/v1/ws", get(socket::open))
        .route("/metrics", get(metrics))
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT));
    for path in page::paths() {
        router = router.route(path, get(page::page));
    }
    let face = GuardFace {
        guard: inner.guard.clone(),
        refuse: |why| Refusal::new(ErrorCode::Forbidden, why.to_string()).into_response(),
    };
    router
        .fallback(async || Refusal::new(ErrorCode::NotFound, "there is nothing at this path"))
        .with_state(Arc::clone(&inner))
        .layer(from_fn_with_state(inner, panics::catch))
        .layer(from_fn(as_problems))
        .layer(from_fn_with_state(Arc::new(face), guard_requests))
        .layer(from_fn(with_request_id))
}

async fn metrics(State(inner): State<Arc<Inner>>, request: Request) -> Result<Response, Refusal> {
    inner.config.auth.authenticate(request.headers())?;
    let headers = [(header::CONTENT_TYPE, METRICS_CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, inner.metrics.render(&inner)).into_response())
}

/// Refusals that the framework words as plain text get the form of all others.
async fn as_problems(request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let is_text = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let refusal = match answer.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            Refusal::new(ErrorCode::MethodNotAllowed, "this path has other methods")
        }
        StatusCode::BAD_REQUEST if is_text => {
            Refusal::new(ErrorCode::InvalidRequest, "the path or query cannot be read")
        }
        _ => return answer,
    };
    let allow: Option<HeaderValue> = answer.headers().get(header::ALLOW).cloned();
    let mut problem = refusal.into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(header::ALLOW, allow);
    }
    problem
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The paths and methods named in the router's source, against those of the document.
    #[test]
    fn every_route_is_in_the_openapi_document() {
        let document: serde_json::Value = serde_json::from_str(crate::OPENAPI).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let written: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |m| (path.clone(), m.clone())))
            // A route for GET answers HEAD too.
            .filter(|(_, method)| method != "head")
            .collect();
        let mut routed = BTreeSet::new();
        for line in include_str!("routes.rs").lines() {
            let Some((path, methods)) =
                line.trim().strip_prefix(".route(\"").and_then(|l| l.split_once("\", "))
            else {
                continue;
            };
            for method in ["get", "post", "delete"] {
                if methods.starts_with(&format!("{method}(")) || methods.contains(&format!(".{method}(")) {
                    routed.insert((path.to_owned(), method.to_owned()));
                }
            }
        }
        routed.remove(&("/favicon.ico".to_owned(), "get".to_owned()));
        assert!(routed.len() > 12, "the source is read");
        assert_eq!(routed, written);
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(crate::OPENAPI).unwrap();
        let mut found = 0;
        for reference in crate::OPENAPI.split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            found += 1;
        }
        assert!(found > 20);
    }
}
