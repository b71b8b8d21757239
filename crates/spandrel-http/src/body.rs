//! Request bodies: bounded in bytes and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
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
    // What does not fit 64 bits is over every limit.
    let length = |value: &HeaderValue| value.to_str().ok()?.parse::<u64>().ok();
    let announced = headers.get(header::CONTENT_LENGTH).map(|value| length(value).unwrap_or(u64::MAX));
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

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;

    fn limits() -> Limits {
        Limits { body_bytes_max: 8, body_read_ms_max: 60_000 }
    }

    fn pieces(pieces: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece))))
    }

    #[tokio::test]
    async fn one_byte_over_the_limit_is_too_large() {
        let none = HeaderMap::new();
        assert_eq!(read_body(&none, pieces(&["1234", "5678"]), &limits()).await.unwrap(), "12345678");
        assert_eq!(read_body(&none, Body::empty(), &limits()).await.unwrap(), "");
        let too_large = Err(BodyError::TooLarge { max: 8 });
        assert_eq!(read_body(&none, pieces(&["1234", "5678", "9"]), &limits()).await, too_large);
        assert_eq!(read_body(&none, pieces(&["123456789"]), &limits()).await, too_large);
        for len in ["9", "99999999999999999999", "18446744073709551615"] {
            let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, len.parse().unwrap())]);
            let unsent = Body::from_stream(stream::pending::<Result<&str, std::io::Error>>());
            let hasty = Limits { body_read_ms_max: 1000, ..limits() };
            assert_eq!(read_body(&headers, unsent, &hasty).await, too_large, "announced {len}");
        }
    }

    #[tokio::test]
    async fn a_silent_and_a_broken_sender_are_told_apart() {
        let silent = stream::iter([Ok("12")]).chain(stream::pending::<Result<&str, std::io::Error>>());
        let hasty = Limits { body_read_ms_max: 1, ..limits() };
        let got = read_body(&HeaderMap::new(), Body::from_stream(silent), &hasty).await;
        assert_eq!(got, Err(BodyError::TooSlow { ms: 1 }));
        let broken = stream::iter([Ok("12"), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
        let got = read_body(&HeaderMap::new(), Body::from_stream(broken), &limits()).await;
        assert_eq!(got, Err(BodyError::Broken));
    }

    #[tokio::test]
    async fn json_is_read_whatever_it_is_called() {
        let text = HeaderMap::from_iter([(header::CONTENT_TYPE, "text/plain".parse().unwrap())]);
        assert_eq!(read_json::<Vec<u8>>(&text, pieces(&["[1,", "2]"]), &limits()).await, Ok(vec![1, 2]));
        for bad in [&["[1"][..], &["[1]x"], &[""], &["{}"]] {
            let got = read_json::<Vec<u8>>(&text, pieces(bad), &limits()).await;
            assert!(matches!(got, Err(BodyError::Json(_))), "{bad:?} gave {got:?}");
        }
    }
}
