//! What waits between two hosts: in order, once, within bounds, and never for the wrong ear.

use super::*;

fn lost(messages: u64) -> String {
    format!("note {messages} messages waited too long for a host or a browser and were dropped")
}

#[test]
fn what_is_said_between_two_hosts_is_kept_and_the_room_is_told_first() {
    let mut rig = Rig::joined().after([room("R")]).pass(5_000).after([send("1"), down(1), send("2")]);
    rig = rig.after([Input::ListenFailed, send("3")]);
    let claim = r#"host 2 42["matchTarget","R"]"#.to_owned();
    let want = [
        "note joined the host of this machine".into(),
        claim,
        to_host(2, r#"{"data":2}"#),
        to_host(2, r#"{"data":3}"#),
    ];
    assert_eq!(rig.step(up(2)), want);
    assert_eq!(rig.step(send("4")), [to_host(2, r#"{"data":4}"#)]);
}

#[test]
fn a_new_host_keeps_its_messages_until_its_browser_is_back() {
    let mut rig = Rig::joined().after([room("R"), down(1), send("1"), Input::Listening]);
    assert_eq!(rig.step(send("2")), NOTHING);
    assert_eq!(rig.step(browser(1, "X")), [CAME, SINGLE], "not for this one");
    assert_eq!(
        rig.step(browser(2, "R")),
        [CAME.into(), SINGLE.into(), message(2, r#"{"data":1}"#), message(2, r#"{"data":2}"#)]
    );
    assert_eq!(rig.step(send("3")), [message(2, r#"{"data":3}"#)]);
    assert_eq!(rig.step(browser(3, "R")), [CAME, SINGLE], "once");
}

#[test]
fn what_waits_goes_to_the_first_room_but_not_to_another() {
    let mut first = Rig::joined().after([down(1), send("1"), room("R"), Input::Listening]);
    assert!(first.step(browser(1, "R")).contains(&message(1, r#"{"data":1}"#)));
    let mut other = Rig::joined().after([room("R"), down(1), send("1"), room("S"), Input::Listening]);
    assert_eq!(other.step(browser(1, "S")), [CAME, SINGLE]);
    let mut as_host = Rig::successor("R").after([send("1")]);
    assert_eq!(as_host.step(room("S")), [lost(1)]);
    assert_eq!(as_host.step(browser(1, "S")), [CAME, SINGLE]);
    let mut joined = Rig::joined().after([room("R"), down(1), send("1"), room("R"), Input::ListenFailed]);
    assert_eq!(joined.step(up(2)).last().unwrap(), &to_host(2, r#"{"data":1}"#), "the same room again");
}

#[test]
fn a_first_host_keeps_nothing() {
    let mut rig = Rig::plain().after([room("R"), open(), send("1")]);
    assert_eq!(rig.step(Input::Listening), [&HOST[..], &[&lost(1)]].concat());
    assert_eq!(rig.step(send("2")), NOTHING);
    assert_eq!(rig.step(browser(1, "R")), [CAME, SINGLE]);
}

#[test]
fn one_message_too_many_drops_the_oldest() {
    let mut rig = Rig::joined().after([down(1)]);
    for n in 0..1_025 {
        rig.step(Input::Parent(FromParent::Send(Some(Value::from(n)))));
    }
    assert_eq!(rig.bridge.status().held_messages, 1_024);
    let got = rig.after([Input::ListenFailed]).step(up(2));
    assert_eq!(got.len(), 1_026);
    assert_eq!((&got[1], &got[1_024]), (&to_host(2, r#"{"data":1}"#), &to_host(2, r#"{"data":1024}"#)));
    assert_eq!(got[1_025], lost(1));
}

#[test]
fn one_byte_too_many_drops_the_oldest() {
    // A packet is its value and 23 bytes around it.
    let of_bytes = |n: usize| Input::Parent(FromParent::Send(Some(Value::from_text(&"x".repeat(n - 25)))));
    for (sizes, kept) in
        [([1 << 19, 1 << 19], 2), ([1 << 19, (1 << 19) + 1], 1), ([1 << 19, (1 << 20) + 1], 1)]
    {
        let rig = Rig::joined().after([down(1)]).after(sizes.map(of_bytes));
        let status = rig.bridge.status();
        assert_eq!(status.held_messages, kept, "{sizes:?}");
        assert!(status.held_bytes <= 1 << 20);
    }
}

#[test]
fn a_message_waits_five_seconds() {
    let mut rig =
        Rig::joined().after([down(1), send("1")]).pass(1).after([send("2"), Input::ListenFailed]).pass(4_999);
    rig.step(refused(2));
    assert_eq!(
        rig.step(up(3)),
        ["note joined the host of this machine over TLS".into(), to_host(3, r#"{"data":2}"#), lost(1)]
    );

    let mut idle = Rig::successor("R").after([send("1")]);
    assert_eq!(idle.tick(4_999), NOTHING);
    assert_eq!(idle.tick(1), [lost(1)], "its memory is given back though nothing else happens");
    assert_eq!(idle.bridge.status().held_bytes, 0);
}

#[test]
fn after_a_take_over_rooms_count_although_no_client_has_come() {
    let mut rig = Rig::successor("R").after([browser(1, "R"), browser(2, "S"), browser(3, None)]);
    assert_eq!(rig.step(says(2, r#"1["message",1]"#)), ["to 2 431[true]"], "not for this parent");
    assert_eq!(rig.step(says(3, r#"["message",1]"#)), NOTHING);
    assert_eq!(rig.step(says(1, r#"["message",1]"#)), [data("1")]);
    assert_eq!(rig.step(send("1")), [message(1, r#"{"data":1}"#)], "nor this parent for them");
    rig = rig.pass(4_999);
    assert_eq!(rig.step(says(2, r#"["message",1]"#)), NOTHING);
    rig = rig.pass(1);
    assert_eq!(rig.step(says(2, r#"["message",1]"#)), [data("1")], "alone after all");
    assert_eq!(rig.step(send("1")).len(), 3);
}

#[test]
fn a_host_from_the_start_and_one_without_a_room_wait_for_nobody() {
    let mut first = Rig::host().after([room("R"), browser(1, "S")]);
    assert_eq!(first.step(says(1, r#"["message",1]"#)), [data("1")]);
    let mut roomless = Rig::joined().after([down(1), send("0"), Input::Listening, browser(1, "S")]);
    assert_eq!(roomless.step(says(1, r#"["message",1]"#)), [data("1")]);
    assert_eq!(roomless.step(send("1")), [message(1, r#"{"data":1}"#)]);
}

#[test]
fn after_a_take_over_browsers_that_are_early_are_kept_for_their_program() {
    let mut rig = Rig::successor("R").after([browser(1, "S"), browser(2, "T"), client(3)]);
    rig = rig.after([says(1, r#"["message",1]"#), says(2, r#"["message",2]"#), says(1, r#"["message",3]"#)]);
    assert_eq!(rig.step(claims(3, "S")), [message(3, "1"), message(3, "3")]);
    assert_eq!(rig.step(says(1, r#"["message",4]"#)), [message(3, "4")]);
    assert_eq!(rig.step(claims(3, "S")), NOTHING, "once");
    assert_eq!(rig.tick(5_000), [lost(1)], "the program of T did not come");
}

#[test]
fn after_a_take_over_programs_that_are_early_are_kept_for_their_browsers() {
    let mut rig = Rig::successor("R").after([client(1), claims(1, "S"), client(2), claims(2, "T")]);
    rig = rig.after([says(1, r#"["message",1]"#), says(2, r#"["message",2]"#), says(1, r#"["message",3]"#)]);
    assert_eq!(rig.step(browser(3, "S")), [CAME.into(), CLOUD.into(), message(3, "1"), message(3, "3")]);
    assert_eq!(rig.step(says(1, r#"["message",4]"#)), [message(3, "4")]);
    assert_eq!(rig.step(browser(4, "S")), [CAME, CLOUD], "once");
    rig = rig.pass(5_000);
    assert_eq!(rig.step(Input::Tick), [lost(1)]);
    assert_eq!(rig.step(says(2, r#"["message",5]"#)), NOTHING, "later nothing is kept");
    assert_eq!(rig.step(browser(5, "T")), [CAME, CLOUD]);
}
