//! Takes a polling body apart, answers what asks for an answer, and puts the answers into a body.
//!
//! Run: `cargo run -p spandrel-socketio --example packets`

use std::io::Write as _;

use spandrel_socketio::{
    Decoder, EnginePacket, Form, Frame, Limits, Packet, PacketKind, Value, decode_payload, encode_ack,
    encode_payload,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let body = r#"1:240:421["message",{"data":"한글😀","key":"k"}]24:42["message",{"data":2}]"#;
    let limits = Limits::default();
    let mut decoder = Decoder::new(&limits);
    let mut answers: Vec<Frame> = Vec::new();
    let mut out = std::io::stdout().lock();

    for frame in decode_payload(body.into(), Form::Text, &limits)? {
        match PacketKind::of(&frame)? {
            PacketKind::Ping => {
                let data = EnginePacket::from_frame(frame)?.data;
                answers.push(EnginePacket { kind: PacketKind::Pong, data }.into_frame());
            }
            PacketKind::Message => {
                if let Some(Packet::Event(event)) = decoder.push(frame)? {
                    let arg = event.arg(0).unwrap_or(Value::NULL);
                    writeln!(out, "event {:?}: {arg}", event.name())?;
                    if let Some(id) = event.ack_id() {
                        let key = arg.member("key").unwrap_or(Value::TRUE);
                        answers.extend(encode_ack(id, &[&key]).frames());
                    }
                }
            }
            other => writeln!(out, "passed over: {other:?}")?,
        }
    }
    let (form, body) = encode_payload(&answers, false);
    writeln!(out, "answer as {}: {}", form.content_type(), String::from_utf8_lossy(&body))?;
    Ok(())
}
