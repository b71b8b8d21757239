//! Why a call to the durable jobs failed.

use std::io;

use spandrel_jobs::{ErrorCode, ErrorResponse, JobError};

/// A call to [`Jobs`](crate::Jobs) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobsError {
    /// The job table refused it.
    #[error(transparent)]
    Refused(#[from] JobError),
    /// Another process uses the state directory. Stop it, or choose another directory.
    #[error("the state directory is in use by another process")]
    Locked,
    /// The disk is nearly full; try again later.
    #[error("free disk space is below the reserve; try again later")]
    DiskFull,
    /// The state directory could not be written lately; try again later.
    #[error("the state directory cannot be written now; try again later")]
    DiskFailing,
    /// As many runs as there may be wait for a source that gives no answer; try again later.
    #[error("too many downloads wait for a source that gives no answer; try again later")]
    Stuck,
    /// The server is stopping; try again after it has started again.
    #[error("the server is stopping; try again later")]
    ShuttingDown,
    /// The state directory could not be read or written.
    #[error("the state directory failed: {0}")]
    Storage(String),
}

impl JobsError {
    pub(crate) fn storage(error: io::Error) -> Self {
        Self::Storage(error.to_string())
    }

    /// The error code of the protocol (section 11).
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(e) => e.code(),
            Self::DiskFull | Self::DiskFailing | Self::Stuck => ErrorCode::Overloaded,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
            Self::Locked | Self::Storage(_) => ErrorCode::FileSystem,
        }
    }

    /// Milliseconds after which the same request may succeed.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Refused(e) => e.retry_after_ms(),
            Self::DiskFull | Self::DiskFailing | Self::Stuck => Some(60_000),
            Self::ShuttingDown => Some(5_000),
            Self::Locked | Self::Storage(_) => Some(10_000),
        }
    }
}

impl From<JobsError> for ErrorResponse {
    fn from(error: JobsError) -> Self {
        let response = Self::new(error.code(), error.to_string());
        match error.retry_after_ms() {
            Some(ms) => response.with_retry_after(ms),
            None => response,
        }
    }
}
