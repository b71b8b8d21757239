//! What is known of a job and outlives the process.

use serde::{Deserialize, Serialize};

use spandrel_download_protocol::{DownloadId, ErrorResponse, JobState, RequestId, UtcOffset};

use crate::Principal;

/// What a job is to do, fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Name of the data set.
    pub dataset: String,
    /// Text by which the source finds the accepted rows again.
    pub snapshot: String,
    /// The request as it came, JSON text: what a later process reads again.
    pub request: String,
    /// Equal keys are equal requests; a digest of the request's canonical form.
    pub request_key: String,
    /// `csv`, `json` or `ndjson`.
    pub format: String,
    /// `gzip` or `zstd`, when the files are compressed.
    pub codec: Option<String>,
    /// Whether text that looks like a formula is defused; the server's default at the time included.
    pub formula_guard: bool,
    /// Offset of printed times.
    pub time_zone: UtcOffset,
    /// File names up to the part number.
    pub file_stem: String,
    /// File names after the part number, with the dot.
    pub file_suffix: String,
    /// Media type of the files.
    pub content_type: String,
    /// Rows in a full part, at least 1.
    pub rows_per_file: u64,
}

impl Spec {
    /// Name of part `index` (from 1).
    pub fn file_name(&self, index: u32) -> String {
        format!("{}-part{index:05}{}", self.file_stem, self.file_suffix)
    }

    /// Parts that `rows` rows make; at least one.
    pub fn parts_of(&self, rows: u64) -> u64 {
        rows.div_ceil(self.rows_per_file.max(1)).max(1)
    }
}

/// How many rows a job has to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Total {
    /// Rows to write: the number itself, or an upper bound of it.
    pub rows: u64,
    /// Whether `rows` is the final number.
    pub is_exact: bool,
    /// Source rows to look at; what progress is measured by until the total is exact.
    pub scan_rows: u64,
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// From 1.
    pub index: u32,
    /// Rows in it.
    pub rows: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// SHA-256 of the stored bytes, 64 lower-case hex digits.
    pub sha256: String,
}

/// Everything about a job that is kept on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name.
    pub id: DownloadId,
    /// Owner.
    pub principal: Principal,
    /// Chosen by the client; unique among the owner's jobs.
    pub request_id: RequestId,
    /// What to do.
    pub spec: Spec,
    /// Where it stands.
    pub state: JobState,
    /// Milliseconds since 1970 at which it was accepted.
    pub created_ms: u64,
    /// Milliseconds since 1970 of the last change of `state`.
    pub changed_ms: u64,
    /// Milliseconds from acceptance to the end; 0 before.
    pub elapsed_ms: u64,
    /// Rows written.
    pub rows: u64,
    /// Source rows looked at.
    pub scanned: u64,
    /// Stored bytes written.
    pub bytes: u64,
    /// Rows to write.
    pub total: Total,
    /// Times the job was continued by a new process.
    pub restarts: u32,
    /// Finished files, by index.
    #[serde(skip)]
    pub parts: Vec<PartFile>,
    /// Why it failed.
    pub failure: Option<ErrorResponse>,
    /// Milliseconds since 1970 after which the files are deleted; set when completed.
    pub expires_ms: Option<u64>,
}
