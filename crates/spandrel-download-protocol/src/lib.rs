//! Vocabulary of the download protocol, version 1: envelope, events, requests, filters, errors.

mod client_data;
mod data;
mod envelope;
mod error;
mod filter;
mod ids;
mod json;
mod limits;
mod names;
mod path;
mod query;
mod request;
mod resolve;
mod schema;
mod shape;
mod time;
mod value;

pub use client_data::{Health, HealthKind, JobRef, Scope, StatusCheck};
pub use data::{
    Check, CheckStatus, ConnectionHealth, DatasetInfo, DatasetList, DownloadComplete, DownloadError,
    DownloadList, DownloadStart, DownloadStatus, EventData, FileInfo, HealthStatus, JobState, PlannedFile,
    Preview, ProgressUpdate, SessionState, SystemHealth, parse_progress, percent,
};
pub use envelope::{
    Message, Refusal, ServerMessage, TIMESTAMP_MAX, parse_message, parse_server_message,
    write_client_message, write_message,
};
pub use error::{ErrorCode, ErrorResponse, Problem, ProtocolError};
pub use ids::{DownloadId, RequestId};
pub use limits::Limits;
pub use names::{ClientEvent, CloseCode, ServerEvent, Subprotocol, media_type, part_file_name};
pub use query::{Codec, CsvOptions, Filter, Format, Output, Query, SortKey, SortOrder, Test};
pub use request::{DownloadRequest, RequestCsv, RequestFilter, RequestOptions, RequestSort, SearchParams};
pub use resolve::{Catalog, Defaults, Lookup, Resolved};
pub use schema::{Column, ColumnType, Schema};
pub use time::{Timestamp, UtcOffset, write_timestamp};
pub use value::{Decimal, Value};

pub use canonical::{canonical_json, same_json};
mod canonical {
    //! One text for all spellings of a JSON value.

    use crate::{Limits, json};

    /// One text for all JSON values that are equal: members sorted by name, no white space, numbers by their
    /// value (`1`, `1.0` and `10e-1` are one). `None` when the text is not I-JSON or too deep.
    ///
    /// Kept beside a job, it tells whether a repeated request id comes with the same request (section 3).
    pub fn canonical_json(text: &str) -> Option<String> {
        let json = json::parse(text, Limits::default().json_depth_max).ok()?;
        let mut out = String::with_capacity(text.len());
        json.write_canonical(&mut out);
        Some(out)
    }

    /// Whether two texts are the same JSON value, member order and number spelling ignored.
    pub fn same_json(a: &str, b: &str) -> bool {
        a == b || canonical_json(a).is_some_and(|a| canonical_json(b) == Some(a))
    }
}
