//! What goes wrong: refusals as the wire names them (protocol section 11) and the crate's own error.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Something that was meant for this crate could not be read.
///
/// Answers to a peer are [`ErrorResponse`]s; this is for callers in the same process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Not a time of section 5. Ask for one with an offset.
    #[error("{text:?} is not a time like 2024-03-01T09:00:00+09:00 ({why})")]
    Time {
        /// What came, cut to 40 characters.
        text: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Not an offset of section 5.
    #[error("{0:?} is not an offset: write Z or +hh:mm or -hh:mm, not -00:00")]
    Offset(String),
    /// Not `dl_` and 22 base64url characters.
    #[error("{0:?} is not a download id: it is dl_ and 22 characters of A-Z a-z 0-9 - _")]
    DownloadId(String),
    /// Not usable as a request id.
    #[error("{0:?} is not a request id: it has 1 to 64 of A-Z a-z 0-9 . _ : - and does not begin with srv-")]
    RequestId(String),
    /// A message of the server is not an envelope of section 3. Close: the peer is not a server of this protocol.
    #[error("the server sent something that is not a message: {0}")]
    ServerMessage(String),
    /// A filter as text cannot be understood; `at` is the character, counted from 1.
    #[error("at character {at}: {what}")]
    FilterText {
        /// Character the fault begins at, counted from 1.
        at: usize,
        /// What was expected and what came.
        what: String,
    },
    /// A sort key as text cannot be understood.
    #[error("{0:?} is not a sort key: write column, column:asc or column:desc")]
    SortText(String),
    /// A text given as a JSON filter is not a JSON object.
    #[error("a filter is a JSON object: {0}")]
    FilterJson(String),
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $wire:literal, $recoverable:literal, $http:expr, $title:literal;)*) => {
        /// Every error code of section 11.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* #[doc = concat!("\n\n`", $wire, "` on the wire.")] #[serde(rename = $wire)] $name,)*
            /// A code this version does not know; only ever read, never sent.
            #[serde(other, rename = "UNKNOWN")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code that may be sent.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Spelling on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* Self::Unknown => "UNKNOWN" }
            }

            /// Whether the same request, unchanged, can succeed later.
            pub const fn recoverable(self) -> bool {
                match self { $(Self::$name => $recoverable,)* Self::Unknown => false }
            }

            /// HTTP status; `None` for codes that only messages carry.
            pub const fn http_status(self) -> Option<u16> {
                match self { $(Self::$name => $http,)* Self::Unknown => None }
            }

            /// A few words for people, the same for every occurrence (`title` of RFC 9457).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* Self::Unknown => "Unknown error" }
            }
        }
    };
}

codes! {
    /// Not a JSON object.
    MalformedMessage, "MALFORMED_MESSAGE", false, Some(400), "Not a JSON object";
    /// The envelope breaks section 3.
    InvalidEnvelope, "INVALID_ENVELOPE", false, Some(400), "Invalid envelope";
    /// No client event of that name.
    UnknownEvent, "UNKNOWN_EVENT", false, None, "Unknown event";
    /// Missing, ill-typed, unknown or out-of-range member.
    InvalidRequest, "INVALID_REQUEST", false, Some(400), "Invalid request";
    /// A time that cannot be read, or an empty range.
    InvalidTimeRange, "INVALID_TIME_RANGE", false, Some(400), "Invalid time range";
    /// A filter breaks section 6.
    InvalidFilter, "INVALID_FILTER", false, Some(400), "Invalid filter";
    /// No column of that name.
    UnknownField, "UNKNOWN_FIELD", false, Some(400), "Unknown field";
    /// No data set of that name.
    UnknownDataset, "UNKNOWN_DATASET", false, Some(400), "Unknown data set";
    /// No output format of that name.
    UnsupportedFormat, "UNSUPPORTED_FORMAT", false, Some(400), "Unsupported format";
    /// No codec of that name.
    UnsupportedCompression, "UNSUPPORTED_COMPRESSION", false, Some(400), "Unsupported compression";
    /// The request id stands for another request already.
    RequestIdConflict, "REQUEST_ID_CONFLICT", false, Some(409), "Request id is taken";
    /// A limit that waiting does not cure.
    LimitExceeded, "LIMIT_EXCEEDED", false, Some(422), "Limit exceeded";
    /// Too many messages.
    RateLimited, "RATE_LIMITED", true, Some(429), "Too many messages";
    /// Queue or replay cache full, disk nearly full.
    Overloaded, "OVERLOADED", true, Some(503), "Overloaded";
    /// The server is stopping.
    ShuttingDown, "SHUTTING_DOWN", true, Some(503), "Shutting down";
    /// No such download, or another principal's.
    DownloadNotFound, "DOWNLOAD_NOT_FOUND", false, Some(404), "Download not found";
    /// The job is in a state that forbids this.
    InvalidState, "INVALID_STATE", false, Some(409), "Invalid state";
    /// The files are past their retention.
    Expired, "EXPIRED", false, Some(410), "Expired";
    /// The part is not finished yet.
    NotReady, "NOT_READY", true, Some(409), "Not ready";
    /// Terminal event of a cancelled job.
    Cancelled, "CANCELLED", false, None, "Cancelled";
    /// No credentials.
    AuthRequired, "AUTH_REQUIRED", false, Some(401), "Authentication required";
    /// Credentials that do not check; never says which part.
    AuthInvalid, "AUTH_INVALID", false, Some(401), "Authentication failed";
    /// Good signature, timestamp outside the window; `details.serverTime`.
    AuthExpired, "AUTH_EXPIRED", true, Some(401), "Signature too old or too new";
    /// Nonce seen before.
    AuthReplayed, "AUTH_REPLAYED", false, Some(401), "Message repeated";
    /// Not allowed to this principal or origin.
    Forbidden, "FORBIDDEN", false, Some(403), "Forbidden";
    /// Signature of a file URL does not check.
    UrlInvalid, "URL_INVALID", false, Some(403), "Invalid URL";
    /// A file URL past its time.
    UrlExpired, "URL_EXPIRED", false, Some(403), "URL expired";
    /// Out of memory after the retries.
    MemoryLimit, "MEMORY_LIMIT", true, Some(503), "Out of memory";
    /// The source was not reachable after the retries.
    NetworkError, "NETWORK_ERROR", true, Some(503), "Network error";
    /// A file could not be written or read after the retries.
    FileSystem, "FILE_SYSTEM", true, Some(503), "File system error";
    /// The source was too slow after the retries.
    Timeout, "TIMEOUT", true, Some(503), "Timed out";
    /// The source failed after the retries.
    SourceError, "SOURCE_ERROR", true, Some(503), "Source failed";
    /// The source no longer has the rows it had when the job was accepted.
    SourceChanged, "SOURCE_CHANGED", false, Some(409), "Source changed";
    /// HTTP: no such path.
    NotFound, "NOT_FOUND", false, Some(404), "Not found";
    /// HTTP: method not of this path.
    MethodNotAllowed, "METHOD_NOT_ALLOWED", false, Some(405), "Method not allowed";
    /// HTTP: body over the limit.
    BodyTooLarge, "BODY_TOO_LARGE", false, Some(413), "Body too large";
    /// A bug; `details.incident`.
    Internal, "INTERNAL", true, Some(500), "Internal error";
}

impl ErrorCode {
    /// Whether section 11 demands a `retryAfter` beside the code.
    pub const fn needs_retry_after(self) -> bool {
        matches!(self, Self::RateLimited | Self::Overloaded | Self::ShuttingDown | Self::NotReady)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `ErrorResponse` of section 11.
///
/// A code this version does not know reads as [`ErrorCode::Unknown`] with its spelling in front of the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
#[serde(rename_all = "camelCase", from = "WireError")]
pub struct ErrorResponse {
    /// For programs.
    pub code: ErrorCode,
    /// For people; no stack trace, path or query.
    pub message: String,
    /// What a program may want to know: `path`, `serverTime`, `incident`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same request can succeed later.
    pub recoverable: bool,
    /// Milliseconds to wait; only with `recoverable`. `retryAfter` on the wire.
    #[serde(rename = "retryAfter", skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireError {
    code: String,
    message: String,
    details: Option<Value>,
    recoverable: bool,
    retry_after: Option<u64>,
}

impl From<WireError> for ErrorResponse {
    fn from(wire: WireError) -> Self {
        let code = ErrorCode::ALL.iter().copied().find(|c| c.as_str() == wire.code);
        let message = match code {
            Some(_) => wire.message,
            None => format!("{}: {}", wire.code, wire.message),
        };
        Self {
            code: code.unwrap_or(ErrorCode::Unknown),
            message,
            details: wire.details,
            recoverable: wire.recoverable,
            retry_after_ms: wire.retry_after,
        }
    }
}

impl ErrorResponse {
    /// A refusal without details; codes that need a `retryAfter` start with 1000 ms.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retry_after_ms = code.needs_retry_after().then_some(1000);
        let message = message.into();
        Self { code, message, details: None, recoverable: code.recoverable(), retry_after_ms }
    }

    /// Adds `details.path`, a JSON Pointer into `data`.
    pub fn with_path(self, pointer: impl Into<String>) -> Self {
        self.with_detail("path", pointer.into())
    }

    /// Adds one member to `details`.
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        if let Value::Object(members) = details {
            members.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Sets `retryAfter` in milliseconds, at least 1; ignored for codes that are not recoverable.
    pub fn with_retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = self.recoverable.then_some(ms.max(1));
        self
    }

    /// `details.path`, if there is one.
    pub fn path(&self) -> Option<&str> {
        self.details.as_ref()?.get("path")?.as_str()
    }

    /// `retryAfter` for an HTTP header: seconds, rounded up.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_ms.map(|ms| ms.div_ceil(1000))
    }
}

/// Body of an HTTP error, `application/problem+json` (RFC 9457, protocol section 12).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:spandrel:error:<CODE>`; `type` on the wire.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same words for every occurrence of the code.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The message.
    pub detail: String,
    /// For programs.
    pub code: ErrorCode,
    /// Whether the same request can succeed later.
    pub recoverable: bool,
    /// Milliseconds to wait. `retryAfter` on the wire.
    #[serde(rename = "retryAfter", default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// As in [`ErrorResponse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl From<&ErrorResponse> for Problem {
    /// Codes without an HTTP status become 400.
    fn from(error: &ErrorResponse) -> Self {
        Self {
            kind: format!("urn:spandrel:error:{}", error.code),
            title: error.code.title().to_owned(),
            status: error.code.http_status().unwrap_or(400),
            detail: error.message.clone(),
            code: error.code,
            recoverable: error.recoverable,
            retry_after_ms: error.retry_after_ms,
            details: error.details.clone(),
        }
    }
}

impl From<Problem> for ErrorResponse {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code,
            message: problem.detail,
            details: problem.details,
            recoverable: problem.recoverable,
            retry_after_ms: problem.retry_after_ms,
        }
    }
}

/// At most 64 characters of foreign text, for a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_table_has_its_row() {
        // code, recoverable, HTTP status (0: none)
        let table: Vec<(String, bool, u16)> =
            serde_json::from_str(include_str!("../tests/data/errors.json")).unwrap();
        assert_eq!(table.len(), ErrorCode::ALL.len());
        for (code, (wire, recoverable, status)) in ErrorCode::ALL.iter().zip(table) {
            assert_eq!(code.as_str(), wire);
            assert_eq!(code.recoverable(), recoverable, "{wire}");
            assert_eq!(code.http_status().unwrap_or(0), status, "{wire}");
            assert_eq!(serde_json::to_string(code).unwrap(), format!("{wire:?}"));
        }
    }

    #[test]
    fn wire_shape_leaves_out_what_is_absent() {
        let plain = ErrorResponse::new(ErrorCode::UnknownField, "no column \"x\"").with_retry_after(5);
        assert_eq!(
            serde_json::to_string(&plain).unwrap(),
            r#"{"code":"UNKNOWN_FIELD","message":"no column \"x\"","recoverable":false}"#
        );
        let full = ErrorResponse::new(ErrorCode::Overloaded, "full").with_path("/a").with_retry_after(1500);
        assert_eq!(
            serde_json::to_string(&full).unwrap(),
            r#"{"code":"OVERLOADED","message":"full","details":{"path":"/a"},"recoverable":true,"retryAfter":1500}"#
        );
        assert_eq!(
            serde_json::from_str::<ErrorResponse>(&serde_json::to_string(&full).unwrap()).unwrap(),
            full
        );
        assert_eq!(full.retry_after_s(), Some(2));
        assert_eq!(ErrorResponse::from(Problem::from(&full)), full);
    }

    #[test]
    fn codes_of_a_later_version_can_be_read() {
        let error: ErrorResponse =
            serde_json::from_str(r#"{"code":"NEW","message":"m","recoverable":true,"more":1}"#).unwrap();
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Unknown, "NEW: m"));
    }
}
