//! Bodies of fuzz targets: plain functions that must never panic, whatever the bytes.

use bytes::Bytes;
use spandrel_wire::Frame;

use crate::{
    Decoder, EnginePacket, Form, Handshake, Limits, Packet, Value, decode_payload, encode_ack, encode_event,
    encode_payload,
};

fn limits() -> Limits {
    let mut limits = Limits::default().with_message_bytes_max(4096);
    limits.packets_per_payload_max = 256;
    limits.attachments_max = 4;
    limits
}

/// A polling body of any bytes, in both forms: what is taken can be written and taken again.
pub fn fuzz_engineio_payload(data: &[u8]) {
    for form in [Form::Text, Form::Binary] {
        let Ok(frames) = decode_payload(Bytes::copy_from_slice(data), form, &limits()) else { continue };
        assert!(!frames.is_empty());
        for b64 in [false, true] {
            let (form, body) = encode_payload(&frames, b64);
            assert_eq!(decode_payload(body, form, &Limits::default()).as_ref(), Ok(&frames));
        }
    }
}

/// A WebSocket frame of any bytes: its packet makes the same frame, and a handshake is read as it is written.
pub fn fuzz_engineio_frame(data: &[u8]) {
    for frame in frames_of(data) {
        if let Ok(packet) = EnginePacket::from_frame(frame.clone()) {
            assert_eq!(packet.into_frame(), frame);
        }
        if let Ok(handshake) = Handshake::parse(&frame) {
            assert_eq!(Handshake::parse(&handshake.encode()), Ok(handshake));
        }
    }
}

/// A run of messages, each ended by byte ff: packets that are taken can be sent, and then mean the same.
pub fn fuzz_socketio_packet(data: &[u8]) {
    let mut decoder = Decoder::new(&limits());
    for message in data.split(|b| *b == 0xff) {
        let binary = message.first() == Some(&4);
        let frame = if binary {
            Ok(Frame::binary(message.to_vec()))
        } else {
            Frame::try_text(message.to_vec().into())
        };
        let Ok(frame) = frame else { return };
        match decoder.push(frame) {
            Ok(Some(packet)) => sent_again(&packet),
            Ok(None) => assert!(decoder.awaited() > 0),
            Err(_) => return,
        }
    }
}

/// A text that may be JSON: whatever is inside is JSON too, and no line break passes.
pub fn fuzz_socketio_json(data: &[u8]) {
    let Ok(value) = Value::parse(Bytes::copy_from_slice(data)) else { return };
    holds(&value);
    for element in value.elements() {
        holds(&element);
    }
    for name in ["data", "key", "_placeholder", ""] {
        if let Some(member) = value.member(name) {
            holds(&member);
        }
    }
    let wrapped = Value::wrapped("data", &value);
    holds(&wrapped);
    assert_eq!(wrapped.member("data"), Some(value));
}

fn holds(value: &Value) {
    assert!(memchr::memchr2(b'\n', b'\r', value.json()).is_none(), "a line break in {value:?}");
    // One level deeper than this may be over the limit when the value was wrapped.
    if let Ok(again) = Value::parse(value.json().clone()) {
        assert_eq!(&again, value);
    } else {
        let inner = value.member("data").map(|data| Value::parse(data.json().clone()));
        assert!(matches!(inner, Some(Ok(_))), "{value:?}");
    }
    if let Some(text) = value.text() {
        let written = Value::from_text(&text);
        assert_eq!(written.text().as_deref(), Some(&*text));
    }
}

fn sent_again(packet: &Packet) {
    let (args, again): (Vec<_>, _) = match packet {
        Packet::Event(event) => {
            let args: Vec<_> = event.args().collect();
            let packet = encode_event(&event.name(), &args.iter().collect::<Vec<_>>(), event.ack_id());
            (args, packet)
        }
        Packet::Ack(ack) => {
            let args: Vec<_> = ack.args().collect();
            let packet = encode_ack(ack.id(), &args.iter().collect::<Vec<_>>());
            (args, packet)
        }
        _ => return,
    };
    let mut decoder = Decoder::new(&Limits::default());
    let mut got = None;
    for frame in again.frames() {
        got = decoder.push(frame).expect("what we send can be read");
    }
    match (packet, got) {
        (Packet::Event(event), Some(Packet::Event(got))) => {
            assert_eq!((got.name(), got.ack_id()), (event.name(), event.ack_id()));
            assert!(same(&args, &got.args().collect::<Vec<_>>()));
        }
        (Packet::Ack(ack), Some(Packet::Ack(got))) => {
            assert_eq!(got.id(), ack.id());
            assert!(same(&args, &got.args().collect::<Vec<_>>()));
        }
        (_, got) => panic!("became {got:?}"),
    }
}

/// The texts and the buffers that reach a reader. Attachments that no argument names are not compared.
fn same(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_json_with_buffers() == b.to_json_with_buffers())
}

fn frames_of(data: &[u8]) -> impl Iterator<Item = Frame> {
    let text = Frame::try_text(Bytes::copy_from_slice(data)).ok();
    text.into_iter().chain([Frame::binary(data.to_vec())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_reach_their_assertions() {
        fuzz_engineio_payload("35:42[\"message\",{\"data\":{\"v\":\"한글😀\"}}]2:40".as_bytes());
        fuzz_engineio_payload(&[1, 4, 255, 4, 1, 2, 255]);
        fuzz_engineio_frame(br#"0{"sid":"a","upgrades":[],"pingInterval":1,"pingTimeout":2}"#);
        fuzz_socketio_packet(
            b"451-[\"a\",{\"_placeholder\":true,\"num\":0}]\xff\x04ab\xff427[\"b\",1]\xff437[]",
        );
        let deep = format!("{}{}", "[".repeat(Value::DEPTH_MAX), "]".repeat(Value::DEPTH_MAX));
        fuzz_socketio_json(deep.as_bytes());
        fuzz_socketio_json(b"{\"data\":{\"key\":\"\\ud83d\"},\n\"key\":[]}");
    }

    proptest! {
        /// No target panics on any bytes.
        #[test]
        fn prop_never_panics_on_any_bytes(data in prop::collection::vec(any::<u8>(), 0..100)) {
            for target in [fuzz_engineio_payload, fuzz_engineio_frame, fuzz_socketio_packet, fuzz_socketio_json] {
                target(&data);
            }
        }
    }
}
