//! Error replies as `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

/// One error reply. Build it with [`new`](Self::new) and the `with_` methods; it is an axum response.
///
/// ```
/// use spandrel_http::Problem;
/// use http::StatusCode;
///
/// let busy = Problem::new("urn:example:error:BUSY", "Busy", StatusCode::SERVICE_UNAVAILABLE, "the queue is full")
///     .with("code", "BUSY")
///     .with_retry_after_ms(1_001);
/// assert_eq!(busy.to_json()["status"], 503);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What kind of problem it is, as a URI. Programs compare it.
    pub type_uri: String,
    /// The kind in a few words, the same for every reply of this type.
    pub title: String,
    /// The status of the reply, repeated in the body.
    pub status: StatusCode,
    /// This case, for people. Never a path, a query or a stack trace.
    pub detail: String,
    /// Further members. Those named `type`, `title`, `status` or `detail` are not sent.
    pub extensions: Map<String, Value>,
    /// Milliseconds until a repeat makes sense: `Retry-After`, rounded up to seconds.
    pub retry_after_ms: Option<u64>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem without further members.
    #[must_use]
    pub fn new(
        type_uri: impl Into<String>,
        title: impl Into<String>,
        status: StatusCode,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            type_uri: type_uri.into(),
            title: title.into(),
            status,
            detail: detail.into(),
            extensions: Map::new(),
            retry_after_ms: None,
            headers: Vec::new(),
        }
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, member: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extensions.insert(member.into(), value.into());
        self
    }

    /// Sets `Retry-After` from milliseconds. The body is not touched: whether and in which unit it says so
    /// too is the protocol's business.
    #[must_use]
    pub const fn with_retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// Adds a header, such as `Allow` with 405 or `WWW-Authenticate` with 401.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The body.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = self.extensions.clone();
        members.insert("type".into(), self.type_uri.as_str().into());
        members.insert("title".into(), self.title.as_str().into());
        members.insert("status".into(), self.status.as_u16().into());
        members.insert("detail".into(), self.detail.as_str().into());
        Value::Object(members)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut reply = (self.status, self.to_json().to_string()).into_response();
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, ms.div_ceil(1000).into());
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> Problem {
        Problem::new("urn:x:BUSY", "Busy", StatusCode::SERVICE_UNAVAILABLE, "the queue is full")
    }

    #[test]
    fn retry_after_is_rounded_up_to_seconds() {
        for (ms, want) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2"), (u64::MAX, "18446744073709552")] {
            let reply = busy().with_retry_after_ms(ms).into_response();
            assert_eq!(reply.headers()["retry-after"], want, "{ms} ms");
        }
        assert!(!busy().into_response().headers().contains_key("retry-after"));
    }

    #[tokio::test]
    async fn a_reply_has_the_members_of_the_rfc_and_the_given_ones() {
        let reply = busy()
            .with("code", "BUSY")
            .with("recoverable", true)
            .with("status", "not this one")
            .with_header(header::ALLOW, HeaderValue::from_static("GET"))
            .into_response();
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()["content-type"], "application/problem+json");
        assert_eq!(reply.headers()["allow"], "GET");
        let body = axum::body::to_bytes(reply.into_body(), 10_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let want = serde_json::json!({ "type": "urn:x:BUSY", "title": "Busy", "status": 503,
            "detail": "the queue is full", "code": "BUSY", "recoverable": true });
        assert_eq!(body, want);
    }
}
