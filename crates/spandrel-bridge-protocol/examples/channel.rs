//! Reads lines as a parent writes them and shows what they mean; then what a bridge would say.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use bytes::Bytes;
use spandrel_bridge_protocol::{CloudMode, FromParent, RunningMode, ToParent, Value};

fn main() {
    for line in [
        r#"{"key":"open"}"#,
        r#"{"key":"addRoomId","value":"4f0c2a9be1"}"#,
        r#"{"key":"send","value":{"A0":1023}}"#,
        r#"{"cmd":"NODE_HANDLE","type":"net.Server"}"#,
        r#"{"key":"#,
    ] {
        match FromParent::decode(&Bytes::from_static(line.as_bytes())) {
            Ok(message) => println!("{line}  means  {message:?}"),
            Err(error) => println!("{line}  is skipped: {error}"),
        }
    }
    for message in [
        ToParent::RunningModeChanged(RunningMode::Server),
        ToParent::CloudModeChanged(CloudMode::Single),
        ToParent::Connection,
        ToParent::Data(Value::from_text("a message")),
        ToParent::Close(Some("4f0c2a9be1".into())),
    ] {
        println!("{}", message.to_frame().as_text().unwrap_or_default());
    }
}
