//! `data` of the events a server sends, and bodies of its HTTP answers (protocol sections 8 to 12).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{
    Column, DownloadId, DownloadRequest, ErrorResponse, Health, JobRef, ProtocolError, RequestId,
    StatusCheck, Timestamp, UtcOffset,
};

/// What may stand in `data`: plain data that always serialises. Sealed.
pub trait EventData: Serialize + sealed::Sealed {}

mod sealed {
    #[expect(unnameable_types, reason = "a seal")]
    pub trait Sealed {}
}

macro_rules! event_data {
    ($($name:ty),* $(,)?) => { $(impl sealed::Sealed for $name {} impl EventData for $name {})* };
}

event_data!(
    DownloadStart,
    ProgressUpdate,
    DownloadComplete,
    DownloadError,
    SessionState,
    SessionState<Box<RawValue>>,
    ErrorResponse,
    ConnectionHealth,
    DownloadRequest,
    JobRef,
    StatusCheck,
    Health,
    RawValue,
    serde_json::Value,
);
impl<T: EventData> sealed::Sealed for [T] {}
impl<T: EventData> EventData for [T] {}
impl<T: EventData> sealed::Sealed for Vec<T> {}
impl<T: EventData> EventData for Vec<T> {}

/// State of a job (section 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Accepted, waiting for a slot.
    Pending,
    /// Writing rows.
    Generating,
    /// Held by a client.
    Paused,
    /// All parts are there.
    Completed,
    /// Ended without files.
    Failed,
    /// Stopped by a client.
    Cancelled,
    /// Completed once, files gone.
    Expired,
}

impl JobState {
    /// Every state.
    pub const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Generating,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Generating => "generating",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.as_str() == name)
    }

    /// Whether no more rows will come; `completed` still becomes `expired`.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

/// `data` of `download:start` (section 8.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadStart {
    /// The job.
    pub download_id: DownloadId,
    /// Its state.
    pub state: JobState,
    /// Rows to come; an upper bound unless `total_rows_exact`.
    pub total_rows: u64,
    /// Whether `total_rows` is the final number.
    pub total_rows_exact: bool,
    /// Name of the format.
    pub output_format: String,
    /// Whether parts are compressed.
    pub compression: bool,
    /// How; `null` without compression.
    pub codec: Option<String>,
    /// Effective formula guard.
    pub formula_guard: bool,
    /// Offset of printed timestamps.
    pub time_zone: UtcOffset,
    /// Known parts; all of them when `total_rows_exact`.
    pub files: Vec<PlannedFile>,
    /// `/v1/downloads/{downloadId}`.
    pub status_url: String,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// The request was made before; this is its job.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// Answers `download:attach`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub attached: bool,
    /// Jobs in front of this one while `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
}

/// A part that is going to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedFile {
    /// From 1.
    pub index: u32,
    /// Name it will have.
    pub file_name: String,
    /// Absolute-path reference against the HTTP origin of the server.
    pub url: String,
}

/// One entry of `download:progress` (section 9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressUpdate {
    /// Of the request that made the job.
    pub request_id: RequestId,
    /// Percent, 0 to 100, at most two decimals, rounded down; see [`percent`].
    #[serde(serialize_with = "number")]
    pub progress: f64,
    /// Rows that passed the filter and were rendered.
    pub processed_rows: u64,
    /// Rows to come, corrected as it becomes known.
    pub total_rows: u64,
    /// Rows per second over the last 5 s.
    #[serde(serialize_with = "number")]
    pub speed: f64,
    /// Seconds; -1 when unknown. `estimatedTimeRemaining` on the wire.
    #[serde(rename = "estimatedTimeRemaining", serialize_with = "number_or_unknown")]
    pub estimated_remaining_s: f64,
    /// The job.
    pub download_id: DownloadId,
    /// Its state.
    pub state: JobState,
    /// Bytes of parts so far.
    pub bytes_written: u64,
    /// Times the job was continued by a new server process.
    pub restarts: u32,
}

/// `done` of `total` in percent with two decimals, rounded down; 100 only when `done` reaches `total`.
///
/// Nothing of nothing is 0: whether such a job is over is not told by its rows.
pub fn percent(done: u64, total: u64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    let hundredths = u128::from(done.min(total)) * 10_000 / u128::from(total);
    f64::from(u16::try_from(hundredths).unwrap_or(10_000)) / 100.0
}

/// Reads `data` of `download:progress`: one update, or an array of them.
///
/// # Errors
///
/// [`ProtocolError::ServerMessage`] for anything else.
pub fn parse_progress(data: &RawValue) -> Result<Vec<ProgressUpdate>, ProtocolError> {
    let read = if data.get().starts_with('[') {
        serde_json::from_str(data.get())
    } else {
        serde_json::from_str(data.get()).map(|one| vec![one])
    };
    read.map_err(|e| ProtocolError::ServerMessage(e.to_string()))
}

/// `data` of `download:complete` (section 8.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadComplete {
    /// The job.
    pub download_id: DownloadId,
    /// Rows of all parts.
    pub total_rows: u64,
    /// Milliseconds from acceptance to the end.
    pub elapsed_ms: u64,
    /// When the files go, milliseconds since 1970.
    pub expires_at: u64,
    /// Ordered by `index`.
    pub files: Vec<FileInfo>,
}

/// A finished part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileInfo {
    /// From 1.
    pub index: u32,
    /// Name of the file.
    pub file_name: String,
    /// Media type.
    pub content_type: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// SHA-256 of the stored bytes, 64 lower-case hex digits.
    pub sha256: String,
    /// Bytes before compression.
    pub uncompressed_bytes: u64,
    /// Absolute-path reference against the HTTP origin, or an absolute URL with `publicBaseUrl`.
    pub url: String,
    /// When `url` stops working, milliseconds since 1970.
    pub url_expires_at: u64,
    /// When the file goes, milliseconds since 1970.
    pub expires_at: u64,
}

/// `data` of `download:error`: a refusal, with the job if there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadError {
    /// What went wrong.
    #[serde(flatten)]
    pub error: ErrorResponse,
    /// The job it ends or is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_id: Option<DownloadId>,
}

/// `data` of `status:update` (section 10.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionState<S = DownloadStatus> {
    /// True in every message that arrives.
    pub connected: bool,
    /// When the server last received any frame, milliseconds since 1970.
    pub last_heartbeat: u64,
    /// The jobs asked for; a sender may have them written already, as [`RawValue`]s.
    pub active_downloads: BTreeMap<DownloadId, S>,
    /// How the server is.
    pub system_health: SystemHealth,
}

/// State of one job, also the body of `/v1/downloads/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadStatus {
    /// The job.
    pub download_id: DownloadId,
    /// Of the request that made it.
    pub request_id: RequestId,
    /// Its state.
    pub state: JobState,
    /// Percent, as in [`ProgressUpdate`].
    #[serde(serialize_with = "number")]
    pub progress: f64,
    /// Rows rendered.
    pub processed_rows: u64,
    /// Rows to come; an upper bound unless `total_rows_exact`.
    pub total_rows: u64,
    /// Whether `total_rows` is the final number.
    pub total_rows_exact: bool,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// Times the job was continued by a new server process.
    pub restarts: u32,
    /// Finished parts.
    pub files: Vec<FileInfo>,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorResponse>,
    /// When the files go, once the job is completed; milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// `/v1/downloads/{downloadId}`.
    pub status_url: String,
}

/// How the server is; also the body of `/v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemHealth {
    /// The worst of the checks.
    pub status: HealthStatus,
    /// Source, storage, memory.
    pub checks: Vec<Check>,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// Jobs generating.
    pub active_jobs: u64,
    /// Jobs pending.
    pub queued_jobs: u64,
}

/// One word on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// All is well.
    Healthy,
    /// Something warns.
    Degraded,
    /// Something fails; `/v1/health` answers 503.
    Unhealthy,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `source`, `storage`, `memory`, …
    pub name: String,
    /// What was found.
    pub status: CheckStatus,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Fine.
    Ok,
    /// Worth a look.
    Warn,
    /// Broken.
    Fail,
}

impl SystemHealth {
    /// The verdict over `checks`: the worst of them decides.
    pub fn of(checks: Vec<Check>, timestamp: u64, active_jobs: u64, queued_jobs: u64) -> Self {
        let status = match checks.iter().map(|c| c.status).max() {
            Some(CheckStatus::Fail) => HealthStatus::Unhealthy,
            Some(CheckStatus::Warn) => HealthStatus::Degraded,
            _ => HealthStatus::Healthy,
        };
        Self { status, checks, timestamp, active_jobs, queued_jobs }
    }
}

/// `data` of a server's `connection:health` (section 10.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ConnectionHealth {
    /// First message of the server.
    #[serde(rename_all = "camelCase")]
    Hello {
        /// Milliseconds since 1970.
        server_time: u64,
        /// Names the connection in the server's log.
        session_id: String,
        /// Subprotocol in use.
        protocol: String,
        /// Milliseconds between the server's pings.
        heartbeat_interval_ms: u64,
        /// Milliseconds of silence on top of the interval before the server closes 4408.
        heartbeat_timeout_ms: u64,
        /// Largest message the server takes.
        max_message_bytes: u64,
        /// `format:…`, `codec:…`.
        features: Vec<String>,
        /// How the server is.
        system_health: SystemHealth,
        /// 16 bytes as base64url; encrypted sessions only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_nonce: Option<String>,
    },
    /// Wants a pong with the same request id within a second.
    Ping,
    /// Answers a ping.
    #[serde(rename_all = "camelCase")]
    Pong {
        /// Milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_time: Option<u64>,
        /// How the server is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system_health: Option<SystemHealth>,
    },
}

/// Body of `GET /v1/datasets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetList {
    /// Those the principal may read.
    pub datasets: Vec<DatasetInfo>,
}

/// One data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetInfo {
    /// Name in requests.
    pub name: String,
    /// Whether it is taken when a request names none.
    pub default: bool,
    /// Its time column.
    pub time_column: String,
    /// Every column, in order.
    pub columns: Vec<Column>,
    /// Rows as indexed.
    pub rows: u64,
    /// Earliest time; `null` without rows.
    pub time_min: Option<Timestamp>,
    /// Latest time; `null` without rows.
    pub time_max: Option<Timestamp>,
}

/// Body of `GET /v1/downloads`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadList {
    /// Newest first.
    pub downloads: Vec<DownloadStatus>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Body of the answer to `POST /v1/preview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Rows the download would have; an upper bound unless `total_rows_exact`.
    pub total_rows: u64,
    /// Whether `total_rows` is the final number.
    pub total_rows_exact: bool,
    /// Selected columns in order.
    pub columns: Vec<String>,
    /// First rows, cells as text of section 7 before quoting.
    pub rows: Vec<Vec<Option<String>>>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// JSON has no infinity and no NaN: they are written as 0. Whole numbers are written without fraction.
fn number<S: Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
    write_number(*value, 0, s)
}

/// The same for a duration, where -1 stands for unknown.
fn number_or_unknown<S: Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
    write_number(*value, -1, s)
}

#[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
fn write_number<S: Serializer>(value: f64, unknown: i64, s: S) -> Result<S::Ok, S::Error> {
    match value {
        v if !v.is_finite() => s.serialize_i64(unknown),
        v if v.fract() == 0.0 && v.abs() < 9.0e15 => s.serialize_i64(v as i64),
        v => s.serialize_f64(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use proptest::prelude::*;
    use serde_json::{from_str, json, to_string, to_value};

    fn update() -> ProgressUpdate {
        ProgressUpdate {
            request_id: "a".parse().unwrap(),
            progress: 33.33,
            processed_rows: 1,
            total_rows: 3,
            speed: 100.0,
            estimated_remaining_s: f64::INFINITY,
            download_id: DownloadId::from_bytes([0; 16]),
            state: JobState::Generating,
            bytes_written: 9,
            restarts: 0,
        }
    }

    #[test]
    fn percent_is_rounded_down_to_two_decimals() {
        for (done, total, want) in [
            (0, 3, 0.0),
            (1, 3, 33.33),
            (2, 3, 66.66),
            (3, 3, 100.0),
            (999_999, 1_000_000, 99.99),
            (19_999, 20_000, 99.99),
            (0, 0, 0.0),
        ] {
            assert!(
                (percent(done, total) - want).abs() < 1e-9,
                "{done} of {total}: {}",
                percent(done, total)
            );
        }
    }

    #[test]
    fn progress_has_the_wire_names_and_no_infinity() {
        let text = to_string(&ProgressUpdate { speed: f64::NAN, ..update() }).unwrap();
        assert_eq!(
            text,
            "{\"requestId\":\"a\",\"progress\":33.33,\"processedRows\":1,\"totalRows\":3,\"speed\":0,\
             \"estimatedTimeRemaining\":-1,\"downloadId\":\"dl_AAAAAAAAAAAAAAAAAAAAAA\",\
             \"state\":\"generating\",\"bytesWritten\":9,\"restarts\":0}"
        );
        let one: Box<RawValue> = RawValue::from_string(text.clone()).unwrap();
        let two: Box<RawValue> = RawValue::from_string(format!("[{text},{text}]")).unwrap();
        assert_eq!(parse_progress(&one).unwrap().len(), 1);
        assert_eq!(parse_progress(&two).unwrap().len(), 2);
        assert!(parse_progress(&RawValue::from_string("5".to_owned()).unwrap()).is_err());
    }

    #[test]
    fn optional_members_are_absent_not_null() {
        let start = DownloadStart {
            download_id: DownloadId::from_bytes([0; 16]),
            state: JobState::Pending,
            total_rows: 5,
            total_rows_exact: true,
            output_format: "csv".to_owned(),
            compression: false,
            codec: None,
            formula_guard: false,
            time_zone: UtcOffset::Zulu,
            files: vec![],
            status_url: "/v1/downloads/dl_AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            created_at: 1,
            duplicate: false,
            attached: true,
            queue_position: None,
        };
        let value = to_value(&start).unwrap();
        assert_eq!(value["codec"], json!(null));
        assert_eq!((value["attached"].clone(), value["timeZone"].clone()), (json!(true), json!("Z")));
        assert!(value.get("duplicate").is_none() && value.get("queuePosition").is_none());
        assert_eq!(from_str::<DownloadStart>(&value.to_string()).unwrap(), start);
    }

    #[test]
    fn an_error_of_a_job_is_flat() {
        let error = ErrorResponse::new(ErrorCode::Cancelled, "cancelled");
        let error = DownloadError { error, download_id: Some(DownloadId::from_bytes([0; 16])) };
        let text = to_string(&error).unwrap();
        assert_eq!(
            text,
            "{\"code\":\"CANCELLED\",\"message\":\"cancelled\",\"recoverable\":false,\
             \"downloadId\":\"dl_AAAAAAAAAAAAAAAAAAAAAA\"}"
        );
        assert_eq!(from_str::<DownloadError>(&text).unwrap(), error);
    }

    #[test]
    fn health_is_tagged_by_kind_and_the_worst_check_decides() {
        assert_eq!(to_string(&ConnectionHealth::Ping).unwrap(), "{\"kind\":\"ping\"}");
        let check = |status| Check { name: "source".to_owned(), status, message: None };
        let health = SystemHealth::of(vec![check(CheckStatus::Ok), check(CheckStatus::Warn)], 5, 1, 2);
        let pong = ConnectionHealth::Pong { server_time: Some(1), system_health: Some(health) };
        assert_eq!(
            to_string(&pong).unwrap(),
            "{\"kind\":\"pong\",\"serverTime\":1,\"systemHealth\":{\"status\":\"degraded\",\"checks\":\
             [{\"name\":\"source\",\"status\":\"ok\"},{\"name\":\"source\",\"status\":\"warn\"}],\
             \"timestamp\":5,\"activeJobs\":1,\"queuedJobs\":2}}"
        );
        let later = "{\"kind\":\"pong\",\"new\":1}";
        assert_eq!(
            from_str::<ConnectionHealth>(later).unwrap(),
            ConnectionHealth::Pong { server_time: None, system_health: None }
        );
        assert_eq!(SystemHealth::of(vec![check(CheckStatus::Fail)], 0, 0, 0).status, HealthStatus::Unhealthy);
    }

    #[test]
    fn sessions_are_keyed_by_download() {
        let id = DownloadId::from_bytes([1; 16]);
        let status = DownloadStatus {
            download_id: id,
            request_id: RequestId::server(3),
            state: JobState::Failed,
            progress: 0.0,
            processed_rows: 0,
            total_rows: 0,
            total_rows_exact: true,
            created_at: 0,
            restarts: 0,
            files: vec![],
            error: Some(ErrorResponse::new(ErrorCode::SourceChanged, "changed")),
            expires_at: None,
            status_url: String::new(),
        };
        let state = SessionState {
            connected: true,
            last_heartbeat: 0,
            active_downloads: BTreeMap::from([(id, status)]),
            system_health: SystemHealth::of(vec![], 0, 0, 0),
        };
        let value = to_value(&state).unwrap();
        assert_eq!(value["activeDownloads"][id.to_string()]["error"]["code"], "SOURCE_CHANGED");
        assert_eq!(from_str::<SessionState>(&value.to_string()).unwrap(), state);
    }

    proptest! {
        /// Percent never passes the true share, has two decimals at most, and is 100 only at the end.
        #[test]
        fn prop_percent_rounds_down(done: u64, total in 1_u64..) {
            let done = done % (total.saturating_add(1)).max(1);
            let p = percent(done, total);
            prop_assert!((0.0..=100.0).contains(&p));
            prop_assert_eq!(p >= 100.0, done >= total);
            let text = format!("{p}");
            prop_assert!(text.split_once('.').is_none_or(|(_, f)| f.len() <= 2), "{text}");
            let hundredths: u128 = format!("{p:.2}").replace('.', "").parse().unwrap();
            prop_assert!(hundredths * u128::from(total) <= u128::from(done) * 10_000);
        }
    }
}
