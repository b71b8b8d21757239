//! The client alone, and the client against the server in memory, whatever is delivered when.

mod world;

use proptest::prelude::*;
use world::World;

use super::*;
use crate::{Bytes, Form, Frame, Limits, Millis, PacketKind, Value, encode_event, encode_payload};

const OPEN: &str = r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":1000,"pingTimeout":5000}"#;

fn at(ms: u64) -> Millis {
    Millis::new(ms)
}

fn body(frames: &[&str]) -> Bytes {
    encode_payload(&frames.iter().map(|text| Frame::text(*text)).collect::<Vec<_>>(), false).1
}

fn outputs(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll()).collect()
}

fn event(n: u64) -> crate::Encoded {
    encode_event("n", &[&Value::from(n)], None)
}

fn new(transports: Transports) -> Session {
    Session::new(at(0), SessionConfig::new(transports))
}

/// A session over polling that the server has let in.
fn polling(transports: Transports) -> Session {
    let mut session = new(transports);
    session.answer(at(0), body(&[OPEN, "40"]), Form::Text);
    outputs(&mut session);
    session
}

/// The same over a WebSocket.
fn over_socket() -> Session {
    let mut session = new(Transports::WebSocket);
    session.socket_open();
    session.frame(at(0), Frame::text(OPEN));
    session.frame(at(0), Frame::text("40"));
    assert_eq!(outputs(&mut session), [Output::Dial, Output::Connected]);
    session
}

fn frames(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.next_frame()).map(|f| f.as_text().unwrap().to_owned()).collect()
}

#[test]
fn what_is_sent_before_the_server_agreed_waits_for_it() {
    let mut session = new(Transports::PollingThenWebSocket);
    session.send(&event(1)).unwrap();
    assert_eq!((outputs(&mut session), session.next_post()), (vec![Output::Get], None));
    session.answer(at(1), body(&[OPEN]), Form::Text);
    assert_eq!((outputs(&mut session), session.next_post()), (vec![Output::Dial, Output::Get], None));
    session.answer(at(2), body(&["40"]), Form::Text);
    assert_eq!(outputs(&mut session), [Output::Connected, Output::Get]);
    assert_eq!(session.next_post(), Some((Form::Text, body(&["42[\"n\",1]"]))));
}

#[test]
fn one_post_at_a_time_takes_everything_that_waits() {
    let mut session = polling(Transports::Polling);
    session.send(&event(1)).unwrap();
    assert!(session.next_post().is_some());
    session.send(&event(2)).unwrap();
    session.send(&event(3)).unwrap();
    assert_eq!(session.next_post(), None);
    session.post_done();
    assert_eq!(session.next_post(), Some((Form::Text, body(&["42[\"n\",2]", "42[\"n\",3]"]))));
}

#[test]
fn an_upgrade_waits_for_what_is_under_way() {
    let mut session = polling(Transports::PollingThenWebSocket);
    session.send(&event(1)).unwrap();
    session.next_post().unwrap();
    session.socket_open();
    assert_eq!(frames(&mut session), ["2probe"]);
    session.send(&event(2)).unwrap();
    session.frame(at(1), Frame::text("3probe"));
    session.post_done();
    assert_eq!((outputs(&mut session), session.next_post()), (vec![], None), "nothing new is asked for");
    assert_eq!(frames(&mut session), [""; 0]);
    session.answer(at(2), body(&["42[\"down\"]", "6"]), Form::Text);
    assert!(matches!(&outputs(&mut session)[..], [Output::Received(_), Output::Upgraded]));
    assert_eq!(frames(&mut session), ["5", "42[\"n\",2]"]);
    session.frame(at(3), Frame::text("42[\"later\"]"));
    assert!(matches!(&outputs(&mut session)[..], [Output::Received(e)] if e.is_named("later")));
}

#[test]
fn a_websocket_that_is_not_granted_changes_nothing() {
    for (name, fail) in [
        ("not to be opened", (|s: &mut Session| s.socket_gone(Some(400))) as fn(&mut Session)),
        ("another answer", |s| s.frame(at(1), Frame::text("3other"))),
        ("something after the answer", |s| {
            s.frame(at(1), Frame::text("3probe"));
            s.frame(at(1), Frame::text("42[\"n\"]"));
        }),
        ("no answer in time", |s| {
            for ms in [4000, 8000] {
                s.answer(at(ms), body(&["3"]), Form::Text);
            }
            s.tick(at(10_000));
        }),
    ] {
        let mut session = polling(Transports::PollingThenWebSocket);
        session.socket_open();
        fail(&mut session);
        assert!(!session.is_over(), "{name}");
        assert!(!outputs(&mut session).iter().any(|o| matches!(o, Output::Closed(_))), "{name}");
        assert_eq!(session.next_frame(), None, "{name}");
        session.answer(at(10_001), body(&["42[\"n\"]"]), Form::Text);
        assert!(matches!(&outputs(&mut session)[..], [Output::Received(_), Output::Get]), "{name}");
        session.send(&event(1)).unwrap();
        assert!(session.next_post().is_some(), "{name}");
    }
}

#[test]
fn a_client_pings_and_any_packet_is_life() {
    let mut session = over_socket();
    let mut pings = 0;
    for ms in (0..60_000).step_by(500) {
        session.tick(at(ms));
        if frames(&mut session) == ["2"] {
            pings += 1;
            let answer = if pings % 2 == 0 { "3" } else { "42[\"n\"]" };
            session.frame(at(ms + 4000), Frame::text(answer));
        }
    }
    assert_eq!((pings, session.is_over()), (59, false));
}

#[test]
fn over_polling_pings_go_out_by_post() {
    let mut session = polling(Transports::Polling);
    session.tick(at(1000));
    session.send(&event(1)).unwrap();
    assert_eq!(session.next_post(), Some((Form::Text, body(&["2", "42[\"n\",1]"]))));
    session.answer(at(1001), body(&["3"]), Form::Text);
    assert_eq!((outputs(&mut session), session.wake()), (vec![Output::Get], Some(at(2000))));
}

#[test]
fn silence_is_the_end() {
    let mut session = over_socket();
    let mut told = Vec::new();
    while let Some(wake) = session.wake() {
        session.tick(wake);
        told.extend(outputs(&mut session).into_iter().map(|o| (wake.get(), o)));
    }
    let why = CloseReason::Silent { silent_ms: 6000 };
    assert_eq!(told, [(6000, Output::HangUp), (6000, Output::Closed(why))]);
}

#[test]
fn a_server_cannot_ask_for_pings_without_pause() {
    let mut session = new(Transports::WebSocket);
    let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":0,"pingTimeout":0}"#;
    session.frame(at(0), Frame::text(open));
    assert_eq!(session.wake(), Some(at(100)));
}

#[test]
fn each_end_has_its_reason() {
    let refused = Some(Value::from_text("no"));
    for (name, end, why) in [
        ("disconnected", Frame::text("41"), CloseReason::Disconnected),
        ("closed", Frame::text("1"), CloseReason::Closed),
        ("refused", Frame::text("44\"no\""), CloseReason::NotAdmitted(refused)),
        ("garbage", Frame::text("4garb"), CloseReason::BrokenMessage(crate::PacketError::Kind)),
        ("no packet", Frame::text("x"), CloseReason::Broken(crate::EngineError::Kind { byte: b'x' })),
    ] {
        let mut session = over_socket();
        session.frame(at(1), end);
        assert_eq!(outputs(&mut session), [Output::HangUp, Output::Closed(why)], "{name}");
        session.frame(at(1), Frame::text("42[\"late\"]"));
        assert_eq!((outputs(&mut session), session.wake()), (vec![], None), "{name}");
        assert_eq!(session.send(&event(1)), Err(SendError::Closed), "{name}");
    }
    for (name, fail, why) in [
        (
            "status",
            (|s: &mut Session| s.request_failed(Some(400))) as fn(&mut Session),
            CloseReason::Refused { status: 400 },
        ),
        ("no connection", |s| s.request_failed(None), CloseReason::Gone),
        ("time", |s| s.tick(at(10_000)), CloseReason::NotOpened { ms: 10_000 }),
        (
            "no handshake",
            |s| s.answer(at(0), body(&["40"]), Form::Text),
            CloseReason::Broken(crate::EngineError::Handshake { expected: "packet 0" }),
        ),
    ] {
        let mut session = new(Transports::Polling);
        fail(&mut session);
        assert_eq!(outputs(&mut session), [Output::Get, Output::Closed(why)], "{name}");
    }
    let mut session = new(Transports::WebSocket);
    session.socket_gone(Some(403));
    assert_eq!(outputs(&mut session), [Output::Dial, Output::Closed(CloseReason::Refused { status: 403 })]);
    let mut session = over_socket();
    session.socket_gone(None);
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Gone)]);
}

#[test]
fn leaving_over_a_websocket_says_so_last() {
    let mut session = over_socket();
    session.send(&event(1)).unwrap();
    session.disconnect(at(1));
    assert_eq!(outputs(&mut session), [Output::HangUp, Output::Closed(CloseReason::Left)]);
    assert_eq!(frames(&mut session), ["42[\"n\",1]", "41"]);
}

#[test]
fn leaving_over_polling_waits_for_its_goodbye() {
    let mut session = polling(Transports::PollingThenWebSocket);
    session.socket_open();
    session.send(&event(1)).unwrap();
    session.disconnect(at(1));
    assert_eq!(outputs(&mut session), [Output::HangUp], "the try of a WebSocket is given up");
    assert_eq!(session.next_post(), Some((Form::Text, body(&["42[\"n\",1]", "41", "1"]))));
    session.answer(at(2), body(&["6"]), Form::Text);
    assert_eq!(outputs(&mut session), [], "no further GET");
    session.post_done();
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Left)]);

    let mut stuck = polling(Transports::Polling);
    stuck.disconnect(at(1));
    stuck.tick(at(1001));
    assert_eq!(outputs(&mut stuck), [Output::Closed(CloseReason::Left)]);

    let mut early = new(Transports::Polling);
    early.disconnect(at(1));
    assert_eq!(outputs(&mut early), [Output::Get, Output::Closed(CloseReason::Left)]);
}

#[test]
fn acknowledgements_come_once_and_only_when_asked_for() {
    let mut session = over_socket();
    let (first, second) = (session.ask("a", &[]).unwrap(), session.ask("b", &[&Value::TRUE]).unwrap());
    assert_eq!(frames(&mut session), [format!("42{first}[\"a\"]"), format!("42{second}[\"b\",true]")]);
    for text in [format!("43{second}[5]"), format!("43{second}[5]"), "43999[5]".into()] {
        session.frame(at(1), Frame::text(text));
    }
    assert!(matches!(&outputs(&mut session)[..], [Output::Acked(ack)] if ack.id() == second));
    session.forget(first);
    session.frame(at(1), Frame::text(format!("43{first}[]")));
    assert_eq!(outputs(&mut session), []);
    session.acknowledge(7, &[&Value::TRUE]).unwrap();
    assert_eq!(frames(&mut session), ["437[true]"]);
}

#[test]
fn other_namespaces_are_passed_over() {
    let mut session = over_socket();
    for text in ["40/a", "41/a", "42/a,[\"n\"]", "44/a,\"no\""] {
        session.frame(at(1), Frame::text(text));
    }
    assert_eq!(outputs(&mut session), []);
}

#[test]
fn one_over_each_limit_is_refused() {
    let mut limits = Limits::default().with_queued_max(100, 3);
    limits.acks_max = 2;
    let config = SessionConfig::new(Transports::Polling).with_limits(limits);
    let large = encode_event("n", &[&Value::from_text(&"x".repeat(1000))], None);

    let mut session = Session::new(at(0), config.clone());
    session.send(&large).expect("one larger packet when nothing else waits");
    assert_eq!(session.send(&event(1)), Err(SendError::Full));

    let mut session = Session::new(at(0), config.clone());
    session.send(&event(1)).unwrap();
    assert_eq!(session.send(&large), Err(SendError::Full), "bytes");
    session.send(&event(2)).unwrap();
    session.send(&event(3)).unwrap();
    assert_eq!(session.send(&event(4)), Err(SendError::Full), "frames");

    let mut session = Session::new(at(0), config);
    session.set_unwritten(95);
    assert_eq!(session.send(&event(1)), Err(SendError::Full), "what the driver holds counts");
    session.set_unwritten(0);
    session.ask("a", &[]).unwrap();
    session.ask("a", &[]).unwrap();
    assert_eq!(session.ask("a", &[]), Err(SendError::TooManyAcks { max: 2 }));
}

#[test]
fn a_large_queue_goes_out_in_several_posts() {
    let mut limits = Limits::default();
    limits = limits.with_message_bytes_max(100);
    limits.packets_per_payload_max = 4;
    let mut session =
        Session::new(at(0), SessionConfig::new(Transports::Polling).with_limits(limits.clone()));
    session.answer(at(0), body(&[OPEN, "40"]), Form::Text);
    for n in 0..10 {
        session.send(&event(n)).unwrap();
    }
    let mut sizes = Vec::new();
    while let Some((form, body)) = session.next_post() {
        sizes.push(crate::decode_payload(body, form, &limits).unwrap().len());
        session.post_done();
    }
    assert_eq!(sizes, [4, 4, 2]);
}

#[test]
fn client_and_server_meet_over_each_transport() {
    for transports in [Transports::WebSocket, Transports::Polling, Transports::PollingThenWebSocket] {
        let mut world = World::new(transports);
        for _ in 0..20 {
            world.client_sends();
            world.server_sends();
            world.client_asks();
        }
        world.settle();
        world.check_all_arrived();
        let over_socket = transports != Transports::Polling;
        assert_eq!(world.client.is_over_websocket(), over_socket, "{transports:?}");
        world.client.disconnect(world.now);
        world.settle();
        assert_eq!(world.client_end, Some(CloseReason::Left), "{transports:?}");
        assert_eq!(world.server_end, Some(crate::server::CloseReason::Left), "{transports:?}");
    }
}

#[test]
fn five_megabytes_pass_both_ways_over_each_transport() {
    let text = Value::from_text(&"가😀x".repeat(700_000));
    let packet = encode_event("large", &[&text], None);
    for transports in [Transports::WebSocket, Transports::Polling, Transports::PollingThenWebSocket] {
        let mut world = World::new(transports);
        world.client.send(&packet).unwrap();
        world.settle();
        world.server_mut().send(at(0), &packet).unwrap();
        world.settle();
        assert_eq!(world.large, [text.clone(), text.clone()], "{transports:?}");
    }
}

#[test]
fn a_server_that_closes_is_noticed() {
    for transports in [Transports::WebSocket, Transports::Polling, Transports::PollingThenWebSocket] {
        for disconnects in [false, true] {
            let mut world = World::new(transports);
            world.settle();
            let now = world.now;
            match disconnects {
                true => world.server_mut().disconnect(now),
                false => world.server_mut().close(now),
            }
            world.settle();
            let end = world.client_end.take();
            match disconnects {
                true => assert_eq!(end, Some(CloseReason::Disconnected), "{transports:?}"),
                false => assert!(
                    matches!(end, Some(CloseReason::Closed | CloseReason::Gone)),
                    "{transports:?} {end:?}"
                ),
            }
        }
    }
}

#[test]
fn a_pong_over_the_wrong_transport_grants_nothing() {
    let mut session = polling(Transports::PollingThenWebSocket);
    session.socket_open();
    session.answer(at(1), body(&["3probe"]), Form::Text);
    assert_eq!(outputs(&mut session), [Output::Get]);
    assert!(!session.is_over_websocket());
    assert_eq!(PacketKind::of(&session.next_frame().unwrap()), Ok(PacketKind::Ping));
}

fn transports() -> impl Strategy<Value = Transports> {
    prop::sample::select(vec![Transports::WebSocket, Transports::Polling, Transports::PollingThenWebSocket])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is delivered when, every event arrives once and in order in both directions, every question is
    /// answered, and an upgrade that is not disturbed comes about.
    #[test]
    fn prop_any_schedule_keeps_order(transports in transports(), choices in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut world = World::new(transports);
        for choice in choices {
            world.step(choice, false);
        }
        world.settle();
        world.check_all_arrived();
        prop_assert_eq!(world.client.is_over_websocket(), transports != Transports::Polling);
    }

    /// The same when the WebSocket fails before it took over: polling goes on.
    #[test]
    fn prop_a_failing_upgrade_loses_nothing(choices in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut world = World::new(Transports::PollingThenWebSocket);
        for choice in choices {
            world.step(choice, true);
        }
        world.settle();
        world.check_all_arrived();
    }
}
