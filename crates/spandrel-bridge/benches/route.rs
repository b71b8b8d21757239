//! What a message costs beside the bare cost of reading and writing its packet.

use divan::{Bencher, black_box};
use spandrel_bridge::{
    Bridge, Bytes, Config, ConnId, Event, FromParent, Input, LinkId, Millis, Output, Role, Security,
    ToParent, Value,
};
use spandrel_socketio::{Decoder, Frame, Limits, Packet, encode_event};

const NOW: Millis = Millis::new(1_000);
/// About 100 bytes, as a page sends them.
const UP: &str = r#"42["message",{"data":"{\"index\":17,\"LED\":{\"3\":{\"type\":\"digital\",\"data\":1}}}","mode":0,"type":"utf8"}]"#;
/// About 100 bytes, as a program sends them.
const DOWN: &str = r#"{"key":"send","value":{"A0":1023,"A1":512,"A2":7,"D2":1,"D3":0,"ULTRASONIC":{"trigger":12,"echo":43.25}}}"#;

fn main() {
    divan::main();
}

fn event() -> Event {
    match Decoder::new(&Limits::default()).push(Frame::text(UP)) {
        Ok(Some(Packet::Event(event))) => event,
        other => panic!("an event, not {other:?}"),
    }
}

fn value() -> Value {
    match FromParent::decode(&Bytes::from_static(DOWN.as_bytes())) {
        Ok(FromParent::Send(Some(value))) => value,
        other => panic!("a send, not {other:?}"),
    }
}

fn drain(bridge: &mut Bridge) {
    while let Some(output) = bridge.poll() {
        drop(black_box(output));
    }
}

fn after(facts: impl IntoIterator<Item = Input>) -> Bridge {
    let mut bridge = Bridge::new(Config::new(Security::Plain, 7));
    for fact in facts {
        bridge.step(NOW, fact);
        drain(&mut bridge);
    }
    bridge
}

/// 100 browsers; in the cloud in ten rooms, each a client's.
fn host(is_cloud: bool) -> Bridge {
    let start = [Input::Parent(FromParent::Open), Input::Listening];
    let room = |n: u64| format!("{:010x}", n % 10 * 7_919);
    let browsers =
        (0..100).map(|n| Input::Opened { conn: ConnId(n), role: Role::Browser, room: Some(room(n).into()) });
    let clients = (100..110).filter(|_| is_cloud).flat_map(|n| {
        let claim = format!(r#"42["matchTarget","{}"]"#, room(n));
        let claim = match Decoder::new(&Limits::default()).push(Frame::text(claim)) {
            Ok(Some(Packet::Event(event))) => event,
            other => panic!("an event, not {other:?}"),
        };
        let conn = ConnId(n);
        [Input::Opened { conn, role: Role::Client, room: None }, Input::Event { conn, event: claim }]
    });
    after(start.into_iter().chain(browsers).chain(clients))
}

/// Floor of every way up to the parent: the line alone.
#[divan::bench]
fn up_floor_report(bencher: Bencher<'_, '_>) {
    let message = event().arg(0).expect("an argument");
    bencher.bench_local(|| ToParent::Data(black_box(&message).clone()).to_frame());
}

#[divan::bench]
fn up_single_step(bencher: Bencher<'_, '_>) {
    let mut bridge = host(false);
    let event = event();
    bencher.bench_local(|| {
        bridge.step(NOW, Input::Event { conn: ConnId(50), event: black_box(&event).clone() });
        drain(&mut bridge);
    });
}

#[divan::bench]
fn up_single_step_and_report(bencher: Bencher<'_, '_>) {
    let mut bridge = host(false);
    let event = event();
    bencher.bench_local(|| {
        bridge.step(NOW, Input::Event { conn: ConnId(50), event: black_box(&event).clone() });
        match bridge.poll() {
            Some(Output::Report(message)) => message.to_frame(),
            other => panic!("a report, not {other:?}"),
        }
    });
}

#[divan::bench]
fn up_cloud_to_its_client(bencher: Bencher<'_, '_>) {
    let mut bridge = host(true);
    let event = event();
    bencher.bench_local(|| {
        bridge.step(NOW, Input::Event { conn: ConnId(50), event: black_box(&event).clone() });
        drain(&mut bridge);
    });
}

/// Floor of every way down: the packet alone.
#[divan::bench]
fn down_floor_encode(bencher: Bencher<'_, '_>) {
    let value = value();
    bencher.bench_local(|| {
        let payload = Value::wrapped("data", black_box(&value));
        encode_event("message", &[&payload], None)
    });
}

#[divan::bench]
fn down_floor_read_line(bencher: Bencher<'_, '_>) {
    let line = Bytes::from_static(DOWN.as_bytes());
    bencher.bench_local(|| FromParent::decode(black_box(&line)));
}

#[divan::bench]
fn down_single_step(bencher: Bencher<'_, '_>) {
    let mut bridge = host(false);
    let value = value();
    bencher.bench_local(|| {
        bridge.step(NOW, Input::Parent(FromParent::Send(Some(black_box(&value).clone()))));
        drain(&mut bridge);
    });
}

/// With each of the 100 browsers named.
#[divan::bench]
fn down_single_step_and_audience(bencher: Bencher<'_, '_>) {
    let mut bridge = host(false);
    let value = value();
    bencher.bench_local(|| {
        bridge.step(NOW, Input::Parent(FromParent::Send(Some(black_box(&value).clone()))));
        match bridge.poll() {
            Some(Output::Send(audience, _)) => {
                bridge.audience(&audience).map(|ConnId(conn)| conn).sum::<u64>()
            }
            other => panic!("a packet, not {other:?}"),
        }
    });
}

#[divan::bench]
fn down_cloud_client_to_its_room(bencher: Bencher<'_, '_>) {
    let mut bridge = host(true);
    let event = event();
    bencher.bench_local(|| {
        bridge.step(NOW, Input::Event { conn: ConnId(105), event: black_box(&event).clone() });
        match bridge.poll() {
            Some(Output::Send(audience, _)) => {
                bridge.audience(&audience).map(|ConnId(conn)| conn).sum::<u64>()
            }
            other => panic!("a packet, not {other:?}"),
        }
    });
}

#[divan::bench]
fn down_as_client(bencher: Bencher<'_, '_>) {
    let link = LinkId(1);
    let mut bridge = after([Input::Parent(FromParent::Open), Input::ListenFailed, Input::HostUp { link }]);
    let value = value();
    bencher.bench_local(|| {
        bridge.step(NOW, Input::Parent(FromParent::Send(Some(black_box(&value).clone()))));
        drain(&mut bridge);
    });
}
