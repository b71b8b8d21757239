//! `GET /v1/ws`: from an HTTP request to a message connection (protocol section 2.1).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use spandrel_download_protocol::{CloseCode, ErrorCode, Subprotocol};
use spandrel_http::Problem;
use spandrel_transport::{Close, Connection};
use spandrel_transport_ws::{Upgrade, accept_upgraded, choose_first, upgrade};
use tracing::Instrument as _;

use crate::admission::{Known, admit, has_kid};
use crate::auth::{Proof, TokenDigest};
use crate::connection::talk;
use crate::error::Refusal;
use crate::serve::per_address_max;
use crate::service::Inner;
use crate::wire::Form;

pub(crate) async fn open(State(inner): State<Arc<Inner>>, mut request: Request) -> Result<Response, Refusal> {
    let known = known(&inner, &request)?;
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let upgraded = hyper::upgrade::on(&mut request);
    let supported: Vec<&str> = Subprotocol::ALL.iter().map(|protocol| protocol.as_str()).collect();
    let Upgrade { response, mut peer, .. } = match upgrade(&request, address, |offered| {
        choose_first(offered, &supported)
    }) {
        Ok(upgrade) => upgrade,
        Err(error) => {
            let code = ErrorCode::InvalidRequest;
            let kind = format!("urn:spandrel:error:{}", code.as_str());
            let mut problem = Problem::new(kind, code.title(), error.status(), error.to_string())
                .with("code", code.as_str())
                .with("recoverable", false);
            if error.status() == StatusCode::UPGRADE_REQUIRED {
                problem = problem.with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            return Ok(problem.into_response());
        }
    };
    peer.is_secure = inner.config.tls.is_some();
    // Read already; a connection keeps them for its life.
    peer.headers = Vec::new();
    peer.offered = Vec::new();
    let limits = link_limits(&inner);
    let tasks = inner.tasks.clone();
    let span = tracing::Span::current();
    tasks.spawn(
        async move {
            match upgraded.await {
                Ok(upgraded) => {
                    let link = accept_upgraded(upgraded, peer, &limits);
                    begin(inner, Connection::with_limits(link, &limits), known).await;
                }
                Err(error) => tracing::debug!(%error, "the upgrade came to nothing"),
            }
        }
        .instrument(span),
    );
    Ok(response.map(|()| Body::empty()))
}

/// Who an upgrade request comes from; `None` when a key in the query has to tell, or nothing does.
fn known(inner: &Inner, request: &Request) -> Result<Option<Known>, Refusal> {
    let auth = &inner.config.auth;
    if auth.is_open() {
        return Ok(None);
    }
    let rechecks = inner.rechecks.subscribe();
    match auth.authenticate(request.headers()) {
        Ok(principal) => {
            let digest = TokenDigest::in_headers(request.headers());
            let proof = digest.map_or(Proof::Nothing, |digest| Proof::Bearer(digest, principal.clone()));
            Ok(Some(Known { principal, proof, rechecks }))
        }
        Err(error) if error.code == ErrorCode::AuthRequired && has_kid(request.uri().query()) => Ok(None),
        Err(error) => Err(Refusal(error)),
    }
}

/// Lets a connection in whose transport is ready, and talks to it.
pub(crate) async fn begin(inner: Arc<Inner>, mut conn: Connection, known: Option<Known>) {
    let peer = conn.peer();
    let admitted = match peer.subprotocol.as_deref().and_then(Subprotocol::parse) {
        None => Err((CloseCode::NO_SUBPROTOCOL, "no acceptable subprotocol")),
        Some(protocol) => admit(&inner, protocol, known, peer.query.as_deref()),
    };
    match admitted {
        Ok(session) => talk(inner, conn, session, Form::Frames).await,
        Err((code, reason)) => {
            let _ = conn.close(Close::new(code.0, reason)).await;
        }
    }
}

/// Bounds of a link.
pub(crate) fn link_limits(inner: &Inner) -> spandrel_transport::Limits {
    let bounds = &inner.config.limits;
    let each = per_address_max(&inner.config, bounds.connections_max);
    let mut limits = spandrel_transport::Limits::default().with_connections_max(bounds.connections_max, each);
    limits.frame_bytes_max = inner.config.sessions.protocol.message_bytes_max;
    // A message over the limit is on its way when it is refused: what is not read becomes a reset, and a reset
    // eats the close code.
    limits.drain_bytes_max = limits.frame_bytes_max.saturating_mul(2);
    limits
}
