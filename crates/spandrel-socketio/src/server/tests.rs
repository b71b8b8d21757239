use super::*;
use crate::{EngineError, Form, Frame, Limits, PacketError, Value, encode_event, encode_payload};
use spandrel_wire::Millis;
use std::sync::Arc;

const T0: Millis = Millis::new(50_000);

fn at(ms: u64) -> Millis {
    T0.after(ms)
}

fn session(carrier: Carrier) -> Session {
    Session::new(T0, "abcdefghijklmnopqrst", carrier, Arc::new(SessionConfig::default()))
}

/// A session that has said hello.
fn open(carrier: Carrier) -> Session {
    let mut session = session(carrier);
    if carrier == Carrier::Polling {
        session.get(T0).unwrap();
        session.answer().unwrap();
    }
    while session.next_frame().is_some() {}
    session
}

fn body(frames: Vec<Frame>) -> String {
    String::from_utf8(encode_payload(&frames, false).1.to_vec()).unwrap()
}

fn post(session: &mut Session, now: Millis, body: &str) -> Result<(), Refusal> {
    session.begin_post(now)?;
    session.post(now, body.as_bytes().to_vec().into(), Form::Text)
}

fn outputs(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll()).collect()
}

fn frames(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.next_frame()).map(|f| f.as_text().unwrap().to_owned()).collect()
}

fn event(n: u32) -> crate::Encoded {
    encode_event("e", &[&Value::from_text(&n.to_string())], None)
}

#[test]
fn polling_opens_with_both_packets_in_one_answer() {
    let mut session = session(Carrier::Polling);
    session.get(T0).unwrap();
    let want = concat!(
        r#"95:0{"sid":"abcdefghijklmnopqrst","upgrades":["websocket"],"pingInterval":1000,"pingTimeout":5000}"#,
        "2:40"
    );
    assert_eq!(body(session.answer().unwrap()), want);
    assert!(!session.has_answer() && session.answer().is_none() && session.next_frame().is_none());
}

#[test]
fn a_websocket_opens_with_two_frames() {
    let mut session = session(Carrier::WebSocket);
    let want =
        [r#"0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":1000,"pingTimeout":5000}"#, "40"];
    assert_eq!(frames(&mut session), want);
    assert_eq!(session.get(T0), Err(Refusal::Transport));
    assert!(session.is_open());
}

#[test]
fn a_get_is_held_until_there_is_something_to_say() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    assert!(!session.has_answer());
    session.send(at(2), &event(1)).unwrap();
    session.send(at(2), &event(2)).unwrap();
    assert_eq!(body(session.answer().unwrap()), r#"11:42["e","1"]11:42["e","2"]"#);
    // What comes while none is held waits for the next.
    session.send(at(3), &event(3)).unwrap();
    session.get(at(4)).unwrap();
    assert_eq!(body(session.answer().unwrap()), r#"11:42["e","3"]"#);
}

#[test]
fn a_get_whose_connection_died_loses_nothing() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    session.send(at(2), &event(1)).unwrap();
    session.get_gone();
    session.send(at(3), &event(2)).unwrap();
    session.get(at(4)).unwrap();
    assert_eq!(body(session.answer().unwrap()), r#"11:42["e","1"]11:42["e","2"]"#);
}

#[test]
fn two_requests_of_a_kind_close_the_session() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    assert_eq!(session.get(at(2)), Err(Refusal::Overlap));
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Overlap)]);
    assert_eq!(body(session.answer().unwrap()), "1:1");
    assert!(session.is_over());
    assert_eq!(session.get(at(3)), Err(Refusal::Over));

    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    session.begin_post(at(1)).unwrap();
    assert_eq!(session.begin_post(at(2)), Err(Refusal::Overlap));
    assert_eq!(session.post(at(3), "1:2".into(), Form::Text), Err(Refusal::Over));
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Overlap)]);
    assert_eq!(body(session.answer().unwrap()), "1:1");
}

#[test]
fn a_post_is_taken_packet_by_packet() {
    let mut session = open(Carrier::Polling);
    post(&mut session, at(1), r#"2:2x9:42["a",1]9:42["b",2]8:430["k"]"#).unwrap();
    let got: Vec<_> = outputs(&mut session)
        .into_iter()
        .map(|output| match output {
            Output::Received(event) => event.name().into_owned(),
            Output::Acked(ack) => format!("ack {}", ack.id()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, ["a", "b", "ack 0"]);
    session.get(at(2)).unwrap();
    assert_eq!(body(session.answer().unwrap()), "2:3x");
}

#[test]
fn what_cannot_be_read_closes_the_session() {
    let broken = |e| Output::Closed(CloseReason::Broken(e));
    let garbage = |e| Output::Closed(CloseReason::Garbage(e));
    for (name, body_, want) in [
        ("no length", "x", None),
        ("no packets", "", None),
        ("no such packet", "1:9", Some(broken(EngineError::Kind { byte: b'9' }))),
        ("no message", "1:4", Some(garbage(PacketError::Kind))),
        ("garbage", "5:4garb", Some(garbage(PacketError::Kind))),
        ("no array", "3:42{", None),
    ] {
        let mut session = open(Carrier::Polling);
        session.get(at(1)).unwrap();
        assert_eq!(post(&mut session, at(2), body_), Err(Refusal::Body), "{name}");
        let got = outputs(&mut session);
        assert!(matches!(got[..], [Output::Closed(_)]), "{name}: {got:?}");
        if let Some(want) = want {
            assert_eq!(got, [want], "{name}");
        }
        assert_eq!(body(session.answer().unwrap()), "1:1", "{name}");
        assert!(session.is_over(), "{name}");
    }
    let mut session = open(Carrier::WebSocket);
    session.frame(at(1), Frame::text("4garb"));
    assert_eq!(outputs(&mut session), [garbage(PacketError::Kind), Output::HangUp]);
    assert!(session.is_over());
}

#[test]
fn a_message_over_the_limit_closes_the_session() {
    let limits = Limits::default().with_message_bytes_max(12);
    let config = Arc::new(SessionConfig { limits, ..SessionConfig::default() });
    for (name, frame, is_taken) in
        [("fits", "42[\"a\",12345]", true), ("one over", "42[\"a\",123456]", false)]
    {
        let mut session = Session::new(T0, "s", Carrier::WebSocket, Arc::clone(&config));
        session.frame(at(1), Frame::text(frame));
        assert_eq!(session.is_open(), is_taken, "{name}");
        assert_eq!(outputs(&mut session).len(), 2 - usize::from(is_taken), "{name}");
    }
}

#[test]
fn a_packet_over_the_limit_is_not_taken_and_the_session_lives_on() {
    let limits = Limits::default().with_message_bytes_max(12);
    let config = Arc::new(SessionConfig { limits, ..SessionConfig::default() });
    let mut session = Session::new(T0, "s", Carrier::WebSocket, config);
    while session.next_frame().is_some() {}
    for (name, arg, want) in
        [("fits", "123456", Ok(())), ("one over", "1234567", Err(SendError::TooLong { len: 14, max: 12 }))]
    {
        let packet = encode_event("", &[&Value::parse(arg).unwrap()], None);
        assert_eq!(session.send(at(1), &packet), want, "{name}");
    }
    assert_eq!((frames(&mut session), outputs(&mut session)), (vec![r#"42["",123456]"#.to_owned()], vec![]));
    assert!(session.is_open());
}

#[test]
fn pings_are_answered_with_their_data_and_keep_the_session() {
    let mut session = open(Carrier::WebSocket);
    session.frame(at(5_000), Frame::text("2"));
    session.frame(at(5_000), Frame::text("2 some data"));
    assert_eq!(frames(&mut session), ["3", "3 some data"]);
    session.tick(at(10_999));
    assert!(session.is_open());
    assert_eq!(session.wake(), Some(at(11_000)));
    session.tick(at(11_000));
    let silent = Output::Closed(CloseReason::Silent { silent_ms: 6_000 });
    assert_eq!(outputs(&mut session), [silent, Output::HangUp]);
    assert!(session.is_over() && session.wake().is_none());
}

#[test]
fn silence_answers_the_held_get() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    session.tick(at(5_999));
    assert!(!session.has_answer());
    session.excuse(at(1_000));
    session.tick(at(6_000));
    assert!(session.is_open(), "excused");
    session.tick(at(7_000));
    assert_eq!(body(session.answer().unwrap()), "1:1");
    assert!(session.is_over());
}

#[test]
fn the_client_leaves_over_polling() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    post(&mut session, at(2), "2:41").unwrap();
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Left)]);
    assert_eq!(session.send(at(2), &event(1)), Err(SendError::Closed));
    assert!(!session.has_answer() && !session.is_over());
    post(&mut session, at(3), "1:1").unwrap();
    assert_eq!(body(session.answer().unwrap()), "1:6");
    assert!(session.is_over());
    assert_eq!(outputs(&mut session), []);

    // Nothing behind its end is looked at.
    let mut session = open(Carrier::Polling);
    assert_eq!(post(&mut session, at(1), "1:11:4"), Ok(()));
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Left)]);
}

#[test]
fn a_client_that_says_41_and_stays_is_ended() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    post(&mut session, at(2), r#"2:419:42["a",1]"#).unwrap();
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Left)]);
    assert_eq!(session.wake(), Some(at(2_002)));
    session.tick(at(2_002));
    assert_eq!(body(session.answer().unwrap()), "1:6");
    assert!(session.is_over());

    let mut session = open(Carrier::WebSocket);
    session.frame(at(2), Frame::text("41"));
    assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Left)]);
    session.tick(at(2_002));
    assert_eq!(outputs(&mut session), [Output::HangUp]);
    assert!(session.is_over());
}

#[test]
fn the_client_leaves_over_websocket() {
    for (name, said) in
        [("both", &["41", "1"][..]), ("close alone", &["1"]), ("hangs up", &["41"]), ("gone", &[])]
    {
        let mut session = open(Carrier::WebSocket);
        said.iter().for_each(|text| session.frame(at(1), Frame::text(*text)));
        session.socket_gone(at(2), CloseReason::Gone);
        let closed = outputs(&mut session).into_iter().filter(|o| *o != Output::HangUp).collect::<Vec<_>>();
        let why = if said.is_empty() { CloseReason::Gone } else { CloseReason::Left };
        assert_eq!(closed, [Output::Closed(why)], "{name}");
        assert!(session.is_over(), "{name}");
    }
}

#[test]
fn other_namespaces_are_refused_and_passed_over() {
    let mut session = open(Carrier::WebSocket);
    for text in ["40/foo", "40/foo?a=1", "40", "42/foo,[\"a\"]", "41/foo", "44/foo,1", "43/foo,1[]"] {
        session.frame(at(1), Frame::text(text));
    }
    assert_eq!(frames(&mut session), [r#"44/foo,"Invalid namespace""#, r#"44/foo,"Invalid namespace""#]);
    assert_eq!(outputs(&mut session), []);
    assert!(session.is_open());
}

#[test]
fn an_upgrade_keeps_the_order() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    session.try_socket(at(2)).unwrap();
    assert_eq!(session.try_socket(at(2)), Err(Refusal::Transport));
    session.frame(at(3), Frame::text("2probe"));
    assert_eq!(frames(&mut session), ["3probe"]);
    // The held GET is released, and a further one again.
    for start in [3, 60] {
        assert!(!session.has_answer());
        assert_eq!(session.wake(), Some(at(start + 25)));
        session.tick(at(start + 25));
        assert_eq!(body(session.answer().unwrap()), "1:6");
        session.get(at(60)).unwrap();
    }
    // Messages still go by the polls until the client has gone over.
    session.send(at(61), &event(1)).unwrap();
    assert_eq!(body(session.answer().unwrap()), r#"11:42["e","1"]"#);
    session.send(at(62), &event(2)).unwrap();
    assert_eq!(frames(&mut session), [""; 0]);
    session.frame(at(63), Frame::text("5"));
    session.send(at(64), &event(3)).unwrap();
    assert_eq!(frames(&mut session), [r#"42["e","2"]"#, r#"42["e","3"]"#]);
    assert_eq!((session.carrier(), session.get(at(65))), (Carrier::WebSocket, Err(Refusal::Transport)));
    assert_eq!(session.begin_post(at(65)), Err(Refusal::Transport));
    session.frame(at(66), Frame::text(r#"42["a"]"#));
    assert!(matches!(outputs(&mut session)[..], [Output::Received(_)]));
}

#[test]
fn a_get_still_held_when_the_client_goes_over_is_answered() {
    let mut session = open(Carrier::Polling);
    session.get(at(1)).unwrap();
    session.try_socket(at(2)).unwrap();
    session.frame(at(3), Frame::text("2probe"));
    session.frame(at(4), Frame::text("5"));
    session.send(at(5), &event(1)).unwrap();
    assert_eq!(body(session.answer().unwrap()), "1:6");
    assert_eq!(frames(&mut session), ["3probe", r#"42["e","1"]"#]);
}

#[test]
fn an_unfinished_upgrade_is_given_up_and_polling_lives_on() {
    for (name, how) in [("time", 0), ("other packet", 1), ("hung up", 2), ("time without a probe", 3)] {
        let mut session = open(Carrier::Polling);
        session.try_socket(at(0)).unwrap();
        if how != 3 {
            session.frame(at(1), Frame::text("2probe"));
        }
        match how {
            1 => session.frame(at(2), Frame::text("42[\"a\"]")),
            2 => session.socket_gone(at(2), CloseReason::Gone),
            _ => {
                while session.next_frame().is_some() {}
                post(&mut session, at(5_000), "1:2").unwrap();
                session.tick(at(9_999));
                assert_eq!(outputs(&mut session), [], "{name}");
                session.tick(at(10_000));
            }
        }
        let want: &[Output] = if how == 2 { &[] } else { &[Output::HangUp] };
        assert_eq!(outputs(&mut session), want, "{name}");
        assert!(session.is_open() && session.carrier() == Carrier::Polling, "{name}");
        session.send(at(10_001), &event(1)).unwrap();
        session.get(at(10_002)).unwrap();
        assert!(body(session.answer().unwrap()).ends_with(r#"42["e","1"]"#), "{name}");
        session.try_socket(at(10_003)).unwrap();
        assert_eq!(frames(&mut session), [""; 0], "{name}: an answer for the one before");
    }
}

#[test]
fn what_was_sent_before_the_server_closed_goes_out() {
    for (name, says_41) in [("close", false), ("disconnect", true)] {
        let mut session = open(Carrier::Polling);
        session.send(at(1), &event(1)).unwrap();
        if says_41 {
            session.disconnect(at(2))
        } else {
            session.close(at(2))
        }
        assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Closed)], "{name}");
        session.get(at(3)).unwrap();
        let goodbye = if says_41 { "2:41" } else { "" };
        assert_eq!(body(session.answer().unwrap()), format!(r#"11:42["e","1"]{goodbye}1:1"#), "{name}");
        assert!(session.is_over(), "{name}");

        let mut session = open(Carrier::WebSocket);
        session.send(at(1), &event(1)).unwrap();
        if says_41 {
            session.disconnect(at(2))
        } else {
            session.close(at(2))
        }
        assert_eq!(outputs(&mut session), [Output::Closed(CloseReason::Closed), Output::HangUp], "{name}");
        let want = [r#"42["e","1"]"#, "41"];
        assert_eq!(frames(&mut session), want[..1 + usize::from(says_41)], "{name}");
    }
}

#[test]
fn last_words_wait_for_a_while() {
    let mut session = open(Carrier::Polling);
    session.close(at(0));
    assert_eq!(session.wake(), Some(at(2_000)));
    session.tick(at(2_000));
    assert!(session.is_over());
    assert_eq!(session.get(at(2_001)), Err(Refusal::Over));
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let limits = Limits::default().with_queued_max(100, 4);
    let config = Arc::new(SessionConfig { limits, ..SessionConfig::default() });
    let large = encode_event("e", &[&Value::from_text(&"x".repeat(300))], None);
    for carrier in [Carrier::Polling, Carrier::WebSocket] {
        let open = || {
            let mut session = Session::new(T0, "s", carrier, Arc::clone(&config));
            let _ = session.get(T0);
            let _ = session.answer();
            while session.next_frame().is_some() {}
            session
        };
        // One larger message is taken when nothing else waits, not when something does.
        let mut session = open();
        session.send(at(1), &large).unwrap();
        assert_eq!(session.send(at(1), &event(1)), Err(SendError::TooSlow));
        assert!(outputs(&mut session).contains(&Output::Closed(CloseReason::TooSlow { max: 100 })));
        assert!(session.queued_bytes() <= 1, "what waited is gone");
        // What the driver has not written counts.
        let mut session = open();
        session.set_unwritten(90);
        assert_eq!(session.send(at(1), &event(1)), Err(SendError::TooSlow));
        // Small ones are counted.
        let mut session = open();
        let sent = (0..10).filter(|_| session.send(at(1), &encode_event("", &[], None)).is_ok()).count();
        assert_eq!(sent, 4);
    }
    // So are the answers to its own packets.
    let mut session = open(Carrier::WebSocket);
    for _ in 0..140_000 {
        session.frame(at(1), Frame::text("2"));
    }
    assert!(outputs(&mut session).contains(&Output::Closed(CloseReason::TooSlow { max: 131_072 })));
}

mod properties {
    use super::fuzz::fuzz_socketio_session;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever client and driver do: events come in order and exactly once, there is one end, no GET stays
        /// unanswered, and nothing panics.
        #[test]
        fn prop_any_operations_keep_the_promises(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_socketio_session(&data);
        }

        /// The same with mostly sensible operations, which get further.
        #[test]
        fn prop_sensible_operations_keep_the_promises(
            carrier in 0_u8..2,
            ops in proptest::collection::vec(prop_oneof![
                5 => prop::sample::select(vec![0_u8, 13, 5, 6, 7, 10, 11]).prop_map(|op| vec![op, 3]),
                3 => prop::sample::select(vec![3_u8, 8, 12, 15, 16, 10]).prop_flat_map(|op| (Just(op), 0_u8..30).prop_map(|(op, a)| vec![op, a])),
                1 => (0_u8..24, any::<u8>()).prop_map(|(op, a)| vec![op, a]),
            ], 0..120),
        ) {
            let mut data = vec![carrier];
            data.extend(ops.into_iter().flatten());
            fuzz_socketio_session(&data);
        }
    }
}
