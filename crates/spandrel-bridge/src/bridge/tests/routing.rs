//! Orders of reports, and who hears whom.

use super::*;

#[test]
fn reports_come_in_the_order_the_parent_counts_on() {
    let mut rig = Rig::plain();
    for (name, fact, want) in [
        ("nothing before open", Input::Tick, vec![]),
        ("open", open(), vec!["listen"]),
        ("host starts", Input::Listening, HOST.to_vec()),
        ("a browser comes, single", browser(1, "RB"), vec![CAME, SINGLE]),
        ("a client comes", client(2), vec![CAME, CLOUD]),
        ("a browser comes, cloud", browser(3, None), vec![CAME, CLOUD]),
        ("another client comes", client(4), vec![CAME, CLOUD]),
        ("it claims", claims(4, "RC"), vec![]),
        ("one client of two goes", closed(4), vec![r#"parent {"key":"close","value":"RC"}"#]),
        ("a browser goes", closed(1), vec![r#"parent {"key":"close","value":"RB"}"#]),
        ("the last client goes", closed(2), vec![r#"parent {"key":"close"}"#, SINGLE]),
        ("a browser without room goes", closed(3), vec![r#"parent {"key":"close"}"#]),
        ("it went already", closed(3), vec![]),
        ("it never came", closed(9), vec![]),
    ] {
        assert_eq!(rig.step(fact), want, "{name}");
    }
}

#[test]
fn the_last_client_is_reported_with_its_room_before_the_mode() {
    let mut rig = Rig::host().after([client(1), claims(1, "R1")]);
    assert_eq!(rig.step(closed(1)), [r#"parent {"key":"close","value":"R1"}"#, SINGLE]);
}

#[test]
fn events_with_other_names_mean_nothing() {
    for text in
        [r#"["close"]"#, r#"1["error",1]"#, r#"2["disconnect"]"#, r#"["mode",{}]"#, r#"3["Message",1]"#]
    {
        for mut rig in [Rig::host().after([browser(1, "R")]), Rig::host().after([client(1), claims(1, "R")])]
        {
            assert_eq!(rig.step(says(1, text)), NOTHING, "{text}");
            assert!(
                rig.step(closed(1)).contains(&r#"parent {"key":"close","value":"R"}"#.to_owned()),
                "{text}"
            );
        }
    }
}

#[test]
fn an_acknowledgement_is_always_last_and_always_comes() {
    for (name, says_what, want) in [
        ("no answer asked for", r#"["message",{"data":1}]"#, vec![data(r#"{"data":1}"#)]),
        ("true", r#"0["message",{"data":1}]"#, vec![data(r#"{"data":1}"#), "to 1 430[true]".into()]),
        (
            "its key",
            r#"7["message",{"key":"kk"}]"#,
            vec![data(r#"{"key":"kk"}"#), r#"to 1 437["kk"]"#.into()],
        ),
        (
            "any key",
            r#"7["message",{"key":{"a":[1]}}]"#,
            vec![data(r#"{"key":{"a":[1]}}"#), r#"to 1 437[{"a":[1]}]"#.into()],
        ),
        (
            "a key that is null",
            r#"7["message",{"key":null}]"#,
            vec![data(r#"{"key":null}"#), "to 1 437[null]".into()],
        ),
        ("text", r#"1["message","key"]"#, vec![data(r#""key""#), "to 1 431[true]".into()]),
        ("null", r#"1["message",null]"#, vec![data("null"), "to 1 431[true]".into()]),
        ("an array", r#"1["message",["key"]]"#, vec![data(r#"["key"]"#), "to 1 431[true]".into()]),
        ("more arguments", r#"1["message",1,2,{"key":3}]"#, vec![data("1"), "to 1 431[true]".into()]),
        ("no argument", r#"1["message"]"#, vec!["to 1 431[true]".into()]),
        ("no argument, no answer", r#"["message"]"#, vec![]),
    ] {
        assert_eq!(Rig::host().after([browser(1, "R")]).step(says(1, says_what)), want, "{name}");
    }
    let mut cloud = Rig::host().after([client(1), browser(2, "nobody's")]);
    assert_eq!(cloud.step(says(2, r#"5["message",{"key":"k"}]"#)), [r#"to 2 435["k"]"#], "dropped");
    assert_eq!(
        cloud.step(says(1, r#"5["message",1]"#)),
        ["to 1 435[true]"],
        "dropped, of a client without room"
    );
}

#[test]
fn values_pass_as_they_are_written() {
    let odd = r#"{"n":12345678901234567890.10,"b":"\ud83d","a":[1e400,-0]}"#;
    let mut rig = Rig::host().after([browser(1, None)]);
    assert_eq!(rig.step(says(1, &format!(r#"["message",{odd}]"#))), [data(odd)]);
    assert_eq!(rig.step(send(odd)), [message(1, &format!(r#"{{"data":{odd}}}"#))]);
    assert_eq!(rig.step(send("null")), [message(1, r#"{"data":null}"#)]);
    assert_eq!(rig.step(Input::Parent(FromParent::Send(None))), [message(1, "{}")]);
    let told = rig.step(Input::Parent(FromParent::DisconnectHardware));
    assert_eq!(told, [message(1, r#"{"data":"disconnectHardware"}"#)]);
}

#[test]
fn binary_is_written_out_for_the_parent_and_stays_binary_between_sessions() {
    let binary = || event_with(r#"451-["message",{"d":{"_placeholder":true,"num":0}}]"#, &[&[1, 255]]);
    let mut single = Rig::host().after([browser(1, "R")]);
    let told = single.step(Input::Event { conn: ConnId(1), event: binary() });
    assert_eq!(told, [data(r#"{"d":{"type":"Buffer","data":[1,255]}}"#)]);

    let want = r#"451-["message",{"d":{"_placeholder":true,"num":0}}] b"\x04\x01\xff""#;
    let mut cloud = Rig::host().after([browser(1, "R"), client(2), claims(2, "R")]);
    assert_eq!(cloud.step(Input::Event { conn: ConnId(1), event: binary() }), [format!("to 2 {want}")]);
    assert_eq!(cloud.step(Input::Event { conn: ConnId(2), event: binary() }), [format!("to 1 {want}")]);
}

/// Browsers 1 in RH, 2 in RC, 3 in RX, 4 without room; client 5 with RC, 6 without room.
fn everybody(own: Option<&str>) -> Rig {
    let rig = Rig::host().after(own.map(room));
    let browsers = [browser(1, "RH"), browser(2, "RC"), browser(3, "RX"), browser(4, None)];
    rig.after(browsers).after([client(5), claims(5, "RC"), client(6)])
}

#[test]
fn messages_of_sessions_go_where_the_table_says() {
    let to = |conn| message(conn, r#"{"n":1}"#);
    let parent = || vec![data(r#"{"n":1}"#)];
    for (name, own, from, want) in [
        ("client with a room", Some("RH"), 5, vec![to(2)]),
        ("client without a room", Some("RH"), 6, vec![]),
        ("browser of a client's room", Some("RH"), 2, vec![to(5)]),
        ("browser of the own room", Some("RH"), 1, parent()),
        ("browser of nobody's room", Some("RH"), 3, vec![]),
        ("browser without a room", Some("RH"), 4, vec![]),
        ("browser without a room, host without", None, 4, parent()),
        ("browser of no program's room, host without", None, 1, vec![]),
        ("own room claimed by a client: it is the client's", Some("RC"), 2, vec![to(5)]),
    ] {
        assert_eq!(everybody(own).step(says(from, r#"["message",{"n":1}]"#)), want, "{name}");
    }
    for from in [1, 2, 3] {
        let rooms = [browser(1, "RH"), browser(2, None), browser(3, "RX")];
        let mut single = Rig::host().after([room("RH")]).after(rooms);
        assert_eq!(single.step(says(from, r#"["message",{"n":1}]"#)), parent(), "single: {from}");
    }
}

#[test]
fn messages_of_the_parent_go_where_the_table_says() {
    for (name, mut rig, want) in [
        (
            "single: every browser, whatever its room",
            Rig::host().after([browser(1, "A"), browser(2, None)]),
            vec![1, 2],
        ),
        ("single, with a room", Rig::host().after([room("A"), browser(1, "A"), browser(2, "B")]), vec![1, 2]),
        ("cloud: the own room", everybody(Some("RH")), vec![1]),
        ("cloud: an own room nobody is in", everybody(Some("RO")), vec![]),
        ("cloud: without a room, all but those of programs", everybody(None), vec![1, 3, 4]),
        ("nobody is there", Rig::host(), vec![]),
    ] {
        let want: Vec<_> = want.into_iter().map(|conn| message(conn, r#"{"data":1}"#)).collect();
        assert_eq!(rig.step(send("1")), want, "{name}");
    }
    assert_eq!(Rig::plain().step(send("1")), NOTHING, "before open");
}

#[test]
fn a_room_is_claimed_by_text_or_by_an_object_and_by_nothing_else() {
    let is_claimed = |claim: &str| {
        let mut rig =
            Rig::host().after([client(1), browser(2, "R"), browser(3, "\u{fffd}"), browser(4, "7")]);
        assert_eq!(rig.step(says(1, claim)), NOTHING, "{claim}");
        !rig.step(says(1, r#"["message",1]"#)).is_empty()
    };
    for claim in [
        r#"["matchTarget","R"]"#,
        r#"["matchTarget",{"roomId":"R"}]"#,
        r#"["matchTarget",{"roomId":"\u0052","x":1},2]"#,
    ] {
        assert!(is_claimed(claim), "{claim}");
    }
    for claim in [
        r#"["matchTarget"]"#,
        r#"["matchTarget",null]"#,
        r#"["matchTarget",7]"#,
        r#"["matchTarget",["R"]]"#,
        r#"["matchTarget",{}]"#,
        r#"["matchTarget",{"roomId":7}]"#,
        r#"["matchTarget",{"roomId":null}]"#,
        r#"["matchTarget",""]"#,
        r#"["matchTarget","\ud83d"]"#,
        r#"["matchtarget","R"]"#,
    ] {
        assert!(!is_claimed(claim), "{claim}");
    }
}

#[test]
fn a_browser_cannot_claim() {
    let mut rig =
        Rig::host().after([client(1), claims(1, "R"), browser(2, "T"), browser(3, "R"), claims(2, "R")]);
    assert_eq!(rig.step(says(3, r#"["message",1]"#)), [message(1, "1")]);
}

#[test]
fn the_last_claim_wins_and_a_client_has_one_room() {
    let mut rig = Rig::host().after([client(1), client(2), browser(3, "R"), browser(4, "S")]);
    rig = rig.after([claims(1, "R"), claims(2, "R")]);
    assert_eq!(rig.step(says(3, r#"["message",1]"#)), [message(2, "1")], "the last one wins");
    assert_eq!(rig.step(says(1, r#"["message",1]"#)), [message(3, "1")], "the other still speaks to it");
    rig.step(claims(2, "S"));
    assert_eq!(rig.step(says(3, r#"["message",1]"#)), NOTHING, "a newer room removes the earlier one");
    assert_eq!(rig.step(says(4, r#"["message",1]"#)), [message(2, "1")]);
    rig.step(claims(1, "S"));
    assert_eq!(rig.step(closed(2)), [r#"parent {"key":"close","value":"S"}"#]);
    assert_eq!(
        rig.step(says(4, r#"["message",1]"#)),
        [message(1, "1")],
        "one that left takes nothing from another"
    );
}

#[test]
fn a_room_whose_client_left_is_free() {
    let mut rig = Rig::host().after([client(1), client(2), claims(1, "R"), browser(3, "R"), closed(1)]);
    assert_eq!(rig.step(says(3, r#"["message",1]"#)), NOTHING);
    rig.step(room("R"));
    assert_eq!(rig.step(says(3, r#"["message",1]"#)), [data("1")]);
}

#[test]
fn text_of_the_parent_is_encrypted_and_decrypted_at_any_time() {
    for mut rig in [Rig::plain(), Rig::host(), Rig::joined()] {
        assert_eq!(rig.step(Input::Parent(FromParent::Encrypt("a".into()))), ["encrypt a"]);
        assert_eq!(rig.step(Input::Parent(FromParent::Decrypt("b".into()))), ["decrypt b"]);
        for said in
            [FromParent::Ignored, FromParent::ConnectHardwareFailed, FromParent::ConnectHardwareSuccess(None)]
        {
            assert_eq!(rig.step(Input::Parent(said)), NOTHING);
        }
    }
}

#[test]
fn one_session_over_the_limit_is_closed_unseen() {
    let mut rig = Rig::limited(|limits| limits.connections_max = 2).after([open(), Input::Listening]);
    rig = rig.after([browser(1, None), browser(2, None)]);
    let note = "note closed a new connection: there are 2 already, the most allowed";
    assert_eq!(rig.step(browser(3, None)), [note, "close 3"]);
    assert_eq!(rig.step(browser(4, None)), ["close 4"], "one note a second");
    assert_eq!(rig.step(closed(3)), NOTHING);
    assert_eq!(rig.step(says(3, r#"1["message",1]"#)), NOTHING);
    rig.step(closed(1));
    assert_eq!(rig.step(browser(5, None)), [CAME, SINGLE]);
    assert_eq!(rig.pass(1_000).step(browser(6, None)), [note, "close 6"]);
}

#[test]
fn one_byte_over_the_limit_of_a_room_is_no_room() {
    let mut rig =
        Rig::limited(|limits| limits.room_bytes_max = 4).after([open(), Input::Listening, client(1)]);
    let note = "note room name of 5 bytes is over the limit of 4";
    assert_eq!(rig.step(browser(2, "12345")), [note, "close 2"]);
    assert_eq!(rig.step(browser(3, "1234")), [CAME, CLOUD]);
    assert_eq!(rig.step(room("12345")), [note]);
    assert_eq!(rig.bridge.own_room(), None);
    assert_eq!(
        rig.pass(1_000).after([claims(1, "12345")]).step(closed(1)),
        [r#"parent {"key":"close"}"#, SINGLE]
    );
}

#[test]
fn a_name_used_before_changes_nothing() {
    let mut rig = Rig::host().after([browser(1, "R")]);
    assert_eq!(rig.step(client(1)), NOTHING);
    assert_eq!(rig.step(closed(1)), [r#"parent {"key":"close","value":"R"}"#]);
}

#[test]
fn a_client_has_no_room_until_it_claims_one_and_an_empty_name_is_none() {
    let with_query = Input::Opened { conn: ConnId(1), role: Role::Client, room: Some("R".into()) };
    let mut rig = Rig::host().after([with_query, browser(2, "")]);
    assert_eq!(rig.step(closed(2)), [r#"parent {"key":"close"}"#]);
    assert_eq!(rig.step(closed(1)), [r#"parent {"key":"close"}"#, SINGLE]);
}

#[test]
fn the_status_tells_how_it_is() {
    let mut rig = everybody(Some("RH"));
    let status = rig.bridge.status();
    assert_eq!((status.browsers, status.clients, status.rooms), (4, 2, 3));
    assert_eq!(rig.bridge.rooms().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["RC", "RH", "RX"]);
    assert!(
        rig.bridge
            .rooms()
            .all(|(name, browsers, claimed)| browsers == 1 && claimed == (name.as_str() == "RC"))
    );
    for conn in 1..=6 {
        rig.step(closed(conn));
    }
    assert_eq!(rig.bridge.status().rooms, 0, "a room goes with the last one in it");
}
