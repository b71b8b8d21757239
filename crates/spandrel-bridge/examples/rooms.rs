//! Two programs on one machine, without a network: the second joins the first, a page of each speaks, then
//! the host goes.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use spandrel_bridge::{
    Bridge, Config, ConnId, Event, FromParent, Input, LinkId, Millis, Output, Role, Security,
};
use spandrel_socketio::{Decoder, Frame, Limits, Packet};

fn main() {
    let mut host = Bridge::new(Config::new(Security::Plain, 1));
    let mut other = Bridge::new(Config::new(Security::Plain, 2));
    let link = LinkId(1);

    step("host", &mut host, Input::Parent(FromParent::Open));
    step("host", &mut host, Input::Listening);
    step("host", &mut host, Input::Parent(FromParent::AddRoomId("red".into())));
    step("other", &mut other, Input::Parent(FromParent::AddRoomId("blue".into())));
    step("other", &mut other, Input::Parent(FromParent::Open));
    step("other", &mut other, Input::ListenFailed); // the port is taken
    let (program, red, blue) = (ConnId(1), ConnId(2), ConnId(3));
    step("host", &mut host, Input::Opened { conn: program, role: Role::Client, room: None });
    step("other", &mut other, Input::HostUp { link });
    let claim = event(r#"42["matchTarget","blue"]"#);
    step("host", &mut host, Input::Event { conn: program, event: claim });

    for (conn, room) in [(red, "red"), (blue, "blue")] {
        step("host", &mut host, Input::Opened { conn, role: Role::Browser, room: Some(room.into()) });
        let event = event(&format!(r#"42["message",{{"data":"hello from {room}"}}]"#));
        step("host", &mut host, Input::Event { conn, event });
    }
    step("host", &mut host, Input::Terminate);
    step("other", &mut other, Input::HostDown { link });
    step("other", &mut other, Input::Listening);
    step(
        "other",
        &mut other,
        Input::Opened { conn: ConnId(4), role: Role::Browser, room: Some("blue".into()) },
    );
}

/// Gives a fact and shows what is to be done.
fn step(name: &str, bridge: &mut Bridge, fact: Input) {
    println!("{name} <- {fact:?}");
    bridge.step(Millis::new(0), fact);
    while let Some(output) = bridge.poll() {
        match output {
            Output::Report(message) => {
                println!("    parent {}", message.to_frame().as_text().unwrap_or_default())
            }
            Output::Send(audience, packet) => {
                let whom: Vec<_> = bridge.audience(&audience).map(|ConnId(conn)| conn).collect();
                println!("    to {whom:?} {}", packet.text().as_text().unwrap_or_default());
            }
            Output::Note(note) => println!("    log: {note}"),
            other => println!("    {other:?}"),
        }
    }
}

/// An event as a session brings it.
fn event(text: &str) -> Event {
    match Decoder::new(&Limits::default()).push(Frame::text(text)) {
        Ok(Some(Packet::Event(event))) => event,
        other => panic!("{text} is no event: {other:?}"),
    }
}
