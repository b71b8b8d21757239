//! `{"key":"<event>","value":<message>}`: messages between a process and its parent (protocol section 2.3).

use std::borrow::Cow;

use crate::{
    ErrorCode, ErrorResponse, Limits, Message, ProtocolError, Refusal, ServerMessage, parse_message,
    parse_server_message,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Bytes a line may have beside the message in it.
pub const PAIR_BYTES_MAX: usize = 256;

const OTHER_KEY: &str = "key must be the event of the message in value";

/// Wraps a message of either side, as [`write_message`](crate::write_message) and
/// [`write_client_message`](crate::write_client_message) make it.
///
/// ```
/// let message = r#"{"event":"system:error","data":{},"timestamp":1,"requestId":"srv-1"}"#;
/// let line = spandrel_download_protocol::pair_of(message);
/// assert_eq!(line, format!(r#"{{"key":"system:error","value":{message}}}"#));
/// ```
pub fn pair_of(message: &str) -> String {
    // The event is the first member and its name needs no escapes.
    let event = message.strip_prefix("{\"event\":\"").and_then(|rest| rest.split('"').next());
    let event = event.unwrap_or_default();
    let mut line = String::with_capacity(message.len() + event.len() + 20);
    line.push_str("{\"key\":\"");
    line.push_str(event);
    line.push_str("\",\"value\":");
    line.push_str(message);
    line.push('}');
    line
}

#[derive(Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Reads the message in a line of the parent. Unknown members beside `key` and `value` are ignored, like those of an
/// envelope.
///
/// # Errors
///
/// [`Refusal`] with `MALFORMED_MESSAGE` when the line, or its value, is no JSON object; `INVALID_ENVELOPE` when `key` or
/// `value` is missing or there twice, when `key` is not the message's event, and as [`parse_message`].
pub fn read_pair<'a>(line: &'a str, limits: &Limits) -> Result<Message<'a>, Refusal> {
    let pair = split(line, limits).map_err(|error| Refusal { error, request_id: None })?;
    let message = parse_message(pair.value.get(), limits)?;
    if message.event_name != pair.key {
        let error = ErrorResponse::new(ErrorCode::InvalidEnvelope, OTHER_KEY);
        return Err(Refusal { error, request_id: Some(message.request_id) });
    }
    Ok(message)
}

/// Reads the message in a line of the server, as its parent or another local client does.
///
/// # Errors
///
/// [`ProtocolError::ServerMessage`] when the line is no such pair, `key` is not the message's event, and as
/// [`parse_server_message`].
pub fn read_server_pair<'a>(line: &'a str, limits: &Limits) -> Result<ServerMessage<'a>, ProtocolError> {
    let pair = split(line, limits).map_err(|error| ProtocolError::ServerMessage(error.message))?;
    let message = parse_server_message(pair.value.get(), limits)?;
    if message.event_name != pair.key {
        return Err(ProtocolError::ServerMessage(OTHER_KEY.to_owned()));
    }
    Ok(message)
}

fn split<'a>(line: &'a str, limits: &Limits) -> Result<Pair<'a>, ErrorResponse> {
    let malformed = |message: String| ErrorResponse::new(ErrorCode::MalformedMessage, message);
    let max = limits.message_bytes_max.saturating_add(PAIR_BYTES_MAX);
    if line.len() > max {
        return Err(malformed(format!("{} bytes are over the limit of {max}", line.len())));
    }
    if !line.starts_with('{') {
        return Err(malformed("expected a JSON object, beginning with {".into()));
    }
    // The whole line first: what is no JSON is malformed, whatever its members.
    if serde_json::from_str::<IgnoredAny>(line).is_err() {
        return Err(malformed("expected a JSON object".into()));
    }
    serde_json::from_str(line).map_err(|_| {
        let message = r#"expected {"key": "<event>", "value": <message>}, each member once"#;
        ErrorResponse::new(ErrorCode::InvalidEnvelope, message)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &str = r#"{"event":"status:check","data":{},"timestamp":1,"requestId":"a"}"#;

    #[test]
    fn lines_are_read_or_refused_with_their_code() {
        let line = |key: &str| format!(r#"{{"key":{key},"value":{MESSAGE}}}"#);
        for (name, line, want) in [
            ("good", line(r#""status:check""#), Ok("a")),
            ("other order and more", format!(r#"{{"x":1,"value":{MESSAGE},"key":"status:check"}}"#), Ok("a")),
            ("escaped key", line(r#""status\u003acheck""#), Ok("a")),
            ("other key", line(r#""download:request""#), Err((ErrorCode::InvalidEnvelope, Some("a")))),
            ("key of another type", line("1"), Err((ErrorCode::InvalidEnvelope, None))),
            ("no key", format!(r#"{{"value":{MESSAGE}}}"#), Err((ErrorCode::InvalidEnvelope, None))),
            ("no value", r#"{"key":"status:check"}"#.into(), Err((ErrorCode::InvalidEnvelope, None))),
            ("the message alone", MESSAGE.into(), Err((ErrorCode::InvalidEnvelope, None))),
            (
                "key twice",
                format!(r#"{{"key":"a","key":"status:check","value":{MESSAGE}}}"#),
                Err((ErrorCode::InvalidEnvelope, None)),
            ),
            ("no object", "[1]".into(), Err((ErrorCode::MalformedMessage, None))),
            ("no JSON", "nonsense".into(), Err((ErrorCode::MalformedMessage, None))),
            ("cut off", line(r#""status:check""#).replace("}}", "}"), Err((ErrorCode::MalformedMessage, None))),
            ("value is no object", r#"{"key":"a","value":1}"#.into(), Err((ErrorCode::MalformedMessage, None))),
            (
                "bad envelope inside",
                r#"{"key":"status:check","value":{"event":"status:check","data":[],"timestamp":1,"requestId":"b"}}"#.into(),
                Err((ErrorCode::InvalidEnvelope, Some("b"))),
            ),
        ] {
            let got = match read_pair(&line, &Limits::default()) {
                Ok(message) => Ok(message.request_id.as_str().to_owned()),
                Err(refusal) => Err((refusal.error.code, refusal.request_id.map(|id| id.as_str().to_owned()))),
            };
            let want = want.map(str::to_owned).map_err(|(code, id): (_, Option<&str>)| (code, id.map(str::to_owned)));
            assert_eq!(got, want, "{name}: {line}");
        }
    }

    #[test]
    fn a_line_over_the_limit_is_refused() {
        let mut limits = Limits { message_bytes_max: MESSAGE.len(), ..Limits::default() };
        let line = |more: &str| format!(r#"{{"key":"status:check","value":{MESSAGE},"x":"{more}"}}"#);
        assert!(read_pair(&line(""), &limits).is_ok(), "the pair itself does not count");
        let long = line(&"x".repeat(PAIR_BYTES_MAX - line("").len() + MESSAGE.len() + 1));
        assert_eq!(read_pair(&long, &limits).unwrap_err().error.code, ErrorCode::MalformedMessage);
        limits.message_bytes_max -= 1;
        assert!(read_pair(&line(""), &limits).is_err(), "the message does");
    }

    #[test]
    fn a_servers_lines_are_read_or_refused() {
        let message = MESSAGE.replace("status:check", "status:update");
        let later = MESSAGE.replace("status:check", "status:later");
        let line = |key: &str, message: &str| format!(r#"{{"key":"{key}","value":{message}}}"#);
        for (name, line, good) in [
            ("good", line("status:update", &message), true),
            ("as written", pair_of(&message), true),
            ("event of a later version", line("status:later", &later), true),
            ("key of another event", line("status:update", &later), false),
            ("key of no event", line("x", &message), false),
            ("the message alone", message.clone(), false),
            ("value is no message", line("status:update", "{}"), false),
            ("no JSON", "nonsense".into(), false),
        ] {
            assert_eq!(read_server_pair(&line, &Limits::default()).is_ok(), good, "{name}: {line}");
        }
    }

    proptest! {
        /// No line makes the reader panic.
        #[test]
        fn prop_never_panics(line in r#"[{}\[\]":,a-z0-9\\ ]{0,60}"#) {
            let _ = read_pair(&line, &Limits::default());
            let _ = read_server_pair(&line, &Limits::default());
        }
    }
}
