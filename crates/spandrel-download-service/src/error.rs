//! Why a service does not start, and how its refusals look over HTTP.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use spandrel_download_protocol::{ErrorCode, ErrorResponse};
use spandrel_export_engine::JobsError;
use spandrel_http::{GuardConfigError, Problem};

use crate::overload::spread_refusal;

/// A service could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The state directory is in use or cannot be used.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// An origin or URL in the configuration cannot be read.
    #[error(transparent)]
    Guard(#[from] GuardConfigError),
    /// Two data sets have one name, or there is none at all.
    #[error("{0}")]
    Datasets(String),
    /// Keys or tokens that cannot be meant.
    #[error("{0}")]
    Credentials(String),
    /// The secret of signed URLs could not be read or made.
    #[error("the server secret in the state directory failed: {0}")]
    Secret(String),
}

/// A refusal as an HTTP answer.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) ErrorResponse);

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorResponse::new(code, message))
    }
}

impl<E: Into<ErrorResponse>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let ErrorResponse { code, message, details, recoverable, retry_after_ms } = spread_refusal(self.0);
        let status = code.http_status().and_then(|s| StatusCode::from_u16(s).ok());
        let status = status.unwrap_or(StatusCode::BAD_REQUEST);
        let mut problem =
            Problem::new(format!("urn:spandrel:error:{}", code.as_str()), code.title(), status, message)
                .with("code", code.as_str())
                .with("recoverable", recoverable);
        if let Some(details) = details {
            problem = problem.with("details", details);
        }
        if let Some(ms) = retry_after_ms {
            problem = problem.with("retryAfter", ms).with_retry_after_ms(ms);
        }
        if status == StatusCode::UNAUTHORIZED {
            problem = problem.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        problem.into_response()
    }
}
