//! Request bodies: bounded in bytes and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::Limits;

/// A request body could not be taken.
///
/// After any variant but [`Json`](Self::Json) part of the body is unread; hyper then closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Answer 413. Noticed before reading when the length was announced, else at the first byte too many.
    #[error("request body is over the limit of {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// Answer 408: the sender was too slow.
    #[error("request body did not arrive within {ms} ms")]
    TooSlow {
        /// The limit in milliseconds.
        ms: u64,
    },
    /// The connection broke or the framing is wrong. There is nobody to answer.
    #[error("request body broke off")]
    Broken,
    /// Answer 400: all there, but not what it should be.
    #[error("request body is not the expected json: {0}")]
    Json(String),
}

/// Reads a whole body into memory. `Content-Type` is not looked at.
///
/// Not cancel safe: what was read is lost with the future.
///
/// # Errors
///
/// [`BodyError::TooLarge`], [`BodyError::TooSlow`], [`BodyError::Broken`].
pub async fn read_body(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { max: limits.body_bytes_max };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|len| usize::try_from(len).map_or(true, |len| len > limits.body_bytes_max)) {
        return Err(too_large);
    }
    let ms = limits.body_read_ms_max;
    let whole = Limited::new(body, limits.body_bytes_max).collect();
    match tokio::time::timeout(Duration::from_millis(ms), whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::TooSlow { ms }),
    }
}

/// Reads a body as JSON, whatever its `Content-Type` says. Not cancel safe, as [`read_body`].
///
/// # Errors
///
/// As [`read_body`], and [`BodyError::Json`] with the place in the text.
pub async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
) -> Result<T, BodyError> {
    let bytes = read_body(headers, body, limits).await?;
    serde_json::from_slice(&bytes).map_err(|error| BodyError::Json(error.to_string()))
}
