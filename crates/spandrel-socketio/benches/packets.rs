//! What an event of about 100 bytes costs in and out, beside `serde_json` reading the same text into a tree.
//!
//! Run: `cargo bench -p spandrel-socketio --bench packets`. Read the medians as ratios within one run. `decode` is what
//! a server does with a page's message: check it, tell the event by its name, take the first argument and look for a
//! member; `floor_serde_json` only reads the JSON behind the digits into a `serde_json::Value`.

use divan::{Bencher, black_box, counter::BytesCount};
use spandrel_socketio::{
    Bytes, Decoder, Event, Form, Frame, Limits, Packet, Value, decode_payload, encode_event, encode_payload,
};

fn main() {
    divan::Divan::default().sample_count(1000).config_with_args().main();
}

/// As the page of the block-coding site sends it, and a larger one.
const SIZES: [usize; 3] = [40, 1000, 5_000_000];

fn packet(size: usize) -> String {
    let inner = "\\\"a\\\":1,".repeat(size / 8);
    format!(r#"42["message",{{"data":"{{{inner}}}","mode":0,"type":"utf8"}}]"#)
}

fn decoded(frame: Frame) -> Event {
    match Decoder::new(&Limits::default()).push(frame) {
        Ok(Some(Packet::Event(event))) => event,
        other => panic!("{other:?}"),
    }
}

#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher<'_, '_>, size: usize) {
    let frame = Frame::text(packet(size));
    let mut decoder = Decoder::new(&Limits::default());
    bencher.counter(BytesCount::from(frame.len())).bench_local(|| {
        let packet = decoder.push(black_box(&frame).clone());
        let Ok(Some(Packet::Event(event))) = packet else { panic!("{packet:?}") };
        let arg = event.arg(0).filter(|_| event.is_named("message"));
        (arg.as_ref().and_then(|arg| arg.member("key")), arg)
    });
}

#[divan::bench(args = SIZES)]
fn floor_serde_json(bencher: Bencher<'_, '_>, size: usize) {
    let packet = packet(size);
    bencher.counter(BytesCount::from(packet.len())).bench_local(|| {
        let json = black_box(&packet).strip_prefix("42").unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(json)
    });
}

#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher<'_, '_>, size: usize) {
    let value = decoded(Frame::text(packet(size))).arg(0).unwrap_or(Value::NULL);
    bencher
        .counter(BytesCount::from(value.json().len()))
        .bench_local(|| encode_event("message", &[black_box(&value)], None));
}

#[divan::bench(args = SIZES)]
fn payload_out(bencher: Bencher<'_, '_>, size: usize) {
    let frame = Frame::text(packet(size));
    bencher.counter(BytesCount::from(frame.len())).bench_local(|| encode_payload([black_box(&frame)], false));
}

#[divan::bench(args = SIZES)]
fn payload_in(bencher: Bencher<'_, '_>, size: usize) {
    let (_, body): (Form, Bytes) = encode_payload([&Frame::text(packet(size))], false);
    let limits = Limits::default();
    bencher
        .counter(BytesCount::from(body.len()))
        .bench_local(|| decode_payload(black_box(&body).clone(), Form::Text, &limits));
}
