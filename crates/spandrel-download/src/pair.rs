//! `{"key":"<event>","value":<message>}`: messages between a process and its parent (protocol section 2.3).

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use spandrel_download_protocol::{ErrorCode, ErrorResponse, Limits, Message, Refusal, parse_message};

/// Bytes a line may have beside the message in it.
pub const PAIR_BYTES_MAX: usize = 256;

/// Wraps a message of the server, as `write_message` makes it, for the parent.
///
/// ```
/// let message = r#"{"event":"system:error","data":{},"timestamp":1,"requestId":"srv-1"}"#;
/// let line = spandrel_download::pair_of(message);
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
    let refuse =
        |code, message: String| Refusal { error: ErrorResponse::new(code, message), request_id: None };
    let malformed = |message: String| refuse(ErrorCode::MalformedMessage, message);
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
    let pair: Pair<'_> = serde_json::from_str(line).map_err(|_| {
        let message = r#"expected {"key": "<event>", "value": <message>}, each member once"#;
        refuse(ErrorCode::InvalidEnvelope, message.into())
    })?;
    let message = parse_message(pair.value.get(), limits)?;
    if message.event_name != pair.key {
        let error =
            ErrorResponse::new(ErrorCode::InvalidEnvelope, "key must be the event of the message in value");
        return Err(Refusal { error, request_id: Some(message.request_id) });
    }
    Ok(message)
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
        let mut limits = Limits::default();
        limits.message_bytes_max = MESSAGE.len();
        let line = |more: &str| format!(r#"{{"key":"status:check","value":{MESSAGE},"x":"{more}"}}"#);
        assert!(read_pair(&line(""), &limits).is_ok(), "the pair itself does not count");
        let long = line(&"x".repeat(PAIR_BYTES_MAX - line("").len() + MESSAGE.len() + 1));
        assert_eq!(read_pair(&long, &limits).unwrap_err().error.code, ErrorCode::MalformedMessage);
        limits.message_bytes_max -= 1;
        assert!(read_pair(&line(""), &limits).is_err(), "the message does");
    }

    proptest! {
        /// No line makes the reader panic.
        #[test]
        fn prop_never_panics(line in r#"[{}\[\]":,a-z0-9\\ ]{0,60}"#) {
            let _ = read_pair(&line, &Limits::default());
        }
    }
}
