//! What the parent says.

use bytes::Bytes;
use spandrel_socketio::{JsonError, Value, ValueKind};

use super::{LineError, RoomId};

/// How a Node parent writes its most frequent message.
const SEND: &[u8] = br#"{"key":"send","value":"#;

/// One message of the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromParent {
    /// `open`: start to listen. Its value, an environment's name or missing, has no meaning here.
    Open,
    /// `addRoomId`: the room of this program from now on; never empty.
    AddRoomId(RoomId),
    /// `send`: a message for the browsers. `None` when it carries no value, which is not the same as `null`.
    Send(Option<Value>),
    /// `disconnectHardware`: the same as a `send` of that text.
    DisconnectHardware,
    /// `connectHardwareSuccess`: a board answered; its id, where it is text.
    ConnectHardwareSuccess(Option<String>),
    /// `connectHardwareFailed`: no board answered.
    ConnectHardwareFailed,
    /// `encrypt`: text to be encrypted.
    Encrypt(String),
    /// `decrypt`: text to be decrypted.
    Decrypt(String),
    /// Anything else that is JSON: no answer, no effect. Also a known key whose value has the wrong form, and
    /// what a Node runtime sends of itself (an object whose `cmd` is text that begins with `NODE_`).
    Ignored,
}

impl FromParent {
    /// Reads one line of the channel, its line break taken off. Values are slices of `line`.
    ///
    /// Members come in any order, unknown ones are passed over, and of two with one name the last counts.
    ///
    /// # Errors
    ///
    /// [`LineError`] when the line is not one JSON value: skip it.
    pub fn decode(line: &Bytes) -> Result<Self, LineError> {
        if let Err(error) = std::str::from_utf8(line) {
            return Err(LineError::Utf8 { at: error.valid_up_to() });
        }
        if let Some(value) = sent(line) {
            return Ok(Self::Send(Some(value)));
        }
        if line.trim_ascii().is_empty() {
            return Err(LineError::Empty);
        }
        let said = Value::parse(line.clone());
        said.map(|said| meaning(&said)).map_err(|error| {
            let at = match error {
                JsonError::Syntax { at } | JsonError::TooDeep { at, .. } => at,
                _ => 0,
            };
            LineError::Syntax { at, len: line.len() }
        })
    }
}

/// The value of a `send` written as Node writes it: only the value is looked at, once.
fn sent(line: &Bytes) -> Option<Value> {
    let value = line.strip_prefix(SEND)?.strip_suffix(b"}")?;
    Value::parse(line.slice_ref(value)).ok()
}

fn meaning(said: &Value) -> FromParent {
    let of_the_runtime = |cmd: Value| cmd.text().is_some_and(|cmd| cmd.starts_with("NODE_"));
    if said.kind() != ValueKind::Object || said.member("cmd").is_some_and(of_the_runtime) {
        return FromParent::Ignored;
    }
    let Some(key) = said.member("key") else { return FromParent::Ignored };
    let value = said.member("value");
    let text = || value.as_ref().and_then(unicode_text);
    match key.text().as_deref() {
        Some("open") => Some(FromParent::Open),
        Some("addRoomId") => value.as_ref().and_then(RoomId::from_value).map(FromParent::AddRoomId),
        Some("send") => Some(FromParent::Send(value)),
        Some("disconnectHardware") => Some(FromParent::DisconnectHardware),
        Some("connectHardwareSuccess") => Some(FromParent::ConnectHardwareSuccess(text())),
        Some("connectHardwareFailed") => Some(FromParent::ConnectHardwareFailed),
        Some("encrypt") => text().map(FromParent::Encrypt),
        Some("decrypt") => text().map(FromParent::Decrypt),
        _ => None,
    }
    .unwrap_or(FromParent::Ignored)
}

/// The text of a string. `None` for every other value, and for a string with half a surrogate pair: that is
/// no Unicode text, and what stands in for it must not pass for one that says so.
pub(super) fn unicode_text(value: &Value) -> Option<String> {
    let text = value.text()?;
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return serde_json::from_slice(value.json()).ok();
    }
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(line: &str) -> Result<FromParent, LineError> {
        FromParent::decode(&Bytes::copy_from_slice(line.as_bytes()))
    }

    fn send(json: &'static str) -> FromParent {
        FromParent::Send(Some(Value::parse(json).unwrap()))
    }

    #[test]
    fn every_key_has_its_meaning() {
        for (line, want) in [
            (r#"{"key":"open"}"#, FromParent::Open),
            (r#"{"key":"open","value":"production"}"#, FromParent::Open),
            (r#"{"key":"open","value":null}"#, FromParent::Open),
            (r#"{"key":"addRoomId","value":"방/😀"}"#, FromParent::AddRoomId("방/😀".into())),
            (r#"{"key":"addRoomId","value":""}"#, FromParent::Ignored),
            (r#"{"key":"addRoomId","value":7}"#, FromParent::Ignored),
            (r#"{"key":"addRoomId"}"#, FromParent::Ignored),
            (r#"{"key":"send"}"#, FromParent::Send(None)),
            (r#"{"key":"send","value":null}"#, send("null")),
            (r#"{"key":"send","value":{"a":"한글\n😀"}}"#, send(r#"{"a":"한글\n😀"}"#)),
            (r#"{"key":"send","value":"\ud83d"}"#, send(r#""\ud83d""#)),
            (r#"{"key":"disconnectHardware","value":1}"#, FromParent::DisconnectHardware),
            (
                r#"{"key":"connectHardwareSuccess","value":"0101"}"#,
                FromParent::ConnectHardwareSuccess(Some("0101".into())),
            ),
            (r#"{"key":"connectHardwareSuccess"}"#, FromParent::ConnectHardwareSuccess(None)),
            (r#"{"key":"connectHardwareFailed"}"#, FromParent::ConnectHardwareFailed),
            (r#"{"key":"encrypt","value":"a\u00e9"}"#, FromParent::Encrypt("aé".into())),
            (r#"{"key":"encrypt","value":5}"#, FromParent::Ignored),
            (r#"{"key":"encrypt","value":"\udfff"}"#, FromParent::Ignored),
            (r#"{"key":"decrypt","value":""}"#, FromParent::Decrypt(String::new())),
            (r#"{"key":"decrypt"}"#, FromParent::Ignored),
        ] {
            assert_eq!(decode(line), Ok(want), "{line}");
        }
    }

    #[test]
    fn members_come_in_any_order_and_the_last_of_a_name_counts() {
        for (line, want) in [
            (r#" { "value" : [ 1 ] , "key" : "send" } "#, send("[ 1 ]")),
            (r#"{"key":"open","key":"send","value":1,"value":2}"#, send("2")),
            (r#"{"key":"send","value":1,"value":2}"#, send("2")),
            (r#"{"key":"send","value":1,"key":"open"}"#, FromParent::Open),
            (r#"{"key":"send","key":7}"#, FromParent::Ignored),
            (r#"{"key":"send","value":{"key":"open"},"more":[{}]}"#, send(r#"{"key":"open"}"#)),
            (r#"{"\u006bey":"\u006fpen"}"#, FromParent::Open),
            (r#"{"\ud83d":1,"key":"open"}"#, FromParent::Open),
            (r#"{"__proto__":{"key":"open"}}"#, FromParent::Ignored),
        ] {
            assert_eq!(decode(line), Ok(want), "{line}");
        }
    }

    #[test]
    fn everything_else_that_is_json_is_ignored() {
        for line in [
            r#""exit""#,
            "5",
            "true",
            "null",
            "[1]",
            "[]",
            "{}",
            r#"{"value":1}"#,
            r#"{"key":""}"#,
            r#"{"key":7}"#,
            r#"{"key":null}"#,
            r#"{"key":["open"]}"#,
            r#"{"key":"nope","value":1}"#,
            r#"{"key":"Open"}"#,
            r#"{"key":"\ud83d"}"#,
            r#"{"cmd":"NODE_UNKNOWN","key":"send","value":1}"#,
            r#"{"key":"send","value":1,"cmd":"NODE_"}"#,
            r#"{"key":"send","cmd":"NODE_HANDLE","value":1}"#,
            r#"{"cmd":"\u004eODE_X","key":"open"}"#,
            r#"{"cmd":"NODE_HANDLE","type":"net.Server","msg":{"key":"open"}}"#,
        ] {
            assert_eq!(decode(line), Ok(FromParent::Ignored), "{line}");
        }
        for line in [
            r#"{"cmd":"NODE","key":"open"}"#,
            r#"{"cmd":["NODE_X"],"key":"open"}"#,
            r#"{"cmd":"NODE_X","cmd":1,"key":"open"}"#,
        ] {
            assert_eq!(decode(line), Ok(FromParent::Open), "{line}: not of the runtime");
        }
    }

    #[test]
    fn a_broken_line_is_an_error_that_says_where() {
        for line in [
            "{\"key\":",
            "not json",
            "{\"key\":\"open\"} x",
            "{\"key\":\"send\",\"value\":}",
            "{\"key\":\"send\",\"value\":01}",
            "{\"key\":\"open\",}",
            "{1:2}",
            "{\"key\" \"open\"}",
        ] {
            assert!(
                matches!(decode(line), Err(LineError::Syntax { len, .. }) if len == line.len()),
                "{line}"
            );
        }
        assert_eq!(decode(""), Err(LineError::Empty));
        let bad = Bytes::from_static(b"{\"key\":\"send\",\"value\":\"\xff\"}");
        assert_eq!(FromParent::decode(&bad), Err(LineError::Utf8 { at: 23 }));
    }

    #[test]
    fn a_value_is_a_slice_of_its_line() {
        for line in [r#"{"key":"send","value":{"a":1}}"#, r#"{"value":{"a":1},"key":"send"}"#] {
            let line = Bytes::copy_from_slice(line.as_bytes());
            let FromParent::Send(Some(value)) = FromParent::decode(&line).unwrap() else { panic!("a send") };
            assert!(line.as_ptr_range().contains(&value.json().as_ptr()));
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,8}".prop_map(serde_json::Value::String),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                proptest::collection::btree_map("[a-z\"\\\\é]{0,5}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The short way for `send` and the long way agree, whatever the value and whatever follows it.
        #[test]
        fn prop_short_way_agrees_with_the_long_way(
            value in json(),
            tail in "(|\\}| \\}|,\"key\":\"open\"\\}|,\"value\":[0-9]\\}|\\]\\})",
        ) {
            let short = format!(r#"{{"key":"send","value":{value}{tail}"#);
            let long = format!(r#" {{"key":"send","value":{value}{tail}"#);
            match (decode(&short), decode(&long)) {
                (Ok(short), Ok(long)) => prop_assert_eq!(short, long),
                (short, long) => prop_assert!(short.is_err() && long.is_err()),
            }
        }

        /// A value that goes through comes out as the text it was.
        #[test]
        fn prop_values_pass_unchanged(value in json(), swapped: bool) {
            let text = value.to_string();
            let line = match swapped {
                true => format!(r#"{{"value":{text},"key":"send"}}"#),
                false => format!(r#"{{"key":"send","value":{text}}}"#),
            };
            let got = decode(&line);
            prop_assert!(matches!(&got, Ok(FromParent::Send(Some(json))) if json.as_json_str() == text), "{:?}", got);
        }

        /// Whether a line is JSON is answered as a full parser answers it.
        #[test]
        fn prop_agrees_with_a_full_parser(
            line in "[{}\\[\\]\",:0-9a-e. ]{0,24}|\\{\"key\":\"(send|open)\",\"value\":[{}\\[\\]\",:0-9 ]{0,9}\\}",
        ) {
            let full = serde_json::from_str::<serde::de::IgnoredAny>(&line);
            prop_assert_eq!(decode(&line).is_ok(), full.is_ok());
        }

        /// No bytes make it panic.
        #[test]
        fn prop_never_panics(noise: Vec<u8>, text in ".{0,60}") {
            crate::fuzz::fuzz_parent_line(&noise);
            crate::fuzz::fuzz_parent_line(text.as_bytes());
        }
    }
}
