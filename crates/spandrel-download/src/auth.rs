//! How a message that did not prove itself is answered (protocol section 13).

use spandrel_download_protocol::{ErrorCode, ErrorResponse, Limits, RequestId, parse_message};
use spandrel_session::AuthFailure;

/// The refusal. It never says which part of a proof was wrong.
pub(crate) fn refusal(why: &AuthFailure) -> ErrorResponse {
    let (code, message) = match why {
        AuthFailure::Required => (ErrorCode::AuthRequired, "every message of this session has to be signed"),
        AuthFailure::Expired { .. } => {
            (ErrorCode::AuthExpired, "the timestamp is outside the window; sign again with the server's time")
        }
        AuthFailure::Replayed => (ErrorCode::AuthReplayed, "a message with this nonce was here before"),
        AuthFailure::CacheFull { .. } => {
            (ErrorCode::Overloaded, "too many signed messages are remembered; sign again later")
        }
        _ => (ErrorCode::AuthInvalid, "the message does not prove who it is from"),
    };
    let error = ErrorResponse::new(code, message);
    match why {
        AuthFailure::Expired { server_time_ms } => error.with_detail("serverTime", *server_time_ms),
        AuthFailure::CacheFull { retry_after_ms } => error.with_retry_after(*retry_after_ms),
        _ => error,
    }
}

/// The id of a message whose signature was good; no other is believed.
pub(crate) fn proved_id(text: &str, why: &AuthFailure, limits: &Limits) -> Option<RequestId> {
    if !why.is_signed() {
        return None;
    }
    match parse_message(text, limits) {
        Ok(message) => Some(message.request_id),
        Err(refusal) => refusal.request_id,
    }
}
