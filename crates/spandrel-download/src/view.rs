//! How a job looks on the wire: the data of its events and of its REST answers (protocol sections 8 to 10).

use spandrel_download_protocol::{
    DownloadComplete, DownloadError, DownloadStart, DownloadStatus, ErrorCode, ErrorResponse, FileInfo,
    JobState, PlannedFile, ProgressUpdate,
};
use spandrel_jobs::{Job, JobTable, PartFile};

/// A URL and when it stops working, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUrl {
    /// Absolute-path reference, or absolute.
    pub url: String,
    /// Milliseconds since 1970.
    pub expires_ms: u64,
}

/// Makes the URLs under which files are fetched.
pub trait Urls {
    /// The URL of a file of a job, as it is handed out at `wall_ms`; the file itself goes at `file_expires_ms`.
    fn file_url(&self, job: &Job, file_name: &str, wall_ms: u64, file_expires_ms: u64) -> FileUrl;
}

/// `/v1/downloads/{id}`.
pub fn status_url(job: &Job) -> String {
    format!("/v1/downloads/{}", job.id())
}

/// `data` of `download:start`.
pub fn start(table: &JobTable, urls: &dyn Urls, wall_ms: u64, job: &Job) -> DownloadStart {
    let record = job.record();
    // Every job has a first part, whatever its rows come to.
    let known = if record.total.is_exact { record.spec.parts_of(record.total.rows) } else { 1 };
    let known = u32::try_from(known).unwrap_or(u32::MAX).min(table.limits().max_parts);
    let expires_ms = file_expires_ms(table, wall_ms, job);
    let is_gone = matches!(record.state, JobState::Failed | JobState::Cancelled | JobState::Expired);
    let files = (1..=if is_gone { 0 } else { known }).map(|index| {
        let file_name = record.spec.file_name(index);
        PlannedFile { index, url: urls.file_url(job, &file_name, wall_ms, expires_ms).url, file_name }
    });
    DownloadStart {
        download_id: record.id,
        state: record.state,
        total_rows: record.total.rows,
        total_rows_exact: record.total.is_exact,
        output_format: record.spec.format.clone(),
        compression: record.spec.codec.is_some(),
        codec: record.spec.codec.clone(),
        formula_guard: record.spec.formula_guard,
        time_zone: record.spec.time_zone,
        files: files.collect(),
        status_url: status_url(job),
        created_at: record.created_ms,
        duplicate: false,
        attached: false,
        // The vocabulary counts the jobs in front.
        queue_position: table
            .queue_position(job.id())
            .map(|place| u64::try_from(place - 1).unwrap_or(u64::MAX)),
    }
}

/// One `ProgressUpdate`.
pub fn update(job: &Job) -> ProgressUpdate {
    let progress = job.progress();
    ProgressUpdate {
        request_id: job.record().request_id.clone(),
        progress: progress.percent,
        processed_rows: progress.rows,
        total_rows: progress.total_rows,
        speed: progress.rows_per_s,
        estimated_remaining_s: progress.remaining_s,
        download_id: job.id(),
        state: progress.state,
        bytes_written: progress.bytes,
        restarts: progress.restarts,
    }
}

/// `DownloadStatus`.
pub fn status(table: &JobTable, urls: &dyn Urls, wall_ms: u64, job: &Job) -> DownloadStatus {
    let record = job.record();
    let progress = job.progress();
    DownloadStatus {
        download_id: record.id,
        request_id: record.request_id.clone(),
        state: record.state,
        progress: progress.percent,
        processed_rows: progress.rows,
        total_rows: progress.total_rows,
        total_rows_exact: progress.is_exact,
        created_at: record.created_ms,
        restarts: record.restarts,
        files: files(table, urls, wall_ms, job),
        error: error(job),
        expires_at: record.expires_ms,
        status_url: status_url(job),
    }
}

/// `data` of `download:complete`.
pub fn complete(table: &JobTable, urls: &dyn Urls, wall_ms: u64, job: &Job) -> DownloadComplete {
    let record = job.record();
    DownloadComplete {
        download_id: record.id,
        total_rows: record.rows,
        elapsed_ms: record.elapsed_ms,
        expires_at: file_expires_ms(table, wall_ms, job),
        files: files(table, urls, wall_ms, job),
    }
}

/// `data` of the `download:error` that ends the attachments of a job.
pub fn ended(job: &Job) -> DownloadError {
    DownloadError { error: error(job).unwrap_or_else(cancelled), download_id: Some(job.id()) }
}

/// What is said of a cancelled job.
pub fn cancelled() -> ErrorResponse {
    ErrorResponse::new(ErrorCode::Cancelled, "the download was cancelled")
}

fn error(job: &Job) -> Option<ErrorResponse> {
    match job.state() {
        JobState::Cancelled => Some(cancelled()),
        JobState::Failed => job.record().failure.clone(),
        _ => None,
    }
}

/// When the files go; while the job runs, as if it were completed now.
fn file_expires_ms(table: &JobTable, wall_ms: u64, job: &Job) -> u64 {
    job.record().expires_ms.unwrap_or_else(|| wall_ms.saturating_add(table.retention().file_ttl_ms))
}

fn files(table: &JobTable, urls: &dyn Urls, wall_ms: u64, job: &Job) -> Vec<FileInfo> {
    let spec = &job.record().spec;
    let expires_at = file_expires_ms(table, wall_ms, job);
    let file = |part: &PartFile| {
        let file_name = spec.file_name(part.index);
        let FileUrl { url, expires_ms } = urls.file_url(job, &file_name, wall_ms, expires_at);
        FileInfo {
            index: part.index,
            file_name,
            content_type: spec.content_type.clone(),
            bytes: part.bytes,
            rows: part.rows,
            sha256: part.sha256.clone(),
            uncompressed_bytes: part.raw_bytes,
            url,
            url_expires_at: expires_ms,
            expires_at,
        }
    };
    job.record().parts.iter().map(file).collect()
}
