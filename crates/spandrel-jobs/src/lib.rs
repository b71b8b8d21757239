//! Job table of an export server as a pure machine: states, slots, fairness, idempotency, retention.
//!
//! Never reads a clock, touches a file, starts a thread or draws a random number: requests, reports of runs and
//! the time go in, [`Output`]s come out for a driver to carry out.
//!
//! ```
//! use spandrel_jobs::{
//!     DownloadId, JobState, JobTable, Limits, NewJob, Now, Output, Principal, RequestId, Retention, Spec, Total, UtcOffset,
//! };
//!
//! let mut table = JobTable::new(Limits::default(), Retention::default());
//! let (now, id) = (Now { mono_ms: 0, wall_ms: 1_700_000_000_000 }, DownloadId::from_bytes([7; 16]));
//! let spec = Spec {
//!     dataset: "logs".into(), snapshot: "v1".into(), request: "{}".into(), request_key: "k".into(), format: "csv".into(), codec: None,
//!     formula_guard: false, time_zone: UtcOffset::Zulu, file_stem: "logs".into(), file_suffix: ".csv".into(),
//!     content_type: "text/csv; charset=utf-8".into(), rows_per_file: 500_000,
//! };
//! let total = Total { rows: 10, is_exact: true, scan_rows: 10 };
//! let principal = Principal::anonymous();
//! table.create(now, NewJob { id, principal, request_id: RequestId::parse("r1")?, spec, total })?;
//! assert_eq!(table.poll(), Some(Output::Persist(id)));
//! table.stored(now, id); // the driver wrote the record
//! assert_eq!(table.poll(), Some(Output::Start(id)));
//! table.finished(now, id, 10); // the driver wrote the files
//! assert_eq!(table.job(id).map(|job| job.state()), Some(JobState::Completed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rules are those of the download protocol, sections 8, 9 and 14. Limits: [`Limits`] and [`Retention`].

mod error;
mod job;
mod limits;
mod meter;
mod page;
mod principal;
mod queue;
mod record;
mod table;
#[cfg(test)]
mod tests;

pub use error::JobError;
pub use job::{Job, Progress};
pub use limits::{Limits, Now, Retention};
pub use page::{Cursor, Page};
pub use principal::Principal;
pub use record::{PartFile, Record, Spec, Total};
pub use spandrel_download_protocol::{DownloadId, ErrorCode, ErrorResponse, JobState, RequestId, UtcOffset};
pub use table::{JobTable, NewJob, Output};
