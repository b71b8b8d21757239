//! Finished parts over HTTP (protocol sections 12.2 and 12.3).

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::HeaderValue;
use spandrel_download_protocol::{ErrorCode, JobState};
use spandrel_export_engine::internal;
use spandrel_http::{FileFacts, Repeats, UrlError, UrlSigner, open_file, serve_file};
use spandrel_jobs::{Job, JobError, PartFile, Principal, Spec};

use crate::error::Refusal;
use crate::rest::job_id;
use crate::service::Inner;

/// `GET`/`HEAD /v1/files/{id}/{fileName}`.
pub(crate) async fn file(
    State(inner): State<Arc<Inner>>,
    Path((id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let owner = owner(&inner, &request)?;
    let id = job_id(&id)?;
    let (part, content_type) = inner.jobs.read(|table| {
        let job = match &owner {
            Some(principal) => table.own(principal, id)?,
            None => table.job(id).ok_or(JobError::NotFound)?,
        };
        Ok::<_, Refusal>((part(job, &name)?, job.record().spec.content_type.clone()))
    })?;
    let path = inner.jobs.part_path(id, &name).ok_or(JobError::NotFound)?;
    let file = open_file(path, part.bytes).await.map_err(|e| {
        static KIND: Repeats = Repeats::new();
        if let Some(left_out) = KIND.admit(inner.now().mono_ms) {
            tracing::error!(job = %id, part = part.index, error = %e, left_out, "a finished part cannot be served");
        }
        Refusal::new(ErrorCode::FileSystem, "the file cannot be read")
    })?;
    let facts = FileFacts {
        modified: file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
        file,
        len: part.bytes,
        sha256: digest(&part.sha256).ok_or_else(|| Refusal(internal("a record has no digest")))?,
        content_type: HeaderValue::try_from(content_type)
            .map_err(|_| Refusal(internal("a record has no media type")))?,
        file_name: name,
    };
    Ok(serve_file(facts, request.method(), request.headers()))
}

/// Whose files may be fetched; `None`: everybody's.
fn owner(inner: &Inner, request: &Request) -> Result<Option<Principal>, Refusal> {
    let (path, query) = (request.uri().path(), request.uri().query());
    if UrlSigner::is_signed(query) {
        let now_s = inner.now().wall_ms / 1_000;
        return match inner.urls.signer.check(path, query.unwrap_or_default(), now_s) {
            Ok(()) => Ok(None),
            Err(e @ UrlError::Expired) => Err(Refusal::new(ErrorCode::UrlExpired, e.to_string())),
            Err(e) => Err(Refusal::new(ErrorCode::UrlInvalid, e.to_string())),
        };
    }
    if inner.config.auth.is_open() {
        return Ok(None);
    }
    Ok(Some(inner.config.auth.authenticate(request.headers())?))
}

fn part(job: &Job, name: &str) -> Result<PartFile, Refusal> {
    let record = job.record();
    match record.state {
        JobState::Expired => return Err(JobError::Expired.into()),
        JobState::Failed | JobState::Cancelled => return Err(JobError::NotFound.into()),
        _ => {}
    }
    let index = index_of(&record.spec, name).ok_or(JobError::NotFound)?;
    match record.parts.iter().find(|part| part.index == index) {
        Some(part) => Ok(part.clone()),
        None if !record.state.is_final() && u64::from(index) <= record.spec.parts_of(record.total.rows) => {
            Err(Refusal::new(ErrorCode::NotReady, "this file is not finished yet"))
        }
        None => Err(JobError::NotFound.into()),
    }
}

/// Which part has this name, finished or not. Only a name that prints the same counts.
fn index_of(spec: &Spec, name: &str) -> Option<u32> {
    let digits =
        name.strip_prefix(&*spec.file_stem)?.strip_prefix("-part")?.strip_suffix(&*spec.file_suffix)?;
    let index = digits.parse().ok().filter(|n| *n > 0)?;
    (spec.file_name(index) == name).then_some(index)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
