//! `GET /v1/ws`: from an HTTP request to a message connection (protocol section 2.1).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use spandrel_download_protocol::{ErrorCode, Subprotocol};
use spandrel_http::Problem;
use spandrel_transport::Connection;
use spandrel_transport_ws::{Upgrade, accept_upgraded, choose_first, upgrade};
use tracing::Instrument as _;

use crate::connection::{SUPPORTED, talk};
use crate::error::Refusal;
use crate::service::Inner;

pub(crate) async fn open(State(inner): State<Arc<Inner>>, mut request: Request) -> Result<Response, Refusal> {
    let principal = inner.config.auth.authenticate(request.headers())?;
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let upgraded = hyper::upgrade::on(&mut request);
    let supported = SUPPORTED.map(Subprotocol::as_str);
    let Upgrade { response, peer, .. } = match upgrade(&request, address, |offered| {
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
    let mut limits = spandrel_transport::Limits::default();
    limits.frame_bytes_max = inner.config.sessions.protocol.message_bytes_max;
    // A message over the limit is on its way when it is refused: what is not read becomes a reset, and a reset
    // eats the close code.
    limits.drain_bytes_max = limits.frame_bytes_max.saturating_mul(2);
    let tasks = inner.tasks.clone();
    let span = tracing::Span::current();
    tasks.spawn(
        async move {
            match upgraded.await {
                Ok(upgraded) => {
                    let link = accept_upgraded(upgraded, peer, &limits);
                    talk(inner, Connection::with_limits(link, &limits), principal).await;
                }
                Err(error) => tracing::debug!(%error, "the upgrade came to nothing"),
            }
        }
        .instrument(span),
    );
    Ok(response.map(|()| Body::empty()))
}
