//! The envelope of every message (protocol section 3): reading, refusing, writing.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::data::EventData;
use crate::error::shorten;
use crate::json::{self, Json, Member, write_string};
use crate::{ClientEvent, ErrorCode, ErrorResponse, Limits, ProtocolError, RequestId, ServerEvent};

/// Largest `timestamp`, 2^53 - 1.
pub const TIMESTAMP_MAX: u64 = (1 << 53) - 1;

/// A message of a client with a good envelope.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// `None` when no client event has that name; see [`known_event`](Self::known_event).
    pub event: Option<ClientEvent>,
    /// The name as sent.
    pub event_name: Cow<'a, str>,
    /// A JSON object, as sent.
    pub data: &'a RawValue,
    /// Milliseconds since 1970, as the client says.
    pub timestamp: u64,
    /// What the answer carries.
    pub request_id: RequestId,
}

/// A message that is not acted on: what to answer, and under which request id.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Goes out as `system:error`.
    pub error: ErrorResponse,
    /// Of the refused message; `None` when it could not be read: answer with one that begins `srv-`.
    pub request_id: Option<RequestId>,
}

impl Refusal {
    /// Whether it counts towards closing with 1008 (more than 10 in 60 s).
    pub fn counts(&self) -> bool {
        use ErrorCode::{InvalidEnvelope, MalformedMessage, UnknownEvent};
        matches!(self.error.code, MalformedMessage | InvalidEnvelope | UnknownEvent)
    }
}

/// Reads the envelope of a client's message.
///
/// The whole text is checked (I-JSON, depth), `data` is not interpreted. An unknown event is no refusal yet,
/// because rate limits come before it: ask [`Message::known_event`].
///
/// # Errors
///
/// [`Refusal`] with `MALFORMED_MESSAGE` or `INVALID_ENVELOPE`, in that order of precedence.
pub fn parse_message<'a>(text: &'a str, limits: &Limits) -> Result<Message<'a>, Refusal> {
    let members = outer_members(text, limits)
        .map_err(|message| Refusal { error: malformed(message), request_id: None })?;
    let envelope = Envelope::of(members);
    let request_id = envelope.client_request_id();
    envelope.check().map_err(|message| Refusal {
        error: ErrorResponse::new(ErrorCode::InvalidEnvelope, message),
        request_id: request_id.clone(),
    })
}

impl Message<'_> {
    /// The event.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_EVENT` when no client event has that name; events only servers send are among those.
    pub fn known_event(&self) -> Result<ClientEvent, Refusal> {
        self.event.ok_or_else(|| {
            let message = format!("no event {:?} is known here", shorten(&self.event_name));
            let error = ErrorResponse::new(ErrorCode::UnknownEvent, message);
            Refusal { error, request_id: Some(self.request_id.clone()) }
        })
    }
}

fn malformed(message: String) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::MalformedMessage, message)
}

/// Section 2.1: a message begins with `{`.
fn outer_members<'a>(text: &'a str, limits: &Limits) -> Result<Vec<Member<'a>>, String> {
    if text.len() > limits.message_bytes_max {
        return Err(format!("{} bytes are over the limit of {}", text.len(), limits.message_bytes_max));
    }
    if !text.starts_with('{') {
        return Err("expected a JSON object, beginning with {".to_owned());
    }
    let members = json::members(text, limits.json_depth_max).map_err(json::JsonFault::message)?;
    members.ok_or_else(|| "expected a JSON object".to_owned())
}

/// Raw members, before any of them is believed.
#[derive(Default)]
struct Envelope<'a> {
    event: Option<&'a str>,
    data: Option<&'a str>,
    timestamp: Option<&'a str>,
    request_id: Option<&'a str>,
    request_id_twice: bool,
    twice: Option<String>,
}

impl<'a> Envelope<'a> {
    fn of(members: Vec<Member<'a>>) -> Self {
        let mut out = Self::default();
        let mut others = std::collections::HashSet::new();
        for (name, raw) in members {
            let twice = match name.as_ref() {
                "event" => out.event.replace(raw).is_some(),
                "data" => out.data.replace(raw).is_some(),
                "timestamp" => out.timestamp.replace(raw).is_some(),
                "requestId" => {
                    out.request_id_twice |= out.request_id.is_some();
                    out.request_id.replace(raw).is_some()
                }
                _ => !others.insert(name.clone()),
            };
            if twice && out.twice.is_none() {
                out.twice = Some(shorten(&name));
            }
        }
        out
    }

    fn client_request_id(&self) -> Option<RequestId> {
        let text = string(self.request_id.filter(|_| !self.request_id_twice)?)?;
        RequestId::parse(&text).ok()
    }

    fn check(self) -> Result<Message<'a>, String> {
        let request_id = self.client_request_id();
        if let Some(name) = self.twice {
            return Err(format!("member {name:?} is there twice"));
        }
        let event_name = self.event.and_then(string).ok_or("event must be a string")?;
        let data = self.data.and_then(object).ok_or("data must be an object")?;
        let timestamp = self.timestamp.and_then(timestamp).ok_or_else(|| {
            format!("timestamp must be an integer from 0 to {TIMESTAMP_MAX}, milliseconds since 1970")
        })?;
        let request_id = request_id
            .ok_or("requestId must be 1 to 64 characters of A-Z a-z 0-9 . _ : - and not begin with srv-")?;
        Ok(Message { event: ClientEvent::parse(&event_name), event_name, data, timestamp, request_id })
    }
}

/// The members have been checked as JSON already; these read one that is meant to be of a kind.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    match json::parse(raw, 1) {
        Ok(Json::String(text)) => Some(text),
        _ => None,
    }
}

fn object(raw: &str) -> Option<&RawValue> {
    raw.starts_with('{').then(|| serde_json::from_str(raw).ok()).flatten()
}

fn timestamp(raw: &str) -> Option<u64> {
    let digits = raw.bytes().all(|b| b.is_ascii_digit());
    raw.parse().ok().filter(|n| digits && *n <= TIMESTAMP_MAX)
}

/// A message of a server, as a client reads it.
#[derive(Debug, Clone)]
pub struct ServerMessage<'a> {
    /// `None` for events of a later version: ignore the message.
    pub event: Option<ServerEvent>,
    /// The name as sent.
    pub event_name: Cow<'a, str>,
    /// An object, or an array of updates.
    pub data: &'a RawValue,
    /// Milliseconds since 1970, on the server's clock.
    pub timestamp: u64,
    /// Of the message it answers, of the job it is about, or `srv-…`.
    pub request_id: Cow<'a, str>,
}

/// Reads the envelope of a server's message; unknown members are ignored.
///
/// # Errors
///
/// [`ProtocolError::ServerMessage`] when it is not an envelope: the peer does not speak this protocol.
pub fn parse_server_message<'a>(text: &'a str, limits: &Limits) -> Result<ServerMessage<'a>, ProtocolError> {
    let fault = |what: &str| ProtocolError::ServerMessage(what.to_owned());
    let members = outer_members(text, limits).map_err(ProtocolError::ServerMessage)?;
    let envelope = Envelope::of(members);
    let event_name = envelope.event.and_then(string).ok_or_else(|| fault("no event"))?;
    let data =
        envelope.data.and_then(|raw| serde_json::from_str(raw).ok()).ok_or_else(|| fault("no data"))?;
    let timestamp = envelope.timestamp.and_then(timestamp).ok_or_else(|| fault("no timestamp"))?;
    let request_id = envelope.request_id.and_then(string).ok_or_else(|| fault("no requestId"))?;
    Ok(ServerMessage { event: ServerEvent::parse(&event_name), event_name, data, timestamp, request_id })
}

/// Writes a message of the server.
///
/// `timestamp` is milliseconds since 1970; `data` is one of this crate's event data types, which always serialise.
pub fn write_message(
    event: ServerEvent,
    request_id: &str,
    timestamp_ms: u64,
    data: &(impl EventData + ?Sized),
) -> String {
    write(event.as_str(), request_id, timestamp_ms, data)
}

/// Writes a message of a client.
pub fn write_client_message(
    event: ClientEvent,
    request_id: &RequestId,
    timestamp_ms: u64,
    data: &(impl EventData + ?Sized),
) -> String {
    write(event.as_str(), request_id.as_str(), timestamp_ms, data)
}

fn write(event: &str, request_id: &str, timestamp_ms: u64, data: &(impl Serialize + ?Sized)) -> String {
    let data = serde_json::to_string(data).expect("event data is plain data: no map keys but strings");
    let mut out = String::with_capacity(data.len() + request_id.len() + event.len() + 80);
    out.push_str("{\"event\":\"");
    out.push_str(event);
    out.push_str("\",\"data\":");
    out.push_str(&data);
    out.push_str(",\"timestamp\":");
    out.push_str(&timestamp_ms.min(TIMESTAMP_MAX).to_string());
    out.push_str(",\"requestId\":");
    write_string(&mut out, request_id);
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(serde::Deserialize)]
    struct Case {
        message: String,
        result: String,
        answer: String,
    }

    #[test]
    fn listed_envelopes_are_accepted_or_refused_with_their_code() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/data/envelopes.json")).unwrap();
        for case in cases {
            let outcome = parse_message(&case.message, &Limits::default()).and_then(|m| {
                m.known_event()?;
                Ok(m.request_id)
            });
            let (result, answer) = match outcome {
                Ok(id) => ("accepted", Some(id)),
                Err(refusal) => {
                    assert!(refusal.counts());
                    (refusal.error.code.as_str(), refusal.request_id)
                }
            };
            let answer = answer.map_or("srv".to_owned(), |id| id.to_string());
            assert_eq!((result, answer), (case.result.as_str(), case.answer), "{}", case.message);
        }
    }

    #[test]
    fn hostile_texts_are_malformed() {
        let open = |n: usize| format!("{{\"data\":{}", "[".repeat(n));
        let limits = Limits { message_bytes_max: 300_000, ..Limits::default() };
        for text in [
            " {}",
            "\u{feff}{}",
            "hello",
            "null",
            "\"x\"",
            "{\"event\":",
            "{} {}",
            "{\"event\":\"\\ud800\"}",
            "{\"data\":{\"x\":\"\\udc00\"}}",
            &open(100_000),
            &format!("{{\"x\":\"{}\"}}", "a".repeat(300_000)),
        ] {
            let refusal = parse_message(text, &limits).unwrap_err();
            let start: String = text.chars().take(30).collect();
            assert_eq!(refusal.error.code, ErrorCode::MalformedMessage, "{start}");
            assert_eq!(refusal.request_id, None);
        }
    }

    #[test]
    fn each_member_has_its_rule() {
        let good =
            [("event", "\"status:check\""), ("data", "{}"), ("timestamp", "1"), ("requestId", "\"a\"")];
        let text = |change: &str, to: Option<&str>| {
            let members = good.iter().filter_map(|(name, value)| {
                let value = if *name == change { to? } else { value };
                Some(format!("\"{name}\":{value}"))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        };
        for (name, value) in [
            ("event", None),
            ("event", Some("5")),
            ("data", None),
            ("data", Some("[]")),
            ("data", Some("null")),
            ("timestamp", None),
            ("timestamp", Some("\"1\"")),
            ("timestamp", Some("-1")),
            ("timestamp", Some("1.0")),
            ("timestamp", Some("1e3")),
            ("requestId", None),
            ("requestId", Some("\"\"")),
            ("requestId", Some("1")),
        ] {
            let refusal = parse_message(&text(name, value), &Limits::default()).unwrap_err();
            assert_eq!(refusal.error.code, ErrorCode::InvalidEnvelope, "{name} {value:?}");
            let wanted = (name != "requestId").then(|| RequestId::parse("a").unwrap());
            assert_eq!(refusal.request_id, wanted, "{name} {value:?}");
        }
        let twice = text("", None).replace("\"requestId\"", "\"requestId\":\"b\",\"requestId\"");
        assert_eq!(parse_message(&twice, &Limits::default()).unwrap_err().request_id, None, "{twice}");
        let unknown = text("", None).replace("\"timestamp\"", "\"more\":{\"a\":1},\"timestamp\"");
        assert!(parse_message(&unknown, &Limits::default()).is_ok());
        let again = unknown.replace("\"timestamp\"", "\"more\":1,\"timestamp\"");
        assert_eq!(
            parse_message(&again, &Limits::default()).unwrap_err().error.code,
            ErrorCode::InvalidEnvelope
        );
    }

    #[test]
    fn written_messages_read_back() {
        let error = ErrorResponse::new(ErrorCode::Expired, "gone");
        let text = write_message(ServerEvent::SystemError, "srv-1", u64::MAX, &error);
        let read = parse_server_message(&text, &Limits::default()).unwrap();
        assert_eq!((read.event, read.timestamp), (Some(ServerEvent::SystemError), TIMESTAMP_MAX));
        assert_eq!(read.request_id, "srv-1");
        assert_eq!(serde_json::from_str::<ErrorResponse>(read.data.get()).unwrap(), error);

        let id = RequestId::parse("q").unwrap();
        let check = crate::StatusCheck::default();
        let text = write_client_message(ClientEvent::StatusCheck, &id, 7, &check);
        let read = parse_message(&text, &Limits::default()).unwrap();
        assert_eq!(read.known_event(), Ok(ClientEvent::StatusCheck));
        assert_eq!(crate::StatusCheck::parse(read.data, &Limits::default()), Ok(check));
    }

    #[test]
    fn clients_ignore_what_a_later_server_adds() {
        let text = r#"{"event":"download:moved","data":[1],"timestamp":1,"requestId":"srv-2","new":{}}"#;
        assert_eq!(parse_server_message(text, &Limits::default()).unwrap().event, None);
        for bad in ["", "[]", "{}", r#"{"event":"a","data":{},"timestamp":-1,"requestId":"a"}"#] {
            assert!(parse_server_message(bad, &Limits::default()).is_err(), "{bad}");
        }
    }

    proptest! {
        /// No text makes the reader panic, and every refusal answers under an id a client may use, or none.
        #[test]
        fn prop_never_panics_on_any_text(
            text in r#"\{("(event|data|timestamp|requestId|x)":("[a-z:-]{0,12}"|[0-9]{1,4}|\{\}|\[\]),?){0,6}\}?"#,
        ) {
            crate::fuzz::fuzz_message(text.as_bytes());
            if let Err(refusal) = parse_message(&text, &Limits::default()) {
                prop_assert!(refusal.request_id.is_none_or(|id| !id.is_server()));
            }
        }
    }
}
