//! REST calls of protocol section 12.1.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use spandrel_crypto::encode_base64url;
use spandrel_download::view;
use spandrel_download_protocol::{
    DownloadId, DownloadList, DownloadRequest, DownloadStatus, ErrorCode, ErrorResponse, HealthStatus,
    JobState, Preview, RequestId,
};
use spandrel_export_engine::{Control, JobsError};
use spandrel_http::{BodyError, Limits, Repeats, read_body};
use spandrel_jobs::{Cursor, JobError, Principal};

use crate::error::Refusal;
use crate::hub::Mailbox;
use crate::service::{Inner, random};

type Answer = Result<Response, Refusal>;
type Params = Query<HashMap<String, String>>;

/// `POST /v1/downloads`.
pub(crate) async fn create(State(inner): State<Arc<Inner>>, request: Request) -> Answer {
    let (principal, request) = caller(&inner, request)?;
    let request_id = match request.headers().get("idempotency-key") {
        None => RequestId::parse(&format!("http-{}", encode_base64url(&random()?))),
        Some(key) => RequestId::parse(key.to_str().unwrap_or_default()),
    };
    let request_id = request_id.map_err(|e| Refusal::new(ErrorCode::InvalidRequest, e.to_string()))?;
    let (body, text) = download_request(&inner, request).await?;
    let accepted = {
        let principal = principal.clone();
        blocking(&inner, move |inner| inner.create(&principal, &request_id, &body, text, true)).await?
    };
    let status = status_of(&inner, &principal, accepted.id)?;
    if accepted.is_duplicate {
        return Ok(json(&status));
    }
    inner.metrics.created.inc();
    let location = HeaderValue::try_from(&status.status_url).ok();
    let mut answer = (StatusCode::ACCEPTED, json(&status)).into_response();
    if let Some(location) = location {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// `GET /v1/downloads?state=&cursor=&limit=`.
pub(crate) async fn list(
    State(inner): State<Arc<Inner>>,
    Query(params): Params,
    headers: HeaderMap,
) -> Answer {
    let principal = inner.config.auth.authenticate(&headers)?;
    let get = |name: &str| params.get(name).filter(|text| !text.is_empty());
    let wrong = |what: &str| Refusal::new(ErrorCode::InvalidRequest, what);
    let state = get("state")
        .map(|name| JobState::parse(name).ok_or_else(|| wrong("state is not a state of a download")));
    let after = get("cursor")
        .map(|text| Cursor::parse(text).ok_or_else(|| wrong("cursor is not one that was handed out")));
    let max = inner.config.limits.page_max;
    let limit = get("limit").map(|text| {
        let limit = text.parse::<usize>().ok().filter(|n| (1..=max).contains(n));
        limit.ok_or_else(|| wrong(&format!("limit is a number from 1 to {max}")))
    });
    let (state, after, limit) = (state.transpose()?, after.transpose()?, limit.transpose()?.unwrap_or(100));
    let list = inner.look(|now, world| {
        let page = world.table.list(&principal, state, after, limit);
        let mut list = DownloadList { downloads: Vec::new(), next_cursor: page.next.map(|c| c.to_string()) };
        let (mut files, mut last) = (0, None);
        for job in page.ids.into_iter().filter_map(|id| world.table.job(id)) {
            files += job.record().parts.len();
            if let Some(last) = last.filter(|_| files > inner.config.limits.page_files_max) {
                list.next_cursor = Some(Cursor::of(last).to_string());
                break;
            }
            list.downloads.push(view::status(world.table, world.urls, now.wall_ms, job));
            last = Some(job);
        }
        list
    });
    Ok(json(&list))
}

/// `GET /v1/downloads/{id}?wait=SECONDS`.
pub(crate) async fn one(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    Query(params): Params,
    headers: HeaderMap,
) -> Answer {
    let principal = inner.config.auth.authenticate(&headers)?;
    let id = job_id(&id)?;
    let seconds = match params.get("wait") {
        None => 0,
        Some(text) => text.parse::<u64>().ok().filter(|s| *s <= 60).ok_or_else(|| {
            Refusal::new(ErrorCode::InvalidRequest, "wait is a number of seconds from 0 to 60")
        })?,
    };
    let status = status_of(&inner, &principal, id)?;
    if seconds == 0 || status.state.is_final() {
        return Ok(json(&status));
    }
    let busy = |_| Refusal::new(ErrorCode::Overloaded, "too many requests are waiting; ask without wait");
    let _slot = inner.waits.try_acquire().map_err(busy)?;
    let follower = Follower::new(&inner, id);
    let over = async {
        loop {
            // Rings come ten times a second; the whole status, files and all, is made once at the end.
            let is_over =
                inner.jobs.read(|table| table.own(&principal, id).map_or(true, |job| job.state().is_final()));
            if is_over {
                return;
            }
            tokio::select! {
                () = follower.mailbox.rung() => {}
                () = inner.stopping.cancelled() => return,
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(seconds), over).await;
    Ok(json(&status_of(&inner, &principal, id)?))
}

/// `POST /v1/downloads/{id}/cancel`.
pub(crate) async fn cancel(inner: State<Arc<Inner>>, id: Path<String>, headers: HeaderMap) -> Answer {
    tell(inner, id, headers, |inner, principal, id| inner.jobs.cancel(principal, id)).await
}

/// `POST /v1/downloads/{id}/pause`.
pub(crate) async fn pause(inner: State<Arc<Inner>>, id: Path<String>, headers: HeaderMap) -> Answer {
    tell(inner, id, headers, |inner, principal, id| inner.jobs.pause(principal, id)).await
}

/// `POST /v1/downloads/{id}/resume`.
pub(crate) async fn resume(inner: State<Arc<Inner>>, id: Path<String>, headers: HeaderMap) -> Answer {
    tell(inner, id, headers, |inner, principal, id| inner.jobs.resume(principal, id)).await
}

/// `DELETE /v1/downloads/{id}`.
pub(crate) async fn delete(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let principal = inner.config.auth.authenticate(&headers)?;
    let id = job_id(&id)?;
    blocking(&inner, move |inner| Ok(inner.jobs.delete(&principal, id)?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/datasets`.
pub(crate) async fn datasets(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Answer {
    let principal = inner.config.auth.authenticate(&headers)?;
    Ok(json(&inner.datasets.list(&principal)))
}

/// `POST /v1/preview?rows=N`.
pub(crate) async fn preview(
    State(inner): State<Arc<Inner>>,
    Query(params): Params,
    request: Request,
) -> Answer {
    let (principal, request) = caller(&inner, request)?;
    let rows = match params.get("rows") {
        None => 20,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|n| *n <= 100)
            .ok_or_else(|| Refusal::new(ErrorCode::InvalidRequest, "rows is a number from 0 to 100"))?,
    };
    let (request, text) = download_request(&inner, request).await?;
    let closed = |_| Refusal(crate::service::shutting_down());
    let limit = Duration::from_millis(inner.config.limits.command_ms_max);
    let slot = tokio::time::timeout(limit, Arc::clone(&inner.previews).acquire_owned()).await;
    let slot = slot.map_err(|_| {
        let message = "as many previews as may be are being made; try again later";
        Refusal(ErrorResponse::new(ErrorCode::Overloaded, message).with_retry_after(10_000))
    })?;
    let slot = slot.map_err(closed)?;
    // Stops the reading when the caller goes away, too.
    let stop = StopOnDrop(Arc::new(Control::new()));
    let (prepared, head, slot) = {
        let control = Arc::clone(&stop.0);
        blocking(&inner, move |inner| {
            let resolved = inner.datasets.resolve(&principal, &request)?;
            let mut prepared = inner.datasets.prepare(resolved, text)?;
            prepared.export.scratch =
                inner.config.state_dir.join("scratch").join(encode_base64url(&random()?));
            let head = prepared.export.preview(rows, &control).map_err(|e| read_failed(inner, &e))?;
            Ok((prepared, head, slot))
        })
        .await?
    };
    let mut total = prepared.total;
    if !total.is_exact {
        let (export, control) = (prepared.export.clone(), Arc::clone(&stop.0));
        // Its place is free when the thread is: a source may give no answer for long.
        let count = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            export.count(&control)
        });
        let limit = Duration::from_millis(inner.config.limits.preview_count_ms_max);
        if let Ok(Ok(counted)) = tokio::time::timeout(limit, count).await {
            total.rows = counted.map_err(|e| read_failed(&inner, &e))?;
            total.is_exact = true;
        }
    }
    Ok(json(&Preview {
        total_rows: total.rows,
        total_rows_exact: total.is_exact,
        columns: prepared.columns,
        rows: head.rows,
    }))
}

/// `GET /v1/health`.
pub(crate) async fn health(State(inner): State<Arc<Inner>>) -> Response {
    let health = inner.health();
    let status = match health.status {
        HealthStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    (status, json(&health)).into_response()
}

/// `GET /v1/openapi.json`.
pub(crate) async fn openapi(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Answer {
    inner.config.auth.authenticate(&headers)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], crate::OPENAPI).into_response())
}

async fn tell(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    ask: impl FnOnce(&Inner, &Principal, DownloadId) -> Result<(), JobsError> + Send + 'static,
) -> Answer {
    let principal = inner.config.auth.authenticate(&headers)?;
    let id = job_id(&id)?;
    let who = principal.clone();
    blocking(&inner, move |inner| Ok(ask(inner, &who, id)?)).await?;
    Ok(json(&status_of(&inner, &principal, id)?))
}

fn caller(inner: &Inner, request: Request) -> Result<(Principal, Request), Refusal> {
    Ok((inner.config.auth.authenticate(request.headers())?, request))
}

/// The body as a request, and as the text that tells equal requests.
async fn download_request(inner: &Inner, request: Request) -> Result<(DownloadRequest, String), Refusal> {
    let limits = &inner.datasets.defaults().limits;
    // A body that is not much too long is read all the same: an answer given before the end of the body is lost
    // when the connection is reset under a client that still sends.
    let bounds = Limits {
        body_bytes_max: limits.message_bytes_max.saturating_mul(2),
        body_read_ms_max: inner.config.limits.body_ms_max,
    };
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, &bounds).await.map_err(|e| {
        let code = match e {
            BodyError::TooLarge { .. } => ErrorCode::BodyTooLarge,
            BodyError::TooSlow { .. } => ErrorCode::Timeout,
            _ => ErrorCode::MalformedMessage,
        };
        match code {
            ErrorCode::Timeout => Refusal(ErrorResponse::new(code, e.to_string()).with_retry_after(1_000)),
            _ => Refusal::new(code, e.to_string()),
        }
    })?;
    let request = DownloadRequest::from_body(&body, limits)?;
    // UTF-8, or it would not have been read.
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok((request, text))
}

pub(crate) fn job_id(text: &str) -> Result<DownloadId, Refusal> {
    DownloadId::parse(text).map_err(|_| JobError::NotFound.into())
}

fn status_of(inner: &Inner, principal: &Principal, id: DownloadId) -> Result<DownloadStatus, Refusal> {
    inner.look(|now, world| {
        let job = world.table.own(principal, id)?;
        Ok(view::status(world.table, world.urls, now.wall_ms, job))
    })
}

fn read_failed(inner: &Inner, e: &spandrel_export_engine::ExportError) -> ErrorResponse {
    static KIND: Repeats = Repeats::new();
    if let Some(left_out) = KIND.admit(inner.now().mono_ms) {
        tracing::warn!(error = %e, left_out, "a preview failed");
    }
    ErrorResponse::new(ErrorCode::SourceError, "the data set could not be read").with_retry_after(5_000)
}

fn json(body: &impl serde::Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn blocking<R: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<R, ErrorResponse> + Send + 'static,
) -> Result<R, Refusal> {
    inner.blocking(work).await.map_err(Refusal)
}

/// Follows one job for as long as it lives.
struct Follower {
    inner: Arc<Inner>,
    id: DownloadId,
    mailbox: Arc<Mailbox>,
}

impl Follower {
    fn new(inner: &Arc<Inner>, id: DownloadId) -> Self {
        let mailbox = Arc::default();
        inner.hub.follow(id, &mailbox);
        Self { inner: Arc::clone(inner), id, mailbox }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.inner.hub.unfollow(self.id, &self.mailbox);
    }
}

struct StopOnDrop(Arc<Control>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
