//! Vocabulary of the download protocol, version 1: envelope, events, requests, filters, errors.
//!
//! It reads what a stranger wrote into plain data or a refusal that names the fault, and writes what the protocol
//! allows. It never opens a socket, reads a clock, draws a random number or looks at rows.
//!
//! ```
//! use std::sync::Arc;
//! use spandrel_download_protocol::{
//!     Column, ColumnType, Defaults, DownloadRequest, Limits, Lookup, Schema, ServerEvent, parse_message,
//!     write_message,
//! };
//!
//! let limits = Limits::default();
//! let text = r#"{"event":"download:request","timestamp":0,"requestId":"r-1","data":{
//!     "searchParams":{"timeFrom":"2024-03-01T00:00:00Z","timeTo":"2024-03-02T00:00:00Z",
//!         "filters":[{"field":"price","op":"gt","value":"99.50"}]},
//!     "outputFormat":"csv","compression":false}}"#;
//!
//! // Envelope, then shape, then names and types.
//! let message = parse_message(text, &limits).unwrap();
//! let request = DownloadRequest::parse(message.data, &limits).unwrap();
//! let columns = vec![Column::timestamp("time", 3), Column::new("price", ColumnType::Decimal)];
//! let schema = Arc::new(Schema::new(columns, 0).unwrap());
//! let catalog = |_: Option<&str>| Lookup::Found { name: "trades".into(), schema: schema.clone() };
//! let resolved = request.resolve(&catalog, &Defaults::default()).unwrap();
//! assert_eq!((&*resolved.dataset, resolved.query.filters.len()), ("trades", 1));
//!
//! // A refusal goes back under the same request id.
//! let wrong = request.dataset("other").resolve(&|_: Option<&str>| Lookup::Unknown, &Defaults::default());
//! let answer = write_message(ServerEvent::DownloadError, message.request_id.as_str(), 5, &wrong.unwrap_err());
//! assert!(answer.starts_with(r#"{"event":"download:error","data":{"code":"UNKNOWN_DATASET","#));
//! ```
//!
//! The bytes are specified in the download protocol, version 1: sections 3 (envelope), 4 (events), 5 (requests),
//! 6 (filters), 8 to 10 (answers), 11 (errors). Bounds: [`Limits`], each with a test that goes one over.
//!
//! Reading order: `json` (the strict reader), `envelope`, `request`, `resolve`, `filter`, `data`, `filter_text`.

mod canonical;
mod client_data;
mod data;
mod envelope;
mod error;
mod filter;
mod filter_text;
#[doc(hidden)]
pub mod fuzz;
mod ids;
mod json;
mod limits;
mod names;
mod pair;
mod path;
mod query;
mod request;
mod resolve;
mod schema;
mod shape;
mod time;
mod value;

pub use canonical::{canonical_json, same_json};
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
pub use filter_text::parse_filter_text;
pub use ids::{DownloadId, RequestId};
pub use limits::Limits;
pub use names::{ClientEvent, CloseCode, ServerEvent, Subprotocol, media_type, part_file_name};
pub use pair::{PAIR_BYTES_MAX, pair_of, read_pair, read_server_pair};
pub use query::{Codec, CsvOptions, Filter, Format, Output, Query, SortKey, SortOrder, Test};
pub use request::{DownloadRequest, RequestCsv, RequestFilter, RequestOptions, RequestSort, SearchParams};
pub use resolve::{Catalog, Defaults, Lookup, Resolved};
pub use schema::{Column, ColumnType, Schema};
pub use time::{Timestamp, UtcOffset, write_timestamp};
pub use value::{Decimal, Value};
