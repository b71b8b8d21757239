//! Why a request to the job table was refused.

use spandrel_download_protocol::{ErrorCode, ErrorResponse};

/// A request about a job was refused. [`code`](Self::code) is the word of the protocol for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// No such job, or it belongs to somebody else: the answer is the same for both.
    #[error("there is no download of that id")]
    NotFound,
    /// The job is over in another way than the request asks for.
    #[error("the download is {}, which does not allow this", state.as_str())]
    InvalidState {
        /// The state it is in.
        state: spandrel_download_protocol::JobState,
    },
    /// The request id belongs to a job with a different request. Choose a new one.
    #[error("this requestId already belongs to a different request; choose a new one")]
    RequestIdConflict,
    /// The files of the job are past their retention. Ask again with a new request id.
    #[error("the files of this download are past their retention; ask again with a new requestId")]
    Expired,
    /// The queue is full; come back after `retry_after_ms`.
    #[error("{waiting} downloads are waiting already; try again later")]
    Overloaded {
        /// Jobs waiting, or records kept when that is the bound that was met.
        waiting: usize,
        /// Milliseconds to wait.
        retry_after_ms: u64,
    },
    /// More parts than a job may have; waiting does not help.
    #[error("{parts} files are over the limit of {max}; ask for fewer rows or larger files")]
    TooManyParts {
        /// Parts the job would need.
        parts: u64,
        /// Parts a job may have.
        max: u32,
    },
    /// The job is being accepted at this moment; ask again when it is stored.
    #[error("the download is being stored")]
    Storing,
}

impl JobError {
    /// The error code of the protocol (section 11).
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::DownloadNotFound,
            Self::InvalidState { .. } => ErrorCode::InvalidState,
            Self::RequestIdConflict => ErrorCode::RequestIdConflict,
            Self::Expired => ErrorCode::Expired,
            Self::Overloaded { .. } | Self::Storing => ErrorCode::Overloaded,
            Self::TooManyParts { .. } => ErrorCode::LimitExceeded,
        }
    }

    /// Milliseconds after which the same request may succeed.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Overloaded { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::Storing => Some(100),
            _ => None,
        }
    }
}

impl From<JobError> for ErrorResponse {
    fn from(error: JobError) -> Self {
        let response = Self::new(error.code(), error.to_string());
        match error.retry_after_ms() {
            Some(ms) => response.with_retry_after(ms),
            None => response,
        }
    }
}
